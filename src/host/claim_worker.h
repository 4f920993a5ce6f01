// ClaimWorker: asks an arbiter on a thread of its own, because a shared directory may take long to answer, or never do.
//
// One question at a time.  The answer is given to `answered` on that thread; none is given after the worker is
// destroyed, even if the arbiter still hangs then (its thread is left behind and ends with the call).
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "core/failover/arbitration.h"

namespace us {

class ClaimWorker {
 public:
  ClaimWorker(std::shared_ptr<Arbiter> arbiter, std::function<void(ClaimAnswer)> answered);
  ~ClaimWorker();
  void ask(Generation generation);

 private:
  struct Shared {
    std::mutex mutex;
    std::function<void(ClaimAnswer)> answered;  // empty once the worker is gone
  };
  std::shared_ptr<Arbiter> arbiter_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace us
