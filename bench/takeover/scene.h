// Scene: a protected guest with clients, whose primary dies again and again.
//
// One takeover: wait a random time, kill the primary's host (or pull its cables), wait until every client goes on, and
// tell what each of them saw and what the new primary says; then the old host comes back as the new standby.  All
// instants are of one clock (os/clock.h): hosts and client are on this machine.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "demo/cluster.h"
#include "takeover/clients.h"

namespace us::bench {

enum class Fault { kKill, kCutNetwork };

struct SceneOptions {
  std::string program;
  std::string guest_dir;
  std::string memory = "512M";
  bool loaded = false;  // bulk and busy redis clients beside the ping
  Fault fault = Fault::kKill;
  int epoch_ms = 25;
  int mbit = 150;  // of the wire between client and switch
  uint64_t seed = 1;
  const std::atomic<bool>& interrupted;
};

// The new primary's own account (docs/status.md).
struct DaemonTimes {
  Instant last_heard, decided, granted, restored, announced, resumed;
};

struct Seen {
  std::string client;
  Silence longest;                // after the fault
  std::vector<Arrival> arrivals;  // since before the fault
};

struct Takeover {
  Instant struck;
  DaemonTimes daemon;
  std::vector<Seen> seen;  // the ping first
};

class Scene {
 public:
  static Result<std::unique_ptr<Scene>> start(const SceneOptions& options);
  ~Scene();

  Result<Takeover> take_over();
  // The old host is the standby again, and the VM is protected.
  Status protect_again();
  // Error: a connection broke, or an acknowledged write is gone.  Call once, at the end.
  Status finish();
  void keep_files() { cluster_->keep_files(); }

 private:
  Scene(const SceneOptions& options, std::unique_ptr<demo::Cluster> cluster);
  std::vector<StallClient*> clients();
  Status check_clients();
  Status wait_protected();
  Result<DaemonTimes> ask_new_primary();

  const SceneOptions options_;
  Rng rng_;
  std::unique_ptr<demo::Cluster> cluster_;
  PingStall ping_;
  RedisStall redis_;
  std::optional<BulkStall> bulk_;
  size_t primary_ = 0;
};

}  // namespace us::bench
