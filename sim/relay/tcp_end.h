// TcpEnd: a TCP endpoint of the simulation, guest or client, with its application.  A plain value: a checkpoint of a
// guest is a copy.
//
// Written from the RFCs (9293, 5681, 6298, 2018, 7323, 5961) without the product's Sender and Receiver, with 64-bit
// offsets in place of sequence numbers: 0 is the SYN, 1 the first byte, 1 + written the FIN.  It behaves as stacks do
// and is strict about what it gets: it throws Violation for an ACK or SACK of what was never sent, and for bytes that
// the other application has not written.
//
// Inputs: on_packet(), on_time(); both may put packets into `out`.  Time is the owner's (a guest's clock stands still
// with it).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "sim/relay/byte_stream.h"
#include "sim/relay/packet.h"

namespace us::sim::relay {

struct EndConfig {
  uint8_t conn = 0;
  uint32_t isn = 0;
  uint16_t mss = 1460;
  std::optional<uint8_t> scale;
  bool sack = true;
  bool timestamps = true;
  bool dsack = true;
  uint32_t timestamp_base = 0;
  uint32_t receive_bytes = 65536;
  uint32_t send_bytes = 65536;
  Duration delayed_ack = Duration::millis(40);
  Duration rto_min = Duration::millis(200);
  Duration keep_alive = Duration::infinite();
  uint32_t burst_segments = 1;    // more than 1: sends super-segments
  bool probes_with_data = false;  // a window probe is a byte beyond the window, else an old number
};

// What the application does; times are from one thing to the next.
struct AppPlan {
  uint64_t write_bytes = 10000;
  uint32_t write_max = 4000;
  Duration write_gap = Duration::millis(5);
  uint32_t read_max = 100000;
  Duration read_gap = Duration::millis(1);
  double stall = 0;  // chance that a read waits much longer
  Duration stall_for = Duration::millis(500);
  bool close_after_peer = false;        // else as soon as all is written
  std::optional<uint64_t> abort_after;  // resets the connection once so many bytes have been written or read
};

enum class Phase : uint8_t { kClosed, kListen, kSynSent, kSynReceived, kOpen, kTimeWait, kDone, kReset, kGaveUp };
const char* to_string(Phase phase);

class TcpEnd {
 public:
  TcpEnd() = default;
  TcpEnd(const EndConfig& config, const AppPlan& plan, ByteStream stream, uint64_t seed);
  // Whether what arrives is compared with what the other side has written, and where it is kept; both may be null.
  void expect(const ByteStream* stream) { peer_stream_ = stream; }
  void keep_in(Bytes* sink) { sink_ = sink; }

  void connect(Instant now);
  void listen() { phase_ = Phase::kListen; }
  void on_packet(const Packet& packet, Instant now);
  void on_time(Instant now);
  Instant next_time() const;
  std::vector<Packet> take_out() { return std::exchange(out_, {}); }

  // After a takeover: what it does from here on is not what it did before.
  void diverge(uint64_t salt);
  // Faults have stopped: no stalls, no more resets, and it looks whether the other side is still there.
  void calm(Instant now);

  Phase phase() const { return phase_; }
  bool over() const { return phase_ >= Phase::kDone; }
  bool established() const { return phase_ == Phase::kOpen || phase_ == Phase::kTimeWait; }
  const EndConfig& config() const { return config_; }
  const ByteStream& stream() const { return stream_; }
  uint64_t written() const { return written_; }
  bool closed() const { return closed_; }
  bool aborted() const { return aborted_; }
  uint64_t received() const { return received_; }  // bytes, in order
  bool got_fin() const { return fin_taken_; }
  uint64_t fin_offset() const { return 1 + written_; }
  bool sent_all() const { return closed_ && una_ > fin_offset(); }
  void add_ahead(Spans& out) const {
    for (const auto& [start, bytes] : ahead_) out.add(start, start + bytes.size());
  }
  uint64_t una() const { return una_; }
  uint64_t sent_max() const { return max_; }
  uint64_t rcv_next() const { return rcv_next_; }
  uint64_t offered_edge() const { return offered_; }  // the furthest right edge it has advertised
  uint32_t latest_timestamp(Instant now) const {
    return config_.timestamp_base + static_cast<uint32_t>(now.to_nanos() / 1'000'000);
  }
  bool uses_timestamps() const { return timestamps_; }
  uint32_t irs() const { return irs_; }
  uint8_t peer_scale() const { return peer_scale_; }
  uint8_t scale() const { return scaled_ ? *config_.scale : 0; }
  std::string describe() const;

  // Wire number to offset, nearest to `near`.
  static int64_t unwrap(uint32_t wire, uint32_t initial, uint64_t near) {
    return static_cast<int64_t>(near) + static_cast<int32_t>(wire - (initial + static_cast<uint32_t>(near)));
  }

 private:
  static constexpr int kRetriesMax = 15;
  static constexpr Duration kRtoMax = Duration::seconds(5);
  static constexpr Duration kTimeWait = Duration::seconds(2);

  // tcp_end.cc: what arrives
  void on_syn(const Packet& p, Instant now);
  void on_syn_sent(const Packet& p, Instant now);
  bool acceptable(int64_t seq, uint32_t length) const;
  void on_ack(const Packet& p, int64_t seq, Instant now);
  void take_sacks(const Packet& p);
  void on_new_ack(uint64_t ack, Instant now);
  void take_data(const Packet& p, int64_t seq, Instant now);
  void take_in_order(ByteSpan bytes);
  void challenge(Instant now);
  void agree(const Packet& p);
  void check_done(Instant now);
  void reply_reset(const Packet& p);

  // tcp_end_send.cc: what is sent, and when
  void output(Instant now);
  bool send_next(Instant now);
  void send_data(uint64_t at, uint64_t n, bool fin, Instant now);
  void send_syn(Instant now);
  void send_ack(Instant now);
  void send_reset(Instant now);
  void retransmit_hole(Instant now);
  void on_retransmit_timer(Instant now);
  void on_persist_timer(Instant now);
  void on_keep_alive(Instant now);
  void fill(Packet& p, Instant now);
  uint16_t window();
  void add_sacks(Packet& p);
  void arm_retransmit(Instant now);
  Duration rto() const;
  void give_up();

  // The application.
  void run_app(Instant now);
  Duration jitter(Duration mean);

  EndConfig config_;
  AppPlan plan_;
  ByteStream stream_;
  const ByteStream* peer_stream_ = nullptr;
  Bytes* sink_ = nullptr;
  Rng rng_{1};
  Phase phase_ = Phase::kClosed;
  bool calm_ = false;
  bool opener_ = false;
  bool sack_ = false, timestamps_ = false, scaled_ = false;
  uint32_t peer_mss_ = 536;
  uint8_t peer_scale_ = 0;

  // Sending.
  uint64_t una_ = 0, next_ = 0, max_ = 0;
  uint64_t written_ = 0;
  bool closed_ = false, aborted_ = false, fin_was_first_ = false;
  uint64_t edge_ = 0;  // the furthest right edge that the peer has offered
  uint64_t window_ = 0;
  int64_t window_seq_ = 0, window_ack_ = 0;
  Spans sacked_;
  uint64_t cwnd_ = 0, ssthresh_ = UINT64_MAX;
  uint32_t duplicates_ = 0;
  bool recovering_ = false;
  uint64_t recover_ = 0, hole_next_ = 0;
  int retries_ = 0, probes_ = 0, keep_alives_ = 0;
  Duration srtt_{}, rttvar_{};
  uint64_t timed_ = 0;
  Instant timed_at_;
  Instant retransmit_at_ = Instant::far_future(), persist_at_ = Instant::far_future();
  Instant keep_alive_at_ = Instant::far_future(), time_wait_until_ = Instant::far_future();

  // Receiving.
  uint32_t irs_ = 0;
  uint64_t rcv_next_ = 0, received_ = 0, unread_ = 0;
  uint64_t offered_ = 0, last_ack_ = 0;
  std::map<uint64_t, Bytes> ahead_;
  std::optional<uint64_t> fin_at_;
  bool fin_taken_ = false;
  uint64_t newest_ahead_ = 0;
  std::optional<std::pair<uint64_t, uint64_t>> duplicate_;
  uint32_t recent_ = 0;
  bool ack_now_ = false;
  uint64_t unacked_ = 0;
  Instant ack_at_ = Instant::far_future(), challenge_at_;

  Instant write_at_ = Instant::far_future(), read_at_ = Instant::far_future();
  std::vector<Packet> out_;
};

}  // namespace us::sim::relay
