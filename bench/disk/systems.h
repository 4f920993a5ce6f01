// Systems: the machines that the disk benchmark compares, each with the same guest, disk and network of its own, all
// running for the whole benchmark:
//
//   stock        QEMU alone, its own driver on the image (`-blockdev driver=file`)
//   unprotected  understudy without a standby: our NBD server, no epochs
//   replicated   understudy with a standby, an image on each host
//   shared       understudy with a standby, one image that both reach
//
// The protected ones cut once a second while they are not being measured.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "demo/cluster.h"
#include "tcp/stock_vm.h"

namespace us::bench {

struct DiskOptions {
  std::string program;     // the understudy executable
  std::string guest_dir;   // docs/guest.md
  std::string disk_image;  // docs/guest.md
  std::string epoch = "25ms";
  std::string cache = "writeback";  // of all machines
  int rounds = 3;
  double seconds = 8;              // of each measurement
  std::vector<std::string> modes;  // empty: all; stock is always measured
  std::vector<std::string> loads;  // empty: all
  bool keep_files = false;
};

const std::vector<std::string>& disk_modes();
inline bool is_protected_mode(const std::string& mode) { return mode == "replicated" || mode == "shared"; }

class DiskSystems {
 public:
  // `say` tells a person what is being waited for.
  DiskSystems(const DiskOptions& options, const std::atomic<bool>& interrupted,
              std::function<void(const std::string&)> say);

  // Starts these machines, and with them `unprotected`, of which the accelerator is learnt.
  Status start(const std::vector<std::string>& modes);
  // The one that is measured next; the others come to rest.
  Status prepare(const std::string& mode);
  // Runs a shell line in the guest that was prepared.
  Result<std::string> run(const std::string& line);
  // How long that guest has stood still for cuts since its start, in ms; 0 without a standby.
  Result<double> paused_ms() const;
  // Error: the machine is not in the state any more in which it was prepared.
  Status check() const;

 private:
  Result<std::unique_ptr<demo::Cluster>> start_cluster(const std::string& mode);
  Status start_stock();
  Status set_epoch(const std::string& mode, const std::string& length) const;

  const DiskOptions& options_;
  const std::atomic<bool>& interrupted_;
  const std::function<void(const std::string&)> say_;
  std::map<std::string, std::unique_ptr<demo::Cluster>> clusters_;  // by mode
  std::unique_ptr<StockVm> stock_;
  std::string current_;
};

}  // namespace us::bench
