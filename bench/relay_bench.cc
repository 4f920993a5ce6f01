// The whole relay from memory to memory: frames of one connection in, through both halves, frames out, assembled as the
// data path does; every ACK of both endpoints is there.  `protected`: with the log, a cut and a commit every 2 MB
// and the standby's answer after each 16 frames.  Idle flows: memory of each, and what they cost a cut.
//
// bytes_per_second counts payload once, items_per_second frames that carry it.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <cstring>
#include <memory>

#include "base/check.h"
#include "core/tcp/relay.h"

namespace us {
namespace {

constexpr Endpoint endpoint(uint8_t last, uint16_t port) { return {IpAddress::v4(192, 0, 2, last), port}; }

FrameTemplate frame_of(const Endpoint& source, const Endpoint& destination) {
  FrameTemplate t;
  t.source = source;
  t.destination = destination;
  return t;
}

// One endpoint of a connection, as far as its frames go: sends without pause, acknowledges whatever comes.
struct End {
  End(const Endpoint& self, const Endpoint& other, uint32_t isn) : out(frame_of(self, other)), next(SeqNum(isn)) {}

  Bytes frame(uint16_t flags, uint32_t payload, uint16_t gso, VnetHeader& vnet) {
    Segment s;
    s.flags = flags;
    s.seq = next;
    s.ack = seen;
    s.window = 0xffff;
    s.payload_length = payload;
    s.gso_size = payload > 1448 ? gso : uint16_t{0};
    s.options.timestamps = Timestamps{1, echo};
    if ((flags & tcp_flag::kSyn) != 0) {
      s.options.mss = 1460;
      s.options.window_scale = 10;
      s.options.sack_permitted = true;
    }
    const ByteSpan data(text.data(), payload);
    const BuiltHeader header = out.build(s, Gather(&data, 1), ChecksumMode::kPartial);
    vnet = header.vnet;
    next = next + s.seq_length();
    Bytes bytes(header.length + payload);
    std::memcpy(bytes.data(), header.bytes.data(), header.length);
    std::memcpy(bytes.data() + header.length, text.data(), payload);
    return bytes;
  }
  // A frame from the relay.
  void on(const FlowFrame& f) {
    FrameView view;
    const auto length = static_cast<uint32_t>(f.header.length + f.payload.size());
    US_CHECK(parse_frame(f.header.span(), length, f.header.vnet, view) == FrameStatus::kTcp);
    if (view.segment.options.timestamps) echo = view.segment.options.timestamps->value;
    acked = view.segment.ack;
    if (view.segment.payload_length == 0) return;
    seen = view.segment.payload_end();
    unanswered += (view.segment.payload_length + 1447) / 1448;
  }

  SegmentBuilder out;
  SeqNum next, seen, acked;
  uint32_t echo = 0;
  uint32_t unanswered = 0;  // segments
  inline static const Bytes text = Bytes(65536, 0x5a);
};

class Pair {
 public:
  static constexpr uint64_t kEpochBytes = 2 << 20;
  static constexpr uint64_t kTurnFrames = 16;  // the log is sent once in a turn of the data path's loop

  explicit Pair(bool is_protected, size_t flows = 1) : protected_(is_protected) {
    for (size_t i = 0; i < flows; ++i)
      open(static_cast<uint16_t>(1024 + i % 60000), static_cast<uint8_t>(i / 60000 + 2));
    if (!protected_) return;
    relay.set_solo(false, now);
    log.begin_session();
    relay.begin_session(now);
    cut();
  }

  void cut() {
    std::vector<FlowState> changed;
    std::vector<FlowId> ended;
    ++epoch_;
    relay.on_cut(Epoch{epoch_}, now, changed, ended);
    benchmark::DoNotOptimize(changed);
    answer();
    relay.on_commit(Epoch{epoch_}, now);
    move();
  }

  // `from` sends one frame; everything that follows from it happens.
  void send(bool from_guest, uint32_t payload) {
    End& from = from_guest ? *guest : *client;
    VnetHeader vnet;
    const Bytes bytes = from.frame(tcp_flag::kAck, payload, 1448, vnet);
    give(from_guest, vnet, bytes);
    if (protected_ && (unmarked_ += payload) > kEpochBytes) unmarked_ = 0, cut();
    if (++sent_ % kTurnFrames == 0) answer();
    move();
  }
  uint64_t out_bytes = 0;

  std::unique_ptr<End> guest, client;
  RelayLog log;
  Relay relay{0, RelayLimits{}, 1, log};
  Instant now = Instant::from_nanos(1'000'000'000);

 private:
  void give(bool from_guest, const VnetHeader& vnet, const Bytes& bytes) {
    now += Duration::micros(1);
    if (from_guest)
      relay.on_guest_frame(vnet, bytes, now);
    else
      relay.on_uplink_frame(vnet, bytes, now);
  }
  void open(uint16_t port, uint8_t last) {
    guest = std::make_unique<End>(endpoint(1, 80), endpoint(last, port), 5000);
    client = std::make_unique<End>(endpoint(last, port), endpoint(1, 80), 1000);
    VnetHeader vnet;
    const Bytes syn = client->frame(tcp_flag::kSyn, 0, 0, vnet);
    give(false, vnet, syn);
    guest->seen = client->next;
    const Bytes syn_ack = guest->frame(tcp_flag::kSyn | tcp_flag::kAck, 0, 0, vnet);
    give(true, vnet, syn_ack);
    client->seen = guest->next;
    const Bytes ack = client->frame(tcp_flag::kAck, 0, 0, vnet);
    give(false, vnet, ack);
    move();
  }
  void answer() {
    if (!log.enabled()) return;
    benchmark::DoNotOptimize(log.take_frames());
    US_CHECK(log.on_ack(log.position(), [&](const DurableRecord& r) {
      if (r.kind == RelayRecordKind::kIngress) relay.on_ingress_durable(r.flow, r.range, now);
      if (r.kind == RelayRecordKind::kClockBound) relay.on_clock_bound_durable(r.flow, r.bound, now);
    }));
  }
  void take(const FlowFrame& frame, End& to) {
    std::memcpy(sink_.data(), frame.header.bytes.data(), frame.header.length);
    uint8_t* at = sink_.data() + frame.header.length;
    for (const ByteSpan piece : frame.payload.pieces()) {
      std::memcpy(at, piece.data(), piece.size());
      at += piece.size();
    }
    out_bytes += frame.payload.size();
    to.on(frame);
  }
  void move() {
    for (bool more = true; more;) {
      more = false;
      while (const auto f = relay.poll_to_uplink(now)) take(*f, *client), more = true;
      while (const auto f = relay.poll_to_guest(now)) take(*f, *guest), more = true;
      for (End* end : {guest.get(), client.get()}) {
        if (end->unanswered < 2) continue;
        end->unanswered = 0;
        VnetHeader vnet;
        const Bytes ack = end->frame(tcp_flag::kAck, 0, 0, vnet);
        give(end == guest.get(), vnet, ack);
        more = true;
      }
    }
  }

  bool protected_;
  uint64_t epoch_ = 0;
  uint64_t unmarked_ = 0;
  uint64_t sent_ = 0;
  Bytes sink_ = Bytes(70000);
};

void relay_one_connection(benchmark::State& state, bool from_guest, bool is_protected) {
  const auto payload = static_cast<uint32_t>(state.range(0));
  Pair pair(is_protected);
  RelayOptions options;
  pair.relay.set_options(options, pair.now);
  for (auto _ : state) {
    pair.now += Duration::micros(payload / 1000);  // 8 Gbit/s: pacing must not be what limits
    pair.send(from_guest, payload);
  }
  pair.cut();
  const auto total = static_cast<double>(state.iterations()) * payload;
  if (static_cast<double>(pair.out_bytes) < 0.9 * total - 4e6) state.SkipWithError("bytes were left behind");
  state.SetBytesProcessed(static_cast<int64_t>(total));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(relay_one_connection, guest_to_client_solo, true, false)->Arg(65160)->Arg(1448);
BENCHMARK_CAPTURE(relay_one_connection, client_to_guest_solo, false, false)->Arg(65160)->Arg(1448);
BENCHMARK_CAPTURE(relay_one_connection, guest_to_client_protected, true, true)->Arg(65160)->Arg(1448);
BENCHMARK_CAPTURE(relay_one_connection, client_to_guest_protected, false, true)->Arg(65160)->Arg(1448);

// Cuts while so many connections do nothing.
void cut_with_idle_flows(benchmark::State& state) {
  const size_t before = mallinfo2().uordblks;
  Pair pair(true, static_cast<size_t>(state.range(0)));
  for (int i = 0; i < 4; ++i) {
    pair.now += Relay::kSilence;
    pair.relay.on_deadline(pair.now);
    pair.cut();
  }
  const auto used = static_cast<double>(mallinfo2().uordblks - before);
  for (auto _ : state) pair.cut();
  state.counters["bytes_per_flow"] = used / static_cast<double>(state.range(0));
}
BENCHMARK(cut_with_idle_flows)->Arg(1)->Arg(10000);

}  // namespace
}  // namespace us

BENCHMARK_MAIN();
