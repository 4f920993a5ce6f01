#include "os/ram_mappings.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

namespace us {

Result<std::vector<RamMapping>> find_ram_mappings(pid_t process, const GuestRam& ram) {
  std::vector<RamMapping> found;
  std::ifstream maps("/proc/" + std::to_string(process) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    uint64_t start = 0, end = 0, offset = 0, inode = 0;
    unsigned major_number = 0, minor_number = 0;
    char mode[5] = {};
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &start, &end, mode, &offset,
                    &major_number, &minor_number, &inode) != 7)
      continue;
    if (inode == ram.inode() && makedev(major_number, minor_number) == ram.device())
      found.push_back({start, end, offset});
  }
  std::sort(found.begin(), found.end(),
            [](const RamMapping& a, const RamMapping& b) { return a.file_offset < b.file_offset; });
  uint64_t covered = 0;
  for (const RamMapping& piece : found) {
    if (piece.file_offset != covered) break;
    covered += piece.end - piece.start;
  }
  if (covered != ram.size())
    return fail(ErrorKind::kSystem, "QEMU maps " + std::to_string(covered) +
                                        " bytes of the guest's memory instead of " + std::to_string(ram.size()));
  return found;
}

}  // namespace us
