#include "core/tcp/replica_flow.h"

#include <algorithm>

#include "base/check.h"
#include "core/tcp/reassembly.h"

namespace us {
namespace {

constexpr uint32_t kCapacityLimit = 1u << 29;  // twice this is RelayBuffer's
// What is ahead of the committed state: the stream, gone on, and as many separate ranges as a receiver can hold.
constexpr size_t kRangesMax = Reassembly::kRangesMax + 1;

tl::unexpected<Error> bad(const char* what) { return fail(ErrorKind::kProtocol, what); }

// Both spans, of what is needed and can be there, fit `capacity_max`.
bool fits(const FlowState& s, uint32_t capacity_max) {
  return std::max(s.egress_capacity, s.ingress_capacity) <= capacity_max &&
         first_needed(s.to_peer).distance_to(stream_end(s.from_guest)) <= capacity_max &&
         first_needed(s.to_guest).distance_to(stream_end(s.from_peer)) <= capacity_max;
}

// The range of `held` that contains `data`, which is not empty.
bool is_held(const std::vector<SeqRange>& held, SeqRange data) {
  const auto after = std::upper_bound(held.begin(), held.end(), data.start,
                                      [](SeqNum seq, const SeqRange& range) { return seq.before(range.start); });
  return after != held.begin() && data.end.at_or_before(std::prev(after)->end);
}

template <typename Record>
void drop_until(std::vector<Record>& records, LogPosition position) {
  const auto first = std::partition_point(records.begin(), records.end(),
                                          [&](const Record& record) { return record.position <= position; });
  records.erase(records.begin(), first);
  if (records.empty()) records.shrink_to_fit();
}

size_t range_bytes(const ReceiverState& s) { return (s.held.capacity() + s.ahead.capacity()) * sizeof(SeqRange); }

}  // namespace

ReplicaFlow::ReplicaFlow(const FlowState& initial, LogPosition opened, ChunkPool& pool, uint32_t capacity_max)
    : state_(initial),
      opened_(opened),
      capacity_max_(capacity_max),
      peer_bound_(initial.peer_clock.bound),
      fin_(initial.from_peer.fin),
      egress_(pool, first_needed(initial.to_peer), 2 * capacity_max),
      ingress_(pool, first_needed(initial.to_guest), capacity_max),
      there_(kRangesMax) {
  US_CHECK(capacity_max <= kCapacityLimit);
  state_.position = opened;
}

Status ReplicaFlow::judge_initial(const FlowState& initial, uint32_t capacity_max) {
  const auto& fin = initial.from_peer.fin;
  if (!fits(initial, capacity_max) || (fin && first_needed(initial.to_guest).distance_to(*fin) > capacity_max))
    return bad("a flow whose buffers are too large");
  return {};
}

bool ReplicaFlow::has_bytes(const FlowState& s) {
  return first_needed(s.to_peer) != stream_end(s.from_guest) || first_needed(s.to_guest) != stream_end(s.from_peer) ||
         !s.from_peer.held.empty();
}

// ---- the log ----

Status ReplicaFlow::take_ingress(const IngressRecord& record, LogPosition at) {
  const Ingress entry{at, record.stored, record.fin};
  const SeqRange data = entry.data();
  US_CHECK(record.bytes.size() == data.length());
  const uint32_t ahead = ingress_.end().distance_to(data.start);
  if (ahead > ingress_.room() || data.length() > ingress_.room() - ahead) return bad("ingress outside of the window");
  US_TRY(judge_fin(data, record.fin));
  if (!holds(data, record.fin)) return bad("ingress with too many holes");
  if (!data.empty()) {
    if (ingress_.store(data.start, record.bytes) != data.length()) return bad("more bytes than there is memory for");
    there_.add(data);
  }
  if (record.fin) fin_ = data.end;
  later_.push_back(entry);
  return {};
}

// Whether a receiver could hold this ahead of its stream (reassembly.h), with all that has come.
bool ReplicaFlow::holds(SeqRange data, bool fin) const {
  if (!data.empty() && !there_.has_room_for(data)) return false;
  if (there_.ranges().size() + (fin || fin_ ? 2 : 1) <= Reassembly::kRangesMax) return true;
  RangeSet with = there_;
  if (!data.empty()) with.add(data);
  const std::optional<SeqNum> at = fin ? data.end : fin_;
  if (at && !with.add({*at, *at + 1})) return false;
  const bool goes_on = !with.empty() && with.ranges().front().start == ingress_.end();
  return with.ranges().size() - (goes_on ? 1 : 0) <= Reassembly::kRangesMax;
}

// A second FIN elsewhere, and bytes behind the FIN, could not be restored.
Status ReplicaFlow::judge_fin(SeqRange data, bool fin) const {
  if (fin_)
    return data.end.after(*fin_) || (fin && data.end != *fin_) ? bad("ingress that contradicts its FIN") : Status();
  const SeqNum end = there_.empty() ? ingress_.end() : there_.ranges().back().end;
  if (fin && data.end.before(end)) return bad("a FIN before bytes that had come");
  return {};
}

Status ReplicaFlow::take_egress(const EgressRecord& record, LogPosition at) {
  if (record.start != egress_.end()) return bad("egress with a gap, or twice");
  const SeqNum end = record.start + static_cast<uint32_t>(record.bytes.size());
  // A primary sends only what is committed, so it cannot have room for more than this.
  if (stream_end(state_.from_guest).signed_distance_to(end) > static_cast<int32_t>(capacity_max_))
    return bad("egress outside of the window");
  if (egress_.append(record.bytes) != record.bytes.size()) return bad("more bytes than there is memory for");
  said_.push_back({at, end});
  return {};
}

Status ReplicaFlow::take_clock_bound(uint32_t bound) {
  if (bound - peer_bound_ > TimestampClock::kLeaseTicksMax) return bad("a clock bound that goes back, or leaps");
  peer_bound_ = bound;
  return {};
}

// ---- epochs ----

Status ReplicaFlow::judge(const FlowState& state, LogPosition cut) const {
  if (state.position > cut || state.position < state_.position) return bad("a state of another time");
  if (state.guest_opened != state_.guest_opened || state.timestamps != state_.timestamps ||
      state.as_guest.source != state_.as_guest.source || state.as_guest.destination != state_.as_guest.destination)
    return bad("a state of another connection");
  if (!fits(state, capacity_max_)) return bad("a flow whose buffers are too large");
  US_TRY(judge_egress(state, cut));
  return judge_ingress(state);
}

// What the guest had said at the cut is what the log has until there: a byte more would not be restored, and a byte
// less would be lost, because the guest has been told that it arrived.
Status ReplicaFlow::judge_egress(const FlowState& state, LogPosition cut) const {
  const auto after =
      std::partition_point(said_.begin(), said_.end(), [cut](const Egress& record) { return record.position <= cut; });
  const SeqNum end = after == said_.begin() ? stream_end(state_.from_guest) : std::prev(after)->end;
  if (state.to_peer.committed != end || stream_end(state.from_guest) != end)
    return bad("the end of what the guest said is not that of the log");
  if (!end.in_range(egress_.start(), egress_.end())) return bad("egress is missing");
  if (!first_needed(state.to_peer).in_range(egress_.start(), end)) return bad("the peer's acknowledgement goes back");
  return {};
}

Status ReplicaFlow::judge_ingress(const FlowState& state) const {
  const ReceiverState& from = state.from_peer;
  const SeqNum old_end = ingress_.end();
  const SeqNum end = stream_end(from);
  if (old_end.distance_to(end) > capacity_max_) return bad("ingress goes back");
  if (!there_.first_gap({old_end, end}).empty()) return bad("ingress is missing");
  if (!first_needed(state.to_guest).in_range(ingress_.start(), end))
    return bad("the guest's acknowledgement goes back");
  if (from.fin ? fin_ != from.fin : state_.from_peer.fin.has_value()) return bad("a FIN that the log does not have");
  for (SeqRange held : from.held) {
    if (from.fin && held.end == *from.fin + 1) held.end = *from.fin;
    if (!there_.first_gap(held).empty()) return bad("ingress that is held is missing");
  }
  for (const Ingress& record : later_) {
    if (record.position > state.position) break;
    const SeqRange data = record.data();
    const bool contained = data.end.at_or_before(end) || is_held(from.held, data);
    if (!contained || (record.fin && from.fin != data.end)) return bad("ingress of before the state is not in it");
  }
  return {};
}

void ReplicaFlow::commit(FlowState&& state, LogPosition cut) {
  egress_.trim_to(first_needed(state.to_peer));
  const SeqNum end = stream_end(state.from_peer);
  ingress_.advance_to(end);
  ingress_.trim_to(first_needed(state.to_guest));
  const SeqNum further = there_.advance(end);
  if (further != end) US_CHECK(there_.add({end, further}));
  drop_until(said_, cut);
  drop_until(later_, state.position);
  if (static_cast<int32_t>(state.peer_clock.bound - peer_bound_) > 0) peer_bound_ = state.peer_clock.bound;
  state_ = std::move(state);
  committed_ = true;
}

std::optional<LogPosition> ReplicaFlow::first_uncommitted() const {
  if (!committed_) return opened_;
  if (later_.empty() && said_.empty()) return std::nullopt;
  if (later_.empty() || said_.empty()) return later_.empty() ? said_.front().position : later_.front().position;
  return std::min(later_.front().position, said_.front().position);
}

size_t ReplicaFlow::list_bytes() const {
  return later_.capacity() * sizeof(Ingress) + said_.capacity() * sizeof(Egress) + range_bytes(state_.from_peer) +
         range_bytes(state_.from_guest);
}

// ---- takeover ----

LoggedBytes ReplicaFlow::logged(const RelayBuffer& buffer, SeqRange range) const {
  LoggedBytes out{range, {}};
  if (!range.empty()) buffer.for_each(range.start, range.end, [&out](ByteSpan piece) { out.pieces.push_back(piece); });
  return out;
}

RestoredFlow ReplicaFlow::restored(uint8_t nic) const {
  RestoredFlow out;
  out.nic = nic;
  out.state = state_;
  FlowState& s = out.state;
  s.from_guest.held.clear();
  s.from_guest.ahead.clear();
  if (s.from_guest.fin && stream_end(s.from_guest) == s.from_guest.next) s.from_guest.fin.reset();
  s.peer_clock.bound = peer_bound_;
  if (peer_bound_ - s.peer_clock.value > TimestampClock::kLeaseTicksMax) s.peer_clock.value = peer_bound_;
  out.egress = logged(egress_, {first_needed(s.to_peer), s.to_peer.committed});
  out.ingress = logged(ingress_, {ingress_.start(), ingress_.end()});
  for (SeqRange held : s.from_peer.held) {
    if (s.from_peer.fin && held.end == *s.from_peer.fin + 1) held.end = *s.from_peer.fin;
    if (!held.empty()) out.held.push_back(logged(ingress_, held));
  }
  for (const Ingress& record : later_) {
    out.later.push_back({record.position, record.stored, record.fin, logged(ingress_, record.data()).pieces});
  }
  const SeqNum last = fin_ ? *fin_ : there_.empty() ? ingress_.end() : there_.ranges().back().end;
  s.ingress_capacity = std::max(s.ingress_capacity, ingress_.start().distance_to(last));
  return out;
}

}  // namespace us
