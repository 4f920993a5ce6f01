// The receive path of the relay from memory to memory: parse, judge, one copy into the relay buffer, ACK, build, trim.
//
// Frames lie as in a virtio ring: headers of 12 + up to 122 bytes, then payload.  A "relayed" byte goes through both
// halves of what one direction needs here: in (parse, copy) and out (peek, headers with a partial checksum).
#include <benchmark/benchmark.h>

#include <memory>

#include "base/check.h"
#include "core/tcp/checksum.h"
#include "core/tcp/frame.h"
#include "core/tcp/receiver.h"
#include "core/tcp/segment_builder.h"

namespace us {
namespace {

constexpr uint32_t kCapacity = 4u << 20;

FrameTemplate example_template() {
  FrameTemplate t;
  t.source = {IpAddress::v4(192, 0, 2, 1), 4000};
  t.destination = {IpAddress::v4(198, 51, 100, 2), 80};
  return t;
}

// One connection that receives segments of `payload` bytes for ever.
class Connection {
 public:
  Connection(uint32_t payload, bool checksum)
      : checksum_(checksum), payload_(payload, 0x5a), in_(example_template()), out_(example_template()) {
    segment_.flags = tcp_flag::kAck;
    segment_.payload_length = payload;
    segment_.gso_size = payload > 1448 ? 1448 : 0;
    segment_.options.timestamps = Timestamps{1, 1};
  }

  // A frame of the endpoint, as it comes out of a ring.
  void make_frame(SeqNum seq) {
    segment_.seq = seq;
    const ByteSpan payload(payload_);
    frame_ = in_.build(segment_, {&payload, 1}, checksum_ ? ChecksumMode::kFull : ChecksumMode::kPartial);
  }

  Received receive() {
    FrameView view;
    const auto length = static_cast<uint32_t>(frame_.length + payload_.size());
    US_CHECK(parse_frame(frame_.span(), length, frame_.vnet, view) == FrameStatus::kTcp);
    const ByteSpan payload(payload_);
    US_CHECK(verify_tcp_checksum(view, {&payload, 1}));
    return receiver_.on_segment(view.segment, {&payload, 1}, {SeqNum(0), SeqNum(0)}, buffer_, now_);
  }

  void acknowledge() {
    now_ += Duration::micros(1);
    if (const auto ack = receiver_.poll_ack(buffer_, now_)) {
      Segment segment;
      ack->write_to(segment, 7);
      benchmark::DoNotOptimize(out_.build(segment, {}, ChecksumMode::kPartial));
    }
  }

  // What the sender of the other half does with the bytes, without its own decisions.
  void pass_on() {
    while (!buffer_.empty()) {
      const RelayBuffer::Spans spans = buffer_.peek(buffer_.start(), RelayBuffer::kPeekBytes - 1448);
      Segment segment;
      segment.flags = tcp_flag::kAck;
      segment.seq = buffer_.start();
      segment.payload_length = spans.size();
      segment.gso_size = 1448;
      segment.options.timestamps = Timestamps{1, 1};
      benchmark::DoNotOptimize(out_.build(segment, spans, ChecksumMode::kPartial));
      buffer_.trim_to(buffer_.start() + spans.size());
    }
  }

  SeqNum next() const { return receiver_.next(); }
  RelayBuffer& buffer() { return buffer_; }

 private:
  bool checksum_;
  Bytes payload_;
  SegmentBuilder in_;
  SegmentBuilder out_;
  Segment segment_;
  BuiltHeader frame_;
  Instant now_ = Instant::from_nanos(1'000'000'000);
  ChunkPool pool_{64u << 20};
  RelayBuffer buffer_{pool_, SeqNum(1), kCapacity};
  Receiver receiver_{{.window_shift = 7, .sack = true, .timestamps = true, .segment_bytes_max = 1448},
                     SeqNum(1),
                     SeqNum(1) + kCapacity,
                     1,
                     now_};
};

void report(benchmark::State& state, int64_t payload) {
  state.SetBytesProcessed(state.iterations() * payload);
  state.SetItemsProcessed(state.iterations());
}

// Segments of one size in order, each acknowledged when due and passed on.
void relay_in_order(benchmark::State& state, bool checksum) {
  const auto payload = static_cast<uint32_t>(state.range(0));
  Connection c(payload, checksum);
  for (auto _ : state) {
    c.make_frame(c.next());
    US_CHECK(c.receive().complete);
    c.acknowledge();
    if (c.buffer().size() + payload > 65536) c.pass_on();
  }
  report(state, payload);
}
BENCHMARK_CAPTURE(relay_in_order, checksum_offload, false)->Arg(64)->Arg(1448)->Arg(64 * 1024 - 512);
BENCHMARK_CAPTURE(relay_in_order, checksum_verified, true)->Arg(64)->Arg(1448);

// Every hundredth segment comes eight later: reassembly, SACK blocks and immediate ACKs.
void relay_with_reordering(benchmark::State& state) {
  constexpr uint32_t kPayload = 1448;
  constexpr uint32_t kEvery = 100;
  constexpr uint32_t kLate = 8;
  Connection c(kPayload, false);
  SeqNum base = c.next();
  uint32_t index = 0;
  for (auto _ : state) {
    // Number `kLate` is sent last of the first kLate + 1 of each hundred.
    const uint32_t order = index == kLate ? 0 : index < kLate ? index + 1 : index;
    c.make_frame(base + order * kPayload);
    US_CHECK(c.receive().complete);
    c.acknowledge();
    if (c.buffer().size() > 65536) c.pass_on();
    if (++index == kEvery) {
      index = 0;
      base += kEvery * kPayload;
    }
  }
  report(state, kPayload);
}
BENCHMARK(relay_with_reordering);

void parse_a_frame(benchmark::State& state) {
  SegmentBuilder builder(example_template());
  Segment segment;
  segment.flags = tcp_flag::kAck;
  segment.options.timestamps = Timestamps{1, 1};
  const BuiltHeader header = builder.build(segment, {}, ChecksumMode::kPartial);
  for (auto _ : state) {
    FrameView view;
    benchmark::DoNotOptimize(parse_frame(header.span(), header.length, header.vnet, view));
    benchmark::DoNotOptimize(view);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(parse_a_frame);

void build_headers(benchmark::State& state) {
  SegmentBuilder builder(example_template());
  Segment segment;
  segment.flags = tcp_flag::kAck;
  segment.options.timestamps = Timestamps{1, 1};
  for (auto _ : state) benchmark::DoNotOptimize(builder.build(segment, {}, ChecksumMode::kPartial));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(build_headers);

void checksum_of(benchmark::State& state) {
  const Bytes bytes(static_cast<size_t>(state.range(0)), 0x5a);
  for (auto _ : state) {
    InternetSum sum;
    sum.add(bytes);
    benchmark::DoNotOptimize(sum.checksum());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum_of)->Arg(1448)->Arg(65000);

}  // namespace
}  // namespace us

BENCHMARK_MAIN();
