// A QEMU for probes: the VM's own machine with little memory and nothing to boot, stopped, with QMP connected.
// It ends with the object.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "config/vm_config.h"
#include "os/child_process.h"
#include "os/guest_ram.h"
#include "os/unique_fd.h"
#include "qemu/command_line.h"
#include "qemu/qmp_client.h"

namespace us::probes {

class QemuSession {
 public:
  // `config` gives machine, CPU and QEMU; its NICs, disks and kernel are left out.  The error has QEMU's own words.
  static Result<std::unique_ptr<QemuSession>> start(const VmConfig& config, Accelerator accelerator, bool incoming);

  QmpClient& qmp() { return *qmp_; }
  GuestRam& ram() { return ram_; }
  Result<nlohmann::json> execute(const std::string& command, const nlohmann::json& arguments = nullptr);

  // Device state of the stopped machine.
  Result<Bytes> save();
  // For `incoming`: loads what save() gave on another session and waits until QEMU has it.
  Status load(ByteSpan device_state);

 private:
  explicit QemuSession(GuestRam ram) : ram_(std::move(ram)) {}
  Status spawn(const VmConfig& config, Accelerator accelerator, bool incoming);
  std::string words() const;  // what QEMU printed

  GuestRam ram_;
  UniqueFd state_;
  UniqueFd output_;
  UniqueFd incoming_;
  std::unique_ptr<QmpClient> qmp_;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace us::probes
