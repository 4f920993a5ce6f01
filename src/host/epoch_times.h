// EpochTimes: when the latest epochs were cut, when the guest ran on, and when the standby had them.  For pictures that
// lay a packet capture beside the epochs (docs/evaluation-data.md); nothing is decided by it.
//
// Thread-safe.  Memory is bounded: the latest kKept epochs, 20 s of the shortest usual ones.  Times are of the host's
// CLOCK_MONOTONIC, which one host's programs share.
#pragma once

#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "base/strong.h"
#include "base/time.h"

namespace us {

class EpochTimes {
 public:
  static constexpr size_t kKept = 2048;

  struct Times {
    Epoch epoch;
    Instant stopped;  // the guest, for the cut that ends the epoch
    std::optional<Instant> resumed;
    std::optional<Instant> committed;
    uint64_t pages = 0;
  };

  // The epoch has been cut; the guest was asked to stop at `stopped`.  In the order of epochs; one that begins again
  // from a lower number is a new session, and what was before it is forgotten.
  void on_cut(Epoch epoch, Instant stopped, uint64_t pages) {
    const std::lock_guard lock(mutex_);
    if (!kept_.empty() && epoch <= kept_.back().epoch) kept_.clear();
    if (kept_.size() == kKept) kept_.pop_front();
    kept_.push_back({epoch, stopped, std::nullopt, std::nullopt, pages});
  }
  void on_resumed(Epoch epoch, Instant now) {
    const std::lock_guard lock(mutex_);
    if (!kept_.empty() && kept_.back().epoch == epoch) kept_.back().resumed = now;
  }
  // This epoch and all before it.
  void on_commit(Epoch epoch, Instant now) {
    const std::lock_guard lock(mutex_);
    for (auto it = kept_.rbegin(); it != kept_.rend() && !it->committed; ++it)
      if (it->epoch <= epoch) it->committed = now;
  }

  std::vector<Times> latest() const {
    const std::lock_guard lock(mutex_);
    return {kept_.begin(), kept_.end()};
  }

 private:
  mutable std::mutex mutex_;
  std::deque<Times> kept_;
};

}  // namespace us
