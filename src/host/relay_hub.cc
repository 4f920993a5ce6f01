#include "host/relay_hub.h"

#include <nlohmann/json.hpp>

#include "os/clock.h"

namespace us {
namespace {

using Json = nlohmann::json;

Json progress_json(const Flow& flow) {
  const Sender& sender = flow.to_peer();
  const SenderStats& stats = sender.stats();
  return {{"rtt_ms", sender.rtt().srtt().to_millis_f()},
          {"cwnd", sender.cwnd()},
          {"inflight", sender.inflight_bytes()},
          {"mss", sender.mss()},
          {"uncommitted_bytes", flow.uncommitted_bytes()},
          {"undurable_bytes", flow.undurable_bytes()},
          {"unacked_bytes", sender.unacked_bytes()},
          {"retransmitted_bytes", stats.bytes_retransmitted},
          {"recoveries", stats.recoveries},
          {"timeouts", stats.timeouts},
          {"tail_probes", stats.tail_probes},
          {"spurious", stats.spurious}};
}

Json endpoints_json(size_t nic, const FlowKey& key) {
  Json out = {{"nic", nic}, {"guest", to_string(key.guest)}, {"peer", to_string(key.peer)}};
  if (key.vlan_ids != 0) out["vlan"] = key.vlan_ids & 0xfff;
  return out;
}

// A flow that sleeps has no more to say.
Json flow_json(size_t nic, const FlowKey& key, const FlowSlot& slot) {
  Json out = endpoints_json(nic, key);
  out.update({{"id", slot.id().value()},
              {"relayed", true},
              {"state", slot.awake() == nullptr ? "asleep" : to_string(slot.awake()->end())},
              {"egress_bytes", slot.counters().egress_bytes},
              {"ingress_bytes", slot.counters().ingress_bytes},
              {"dropped_segments", slot.counters().dropped_segments},
              {"memory_bytes", slot.memory_bytes()}});
  if (slot.awake() != nullptr) out.update(progress_json(*slot.awake()));
  return out;
}

Json unrelayed_json(size_t nic, const Unrelayed& connection) {
  Json out = endpoints_json(nic, connection.key);
  const bool limit = connection.obstacle == RelayObstacle::kNone;
  out.update({{"relayed", false}, {"why", limit ? "too many flows" : to_string(connection.obstacle)}});
  return out;
}
}  // namespace

RelayHub::RelayHub(size_t nics, uint64_t hash_secret) {
  for (size_t nic = 0; nic < nics; ++nic)
    relays_.push_back(std::make_unique<Relay>(static_cast<uint8_t>(nic), RelayLimits{}, hash_secret, log_));
}

// Several threads read the clock before they get the lock; the cores are to see time that never goes back.
Instant RelayHub::later_of(Instant read_at) {
  latest_ = std::max(latest_, read_at);
  return latest_;
}

Instant RelayHub::now_locked() { return later_of(clock_now()); }

// ---- frames ----

Relay::Disposition RelayHub::from_guest(size_t nic, const EthernetFrame& frame, Instant read_at) {
  const std::lock_guard lock(mutex_);
  const Instant now = later_of(read_at);
  const Relay::Disposition disposition = relays_[nic]->on_guest_frame(frame.header(), frame.ethernet(), now);
  // What is gated counts as well: it waits for the same cut.
  const bool gated = disposition == Relay::Disposition::kPass;
  if (mode_ == GateMode::kProtected && (gated || relays_[nic]->guest_said() == GuestSaid::kResponse))
    note_waiting(now, gated ? frame.size() : 0);
  return disposition;
}

void RelayHub::note_waiting(Instant now, size_t gated_bytes) {
  if (!waiting_.any) {
    waiting_.first = now;
    if (output_wake_) output_wake_();
  }
  waiting_.any = true;
  waiting_.last = now;
  waiting_.bytes += gated_bytes;
}

Relay::Disposition RelayHub::from_uplink(size_t nic, const EthernetFrame& frame, Instant read_at) {
  const std::lock_guard lock(mutex_);
  const Instant now = later_of(read_at);
  return relays_[nic]->on_uplink_frame(frame.header(), frame.ethernet(), now);
}

std::optional<EthernetFrame> RelayHub::poll_to_uplink(size_t nic, Instant read_at, FramePool& pool) {
  const std::lock_guard lock(mutex_);
  const Instant now = later_of(read_at);
  const std::optional<FlowFrame> frame = relays_[nic]->poll_to_uplink(now);
  if (!frame) return std::nullopt;
  return assemble(*frame, pool);
}

std::optional<EthernetFrame> RelayHub::poll_to_guest(size_t nic, Instant read_at, FramePool& pool) {
  const std::lock_guard lock(mutex_);
  const Instant now = later_of(read_at);
  const std::optional<FlowFrame> frame = relays_[nic]->poll_to_guest(now);
  if (!frame) return std::nullopt;
  return assemble(*frame, pool);
}

EthernetFrame RelayHub::assemble(const FlowFrame& frame, FramePool& pool) {
  EthernetFrame out = pool.take(frame.header.length + frame.payload.size());
  out.set_header(frame.header.vnet);
  uint8_t* to = out.ethernet().data();
  const auto put = [&](ByteSpan bytes) {
    std::memcpy(to, bytes.data(), bytes.size());
    to += bytes.size();
  };
  put(frame.header.span());
  for (const ByteSpan piece : frame.payload.pieces()) put(piece);
  return out;
}

Instant RelayHub::run_timers(Instant read_at) {
  const std::lock_guard lock(mutex_);
  const Instant now = later_of(read_at);
  Instant next = Instant::far_future();
  for (const auto& relay : relays_) {
    relay->on_deadline(now);
    next = std::min(next, relay->next_deadline());
  }
  return next;
}

bool RelayHub::full() const {
  const std::lock_guard lock(mutex_);
  return log_.full();
}

void RelayHub::flush_log() {
  const std::lock_guard lock(mutex_);
  if (log_.has_frames() && log_ready_) log_ready_();
}

// ---- policy ----

void RelayHub::set_enabled(bool enabled) {
  const std::lock_guard lock(mutex_);
  for (const auto& relay : relays_) relay->set_enabled(enabled);
}

void RelayHub::set_options(const RelayOptions& options) {
  const std::lock_guard lock(mutex_);
  options_ = options;
  for (const auto& relay : relays_) relay->set_options(options, now_locked());
}

RelayOptions RelayHub::options() const {
  const std::lock_guard lock(mutex_);
  return options_;
}

void RelayHub::set_mode(GateMode mode) {
  const std::lock_guard lock(mutex_);
  const GateMode before = mode_;
  if (mode == before) return;
  mode_ = mode;
  if (mode == GateMode::kSolo) end_session_locked(now_locked());
}

void RelayHub::end_session() {
  const std::lock_guard lock(mutex_);
  end_session_locked(now_locked());
}

void RelayHub::end_session_locked(Instant now) {
  log_.end_session([&](const DurableRecord& record) { settle(record, now); });
  for (const auto& relay : relays_) relay->set_solo(true, now);
  waiting_ = {};
}

// ---- epochs and replication ----

Bytes RelayHub::cut(Epoch epoch) {
  const std::lock_guard lock(mutex_);
  const Instant now = now_locked();
  waiting_ = {};
  if (!log_.enabled()) {
    for (const auto& relay : relays_) relay->set_solo(false, now);
    log_.begin_session(stream_version_);
    for (const auto& relay : relays_) relay->begin_session(now);
  }
  RelayCut cut;
  for (size_t nic = 0; nic < relays_.size(); ++nic) {
    NicCut part;
    part.nic = static_cast<uint8_t>(nic);
    relays_[nic]->on_cut(epoch, now, part.changed, part.ended);
    if (!part.changed.empty() || !part.ended.empty()) cut.nics.push_back(std::move(part));
  }
  cut.position = log_.position();
  return encode(cut);
}

void RelayHub::commit(Epoch epoch) {
  const std::lock_guard lock(mutex_);
  const Instant now = now_locked();
  for (const auto& relay : relays_) relay->on_commit(epoch, now);
}

Status RelayHub::on_log_ack(LogPosition position) {
  const std::lock_guard lock(mutex_);
  const Instant now = now_locked();
  return log_.on_ack(position, [&](const DurableRecord& record) { settle(record, now); });
}

void RelayHub::settle(const DurableRecord& record, Instant now) {
  if (record.nic >= relays_.size()) return;
  if (record.kind == RelayRecordKind::kOpen)
    relays_[record.nic]->on_open_durable(record.flow, now);
  else if (record.kind == RelayRecordKind::kIngress)
    relays_[record.nic]->on_ingress_durable(record.flow, record.range, now);
  else if (record.kind == RelayRecordKind::kClockBound)
    relays_[record.nic]->on_clock_bound_durable(record.flow, record.bound, now);
}

std::vector<Bytes> RelayHub::take_log_frames() {
  const std::lock_guard lock(mutex_);
  return log_.take_frames();
}

void RelayHub::set_log_ready(std::function<void()> log_ready, uint16_t version) {
  const std::lock_guard lock(mutex_);
  stream_version_ = version;
  log_ready_ = std::move(log_ready);
}

void RelayHub::set_output_wake(std::function<void()> output_wake) {
  const std::lock_guard lock(mutex_);
  output_wake_ = std::move(output_wake);
}

void RelayHub::restore(const std::vector<RestoredFlow>& flows) {
  const std::lock_guard lock(mutex_);
  for (const auto& relay : relays_) relay->restore(flows, now_locked());
}

EpochPolicy::Waiting RelayHub::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

// ---- for people ----

Json RelayHub::flows() const {
  const std::lock_guard lock(mutex_);
  Json list = Json::array();
  for (size_t nic = 0; nic < relays_.size(); ++nic) {
    relays_[nic]->for_each_flow(
        [&](const FlowKey& key, const FlowSlot& slot) { list.push_back(flow_json(nic, key, slot)); });
    for (const Unrelayed& connection : relays_[nic]->unrelayed()) list.push_back(unrelayed_json(nic, connection));
  }
  return list;
}

Json RelayHub::counters() const {
  const std::lock_guard lock(mutex_);
  Json list = Json::array();
  for (const auto& relay : relays_) {
    const RelayCounters& c = relay->counters();
    list.push_back({{"flows", relay->size()},
                    {"opened", c.opened},
                    {"ended", c.ended},
                    {"not_relayed", c.not_relayed},
                    {"last_obstacle", to_string(c.last_obstacle)},
                    {"over_limit", c.over_limit},
                    {"bad_checksum", c.bad_checksum},
                    {"packets_too_big", c.packets_too_big},
                    {"slept", c.slept},
                    {"buffer_bytes", relay->pool_bytes()}});
  }
  return list;
}

}  // namespace us
