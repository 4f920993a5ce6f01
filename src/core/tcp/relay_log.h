// RelayLog: the primary's end of the relay log.  The data path appends records as things happen, the replication thread
// gets them as complete frames, and what the standby acknowledges comes back as ranges that are durable.
//
//   append_*() ──► frame being filled ──► take_frames() ──► stream ──► standby
//                        │                                               │
//                  FIFO of what waits ──────► on_ack(position) ◄─────────┘
//
// Bytes are copied once, into the frame.  Single-threaded: it belongs to the data path.  Pure.
//
// A session begins at the cut of its first epoch, not before: at this moment, with nothing in between, the owner
//   1. lets relayed output wait for commits again (as the plain gate does from this cut on),
//   2. begin_session(),
//   3. append_open() for every flow with its state of now, followed by the bytes it refers to: egress
//      [to_peer.una, end), ingress [to_guest.una, end) and what from_peer holds ahead (without the number of a FIN),
//   4. makes the cut.
// While the standby is being synchronised before that, flows are as in solo: they trim their buffers as soon as the
// peer acknowledges, and the standby could not know.  Nothing is lost by it: there is no epoch to take over from.
//
// What waits when the session ends is handed out by end_session(): solo, everything is durable.  It must be called
// only when the arbiter has granted that this host carries on alone.
//
// Back-pressure: appending never fails, but backlog_bytes() grows with what the standby has not acknowledged; while
// full(), the data path should take no more from guest or peers.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "core/replica/frame_header.h"
#include "core/replica/log_position.h"
#include "core/tcp/flow_state.h"
#include "core/tcp/relay_buffer.h"
#include "core/tcp/relay_record.h"

namespace us {

// What the standby has: one record.
struct DurableRecord {
  LogPosition position{};
  RelayRecordKind kind{};
  uint8_t nic = 0;
  bool fin = false;    // kIngress
  FlowId flow{};       // it may have ended meanwhile
  SeqRange range{};    // kIngress: as it was stored, FIN included; kEgress: the bytes
  uint32_t bound = 0;  // kClockBound
};

class RelayLog {
 public:
  static constexpr size_t kBacklogBytesMax = size_t{64} << 20;

  explicit RelayLog(size_t backlog_bytes_max = kBacklogBytesMax);
  RelayLog(const RelayLog&) = delete;
  RelayLog& operator=(const RelayLog&) = delete;

  // There is a standby; positions count from 1.  `version` is the protocol's, as agreed.
  void begin_session(uint16_t version = kProtocolVersionMax);
  // There is none any more.  Calls visit(const DurableRecord&) for all that waited; what visit() appends is durable at
  // once.
  template <typename Visit>
  void end_session(Visit visit) {
    enabled_ = false;
    settle(position_, visit);
    forget_session();
  }
  bool enabled() const { return enabled_; }

  // Each returns the position of the (last) record.  Without a session they do nothing and return position 0: durable
  // at once.
  LogPosition append_open(uint8_t nic, const FlowState& initial);
  // `stored` and `fin` as Receiver::on_segment() returned them, `bytes` what lies in the buffer for it, which is one
  // byte less when `fin`.  More than kRelayRecordBytesMax become several records.
  LogPosition append_ingress(uint8_t nic, FlowId flow, SeqRange stored, bool fin, Gather bytes);
  // Each byte once and in order.
  LogPosition append_egress(uint8_t nic, FlowId flow, SeqNum start, Gather bytes);
  LogPosition append_egress(uint8_t nic, FlowId flow, SeqNum start, ByteSpan bytes) {
    return append_egress(nic, flow, start, Gather(&bytes, 1));
  }
  LogPosition append_clock_bound(uint8_t nic, FlowId flow, uint32_t bound);

  LogPosition position() const { return position_; }  // of the latest record
  LogPosition durable() const { return durable_; }    // everything up to here is on the standby

  // Complete frames with all that was appended, to be sent in this order, each before EpochEnd of any epoch that was
  // cut after it was taken.
  std::vector<Bytes> take_frames();
  bool has_frames() const { return !frames_.empty() || builder_.has_value(); }

  // RelayLogAck: calls visit(const DurableRecord&) for each record up to `position` that was not durable before, in
  // the order of the log.  `visit` may append.  Fails (kProtocol) for a position that was in no frame taken, or went
  // back.  Ignored without a session.
  template <typename Visit>
  Status on_ack(LogPosition position, Visit visit) {
    if (!enabled_) return {};
    US_TRY(judge_ack(position));
    settle(position, visit);
    return {};
  }

  // Encoded bytes that the standby has not acknowledged, whether sent or not.
  size_t backlog_bytes() const { return backlog_bytes_; }
  bool full() const { return backlog_bytes_ >= backlog_bytes_max_; }

 private:
  struct Waiting {
    DurableRecord record;
    uint32_t bytes;  // encoded
  };

  Status judge_ack(LogPosition position) const;
  void forget_session();
  // Makes room for a record of `bytes` in the frame, the next one if need be.
  void open_record(size_t bytes);
  LogPosition close_record(DurableRecord record);
  void close_frame();

  template <typename Visit>
  void settle(LogPosition to, Visit& visit) {
    while (durable_ < to) {
      const Waiting waiting = waiting_.front();  // a copy: visit() may append
      waiting_.pop_front();
      backlog_bytes_ -= waiting.bytes;
      durable_ = waiting.record.position;
      visit(waiting.record);
    }
  }

  size_t backlog_bytes_max_;
  bool enabled_ = false;
  uint16_t version_ = kProtocolVersionMax;
  LogPosition position_;
  LogPosition durable_;
  LogPosition taken_;  // what is in frames that were taken
  size_t backlog_bytes_ = 0;
  std::deque<Waiting> waiting_;

  std::vector<Bytes> frames_;
  Bytes frame_;                          // being filled
  std::optional<FrameBuilder> builder_;  // set while it is
  uint32_t frame_records_ = 0;
  size_t record_start_ = 0;
  size_t frame_bytes_expected_ = 0;  // the size of the latest frame: the next one will be much like it
};

}  // namespace us
