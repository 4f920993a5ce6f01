// Carries out what DiskReplica and SharedTurn want done, on the files of a simulated host.
#pragma once

#include <optional>

#include "core/disk/disk_replica.h"
#include "sim/host.h"
#include "sim/judge.h"

namespace us::sim {

// One Op; false: it has failed.  A read gives its checksum, TakeImage what is in the files.
struct Execute {
  Host& host;
  DiskFiles& files;
  uint64_t sum = 0;
  std::optional<DiskReplica::Image> taken = {};

  bool operator()(const DiskReplica::WriteRecordFile& op);
  bool operator()(const DiskReplica::WriteMap& op) { return files.write_map(op.update); }
  bool operator()(const DiskReplica::WriteImage& op);
  bool operator()(const DiskReplica::ReadGranule& op);
  bool operator()(const DiskReplica::SyncImage&) { return files.image.sync(); }
  bool operator()(const DiskReplica::WriteJournal& op);
  bool operator()(const DiskReplica::SyncJournal&) { return files.journal.sync(); }
  bool operator()(const DiskReplica::TakeImage&);
  bool operator()(const DiskReplica::LetGo&);
};

// Of a shared image: only who has it writes to it.
void check_turn(Host& host);

}  // namespace us::sim
