// StockVm: the same guest, run by QEMU as anybody would, without Understudy: its own tap back end, no epochs, no
// daemon. In a lab of its own, on host A.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "demo/lab.h"
#include "os/child_process.h"

namespace us::bench {

struct StockDisk {
  std::string image{};           // copied; the guest boots from the copy.  Empty: no disk
  bool cache_is_direct = false;  // O_DIRECT
};

class StockVm {
 public:
  // `accelerator` is "kvm" or "tcg".  The QEMU process dies with the calling thread.
  static Result<std::unique_ptr<StockVm>> start(const std::string& prefix, const std::string& guest_dir,
                                                const std::string& memory, const std::string& accelerator,
                                                const WireConfig& wire, const StockDisk& disk = {});
  ~StockVm();

  const demo::Lab& lab() const { return lab_; }
  // The guest's services listen.
  bool ready() const;
  // How QEMU ended, with the end of its log; nothing while it runs.
  std::optional<std::string> poll_exit();

 private:
  StockVm(demo::Lab lab, std::filesystem::path directory) : lab_(std::move(lab)), directory_(std::move(directory)) {}

  demo::Lab lab_;
  const std::filesystem::path directory_;
  std::optional<ChildProcess> qemu_;
};

}  // namespace us::bench
