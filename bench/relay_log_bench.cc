// Speed of the relay log.  `Append` is what the primary's data path pays for a record, checksum of the frame and its
// acknowledgement included; `Apply` what the standby pays; `Cut` the states of changed flows at an epoch's end.
#include <benchmark/benchmark.h>

#include "base/check.h"
#include "core/tcp/relay_log.h"
#include "core/tcp/relay_replica.h"
#include "core/tcp/relay_sample.h"

namespace us {
namespace {

constexpr uint32_t kCapacity = 32u << 20;
constexpr uint32_t kEpochBytes = 4u << 20;  // appended between two cuts
const ReplicaLimits kLimits{.capacity_max = kCapacity};

Bytes payload(uint32_t n) {
  Bytes bytes(n);
  for (uint32_t i = 0; i < n; ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  return bytes;
}

FlowState flow_at(SeqNum guest, SeqNum peer) { return relay_sample::new_flow(1, guest, peer, kCapacity); }

void set_rates(benchmark::State& state, int64_t records, int64_t bytes) {
  state.SetBytesProcessed(records * bytes);
  state.SetItemsProcessed(records);
}

// Frames are taken every 64 KiB or each record, as a data path does after each batch, and acknowledged behind that.
void BM_Append(benchmark::State& state) {
  const auto bytes = static_cast<uint32_t>(state.range(0));
  const Bytes data = payload(bytes);
  const ByteSpan piece(data);
  const uint32_t batch = std::max(1u, 65536 / bytes);
  RelayLog log;
  log.begin_session();
  SeqNum at(0);
  uint32_t in_batch = 0;
  uint64_t durable = 0;
  for (auto _ : state) {
    log.append_ingress(0, FlowId(1), {at, at + bytes}, false, Gather(&piece, 1));
    at += bytes;
    if (++in_batch < batch) continue;
    in_batch = 0;
    const LogPosition taken = log.position();
    benchmark::DoNotOptimize(log.take_frames());
    US_CHECK(log.on_ack(taken, [&durable](const DurableRecord& record) { durable += record.range.length(); }));
  }
  benchmark::DoNotOptimize(durable);
  set_rates(state, state.iterations(), bytes);
}
BENCHMARK(BM_Append)->ArgName("bytes")->Arg(65536)->Arg(1448)->Arg(64);

std::vector<RelayLogChunk> chunks_of(const std::vector<Bytes>& frames) {
  std::vector<RelayLogChunk> out;
  for (const Bytes& frame : frames) {
    const auto message = decode({FrameType::kRelayLogChunk, 0, ByteSpan(frame).subspan(kFrameHeaderBytes)});
    out.push_back(std::get<RelayLogChunk>(*message));
  }
  return out;
}

// Records of one epoch of ingress, then its cut and commit.
void BM_Apply(benchmark::State& state) {
  const auto bytes = static_cast<uint32_t>(state.range(0));
  const uint32_t records = kEpochBytes / bytes;
  const Bytes data = payload(bytes);
  const ByteSpan piece(data);
  RelayLog log;
  log.begin_session();
  RelayReplica replica(kLimits);
  SeqNum at(0);
  log.append_open(0, flow_at(SeqNum(0), at));
  for (auto _ : state) {
    state.PauseTiming();
    for (uint32_t i = 0; i < records; ++i, at += bytes)
      log.append_ingress(0, FlowId(1), {at, at + bytes}, false, Gather(&piece, 1));
    const std::vector<Bytes> frames = log.take_frames();
    const std::vector<RelayLogChunk> chunks = chunks_of(frames);
    FlowState then = flow_at(SeqNum(0), at);
    then.position = log.position();
    const Bytes cut = encode(RelayCut{log.position(), {{0, {then}, {}}}});
    state.ResumeTiming();
    for (const RelayLogChunk& chunk : chunks) US_CHECK(replica.apply(chunk));
    US_CHECK(replica.stage_cut(cut));
    replica.commit();
  }
  set_rates(state, state.iterations() * records, bytes);
}
BENCHMARK(BM_Apply)->ArgName("bytes")->Arg(65536)->Arg(1448)->Arg(64);

// A cut in which `changed` of 10,000 flows have changed: encoded, staged and committed.
void BM_Cut(benchmark::State& state) {
  constexpr uint64_t kFlows = 10'000;
  const auto changed = static_cast<uint64_t>(state.range(0));
  RelayLog log;
  log.begin_session();
  RelayReplica replica(kLimits);
  RelayCut cut{{}, {{}}};
  for (uint64_t id = 1; id <= kFlows; ++id) {
    cut.nics[0].changed.push_back(relay_sample::new_flow(id));
    log.append_open(0, cut.nics[0].changed.back());
  }
  const std::vector<Bytes> frames = log.take_frames();
  for (const RelayLogChunk& chunk : chunks_of(frames)) US_CHECK(replica.apply(chunk));
  cut.position = log.position();
  for (FlowState& flow : cut.nics[0].changed) flow.position = cut.position;
  US_CHECK(replica.stage_cut(encode(cut)));
  replica.commit();
  cut.nics[0].changed.resize(changed);
  size_t encoded = 0;
  for (auto _ : state) {
    const Bytes bytes = encode(cut);
    encoded = bytes.size();
    US_CHECK(replica.stage_cut(bytes));
    replica.commit();
  }
  state.counters["bytes"] = static_cast<double>(encoded);
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(changed));
}
BENCHMARK(BM_Cut)->ArgName("changed")->Arg(0)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace us

BENCHMARK_MAIN();
