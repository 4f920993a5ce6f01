// DirectoryArbiter: generations as files in a directory that all hosts of the VM share (NFS, a small third machine).
//
// Generation N of VM `db` is the file `db.generation-N`; whoever links it into place first has it, for ever.  link(2)
// is atomic on local file systems and on NFS, and the file is complete before it is linked.  A VM that was ended by its
// user leaves `db.generation-N.ended` beside it, which is what allows a fresh start.
//
// Blocking file I/O: call it on a thread that may wait.  A directory that cannot be reached or written is
// kUnavailable, never a grant.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "core/failover/arbitration.h"

namespace us {

class DirectoryArbiter final : public Arbiter {
 public:
  DirectoryArbiter(std::string directory, std::string vm_name, std::string node);

  // For a takeover, or to go on alone: taken as well once the VM has been ended by its user.
  ClaimAnswer claim(Generation generation) override;
  // For a VM that is started afresh.
  ClaimAnswer claim_start(Generation generation);

  struct Standing {
    Generation generation;  // the highest claimed; 0: none ever
    std::string holder;
    bool ended = false;
  };
  Result<Standing> standing() const;
  // Marks a generation as ended by its user.
  Status mark_ended(Generation generation, const std::string& reason);
  const std::string& node() const { return node_; }

 private:
  ClaimAnswer link_claim(Generation generation);
  std::string file_of(Generation generation) const;
  Result<std::string> holder_of(Generation generation) const;
  // Writes `text` to a file of its own, synced, and gives its path.
  Result<std::string> write_temporary(const std::string& text) const;

  std::string directory_;
  std::string vm_name_;
  std::string node_;
};

}  // namespace us
