// Standby::status(): what the control interface shows of a standby.  Runs on the control thread.
#include <algorithm>

#include "host/standby.h"

namespace us {

nlohmann::json Standby::status() const {
  const StandbyCoordinator::View view = coordinator_->view();
  nlohmann::json out = {{"name", context_.config.name},
                        {"role", "standby"},
                        {"state", to_string(view.state)},
                        {"reason", view.reason},
                        {"generation", view.generation.value()},
                        {"node", context_.node},
                        {"accelerator", to_text(context_.accelerator)},
                        {"accelerator_reason", context_.accelerator_reason},
                        {"dirty_tracker", vm_ ? vm_->tracker().name() : ""},
                        {"committed_epoch", view.committed.value()},
                        {"takeovers", nlohmann::json::array()}};
  const std::lock_guard lock(status_mutex_);
  out["primary"] = primary_node_;
  out["epochs"] = epochs_;
  out["bytes_received"] = bytes_;
  out["audits"] = audits_;
  out["callers_refused"] = callers_refused_;
  if (view.state == StandbyState::kSyncing)
    out["sync_progress"] =
        sync_pages_expected_ == 0
            ? 0.0
            : std::min(1.0, static_cast<double>(sync_pages_) / static_cast<double>(sync_pages_expected_));
  if (!disks_->empty()) out["disks"] = disks_->status();
  return out;
}

}  // namespace us
