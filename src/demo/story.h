// Story: the demo from beginning to end.  docs/demo.md tells it to a person.
//
// Host A runs the guest, three or four clients connect, host B becomes the standby.  Then, once for each round: at a
// random moment the primary host dies (or loses both cables), the clients must go on as if nothing had been, and the
// host comes back as the new standby.  With a disk there is an end: the guest shuts down, and both images are looked
// at.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "demo/figures.h"

namespace us::demo {

struct DemoOptions {
  std::string program{};     // the understudy executable; empty: this one
  std::string guest_dir{};   // with vmlinuz and initrd.cpio; empty: guest/ beside the build's src/
  bool disk = false;         // PostgreSQL on a replicated disk, and the ledger client
  std::string disk_image{};  // empty: guest-debian/disk.img beside the build's src/
  uint64_t rounds = 2;
  Fault fault = Fault::kKill;
  uint64_t seed = 0;  // 0: choose one
  std::string memory = "512M";
  int cpus = 1;
  std::string epoch = "25ms";
  std::string detection = "100ms";
  uint64_t download_mib = 32;  // of each file
  bool ipv6 = false;
  bool keep = false;  // keep logs and files
  std::string json_file{};
};

// Tells the story on standard output.  The exit status of the program: 0 only for a green verdict.
// `interrupted` ends the story early when it becomes true; everything is cleaned up all the same.
int run_demo(DemoOptions options, const std::atomic<bool>& interrupted);

}  // namespace us::demo
