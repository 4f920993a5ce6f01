// The sender half alone: segments per second and allocations per segment, the state of an idle flow, and its goodput
// over a modelled link (virtual time) beside the theory and beside NewReno.
//
//   tcp_sender_bench [--json FILE] [--seconds N] [--seeds N]
//
// --seconds: of virtual time per run of the link; --seeds: runs per row.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "core/tcp/sender.h"
#include "core/tcp/sender_link.h"

namespace {
uint64_t allocations = 0;
}  // namespace

void* operator new(size_t size) {
  ++allocations;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace us {
namespace {

struct Record {
  std::string scenario;
  std::string mode;
  double rtt_ms = 0;
  double loss = 0;
  std::string cc;
  double value = 0;
  std::string unit;
  double reference = 0;  // what theory or the link allows; 0: none
  int n = 1;
  double spread = 0;  // (max - min) / 2
};

class Report {
 public:
  void add(const Record& r) { records_.push_back(r); }
  void print() const {
    fmt::print("{:<26} {:<12} {:>7} {:>6} {:<8} {:>12} {:>10} {:<12} {:>10} {:>6}\n", "scenario", "mode", "rtt ms",
               "loss", "cc", "value", "+-", "unit", "reference", "ratio");
    for (const Record& r : records_) {
      const std::string ratio = r.reference > 0 ? fmt::format("{:.2f}", r.value / r.reference) : "";
      const std::string reference = r.reference > 0 ? fmt::format("{:.1f}", r.reference) : "";
      fmt::print("{:<26} {:<12} {:>7.1f} {:>6} {:<8} {:>12.4g} {:>10.3g} {:<12} {:>10} {:>6}\n", r.scenario, r.mode,
                 r.rtt_ms, r.loss, r.cc, r.value, r.spread, r.unit, reference, ratio);
    }
  }
  bool write_json(const char* path) const {
    std::FILE* file = std::fopen(path, "w");
    if (!file) return false;
    for (const Record& r : records_) {
      fmt::print(
          file,
          R"({{"scenario":"{}","mode":"{}","epoch_ms":null,"direction":"egress","mtu":1500,"rtt_ms":{},"loss":{},)"
          R"("cc":"{}","value":{},"unit":"{}","unprotected":null,"ratio":{},"n":{},"spread":{}}})"
          "\n",
          r.scenario, r.mode, r.rtt_ms, r.loss, r.cc, r.value, r.unit,
          r.reference > 0 ? fmt::format("{}", r.value / r.reference) : "null", r.n, r.spread);
    }
    return std::fclose(file) == 0;
  }

 private:
  std::vector<Record> records_;
};

// A peer in memory: each wire segment's worth of `ack_every` bytes is acknowledged 1 ms (virtual) after it was sent.
class Memory {
 public:
  Memory(const SenderConfig& config, uint32_t ack_every) : ack_every_(ack_every) {
    SenderState state;
    state.mss = 1448;
    state.sack = true;
    state.peer.scale = 10;
    state.peer.size = state.peer.largest = 4u << 20;
    sender_.emplace(Sender::create(state, config).value());
  }
  // One round trip; `lose` drops the first segment of the flight.
  void round(bool lose) {
    sender_->on_committed(sender_->una() + (2u << 20));
    const SeqNum before = sender_->nxt();
    while (const auto segment = sender_->poll_segment(now_)) {
      segments_ += (segment->length + segment->mss - 1) / segment->mss;
      ++super_segments_;
      bytes_ += segment->length;
    }
    const SeqNum end = sender_->nxt();
    now_ += Duration::millis(1);
    if (lose) {
      const SeqRange block{before + 1448, end};
      AckInfo info = ack(before);
      info.sack = {&block, 1};
      sender_->on_ack(info, now_);
      return;
    }
    for (SeqNum at = sender_->una(); at.before(end);) {
      at = at.distance_to(end) > ack_every_ ? at + ack_every_ : end;
      now_ += Duration::micros(1);
      sender_->on_ack(ack(at), now_);
    }
  }
  uint64_t segments() const { return segments_; }
  uint64_t super_segments() const { return super_segments_; }
  uint64_t bytes() const { return bytes_; }
  const Sender& sender() const { return *sender_; }

 private:
  AckInfo ack(SeqNum at) const {
    AckInfo info;
    info.ack = at;
    info.window = 4096;
    return info;
  }
  uint32_t ack_every_;
  uint64_t segments_ = 0;
  uint64_t super_segments_ = 0;
  uint64_t bytes_ = 0;
  Instant now_ = Instant::from_nanos(1'000'000'000);
  std::optional<Sender> sender_;
};

// One number per implementation detail that hot loops depend on: cwnd is held at about 2 MB by the peer's buffer.
void measure(Report& report, const char* mode, SenderConfig config, uint32_t ack_every, bool losses) {
  std::vector<double> rates;
  std::vector<double> gigabits;
  double allocations_per_segment = 0;
  for (int run = 0; run < 5; ++run) {
    Memory memory(config, ack_every);
    for (int i = 0; i < 50; ++i) memory.round(false);
    const uint64_t segments = memory.segments();
    const uint64_t bytes = memory.bytes();
    const uint64_t before = allocations;
    const auto start = std::chrono::steady_clock::now();
    double seconds = 0;
    for (int i = 0; seconds < 0.3; ++i) {
      memory.round(losses && i % 4 == 0);
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    rates.push_back(static_cast<double>(memory.segments() - segments) / seconds / 1e6);
    gigabits.push_back(static_cast<double>(memory.bytes() - bytes) * 8e-9 / seconds);
    allocations_per_segment =
        static_cast<double>(allocations - before) / static_cast<double>(memory.segments() - segments);
  }
  std::sort(rates.begin(), rates.end());
  std::sort(gigabits.begin(), gigabits.end());
  const auto spread = [](const std::vector<double>& v) { return (v.back() - v.front()) / 2; };
  Record record{.scenario = "sender alone", .mode = mode, .cc = "cubic", .value = rates[2], .unit = "M segments/s"};
  record.n = 5;
  record.spread = spread(rates);
  report.add(record);
  record.value = gigabits[2];
  record.unit = "Gbit/s";
  record.spread = spread(gigabits);
  report.add(record);
  record.value = allocations_per_segment;
  record.unit = "allocs/seg";
  record.spread = 0;
  report.add(record);
}

void measure_idle(Report& report) {
  for (const bool guest : {false, true}) {
    SenderConfig config = guest ? SenderConfig::for_guest() : SenderConfig();
    Memory memory(config, 1448);
    for (int i = 0; i < 10; ++i) memory.round(false);
    report.add({.scenario = "idle flow, one sender",
                .mode = guest ? "guest side" : "peer side",
                .cc = guest ? "none" : "cubic",
                .value = static_cast<double>(memory.sender().memory_bytes()),
                .unit = "bytes"});
  }
}

void measure_link(Report& report, Duration time, int seeds) {
  for (const int64_t rtt_ms : {20, 80}) {
    for (const double loss : {0.0, 0.001, 0.01}) {
      for (const CongestionKind kind : {CongestionKind::kCubic, CongestionKind::kNewReno}) {
        for (const bool pacing : {true, false}) {
          LinkSetup setup;
          setup.rtt = Duration::millis(rtt_ms);
          setup.loss = loss;
          setup.config.congestion = kind;
          setup.config.pacing = pacing;
          std::vector<double> values;
          for (int seed = 1; seed <= seeds; ++seed) {
            setup.seed = static_cast<uint64_t>(seed);
            values.push_back(SenderLink(setup).run(time).megabits());
          }
          std::sort(values.begin(), values.end());
          const double wire = setup.bits_per_second * 1e-6 * setup.mss / (setup.mss + 66);
          // RFC 9438 section 5.1: the mean of an AIMD as fast as Reno at a random loss rate.
          const double theory = loss > 0 ? 1.2247 / std::sqrt(loss) * setup.mss * 8e-6 / setup.rtt.to_seconds() : wire;
          double mean = 0;
          for (const double v : values) mean += v / static_cast<double>(values.size());
          report.add({.scenario = "link 200 Mbit/s, 1 BDP",
                      .mode = pacing ? "paced" : "not paced",
                      .rtt_ms = static_cast<double>(rtt_ms),
                      .loss = loss,
                      .cc = kind == CongestionKind::kCubic ? "cubic" : "newreno",
                      .value = mean,
                      .unit = "Mbit/s",
                      .reference = std::min(theory, wire),
                      .n = seeds,
                      .spread = (values.back() - values.front()) / 2});
        }
      }
    }
  }
}

}  // namespace
}  // namespace us

int main(int argc, char** argv) {
  const char* json = nullptr;
  int64_t seconds = 20;
  int seeds = 5;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--json") == 0) json = argv[i + 1];
    if (std::strcmp(argv[i], "--seconds") == 0) seconds = std::atoll(argv[i + 1]);
    if (std::strcmp(argv[i], "--seeds") == 0) seeds = std::atoi(argv[i + 1]);
  }
  us::Report report;
  us::SenderConfig config;
  config.pacing = false;
  us::SenderConfig single = config;
  single.burst_bytes_max = 0;
  us::measure(report, "1448 B", single, 2 * 1448, false);
  us::measure(report, "1448 B lossy", single, 2 * 1448, true);
  us::measure(report, "64 KB", config, 45 * 1448, false);
  us::measure_idle(report);
  us::measure_link(report, us::Duration::seconds(std::max<int64_t>(seconds, 1)), std::max(seeds, 1));
  report.print();
  if (json && !report.write_json(json)) {
    fmt::print(stderr, "cannot write {}\n", json);
    return 1;
  }
  return 0;
}
