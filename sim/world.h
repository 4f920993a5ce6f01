// World: virtual time and everything that waits in it.
//
// One queue of events, in the order of true time, which nobody in the simulation can read except the judge.  An event
// belongs to the surroundings (links, arbiter, client) or to the process on one host.  A process that is frozen runs
// none of its events until it thaws, then all of them in their old order; one that is killed never runs them.
//
// Each event is one step: the smallest thing between two of which a fault can be placed.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/time.h"

namespace us::sim {

enum class HostId : uint8_t { kA, kB, kNone };
inline constexpr std::array kHosts = {HostId::kA, HostId::kB};
constexpr size_t index_of(HostId host) { return static_cast<size_t>(host); }
constexpr HostId other(HostId host) { return host == HostId::kA ? HostId::kB : HostId::kA; }
const char* to_string(HostId host);

class World {
 public:
  using Action = std::function<void()>;

  explicit World(uint64_t seed) : rng_(seed) {}

  Rng& rng() { return rng_; }
  Instant now() const { return now_; }
  Duration random(Duration low, Duration high) {
    return Duration::nanos(rng_.between(low.to_nanos(), high.to_nanos()));
  }

  void after(Duration delay, const char* what, Action action);
  void host_after(HostId host, Duration delay, const char* what, Action action);

  // `call`, but nothing once the process that now runs on `host` has ended.
  template <typename... Args>
  std::function<void(Args...)> while_alive(HostId host, std::function<void(Args...)> call) {
    const uint64_t process = processes_[index_of(host)].incarnation;
    return [this, host, process, call = std::move(call)](Args... args) {
      if (processes_[index_of(host)].incarnation == process) call(args...);
    };
  }

  // Runs the next event.  False: none is left.
  bool step();
  // Events run so far, and what the latest one was.
  uint64_t steps() const { return steps_; }
  const char* last_event() const { return last_event_; }
  HostId last_host() const { return last_host_; }

  // Forgets every event of the process on `host`.
  void kill(HostId host) { ++processes_[index_of(host)].incarnation; }
  void freeze(HostId host, Duration length);
  void thaw(HostId host) { processes_[index_of(host)].frozen_until = now_; }
  bool frozen(HostId host) const { return processes_[index_of(host)].frozen_until > now_; }

  // One line of the trace.  `what` is a literal.
  void note(HostId host, const char* what, uint64_t a = 0, uint64_t b = 0);
  // The latest lines, oldest first.
  std::vector<std::string> trace() const;

 private:
  struct Event {
    Instant when;
    uint64_t order;
    HostId host;
    uint64_t incarnation;
    const char* what;
    Action action;
    bool operator<(const Event& o) const { return when != o.when ? when > o.when : order > o.order; }
  };
  struct Process {
    uint64_t incarnation = 0;
    Instant frozen_until;
  };
  struct Note {
    Instant when;
    HostId host;
    const char* what;
    uint64_t a, b;
  };
  void push(Event event);

  Rng rng_;
  Instant now_;
  uint64_t order_ = 0;
  uint64_t steps_ = 0;
  const char* last_event_ = "";
  HostId last_host_ = HostId::kNone;
  std::vector<Event> events_;  // a heap
  std::array<Process, 3> processes_;
  std::vector<Note> notes_;  // a ring
  size_t note_next_ = 0;
};

}  // namespace us::sim
