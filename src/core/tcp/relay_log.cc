#include "core/tcp/relay_log.h"

#include <algorithm>

#include "base/check.h"
#include "core/replica/wire.h"

namespace us {
namespace {

constexpr size_t kCountAt = kFrameHeaderBytes + 8;  // of the field in a RelayLogChunk's frame
constexpr size_t kFrameBytesStart = 4096;           // what a frame reserves at least
constexpr size_t kRecordHeadBytesMax = 32;

// Takes pieces from the front of a Gather, so many bytes at a time.
class Pieces {
 public:
  explicit Pieces(Gather pieces) : pieces_(pieces) {}

  void copy_to(ByteWriter& out, size_t bytes) {
    while (bytes > 0) {
      US_CHECK(!pieces_.empty());
      const ByteSpan rest = pieces_.front().subspan(taken_);
      const size_t n = std::min(rest.size(), bytes);
      out.bytes(rest.first(n));
      bytes -= n;
      taken_ += n;
      if (taken_ < pieces_.front().size()) continue;
      pieces_ = pieces_.subspan(1);
      taken_ = 0;
    }
  }

 private:
  Gather pieces_;
  size_t taken_ = 0;  // of the first piece
};

}  // namespace

RelayLog::RelayLog(size_t backlog_bytes_max) : backlog_bytes_max_(backlog_bytes_max) {}

void RelayLog::begin_session(uint16_t version) {
  US_CHECK(!enabled_);
  enabled_ = true;
  version_ = version;
}

void RelayLog::forget_session() {
  enabled_ = false;
  position_ = durable_ = taken_ = LogPosition();
  backlog_bytes_ = 0;
  waiting_.clear();
  frames_.clear();
  builder_.reset();
  Bytes().swap(frame_);
  frame_records_ = 0;
}

LogPosition RelayLog::append_open(uint8_t nic, const FlowState& initial) {
  if (!enabled_) return {};
  // Its size is known only once it is there; it is small, but for the ranges of a flow that has lost much.
  Bytes encoded;
  ByteWriter out(encoded);
  encode(OpenRecord{nic, initial}, out);
  open_record(encoded.size());
  frame_.insert(frame_.end(), encoded.begin(), encoded.end());
  return close_record({.kind = RelayRecordKind::kOpen, .nic = nic, .flow = initial.id});
}

LogPosition RelayLog::append_ingress(uint8_t nic, FlowId flow, SeqRange stored, bool fin, Gather bytes) {
  if (!enabled_) return {};
  const SeqNum data_end = fin ? stored.end - 1 : stored.end;
  US_CHECK(!stored.empty() && total_size(bytes) == stored.start.distance_to(data_end));
  Pieces pieces(bytes);
  for (SeqNum at = stored.start;;) {
    const uint32_t length = std::min(at.distance_to(data_end), kRelayRecordBytesMax);
    const SeqNum end = at + length;
    const bool last = end == data_end;
    open_record(kRecordHeadBytesMax + length);
    ByteWriter out(frame_);
    encode_ingress_head(nic, flow, at, length, last && fin, out);
    pieces.copy_to(out, length);
    const SeqRange range{at, last ? stored.end : end};
    close_record({.kind = RelayRecordKind::kIngress, .nic = nic, .fin = last && fin, .flow = flow, .range = range});
    if (last) return position_;
    at = end;
  }
}

LogPosition RelayLog::append_egress(uint8_t nic, FlowId flow, SeqNum start, Gather bytes) {
  if (!enabled_) return {};
  Pieces pieces(bytes);
  for (size_t left = total_size(bytes); left > 0;) {
    const auto length = static_cast<uint32_t>(std::min<size_t>(left, kRelayRecordBytesMax));
    open_record(kRecordHeadBytesMax + length);
    ByteWriter out(frame_);
    encode_egress_head(nic, flow, start, length, out);
    pieces.copy_to(out, length);
    const SeqRange range{start, start + length};
    close_record({.kind = RelayRecordKind::kEgress, .nic = nic, .flow = flow, .range = range});
    start = range.end;
    left -= length;
  }
  return position_;
}

LogPosition RelayLog::append_clock_bound(uint8_t nic, FlowId flow, uint32_t bound) {
  if (!enabled_) return {};
  open_record(kRecordHeadBytesMax);
  ByteWriter out(frame_);
  encode(ClockBoundRecord{nic, flow, bound}, out);
  return close_record({.kind = RelayRecordKind::kClockBound, .nic = nic, .flow = flow, .bound = bound});
}

std::vector<Bytes> RelayLog::take_frames() {
  close_frame();
  taken_ = position_;
  return std::exchange(frames_, {});
}

Status RelayLog::judge_ack(LogPosition position) const {
  if (position > taken_) return fail(ErrorKind::kProtocol, "relay log: an acknowledgement of what was never sent");
  if (position < durable_) return fail(ErrorKind::kProtocol, "relay log: an acknowledgement that goes back");
  return {};
}

void RelayLog::open_record(size_t bytes) {
  US_CHECK(bytes <= kRelayLogRecordsBytesMax);
  if (builder_ && frame_.size() + bytes > kFrameHeaderBytes + kStateFramePayloadMax) close_frame();
  if (!builder_) {
    frame_.reserve(std::max({frame_bytes_expected_, kFrameBytesStart, kFrameHeaderBytes + kRelayLogHeadBytes + bytes}));
    builder_.emplace(frame_, FrameType::kRelayLogChunk, version_);
    ByteWriter out(frame_);
    out.le(position_.next().value());
    out.le(uint32_t{0});  // the count, filled in by close_frame()
    frame_records_ = 0;
  }
  record_start_ = frame_.size();
}

LogPosition RelayLog::close_record(DurableRecord record) {
  record.position = ++position_;
  ++frame_records_;
  const size_t bytes = frame_.size() - record_start_;
  backlog_bytes_ += bytes;
  waiting_.push_back({record, static_cast<uint32_t>(bytes)});
  return position_;
}

void RelayLog::close_frame() {
  if (!builder_) return;
  store_le(frame_.data() + kCountAt, frame_records_);
  builder_->finish();
  builder_.reset();
  frame_bytes_expected_ = frame_.size();
  frames_.push_back(std::exchange(frame_, {}));
}

}  // namespace us
