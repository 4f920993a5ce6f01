#include "core/tcp/relay.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace us {

Relay::Relay(uint8_t nic, const RelayLimits& limits, uint64_t hash_secret, RelayLog& log)
    : limits_(limits),
      guest_sender_(SenderConfig::for_guest()),
      pool_(limits.buffer_bytes_max),
      context_{pool_, log, options_, peer_sender_, guest_sender_, nic, true},
      handshakes_(limits.handshake, hash_secret),
      by_key_(16, FlowKeyHash{hash_secret}) {}

// ---- frames ----

Relay::Disposition Relay::on_guest_frame(const VnetHeader& vnet, ByteSpan frame, Instant now) {
  guest_said_ = GuestSaid::kNothing;
  return dispatch(vnet, frame, true, now);
}

Relay::Disposition Relay::on_uplink_frame(const VnetHeader& vnet, ByteSpan frame, Instant now) {
  return dispatch(vnet, frame, false, now);
}

Relay::Disposition Relay::dispatch(const VnetHeader& vnet, ByteSpan frame, bool from_guest, Instant now) {
  if (!enabled_ && by_key_.empty()) return Disposition::kPass;
  FrameView view;
  const FrameStatus status = parse_frame(frame, static_cast<uint32_t>(frame.size()), vnet, view);
  if (status == FrameStatus::kNotTcp && !from_guest)
    if (const auto report = parse_packet_too_big(frame)) return on_report(*report, now);
  if (status != FrameStatus::kTcp) return Disposition::kPass;
  const FlowKey key = from_guest ? FlowKey{view.source(), view.destination(), view.vlan_ids}
                                 : FlowKey{view.destination(), view.source(), view.vlan_ids};
  const ByteSpan bytes = frame.subspan(view.payload_offset, view.segment.payload_length);
  const Gather payload(&bytes, 1);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return watch_handshake(key, view, payload, from_guest, now);
  deliver(*found->second, view, payload, from_guest, now);
  return Disposition::kTaken;
}

// The relay is who sent the segment, so the report is for it alone.
Relay::Disposition Relay::on_report(const PacketTooBig& report, Instant now) {
  const auto found = by_key_.find({report.source, report.destination, report.vlan_ids});
  if (found == by_key_.end()) return Disposition::kPass;
  ++counters_.packets_too_big;
  if (found->second->slot.awake() == nullptr) return Disposition::kTaken;  // nothing is in flight: forged, or too late
  awake(*found->second, now).on_packet_too_big(report.ip_bytes, report.seq);
  touch(*found->second);
  return Disposition::kTaken;
}

bool Relay::intact(const FrameView& view, Gather payload) {
  if (view.checksum != TcpChecksum::kUnverified || verify_tcp_checksum(view, payload)) return true;
  ++counters_.bad_checksum;
  return false;
}

void Relay::deliver(Entry& entry, const FrameView& view, Gather payload, bool from_guest, Instant now) {
  if (!intact(view, payload)) return;
  if (from_guest) {
    guest_said_ = awake(entry, now).on_guest_segment(view, payload, now);
    uncommitted_ = uncommitted_ || !context_.solo;
  } else {
    awake(entry, now).on_peer_segment(view, payload, now);
  }
  touch(entry);
}

Relay::Disposition Relay::watch_handshake(const FlowKey& key, const FrameView& view, Gather payload, bool from_guest,
                                          Instant now) {
  if (!enabled_ || !handshakes_.concerns(key, view)) return Disposition::kPass;
  // The endpoint will drop a damaged one, and so nothing of it may be believed here.
  if (!intact(view, payload)) return Disposition::kPass;
  const auto completed = handshakes_.on_frame(key, view, from_guest, now);
  if (!completed) return Disposition::kPass;
  if (completed->obstacle != RelayObstacle::kNone) {
    ++counters_.not_relayed;
    counters_.last_obstacle = completed->obstacle;
    refuse(key, completed->obstacle);
    return Disposition::kPass;
  }
  if (by_id_.size() >= limits_.flows_max) {
    ++counters_.over_limit;
    refuse(key, RelayObstacle::kNone);
    return Disposition::kPass;
  }
  FlowState state = completed->state;
  state.id = FlowId{next_id_++};
  Result<std::unique_ptr<Flow>> flow = Flow::open(context_, state, now);
  if (!flow) {
    ++counters_.not_relayed;
    return Disposition::kPass;
  }
  ++counters_.opened;
  context_.log.append_open(context_.nic, (*flow)->snapshot(now));
  Entry& entry = add(key, std::move(*flow));
  awake(entry, now).greet(now);
  deliver(entry, view, payload, from_guest, now);
  return Disposition::kTaken;
}

void Relay::refuse(const FlowKey& key, RelayObstacle obstacle) {
  if (unrelayed_.size() >= limits_.unrelayed_listed_max) unrelayed_.pop_front();
  unrelayed_.push_back({key, obstacle});
}

// ---- policy, epochs ----

void Relay::set_options(const RelayOptions& options, Instant now) {
  if (options == options_) return;
  options_ = options;
  // Senders read their configuration through a reference, so this takes effect with the next segment.
  const SenderConfig defaults;
  peer_sender_.burst_bytes_max = guest_sender_.burst_bytes_max = options.offload ? defaults.burst_bytes_max : 0;
  for (auto& [id, entry] : by_id_) {
    if (entry->slot.awake() == nullptr) continue;  // it will find out when it wakes
    entry->slot.awake()->on_policy_changed(now);
    touch(*entry);
  }
}

void Relay::set_solo(bool solo, Instant now) {
  if (solo == context_.solo) return;
  context_.solo = solo;
  uncommitted_ = false;
  // There are no cuts in solo, and the first one of a session carries every flow.
  changed_.clear();
  marked_.clear();
  ended_.clear();
  for (auto& [id, entry] : by_id_) entry->changed = entry->marked = false;
  for (auto& [id, entry] : by_id_) {
    if (entry->slot.awake() == nullptr) continue;  // it will find out when it wakes
    entry->slot.awake()->on_policy_changed(now);
    touch(*entry);
  }
}

void Relay::on_cut(Epoch epoch, Instant now, std::vector<FlowState>& changed, std::vector<FlowId>& ended) {
  for (const FlowId id : changed_) {
    Entry* entry = find(id);
    if (entry == nullptr) continue;
    Flow& flow = awake(*entry, now);
    entry->changed = false;
    flow.on_cut(epoch);
    if (!entry->marked) marked_.push_back(id);
    entry->marked = true;
    if (flow.changed()) changed.push_back(flow.snapshot(now));
  }
  changed_.clear();
  ended.insert(ended.end(), ended_.begin(), ended_.end());
  ended_.clear();
  uncommitted_ = false;
}

void Relay::on_commit(Epoch epoch, Instant now) {
  const auto settled = [&](FlowId id) {
    Entry* entry = find(id);
    if (entry == nullptr) return true;
    Flow& flow = awake(*entry, now);
    flow.on_commit(epoch, now);
    const bool waits = entry->marked = flow.has_marks();
    touch(*entry);  // which may end it
    return !waits;
  };
  std::erase_if(marked_, settled);
}

void Relay::on_open_durable(FlowId id, Instant now) {
  if (Entry* entry = find(id)) {
    awake(*entry, now).on_open_durable();
    touch(*entry);
  }
}

void Relay::on_ingress_durable(FlowId id, SeqRange range, Instant now) {
  if (Entry* entry = find(id)) {
    awake(*entry, now).on_ingress_durable(range, now);
    touch(*entry);
  }
}

void Relay::on_clock_bound_durable(FlowId id, uint32_t bound, Instant now) {
  if (Entry* entry = find(id)) awake(*entry, now).on_clock_bound_durable(bound, now);
}

void Relay::begin_session(Instant now) {
  for (auto& [id, entry] : by_id_) {
    awake(*entry, now).log_everything(now);
    touch(*entry);
  }
}

void Relay::restore(const std::vector<RestoredFlow>& flows, Instant now) {
  for (const RestoredFlow& restored : flows) {
    if (restored.nic != context_.nic) continue;
    next_id_ = std::max(next_id_, restored.state.id.value() + 1);
    Result<std::unique_ptr<Flow>> flow = Flow::restore(context_, restored, now);
    if (!flow) {
      ++counters_.ended;
      continue;
    }
    const FrameTemplate frame = (*flow)->as_guest();
    Entry& entry = add({frame.source, frame.destination, frame.vlan_ids()}, std::move(*flow));
    awake(entry, now).greet(now);
    touch(entry);
  }
}

// ---- turns and time ----

Flow& Relay::awake(Entry& entry, Instant now) {
  if (next_sweep_ == Instant::far_future()) next_sweep_ = now + kSilence;
  return entry.slot.wake(context_, now);
}

Relay::Entry* Relay::find(FlowId id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

Relay::Entry& Relay::add(const FlowKey& key, std::unique_ptr<Flow> flow) {
  const FlowId id = flow->id();
  auto entry = std::make_unique<Entry>(Entry{key, FlowSlot(std::move(flow))});
  Entry& added = *entry;
  by_id_[id] = entry.get();
  by_key_[key] = std::move(entry);
  return added;
}

void Relay::touch(Entry& entry) {
  const FlowId id = entry.slot.id();
  entry.active = true;
  note_changed(entry);
  if (entry.slot.awake()->ended()) return finish(entry);
  if (!entry.ready_to_peer) ready_to_peer_.push_back(id);
  if (!entry.ready_to_guest) ready_to_guest_.push_back(id);
  entry.ready_to_peer = entry.ready_to_guest = true;
}

void Relay::note_changed(Entry& entry) {
  if (context_.solo || entry.changed || !entry.slot.awake()->changed()) return;
  entry.changed = true;
  changed_.push_back(entry.slot.id());
}

void Relay::rearm(Entry& entry) {
  // A side that waits for its turn is polled soon, or cannot be polled at all now (stopped ring, full tap).
  Instant next = Instant::far_future();
  const Flow& flow = *entry.slot.awake();
  if (!entry.ready_to_peer) next = std::min(next, flow.peer_deadline());
  if (!entry.ready_to_guest) next = std::min(next, flow.guest_deadline());
  if (next == entry.timer) return;
  if (entry.timer != Instant::far_future()) timers_.erase({entry.timer, flow.id()});
  entry.timer = next;
  if (next != Instant::far_future()) timers_.emplace(next, flow.id());
}

void Relay::finish(Entry& entry) {
  const FlowId id = entry.slot.id();
  if (entry.timer != Instant::far_future()) timers_.erase({entry.timer, id});
  if (!context_.solo) ended_.push_back(id);
  ++counters_.ended;
  const FlowKey key = entry.key;
  by_id_.erase(id);
  by_key_.erase(key);
}

std::optional<FlowFrame> Relay::poll(ReadyList& list, bool to_guest, Instant now) {
  while (!list.empty()) {
    const FlowId id = list.front();
    Entry* entry = find(id);
    if (entry == nullptr) {
      list.pop_front();
      continue;
    }
    Flow& flow = *entry->slot.awake();
    std::optional<FlowFrame> frame = to_guest ? flow.poll_to_guest(now) : flow.poll_to_peer(now);
    note_changed(*entry);
    if (frame) {
      // One frame, then the next flow's turn.
      list.pop_front();
      if (flow.ended())
        finish(*entry);
      else
        list.push_back(id);
      return frame;
    }
    list.pop_front();
    (to_guest ? entry->ready_to_guest : entry->ready_to_peer) = false;
    if (flow.ended())
      finish(*entry);
    else
      rearm(*entry);
  }
  return std::nullopt;
}

std::optional<FlowFrame> Relay::poll_to_uplink(Instant now) { return poll(ready_to_peer_, false, now); }
std::optional<FlowFrame> Relay::poll_to_guest(Instant now) { return poll(ready_to_guest_, true, now); }

void Relay::on_deadline(Instant now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const FlowId id = timers_.begin()->second;
    timers_.erase(timers_.begin());
    Entry* entry = find(id);
    US_CHECK(entry != nullptr);
    entry->timer = Instant::far_future();
    awake(*entry, now).on_deadline(now);
    touch(*entry);
  }
  if (next_sweep_ <= now) sweep(now);
}

// A flow in one of the lists, or with a timer, is not at rest, or will be looked at soon.
void Relay::sweep(Instant now) {
  bool any_awake = false;
  for (auto& [id, entry] : by_id_) {
    if (entry->slot.awake() == nullptr) continue;
    const bool listed = entry->changed || entry->marked || entry->ready_to_peer || entry->ready_to_guest;
    const bool silent = !std::exchange(entry->active, false);
    if (silent && !listed && entry->timer == Instant::far_future() && entry->slot.sleep(now)) ++counters_.slept;
    any_awake = any_awake || entry->slot.awake() != nullptr;
  }
  next_sweep_ = any_awake ? now + kSilence : Instant::far_future();
}

Instant Relay::next_deadline() const {
  return timers_.empty() ? next_sweep_ : std::min(timers_.begin()->first, next_sweep_);
}

}  // namespace us
