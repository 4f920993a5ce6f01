// ReplicaDisk: the disk of a standby (host/standby_disks.h) around the real DiskReplica; each Op is a step.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "core/disk/disk_replica.h"
#include "core/replica/disk_frames.h"
#include "sim/disk_files.h"

namespace us::sim {

class Host;

class ReplicaDisk {
 public:
  struct Hooks {
    std::function<void(Bytes)> reply;
    std::function<void()> settled;
    std::function<void()> changed;
    std::function<void(const char*)> broken;
  };
  ReplicaDisk(Host& host, DiskFiles& files, Hooks hooks);

  // The offer of a session that has just begun, or something of its stream.
  Status on_message(const Message& message, Generation generation, SessionId session);
  Status check(Epoch epoch, ByteSpan barrier) const;
  bool ready(Epoch epoch);
  void commit(Epoch epoch);
  Status end(Epoch last, ByteSpan barrier);
  void end_session();
  void give_up();
  DiskReplica& replica() { return replica_; }
  void pump();

 private:
  Result<DiskBarrier::Count> count_of(Epoch epoch, ByteSpan barrier) const;
  void execute(const DiskReplica::Op& op);
  void pump_later();

  Host& host_;
  DiskFiles& files_;
  Hooks hooks_;
  DiskReplica replica_;
  SessionId session_;
  bool busy_ = false;
  bool hurry_ = false;  // what has committed has waited for more for long enough
  std::shared_ptr<ReplicaDisk*> self_ = std::make_shared<ReplicaDisk*>(this);  // for what may outlive it
};

}  // namespace us::sim
