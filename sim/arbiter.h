// The arbiter of the simulation.  It grants like DirectoryArbiter does (host/directory_arbiter.h): each generation
// once, none below the newest, none after the newest was marked as ended; and it fails in the ways that a shared
// directory does: out of reach of one host or both, slow, its answer lost after the claim was recorded, the claim
// recorded only after the host was told that there was no answer.
#pragma once

#include <functional>
#include <map>

#include "core/failover/arbitration.h"
#include "sim/world.h"

namespace us::sim {

class SimArbiter {
 public:
  struct Access {
    bool reachable = true;
    bool hangs = false;  // out of reach: a claim gets no answer at all until it is reachable again
    double answer_lost = 0;
    double recorded_late = 0;
    Duration delay_low = Duration::micros(200);
    Duration delay_high = Duration::millis(3);
  };

  explicit SimArbiter(World& world) : world_(world) {}

  // Called when a claim is written, which nobody can see but the judge.
  std::function<void(HostId, Generation)> on_recorded;

  // The answer is an event of the process on `who`.
  void claim(HostId who, Generation generation, std::function<void(const ClaimAnswer&)> answered);
  void mark_ended(HostId who, Generation generation, std::function<void(bool marked)> answered);
  // The VM's first start.
  void start(HostId who, Generation generation) { holders_[generation] = who; }

  Access& access(HostId who) { return access_[index_of(who)]; }
  void mend();

  Generation newest() const { return holders_.empty() ? Generation{} : holders_.rbegin()->first; }
  HostId holder() const { return holders_.empty() ? HostId::kNone : holders_.rbegin()->second; }
  // A claim is on its way that may yet be recorded.
  bool outstanding() const { return outstanding_ > 0; }
  bool ended() const { return ended_ != Generation{} && ended_ == newest(); }

 private:
  void ask(HostId who, Generation generation, std::function<void(const ClaimAnswer&)> answered);
  ClaimAnswer decide(HostId who, Generation generation);
  Duration delay(HostId who);

  World& world_;
  std::map<Generation, HostId> holders_;
  Generation ended_;
  int outstanding_ = 0;
  std::array<Access, 2> access_;
};

}  // namespace us::sim
