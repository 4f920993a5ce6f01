#include "core/tcp/relay_replica.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace us {
namespace {

constexpr uint32_t kCapacityLimit = 1u << 29;

tl::unexpected<Error> bad(std::string message) { return fail(ErrorKind::kProtocol, std::move(message)); }

}  // namespace

RelayReplica::RelayReplica(const ReplicaLimits& limits) : limits_(limits), pool_(limits.bytes_max) {
  US_CHECK(limits.capacity_max <= kCapacityLimit);
}

void RelayReplica::begin_session() {
  staged_.reset();
  uncommitted_.clear();
  flows_.clear();
  list_bytes_ = 0;
  applied_ = cut_ = LogPosition();
  failed_ = has_committed_ = false;
}

size_t RelayReplica::bytes() const { return pool_.bytes_in_use() + list_bytes_; }

// ---- the log ----

Result<LogPosition> RelayReplica::apply(const RelayLogChunk& chunk) {
  if (failed_) return bad("relays: the log has failed before");
  const auto failed = [this](std::string message) {
    failed_ = true;
    return bad(fmt::format("relays: log record {}: {}", applied_.next().value(), message));
  };
  if (chunk.first != applied_.next() || chunk.count == 0)
    return failed(fmt::format("the frame has {} records from {} on", chunk.count, chunk.first.value()));
  ByteReader in(chunk.records);
  for (uint32_t i = 0; i < chunk.count; ++i) {
    const Result<RelayRecord> record = decode_relay_record(in);
    if (!record) return failed(record.error().message);
    if (const Status taken = take(*record, applied_.next()); !taken) return failed(taken.error().message);
    ++applied_;
  }
  if (!in.done()) return failed("the frame has bytes left over");
  return applied_;
}

Status RelayReplica::take(const RelayRecord& record, LogPosition at) {
  if (bytes() >= limits_.bytes_max) return bad("more bytes than there is memory for");
  if (const auto* open = std::get_if<OpenRecord>(&record)) return take_open(*open, at);
  if (const auto* ingress = std::get_if<IngressRecord>(&record)) {
    US_ASSIGN(Flows::value_type * entry, find(ingress->nic, ingress->flow));
    return change(*entry, [&](ReplicaFlow& flow) { return flow.take_ingress(*ingress, at); });
  }
  if (const auto* egress = std::get_if<EgressRecord>(&record)) {
    US_ASSIGN(Flows::value_type * entry, find(egress->nic, egress->flow));
    return change(*entry, [&](ReplicaFlow& flow) { return flow.take_egress(*egress, at); });
  }
  const ClockBoundRecord& bound = std::get<ClockBoundRecord>(record);
  US_ASSIGN(Flows::value_type * entry, find(bound.nic, bound.flow));
  return entry->second.flow.take_clock_bound(bound.bound);
}

Status RelayReplica::take_open(const OpenRecord& record, LogPosition at) {
  const Key key{record.nic, record.initial.id};
  if (flows_.contains(key)) return bad("a flow is opened twice");
  if (flows_.size() >= limits_.flows_max) return bad("more flows than the limit");
  // Bytes of before are still to come; a takeover in between could not do without them.
  if (has_committed_ && ReplicaFlow::has_bytes(record.initial)) return bad("a flow with bytes in mid-session");
  US_TRY(ReplicaFlow::judge_initial(record.initial, limits_.capacity_max));
  const auto added = flows_.emplace(key, Entry{ReplicaFlow(record.initial, at, pool_, limits_.capacity_max)}).first;
  list_bytes_ += added->second.flow.list_bytes();
  uncommitted_.emplace(at, key);
  return {};
}

Result<RelayReplica::Flows::value_type*> RelayReplica::find(uint8_t nic, FlowId id) {
  const auto found = flows_.find(Key{nic, id});
  if (found == flows_.end()) return bad(fmt::format("there is no flow {} of NIC {}", id.value(), nic));
  return &*found;
}

template <typename Step>
Status RelayReplica::change(Flows::value_type& entry, Step step) {
  ReplicaFlow& flow = entry.second.flow;
  const size_t bytes_before = flow.list_bytes();
  const auto first_before = flow.first_uncommitted();
  const Status status = step(flow);
  list_bytes_ = list_bytes_ - bytes_before + flow.list_bytes();
  const auto first = flow.first_uncommitted();
  if (first == first_before) return status;
  if (first_before) uncommitted_.erase(*first_before);
  if (first) uncommitted_.emplace(*first, entry.first);
  return status;
}

// ---- epochs ----

Status RelayReplica::stage_cut(ByteSpan side_state) {
  discard_staged();
  return try_stage_cut(side_state).map_error([](Error error) { return Error{error.kind, "relays: " + error.message}; });
}

Status RelayReplica::try_stage_cut(ByteSpan side_state) {
  if (failed_) return bad("the log has failed before");
  if (side_state.empty()) {
    if (!flows_.empty()) return bad("an epoch says nothing of them");
    staged_.emplace(Staged{cut_, {}, {}});
    return {};
  }
  US_ASSIGN(RelayCut cut, decode_relay_cut(side_state));
  if (cut.position > applied_ || cut.position < cut_)
    return bad(fmt::format("a cut at record {}, the log has come to {}", cut.position.value(), applied_.value()));
  US_ASSIGN(staged_, judge(std::move(cut)));
  return {};
}

Result<RelayReplica::Staged> RelayReplica::judge(RelayCut&& cut) {
  ++cuts_named_;
  Staged staged{cut.position, {}, {}};
  for (NicCut& nic : cut.nics) {
    for (FlowState& state : nic.changed) {
      US_ASSIGN(Flows::value_type * entry, name(nic.nic, state.id, cut.position));
      if (const Status good = entry->second.flow.judge(state, cut.position); !good)
        return bad(fmt::format("flow {} of NIC {}: {}", state.id.value(), nic.nic, good.error().message));
      staged.changed.push_back({entry, std::move(state)});
    }
    for (const FlowId id : nic.ended) {
      US_ASSIGN(const Flows::value_type* entry, name(nic.nic, id, cut.position));
      staged.ended.push_back(entry->first);
    }
  }
  US_TRY(judge_complete(cut.position));
  return staged;
}

// A flow that the cut may name, and has not named yet.
Result<RelayReplica::Flows::value_type*> RelayReplica::name(uint8_t nic, FlowId id, LogPosition cut) {
  US_ASSIGN(Flows::value_type * entry, find(nic, id));
  const ReplicaFlow& flow = entry->second.flow;
  if (entry->second.named_in == cuts_named_) return bad(fmt::format("flow {} is in the cut twice", id.value()));
  if (!flow.committed() && *flow.first_uncommitted() > cut)
    return bad(fmt::format("flow {} was opened after the cut", id.value()));
  entry->second.named_in = cuts_named_;
  return entry;
}

Status RelayReplica::judge_complete(LogPosition cut) {
  for (const auto& [position, key] : uncommitted_) {
    if (position > cut) break;
    if (flows_.at(key).named_in != cuts_named_)
      return bad(fmt::format("the cut lacks flow {} of NIC {}, which has changed", key.id.value(), key.nic));
  }
  return {};
}

void RelayReplica::commit() {
  US_CHECK(staged_.has_value());
  for (StagedState& staged : staged_->changed) {
    const Status committed = change(*staged.entry, [&](ReplicaFlow& flow) {
      flow.commit(std::move(staged.state), staged_->position);
      return Status();
    });
    US_CHECK(committed);
  }
  for (const Key& key : staged_->ended) drop(key);
  cut_ = staged_->position;
  has_committed_ = true;
  staged_.reset();
}

void RelayReplica::discard_staged() { staged_.reset(); }

void RelayReplica::drop(const Key& key) {
  const auto found = flows_.find(key);
  const ReplicaFlow& flow = found->second.flow;
  if (const auto first = flow.first_uncommitted()) uncommitted_.erase(*first);
  list_bytes_ -= flow.list_bytes();
  flows_.erase(found);
}

// ---- takeover ----

std::vector<RestoredFlow> RelayReplica::take_over() const {
  std::vector<RestoredFlow> out;
  if (!has_committed_) return out;
  for (const auto& [key, entry] : flows_) {
    const FlowState& state = entry.flow.state();
    const bool new_here = !entry.flow.committed();
    if (new_here && (state.guest_opened || ReplicaFlow::has_bytes(state))) continue;
    out.push_back(entry.flow.restored(key.nic));
  }
  return out;
}

}  // namespace us
