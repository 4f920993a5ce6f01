#include "host/doctor.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/host_files.h"
#include "os/socket.h"
#include "probes/arbiter_directory.h"
#include "probes/device_state.h"
#include "probes/host.h"
#include "probes/memory_tracking.h"
#include "probes/network.h"
#include "probes/qemu_program.h"
#include "probes/shared_image.h"
#include "qemu/accelerator.h"
#include "qemu/argument_policy.h"

namespace us {
namespace {

using probes::Finding;
using probes::Verdict;

bool all_usable(const std::vector<Finding>& findings) {
  return std::all_of(findings.begin(), findings.end(), [](const Finding& f) { return probes::is_usable(f.verdict); });
}

// What a host without a VM file is asked for.
VmConfig usual_machine() {
  VmConfig config;
  config.name = "doctor";
  config.memory_bytes = kMemoryMin;
  return config;
}

void examine_host(uint64_t guest_bytes, DirtyTrackerChoice tracker, std::vector<Finding>& out) {
  for (Finding& finding :
       probes::judge_tracking({probes::probe_kernel(), probes::probe_userfaultfd(), probes::probe_pagemap_scan(),
                               probes::probe_ptrace(), probes::probe_dirty_tracking()},
                              probes::probe_soft_dirty(), tracker))
    out.push_back(std::move(finding));
  out.push_back(probes::probe_processors());
  out.push_back(probes::probe_memory(guest_bytes));
  out.push_back(probes::probe_memfd());
  out.push_back(probes::probe_tap());
  out.push_back(probes::probe_bridge());
}

void examine_qemu(const VmConfig& config, std::vector<Finding>& out) {
  out.push_back(probes::probe_qemu(config));
  if (!probes::is_usable(out.back().verdict)) return;
  out.push_back(probes::probe_firmware(config));
  if (!probes::is_usable(out.back().verdict)) return;
  const auto chosen = choose_accelerator(config);
  out.push_back(probes::judge_accelerator(chosen, config.accelerator));
  if (!chosen) return;
  for (Finding& finding : probes::probe_device_state(config, chosen->accelerator)) out.push_back(std::move(finding));
}

// One finding a line of `faults`.
void add_faults(const Status& status, const char* probe, const char* purpose, std::vector<Finding>& out) {
  if (status) {
    out.push_back({probe, purpose, Verdict::kOk, "nothing is missing", ""});
    return;
  }
  std::string_view rest = status.error().message;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    out.push_back(
        {probe, purpose, Verdict::kMissing, std::string(rest.substr(0, end)), "change the host or the VM file"});
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

// As this host calls it.
const std::string& file_here(const VmConfig& config, const DiskConfig& disk) {
  for (const ReplicaAddress& host : config.replication.hosts)
    if (const auto address = SocketAddress::from(host.ip, host.port); address && is_local_address(*address))
      return disk.file_on(host).path;
  return disk.file.path;
}

void examine_vm(const VmConfig& config, std::vector<Finding>& out) {
  add_faults(check_host_files(config), "VM file", "what the VM file refers to on this host", out);
  for (const DiskConfig& disk : config.disks)
    if (disk.storage == DiskStorage::kShared) out.push_back(probes::probe_shared_image(file_here(config, disk)));
  out.push_back(probes::probe_arbiter_directory(config.arbiter.directory.path));
}

}  // namespace

std::vector<Finding> examine(const VmConfig* vm) {
  std::vector<Finding> out;
  const VmConfig config = vm != nullptr ? *vm : usual_machine();
  examine_host(vm != nullptr ? vm->memory_bytes : 0, config.dirty_tracker, out);
  examine_qemu(config, out);
  if (vm != nullptr) examine_vm(*vm, out);
  return out;
}

std::string findings_text(const std::vector<Finding>& findings) {
  std::string out;
  size_t degraded = 0;
  for (const Finding& finding : findings) {
    out += fmt::format("{:<10}  {:<14}  {}\n", probes::to_text(finding.verdict), finding.probe, finding.evidence);
    if (finding.verdict == Verdict::kOk) continue;
    if (finding.verdict == Verdict::kDegraded) ++degraded;
    out += fmt::format("{0:<28}needed for: {1}\n{0:<28}what to do: {2}\n", "", finding.purpose, finding.advice);
  }
  if (!all_usable(findings)) return out + "\nVMs cannot be protected on this host until this is mended.\n";
  if (degraded > 0) return out + fmt::format("\nVMs can be protected on this host; {} could be better.\n", degraded);
  return out + "\nVMs can be protected on this host.\n";
}

nlohmann::json findings_json(const std::vector<Finding>& findings) {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"probe", finding.probe},
                    {"purpose", finding.purpose},
                    {"verdict", std::string(probes::to_text(finding.verdict))},
                    {"evidence", finding.evidence},
                    {"advice", finding.advice}});
  }
  return {{"usable", all_usable(findings)}, {"findings", std::move(list)}};
}

int run_doctor(const DoctorOptions& options, std::ostream& out) {
  std::optional<VmConfig> vm;
  if (!options.vm_file.empty()) {
    auto loaded = load_vm_config(options.vm_file);
    const Status checked = loaded ? check_qemu_arguments(*loaded) : Status(tl::unexpected<Error>(loaded.error()));
    if (!checked) {
      out << (options.json ? nlohmann::json{{"usable", false}, {"error", checked.error().message}}.dump(2)
                           : checked.error().message)
          << "\n";
      return 2;
    }
    vm = std::move(*loaded);
  }
  const std::vector<Finding> findings = examine(vm ? &*vm : nullptr);
  // A message of the operating system or of QEMU need not be UTF-8.
  out << (options.json ? findings_json(findings).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"
                       : findings_text(findings));
  return all_usable(findings) ? 0 : 1;
}

}  // namespace us
