// BulkEnd: one end of a connection as far as its frames go: sends super-segments while the window it is offered has
// room, acknowledges what it gets.  No losses, no timers: the lines of this simulation lose nothing.
#pragma once

#include <cstring>

#include "base/check.h"
#include "core/tcp/relay.h"

namespace us::sim::scale {

class BulkEnd {
 public:
  static constexpr uint32_t kSuperSegment = 65160;  // 45 segments of 1448 bytes
  static constexpr uint8_t kScale = 14;
  static constexpr uint16_t kFirstOffer = 4;  // 64 KB

  struct Frame {
    VnetHeader vnet;
    Bytes bytes;
  };
  struct Seen {
    SeqNum ack, end;
    uint64_t window = 0;
    uint32_t echo = 0;
    uint32_t payload = 0;
  };

  BulkEnd(uint8_t self, uint16_t port, uint8_t other, uint16_t other_port)
      : builder_(frame_of(self, port, other, other_port)), next_(SeqNum(1000u * self)), acked_(next_) {}

  Frame frame(uint16_t flags, uint32_t payload) {
    Segment s;
    s.flags = flags;
    s.seq = next_;
    s.ack = seen_;
    s.window = offers;
    s.payload_length = payload;
    s.gso_size = payload > 1448 ? uint16_t{1448} : uint16_t{0};
    s.options.timestamps = Timestamps{1, echo_};
    if ((flags & tcp_flag::kSyn) != 0) {
      s.options.mss = 1460;
      s.options.window_scale = kScale;
      s.options.sack_permitted = true;
    }
    const ByteSpan data(text().data(), payload);
    const BuiltHeader header = builder_.build(s, Gather(&data, 1), ChecksumMode::kPartial);
    next_ = next_ + s.seq_length();
    bytes_sent += payload;
    Frame out{header.vnet, Bytes(header.length + payload)};
    std::memcpy(out.bytes.data(), header.bytes.data(), header.length);
    std::memcpy(out.bytes.data() + header.length, text().data(), payload);
    return out;
  }

  // After the other's SYN was built.
  void expect(const BulkEnd& other) { seen_ = other.next_; }
  bool may_send() const { return uint64_t{acked_.distance_to(next_)} + kSuperSegment <= window; }

  Seen look(const FlowFrame& f) const {
    FrameView view;
    const auto length = static_cast<uint32_t>(f.header.length + f.payload.size());
    US_CHECK(parse_frame(f.header.span(), length, f.header.vnet, view) == FrameStatus::kTcp);
    const Segment& s = view.segment;
    return {s.ack, s.payload_end(), uint64_t{s.window} << kScale,
            s.options.timestamps ? s.options.timestamps->value : echo_, s.payload_length};
  }
  void note(const Seen& seen) {
    echo_ = seen.echo;
    if (acked_.at_or_before(seen.ack)) {
      acked_ = seen.ack;
      window = seen.window;
    }
    if (seen.payload == 0 || !seen_.before(seen.end)) return;
    bytes_received += std::min(seen.payload, seen_.distance_to(seen.end));
    seen_ = seen.end;
  }
  void take(const FlowFrame& frame) { note(look(frame)); }

  uint16_t offers = 0xffff;  // as in the header
  uint64_t window = 0;       // offered by the other side
  uint64_t bytes_sent = 0, bytes_received = 0;

 private:
  static FrameTemplate frame_of(uint8_t self, uint16_t port, uint8_t other, uint16_t other_port) {
    FrameTemplate t;
    t.source = {IpAddress::v4(192, 0, 2, self), port};
    t.destination = {IpAddress::v4(192, 0, 2, other), other_port};
    return t;
  }
  static const Bytes& text() {
    static const Bytes bytes(kSuperSegment, 0x5a);
    return bytes;
  }

  SegmentBuilder builder_;
  SeqNum next_, seen_, acked_;
  uint32_t echo_ = 0;
};

}  // namespace us::sim::scale
