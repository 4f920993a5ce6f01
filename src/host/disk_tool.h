// What `understudy disk` does with images that no VM uses at the time.  Errors say what to do.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "base/result.h"

namespace us {

// A new image for a disk of `disk_bytes`.  `format`: "raw" or "qcow2", which needs the program qemu-img.
Status create_disk_image(const std::string& path, uint64_t disk_bytes, const std::string& format);
// How large a file must be that holds a qcow2 of a disk of `disk_bytes` at its fullest.
uint64_t qcow2_container_bytes(uint64_t disk_bytes);

struct DiskImageInfo {
  std::string path;
  uint64_t bytes = 0;
  uint64_t used_bytes = 0;                          // on the medium
  std::string image_id;                             // in hexadecimal
  std::string state;                                // image_state_name()
  uint64_t generation = 0, session = 0, epoch = 0;  // what it is at, a record in the journal counted
  bool journal_pending = false;                     // the newest epoch is still (partly) in the journal only
  bool has_map = false;
  uint64_t marked_bytes = 0;   // where it may differ from the other host's
  std::string shared_by = {};  // the VM whose shared disk it is; empty: it is one host's
};
Result<DiskImageInfo> disk_image_info(const std::string& path);
nlohmann::json to_json(const DiskImageInfo& info);
void print(const DiskImageInfo& info, std::ostream& out);

// The first byte at which the two disks differ, what is in the journals counted; nullopt: they are equal.
// Errors: an image cannot be read; they have different sizes.
Result<std::optional<uint64_t>> compare_disk_images(const std::string& a, const std::string& b);

}  // namespace us
