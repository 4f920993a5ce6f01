// Actor: one thread of a host's process.  wake() makes its turn run once, soon; arm() makes it run at a time of the
// host's clock, and replaces the time armed before.  May be destroyed while its turn is due.
#pragma once

#include <functional>
#include <memory>

#include "base/time.h"

namespace us::sim {

class Host;

class Actor {
 public:
  Actor(Host& host, const char* name, std::function<void()> turn);
  void wake();
  void arm(Instant when);

 private:
  struct State {
    std::function<void()> turn;
    bool woken = false;
    Instant armed = Instant::far_future();
    uint64_t token = 0;
  };
  Host& host_;
  const char* name_;
  std::shared_ptr<State> state_;
};

}  // namespace us::sim
