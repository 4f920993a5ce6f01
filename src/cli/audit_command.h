// `understudy audit`: do both hosts hold the same guest?
#pragma once

#include <string>

namespace us {

inline constexpr const char* kAuditHelp =
    "compare the standby's copy of the guest's RAM with the guest, page by page.\n"
    "\n"
    "The guest stands still while its RAM is hashed (94 ms for 512 MB where it was measured); the standby compares\n"
    "while it runs on. Exit status: 0 both are equal; 1 pages differ, they are named, and the standby is\n"
    "synchronised anew; 2 no audit could be made.\n"
    "\n"
    "Example:\n"
    "  $ understudy audit db\n"
    "  db: 131072 pages are equal on both hosts (epoch 1234; the guest paused 94 ms for it)\n";

struct AuditOptions {
  std::string runtime_directory;
  std::string name;
  bool json = false;
};

// The exit status.
int run_audit(const AuditOptions& options);

}  // namespace us
