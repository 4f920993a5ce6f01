// Primary::status(): what the control interface shows of a primary.  Runs on the control thread.

#include "host/primary.h"
#include "host/status_json.h"

namespace us {
namespace {

using Json = nlohmann::json;

const char* health_of(const PrimaryCoordinator::View& view) {
  switch (view.state) {
    case PrimaryState::kSolo:
      return "solo";
    case PrimaryState::kSyncing:
      return "syncing";
    case PrimaryState::kProtected:
    case PrimaryState::kHandingOver:
      return view.covered ? "protected" : "syncing";
    default:
      return to_string(view.state);
  }
}

// RAM and disks together; 0 to 1.
double sync_progress(uint64_t pages, uint64_t sent, const GuestDisk::Progress& disks) {
  const uint64_t total = pages * kPageSize + disks.total_bytes;
  const uint64_t done = std::min(sent, pages) * kPageSize + disks.done_bytes;
  return total == 0 ? 0.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
}

}  // namespace

Json Primary::status() const {
  const PrimaryCoordinator::View view = coordinator_->view();
  const PrimaryStats::Values stats = stats_.values();
  const DataPathCounters net = vm_->net().counters();
  Json out = {{"name", context_.config.name},
              {"role", view.state == PrimaryState::kFenced  ? "fenced"
                       : view.state == PrimaryState::kEnded ? "ended"
                                                            : "primary"},
              {"state", health_of(view)},
              {"reason", view.reason},
              {"generation", view.generation.value()},
              {"node", context_.node},
              {"accelerator", to_text(context_.accelerator)},
              {"accelerator_reason", context_.accelerator_reason},
              {"qemu", vm_->identity().qemu_version},
              {"machine", vm_->identity().machine},
              {"qemu_pid", vm_->process().pid()},
              {"dirty_tracker", vm_->tracker().name()},
              {"dirty_tracker_reason", vm_->tracker_reason()},
              {"epoch", view.last_cut.value()},
              {"committed_epoch", view.committed.value()},
              {"epochs", stats.epochs},
              {"guest_resets", guest_resets_.load()},
              {"resets_in_pauses", capture_.resets_in_pauses()}};
  {
    const std::lock_guard lock(settings_mutex_);
    const RuntimeSettings& settings = context_.config.runtime;
    out["epoch_length_ms"] = policy_.length().to_millis_f();
    out["epoch_policy"] = settings.epoch_kind == EpochKind::kFixed ? "fixed" : "adaptive";
    out["early_cuts"] = policy_.early_cuts();
    out["tcp_mode"] = tcp_mode_name(settings.tcp);
  }
  out["relays"] = vm_->net().relays().counters();
  out["pause_ms"] = histogram_json(stats.pause);
  out["pause_parts_ms"] = pause_json(stats);
  out["run_ms"] = histogram_json(stats.run);
  out["commit_ms"] = histogram_json(view.commit);
  // The guest's virtual clock stands still in every pause, so this is how far it has fallen behind here.
  out["guest_clock_lag_ms"] = (stats.pause.sum() + stats.audit_pause).to_millis_f();
  out["audit"] = audit_.status();
  out["dirty"] = {
      {"pages_last", stats.pages_last},
      {"pages_max", stats.pages_max},
      {"pages_total", stats.pages},
      {"pages_mean", stats.epochs == 0 ? 0.0 : static_cast<double>(stats.pages) / static_cast<double>(stats.epochs)}};
  out["device_state_bytes"] = stats.device_state_bytes;
  out["gate"] = gate_json(net);
  out["nics"] = nics_json(net.nics);
  out["takeovers"] = Json::array();
  for (const TakeoverRecord& record : takeovers_) out["takeovers"].push_back(takeover_json(record));
  if (!takeovers_.empty())
    add_end_of_takeover(out["takeovers"].back(), takeovers_.back(), Instant::from_nanos(began_ns_),
                        vm_->net().announcement_times());
  const std::lock_guard lock(peer_mutex_);
  out["standby"] = nullptr;
  if (sender_) {
    const uint64_t total = sync_pages_total_;
    const uint64_t sent = sender_->pages_sent() - std::min<uint64_t>(sync_pages_base_, sender_->pages_sent());
    out["standby"] = {{"node", peer_node_},
                      {"heartbeat_rtt_ms", view.heartbeat_rtt.to_millis_f()},
                      {"bytes_sent", sender_->bytes_sent()},
                      {"pages_sent", sender_->pages_sent()}};
    if (view.state == PrimaryState::kSyncing) out["sync_progress"] = sync_progress(total, sent, disks_->progress());
  }
  return out;
}

Json Primary::epochs() const {
  Json out = Json::array();
  const auto nanos = [](const std::optional<Instant>& at) { return at ? Json(at->to_nanos()) : Json(); };
  for (const EpochTimes::Times& times : epoch_times_.latest())
    out.push_back({{"epoch", times.epoch.value()},
                   {"stopped_ns", times.stopped.to_nanos()},
                   {"resumed_ns", nanos(times.resumed)},
                   {"committed_ns", nanos(times.committed)},
                   {"pages", times.pages}});
  if (!disks_->empty()) out["disks"] = disks_->status();
  return out;
}

}  // namespace us
