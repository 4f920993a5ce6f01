// ColoPair: the guest of the benchmarks under QEMU's own COLO (docs/COLO-FT.txt and docs/colo-proxy.txt in QEMU): the
// primary on host A, the secondary on host B, in a lab of its own with the same wire as every other machine.
//
// Set up as QEMU's documents say, but for the disk, which this guest does not have, and the card, which is virtio-net
// with vnet_hdr_support.  QEMU is unmodified.  Every wait is bounded, and an error says what was seen instead.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "demo/lab.h"
#include "os/child_process.h"
#include "qemu/qmp_client.h"

namespace us::bench {

struct ColoOptions {
  std::string prefix;
  std::vector<std::string> qemu;  // what starts it
  std::string guest_dir;
  std::string memory = "512M";
  std::string accelerator = "tcg";
  int checkpoint_ms = 1000;  // x-checkpoint-delay: the longest time between two
  WireConfig wire;
  bool colo = true;  // false: the primary alone, without COLO's filters
};

class ColoPair {
 public:
  // The guest has booted, on the primary alone.
  static Result<std::unique_ptr<ColoPair>> start(const ColoOptions& options);
  ~ColoPair();

  const demo::Lab& lab() const { return lab_; }
  // Starts the secondary and goes into COLO; both guests run, and three checkpoints were made.
  Status protect();
  // Error: it is not in COLO any more.
  Status check();
  // The primary's pauses since the last call, from its STOP and RESUME events.
  Result<std::vector<Duration>> take_pauses();

  // Host A dies, and the secondary is told at once, for COLO has no failure detector of its own.
  Status fail_over();

 private:
  struct Machine {
    std::optional<ChildProcess> process;
    std::unique_ptr<QmpClient> qmp;
    std::vector<nlohmann::json> events;
  };

  ColoPair(const ColoOptions& options, demo::Lab lab, std::filesystem::path directory)
      : options_(options), lab_(std::move(lab)), directory_(std::move(directory)) {}
  Status start_machine(Machine& machine, size_t host, const std::vector<std::string>& special);
  Result<nlohmann::json> ask(Machine& machine, const std::string& command, const nlohmann::json& arguments = nullptr);
  Status demand_colo(Machine& machine);
  Status wait_in_colo();
  Status see_checkpoints(int count);
  std::string last_words(size_t host) const;

  const ColoOptions options_;
  demo::Lab lab_;
  const std::filesystem::path directory_;
  Machine primary_, secondary_;
};

}  // namespace us::bench
