// LocalDisk: one writable disk on this host for as long as its QEMU lives: the image and the thread that serves it.
// Whether it is a primary's or a standby's is the role that its loop has at the time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/vm_config.h"
#include "core/disk/write_record.h"
#include "host/disk_image.h"
#include "host/disk_loop.h"
#include "qemu/command_line.h"

namespace us {

struct LocalDisk {
  DiskIndex index;   // position in the VM file, read-only disks counted as well
  std::string name;  // "disk0": QEMU's node, and for logs and status
  bool raw = true;   // its format: QEMU has no metadata in it, and no reason to flush but the guest's and its own stop
  bool shared = false;
  std::string vm;  // whose disk it is
  DiskImage image;
  DiskEndpoint endpoint;
  std::unique_ptr<DiskLoop> loop;  // last: it stops before the image goes
};

struct LocalDiskOptions {
  std::string runtime_directory;
  ReplicaAddress self;
  // For a standby: an image that is missing is made, if its size is known.  For a primary: one that is not known here
  // is taken.
  bool standby = false;
  // For tests that break disks; empty: the usual one.
  std::function<Result<std::unique_ptr<DiskIo>>()> make_io = {};
};

// Opens every writable disk of the VM file and begins to serve it; requests wait until there is a role.
// Errors: disk_image.h; an image that was last used as the other kind of storage, or by another VM; two disks with one
// image; a socket that cannot be made.
Result<std::vector<std::unique_ptr<LocalDisk>>> open_local_disks(const VmConfig& config,
                                                                 const LocalDiskOptions& options);

}  // namespace us
