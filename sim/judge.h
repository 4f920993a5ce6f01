// Judge: sees everything, in true time, and stops the run at the first violation.
//
// Safety, what is checked and when, is listed at the members; docs/simulation.md says it in prose.
#pragma once

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/epoch/output_gate.h"
#include "core/replica/wire.h"
#include "sim/disk_files.h"
#include "sim/guest.h"
#include "sim/world.h"

namespace us::sim {

struct Lab;
class Host;
struct CapturedEpoch;

class Violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Judge {
 public:
  explicit Judge(Lab& lab) : lab_(lab) {}

  [[noreturn]] void violation(const std::string& what);

  // ---- what happens ----
  void on_cut(Host& host, SessionId session, const CapturedEpoch& epoch, const Guest& guest);
  // The last frame of the epoch has reached the standby, and staging found nothing missing.
  void on_whole(SessionId session, Epoch epoch);
  // Only what is whole is acknowledged.
  void on_acknowledge(Host& host, SessionId session, Epoch epoch);
  // The standby's memory is the primary's at the cut.
  void on_applied(Host& host, SessionId session, Epoch epoch, const Bytes& ram, const Bytes& device_state);
  // The host's image is at that epoch: what the guest of that cut has written, and nothing else.
  void on_image_at(Host& host, const ImageEpoch& at, const DiskFiles& files);
  // The guest has ended for good, and this is what it leaves.
  void on_guest_left(Host& host, const ImageEpoch& last, const Guest& guest);
  // The host's image says that it is that.
  void on_image_ended(Host& host, const ImageEpoch& last);
  // Both say so: from now on the VM may be started from either, whatever happens to the hosts.
  void on_tidy_end(Generation generation) { tidy_end_ = generation; }
  // Of a shared disk: the primary writes to the image itself again, and nothing is held.
  void on_direct(Host& host, const Guest& guest);
  // After the recovery that a start begins with, the image is at a committed epoch, or it is the primary's own.
  void on_shared_power_loss(const DiskFiles& files);
  void on_restored(Host& host, SessionId session, Epoch epoch, Generation generation, const Guest& guest);
  void on_running(Host& host, Generation generation, const Guest& guest);
  // Every survivor knows what leaves; nothing leaves in a generation after another host was given a later one.
  void on_release(Host& host, Generation generation, GateMode mode, const GuestOutput& output);
  void on_recorded(HostId who, Generation generation);
  void on_end_marked(Generation generation);
  void on_end_told() { ended_ = true; }  // the standby knows
  // A standby refuses a stream only if bytes were lost on the way, which no fault here does.
  void on_refused_stream(Host& host, const std::string& why);
  // What the host has of the guest is gone: a crash, a failed QEMU, a failed restore, an operator.
  void on_destroyed(HostId host);
  // The guest's user ends it.  If the hosts cannot tell each other, the VM may go on from its last epoch, or not at
  // all.
  void on_user_end() { user_ended_ = true; }

  // ---- after each event ----
  // At most one gate is open.  While a primary may release under a lease, nobody has claimed.  Somebody can go on.
  void after_step();
  // ---- at the end of the run ----
  // Who may start the VM from its disk would find there what the guest left.
  void check_starts();

  // The guest was ended by its user, and both hosts can know it.
  bool ended() const { return ended_; }
  // No copy is left that the arbiter would let go on, and nobody is to blame (see docs/simulation.md).
  bool lost() const { return lost_; }
  uint64_t releases() const { return releases_; }
  uint64_t takeovers() const { return takeovers_; }
  uint64_t commits() const { return commits_; }
  // The primary that is protected at this instant, if any.
  Host* protected_primary();

 private:
  struct Cut {
    uint64_t memory = 0;  // hash
    uint64_t devices = 0;
    uint64_t number = 0;
    bool whole = false;
  };
  Cut* find(SessionId session, Epoch epoch);
  void compare_image(Host& host, const std::vector<uint64_t>& tags, const char* when);
  void compare(ByteSpan image, const std::vector<uint64_t>& tags, const std::string& when);
  bool could_continue(Host& host);
  void check_gates();
  void check_survivors(Host& host, const GuestOutput& output);

  Lab& lab_;
  std::map<std::pair<SessionId, Epoch>, Cut> cuts_;
  std::map<std::pair<uint64_t, Epoch>, std::vector<uint64_t>> tags_;  // session, epoch -> what each block holds
  std::map<Generation, std::vector<uint64_t>> left_;                  // what each block holds after the guest's end
  Generation tidy_end_;
  std::map<uint64_t, uint64_t> released_;  // number -> history
  Generation running_;                     // the newest that ran
  bool ended_ = false;
  bool user_ended_ = false;
  bool lost_ = false;
  std::array<bool, 2> able_{};  // to go on, after the last step
  bool sound_ = false;          // both were, and neither had anything to ask the arbiter
  int destroyed_ = 0;           // copies, since the pair was last sound
  bool struck_sound_ = false;   // the first of them was destroyed in that state
  uint64_t releases_ = 0, takeovers_ = 0, commits_ = 0;
};

}  // namespace us::sim
