#include "probes/device_state.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <set>
#include <string>

#include "os/clock.h"
#include "probes/qemu_session.h"
#include "qemu/ram_blocks.h"

namespace us::probes {
namespace {

constexpr std::array kCommands = {"stop",         "cont",          "xen-save-devices-state", "migrate-incoming",
                                  "query-status", "query-version", "human-monitor-command",  "qom-get",
                                  "quit"};
constexpr std::string_view kUnknownQemu = "do not protect a VM with this QEMU; please report its version";

Finding failed(Finding out, Verdict verdict, const std::string& evidence, std::string_view advice) {
  out.verdict = verdict;
  out.evidence = evidence;
  out.advice = advice;
  return out;
}

Finding check_commands(QemuSession& qemu) {
  Finding out{"QMP", "steering QEMU", Verdict::kOk, "every command is there", ""};
  const auto answer = qemu.execute("query-commands");
  if (!answer) return failed(out, Verdict::kUnexpected, answer.error().message, kUnknownQemu);
  std::set<std::string> known;
  for (const auto& entry : *answer) known.insert(entry.value("name", std::string()));
  std::string missing;
  for (const char* command : kCommands)
    if (!known.contains(command)) missing += (missing.empty() ? "" : ", ") + std::string(command);
  if (missing.empty()) return out;
  return failed(out, Verdict::kMissing, "QEMU lacks " + missing, "install qemu-system-x86 of Debian 12 or later");
}

Finding check_memory(QemuSession& qemu, const VmConfig& config) {
  Finding out{"RAM blocks", "knowing all memory that the guest can write", Verdict::kOk,
              "only the shared block is writable", ""};
  const auto text = qemu.qmp().monitor_command(kRamBlockCommand, Duration::seconds(10));
  if (!text) return failed(out, Verdict::kUnexpected, text.error().message, kUnknownQemu);
  const auto blocks = parse_ram_blocks(*text);
  if (!blocks) return failed(out, Verdict::kUnexpected, blocks.error().message, kUnknownQemu);
  VmConfig probed = config;
  probed.memory_bytes = qemu.ram().size();
  const Status judged = check_ram_blocks(*blocks, probed);
  if (!judged) return failed(out, Verdict::kUnexpected, judged.error().message, "remove the device from qemu_args");
  return out;
}

// The first instruction after a reset: QEMU leaves ROMs empty in a machine that waits for device state.
Status check_reset_vector(QemuSession& qemu) {
  US_ASSIGN(const std::string dump, qemu.qmp().monitor_command("xp /1wx 0xfffffff0", Duration::seconds(10)));
  if (dump.find("0x00000000") == std::string::npos) return {};
  return fail(ErrorKind::kSystem, "the firmware of a restored machine reads as zeros: its next reboot would hang");
}

struct Times {
  size_t bytes = 0;
  Duration save;
  Duration load;
};

Result<Times> save_and_load(QemuSession& from, QemuSession& to, Machine machine) {
  Times times;
  US_TRY(from.execute("cont"));
  const Instant began = clock_now();
  US_TRY(from.execute("stop"));
  US_ASSIGN(const Bytes state, from.save());
  times.save = clock_now() - began;
  times.bytes = state.size();
  std::memcpy(to.ram().base(), from.ram().base(), to.ram().size());
  const Instant loading = clock_now();
  US_TRY(to.load(state));
  US_TRY(to.execute("cont"));
  times.load = clock_now() - loading;
  US_ASSIGN(const auto status, to.execute("query-status"));
  if (const std::string now = status.value("status", std::string()); now != "running")
    return fail(ErrorKind::kSystem, fmt::format("after the restore QEMU says \"{}\" instead of \"running\"", now));
  if (machine != Machine::kMicrovm) US_TRY(check_reset_vector(to));
  return times;
}

Finding check_state(QemuSession& qemu, const VmConfig& config, Accelerator accelerator) {
  Finding out{"device state", "capturing an epoch, and taking over from it", Verdict::kOk, "", ""};
  auto standby = QemuSession::start(config, accelerator, true);
  if (!standby) return failed(out, Verdict::kUnexpected, standby.error().message, kUnknownQemu);
  const auto times = save_and_load(qemu, **standby, config.machine);
  if (!times) return failed(out, Verdict::kUnexpected, times.error().message, kUnknownQemu);
  out.evidence = fmt::format("{} KiB stopped and saved in {:.1f} ms, loaded and running in {:.1f} ms",
                             times->bytes / 1024, times->save.to_millis_f(), times->load.to_millis_f());
  return out;
}

}  // namespace

std::vector<Finding> probe_device_state(const VmConfig& config, Accelerator accelerator) {
  auto qemu = QemuSession::start(config, accelerator, false);
  if (!qemu)
    return {failed({"QMP", "steering QEMU", Verdict::kOk, "", ""}, Verdict::kUnexpected, qemu.error().message,
                   "see QEMU's own words; machine, cpu and qemu_args of the VM file are the usual cause")};
  std::vector<Finding> out = {check_commands(**qemu)};
  if (is_usable(out.back().verdict)) out.push_back(check_memory(**qemu, config));
  if (is_usable(out.back().verdict)) out.push_back(check_state(**qemu, config, accelerator));
  return out;
}

}  // namespace us::probes
