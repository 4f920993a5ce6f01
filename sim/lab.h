// Lab: everything that one run consists of, as its parts see each other.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "core/replica/failover_config.h"
#include "sim/arbiter.h"
#include "sim/client.h"
#include "sim/disk_files.h"
#include "sim/network.h"
#include "sim/world.h"

namespace us::sim {

class Host;
class Judge;

// Times of the host wiring (host/primary.cc, host/standby.cc), shortened where only patience is at stake.
struct WiringTimes {
  Duration epoch = Duration::millis(25);
  Duration dial = Duration::millis(100);
  Duration dial_reply = Duration::millis(200);
  Duration stream_stall = Duration::millis(1200);
  Duration guest_end_ack = Duration::millis(500);
  Duration resigned_drain = Duration::millis(500);
  Duration hello = Duration::millis(400);
  Duration guest_timer = Duration::millis(7);
  // A thread that is woken runs after this; now and then (busy) much later.
  Duration wake_low = Duration::micros(5);
  Duration wake_high = Duration::micros(120);
  double busy = 0.002;
  Duration busy_by = Duration::millis(15);
};

struct Lab {
  explicit Lab(uint64_t seed);
  ~Lab();

  World world;
  Network network;
  SimArbiter arbiter;
  FailoverConfig failover;
  WiringTimes times;
  std::unique_ptr<Judge> judge;
  std::array<std::unique_ptr<Host>, 2> hosts;
  std::array<std::unique_ptr<Client>, kClients> clients;
  std::array<bool, 2> data_cut{};       // no client hears this host
  std::array<bool, 2> restore_fails{};  // the next takeover there does not succeed
  uint64_t sessions = 0;
  bool audit_disks = false;  // primaries do so now and then
  // The disk is `shared`: one image, and who has its lock.
  bool shared_disk = false;
  std::unique_ptr<DiskFiles> shared_files;
  std::optional<HostId> image_holder;

  Host& host(HostId id) { return *hosts[index_of(id)]; }
};

}  // namespace us::sim
