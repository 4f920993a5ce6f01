// Theory of operation: qemu_args is walked option by option.  An option in kAllowed takes the next word as its value
// and hands it to its own check; any other is looked up in kRefusals, whose entries give the reason for a whole
// family of names, and refused.
#include "qemu/argument_policy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "config/field_reader.h"

namespace us {
namespace {

using Reason = std::optional<std::string>;  // nothing: allowed

// Matches a name that equals `name`, or begins with it when it ends in '*'.
struct Refusal {
  std::string_view name;
  std::string_view reason;
};

constexpr std::string_view kPassthrough =
    "it gives the guest a real device of this host, whose state cannot be captured and which the other host does not "
    "have";
constexpr std::string_view kElsewhere =
    "the device lives in another process or in the host kernel, so its state and its writes to guest memory are not "
    "captured";
constexpr std::string_view kLocalFiles =
    "files of this host that the guest changes are not replicated and would disagree with its memory after a takeover";
constexpr std::string_view kSecondRam =
    "it adds RAM outside the one shared block, which the standby would not have after a takeover";
constexpr std::string_view kDisplay =
    "it has video memory that the guest writes and that is not captured; use the serial port";
constexpr std::string_view kDisk = "disks are declared with [[disk]], so that their being read-only is checked";
constexpr std::string_view kNic =
    "it would let output out before it is committed; NICs are declared with [[nic]], which leads them through the gate";
constexpr std::string_view kOutput =
    "it would let output out before it is committed, or let somebody else steer QEMU; the serial port can go to "
    "serial_log";
constexpr std::string_view kRunState = "the node alone starts, stops, saves and loads the VM";
constexpr std::string_view kDiscard = "it takes pages away from the guest behind the dirty tracking's back";
constexpr std::string_view kHidden = "it brings in further options that cannot be checked here";

constexpr std::array kOptionRefusals = {
    Refusal{"machine", "use the VM file's key machine"},
    Refusal{"M", "use the VM file's key machine"},
    Refusal{"accel", "use the VM file's key accelerator"},
    Refusal{"enable-kvm", "use the VM file's key accelerator"},
    Refusal{"cpu", "use the VM file's key cpu"},
    Refusal{"smp", "use the VM file's key cpus"},
    Refusal{"m", "use the VM file's key memory"},
    Refusal{"name", "use the VM file's key name"},
    Refusal{"kernel", "use the VM file's key kernel"},
    Refusal{"initrd", "use the VM file's key initrd"},
    Refusal{"append", "use the VM file's key append"},
    Refusal{"bios", "use the VM file's key firmware"},
    Refusal{"pflash", "its variables are a writable disk that is not replicated; use the VM file's key firmware"},
    Refusal{"mem-*", kSecondRam},
    Refusal{"numa", kSecondRam},
    Refusal{"drive", kDisk},
    Refusal{"blockdev", kDisk},
    Refusal{"hd*", kDisk},
    Refusal{"fd*", kDisk},
    Refusal{"cdrom", kDisk},
    Refusal{"sd", kDisk},
    Refusal{"mtdblock", kDisk},
    Refusal{"netdev", kNic},
    Refusal{"nic", kNic},
    Refusal{"net", kNic},
    Refusal{"virtfs*", kLocalFiles},
    Refusal{"fsdev", kLocalFiles},
    Refusal{"tpmdev", kElsewhere},
    Refusal{"usb*", kPassthrough},
    Refusal{"vga", kDisplay},
    Refusal{"display", kDisplay},
    Refusal{"nographic", "the node sets the console; the serial port can go to serial_log"},
    Refusal{"vnc", kOutput},
    Refusal{"spice", kOutput},
    Refusal{"audio*", kOutput},
    Refusal{"chardev", kOutput},
    Refusal{"serial", kOutput},
    Refusal{"parallel", kOutput},
    Refusal{"debugcon", kOutput},
    Refusal{"mon*", kOutput},
    Refusal{"qmp*", kOutput},
    Refusal{"gdb", kOutput},
    Refusal{"s", kOutput},
    Refusal{"S", kRunState},
    Refusal{"incoming", kRunState},
    Refusal{"loadvm", kRunState},
    Refusal{"snapshot", kRunState},
    Refusal{"daemonize", kRunState},
    Refusal{"preconfig", kRunState},
    Refusal{"action", kRunState},
    Refusal{"no-reboot", kRunState},
    Refusal{"no-shutdown", kRunState},
    Refusal{"watchdog-action", kRunState},
    Refusal{"pidfile", kRunState},
    Refusal{"icount", "guest time then runs by instructions, which was never tried with epochs"},
    Refusal{"readconfig", kHidden},
    Refusal{"set", kHidden},
    Refusal{"add-fd", kHidden},
    Refusal{"plugin", kHidden},
};

constexpr std::array kDeviceRefusals = {
    Refusal{"vfio*", kPassthrough},
    Refusal{"usb-host", kPassthrough},
    Refusal{"usb-redir", kPassthrough},
    Refusal{"scsi-generic", kPassthrough},
    Refusal{"scsi-block", kPassthrough},
    Refusal{"pci-assign", kPassthrough},
    Refusal{"vhost*", kElsewhere},
    Refusal{"virtio-9p*", kLocalFiles},
    Refusal{"tpm*", kElsewhere},
    Refusal{"x-remote*", kElsewhere},
    Refusal{"ivshmem*", "memory shared with others has no consistent copy"},
    Refusal{"nvdimm", kSecondRam},
    Refusal{"pc-dimm", kSecondRam},
    Refusal{"virtio-mem*", kSecondRam},
    Refusal{"virtio-pmem*", kSecondRam},
    Refusal{"VGA", kDisplay},
    Refusal{"*vga*", kDisplay},
    Refusal{"qxl*", kDisplay},
    Refusal{"virtio-gpu*", kDisplay},
    Refusal{"bochs-display", kDisplay},
    Refusal{"ramfb", kDisplay},
    Refusal{"virtio-balloon*", kDiscard},
    Refusal{"virtio-net*", kNic},
    Refusal{"e1000*", kNic},
    Refusal{"rtl8139", kNic},
    Refusal{"ne2k*", kNic},
    Refusal{"pcnet", kNic},
    Refusal{"vmxnet3", kNic},
    Refusal{"virtio-blk*", kDisk},
    Refusal{"virtio-scsi*", kDisk},
    Refusal{"scsi-*", kDisk},
    Refusal{"ide-*", kDisk},
    Refusal{"nvme*", kDisk},
    Refusal{"floppy", kDisk},
    Refusal{"usb-storage", kDisk},
    Refusal{"virtio-serial*", kOutput},
    Refusal{"virtconsole", kOutput},
    Refusal{"virtserialport", kOutput},
    Refusal{"isa-serial", kOutput},
    Refusal{"pci-serial*", kOutput},
    Refusal{"isa-debugcon", kOutput},
    Refusal{"isa-debug-exit", kRunState},
    Refusal{"vmgenid", "every start of QEMU gives it another identity, so a takeover would look like a clone"},
};

constexpr std::array<std::string_view, 5> kDevices = {"i6300esb", "ib700", "pvpanic-pci", "virtio-rng-pci",
                                                      "virtio-rng-device"};
constexpr std::array<std::string_view, 2> kObjects = {"rng-random", "rng-builtin"};
constexpr std::array<std::string_view, 5> kGlobalDrivers = {"ICH9-LPC", "PIIX4_PM", "kvm-pit", "mc146818rtc", "i8042"};

bool matches(std::string_view pattern, std::string_view name) {
  const bool open_start = pattern.starts_with('*');
  const bool open_end = pattern.ends_with('*');
  if (open_start && open_end) return name.find(pattern.substr(1, pattern.size() - 2)) != std::string_view::npos;
  if (open_end) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return name == pattern;
}

std::optional<std::string_view> find_refusal(std::span<const Refusal> table, std::string_view name) {
  for (const Refusal& refusal : table)
    if (matches(refusal.name, name)) return refusal.reason;
  return std::nullopt;
}

std::string known_safe(std::string_view what, std::span<const std::string_view> names) {
  return fmt::format("{} known to be safe: {}", what, fmt::join(names, ", "));
}

// QEMU takes the last of two equal keys: a second driver would be the one that counts.
bool repeats(std::string_view value, std::string_view key) {
  return value.find(fmt::format(",{}=", key)) != std::string_view::npos;
}

// The driver of "-device DRIVER,..." or "-device driver=DRIVER,..."; likewise for -object.
std::string_view leading_name(std::string_view value, std::string_view key) {
  std::string_view first = value.substr(0, value.find(','));
  if (first.starts_with(key) && first.substr(key.size()).starts_with('=')) first.remove_prefix(key.size() + 1);
  return first;
}

Reason check_device(std::string_view value) {
  if (value.starts_with('{')) return "write it as DRIVER,KEY=VALUE instead of JSON";
  if (repeats(value, "driver")) return "the driver comes first and once";
  const std::string_view driver = leading_name(value, "driver");
  if (std::find(kDevices.begin(), kDevices.end(), driver) != kDevices.end()) return std::nullopt;
  if (const auto reason = find_refusal(kDeviceRefusals, driver)) return std::string(*reason);
  return "it was not tried under protection; " + known_safe("devices", kDevices);
}

Reason check_object(std::string_view value) {
  if (repeats(value, "qom-type")) return "the type comes first and once";
  const std::string_view type = leading_name(value, "qom-type");
  if (std::find(kObjects.begin(), kObjects.end(), type) != kObjects.end()) return std::nullopt;
  if (type.starts_with("memory-backend")) return std::string(kSecondRam);
  return "it was not tried under protection; " + known_safe("objects", kObjects);
}

Reason check_global(std::string_view value) {
  const std::string_view driver = value.substr(0, value.find('.'));
  if (std::find(kGlobalDrivers.begin(), kGlobalDrivers.end(), driver) != kGlobalDrivers.end()) return std::nullopt;
  if (driver == "migration") return "the capture of device state depends on QEMU's migration settings";
  return "it was not tried under protection; " + known_safe("drivers", kGlobalDrivers);
}

// clock=rt counts from the host's start, which the other host does not share.
Reason check_rtc(std::string_view value) {
  if (value.find("clock=rt") == std::string_view::npos) return std::nullopt;
  return "the clock \"rt\" counts from this host's start; clocks known to be safe: host, vm";
}

Reason check_fw_cfg(std::string_view value) {
  if (value.find("file=") == std::string_view::npos) return std::nullopt;
  return "the file may differ between the hosts; write the value as string=...";
}

Reason accept(std::string_view) { return std::nullopt; }

struct Allowed {
  std::string_view name;
  Reason (*check)(std::string_view value);
};
constexpr std::array kAllowed = {
    Allowed{"device", check_device},
    Allowed{"object", check_object},
    Allowed{"global", check_global},
    Allowed{"rtc", check_rtc},
    Allowed{"fw_cfg", check_fw_cfg},
    Allowed{"smbios", accept},
    Allowed{"uuid", accept},
    Allowed{"boot", accept},
    Allowed{"d", accept},
    Allowed{"D", accept},
    Allowed{"trace", accept},
};

std::string refuse_option(std::string_view name) {
  if (const auto reason = find_refusal(kOptionRefusals, name)) return std::string(*reason);
  std::vector<std::string> names;
  for (const Allowed& allowed : kAllowed) names.push_back(fmt::format("-{}", allowed.name));
  return fmt::format("it was not tried under protection; options known to be safe: {}", fmt::join(names, ", "));
}

// A word that does not start with '-' is the value of the option before it; a lone one is a disk image to QEMU.
class Walker {
 public:
  Walker(std::span<const QemuArgument> words, config::Faults& faults) : words_(words), faults_(faults) {}

  void walk() {
    while (at_ < words_.size()) step();
  }

 private:
  void step() {
    const QemuArgument& word = words_[at_++];
    std::string_view name = word.text;
    if (!name.starts_with('-') || name == "-")
      return refuse(word, word.text, "an option must come first, such as -smbios");
    name.remove_prefix(name.starts_with("--") ? 2 : 1);
    const auto allowed =
        std::find_if(kAllowed.begin(), kAllowed.end(), [&](const Allowed& a) { return a.name == name; });
    const bool has_value = at_ < words_.size() && !words_[at_].text.starts_with('-');
    if (allowed == kAllowed.end()) {
      const std::string shown = has_value ? fmt::format("{} {}", word.text, words_[at_].text) : word.text;
      if (has_value) ++at_;
      return refuse(word, shown, refuse_option(name));
    }
    if (!has_value) return refuse(word, word.text, "its value is missing; it is the next string of the list");
    const QemuArgument& value = words_[at_++];
    if (const Reason reason = allowed->check(value.text))
      refuse(value, fmt::format("{} {}", word.text, value.text), *reason);
  }

  void refuse(const QemuArgument& where, std::string_view what, std::string_view reason) {
    faults_.add(where.at, fmt::format("qemu_args: {}: refused: {}", what, reason));
  }

  std::span<const QemuArgument> words_;
  config::Faults& faults_;
  size_t at_ = 0;
};

void check_cpu(const VmConfig& config, config::Faults& faults) {
  if (!config.cpu) return;
  const std::string_view cpu = *config.cpu;
  const std::string_view model = cpu.substr(0, cpu.find(','));
  if (model == "host" && config.accelerator == AcceleratorChoice::kTcg)
    faults.add({}, "cpu: \"host\" needs KVM, but accelerator = \"tcg\"; name a model such as \"qemu64\"");
  for (const std::string_view flag : {"+invtsc", "invtsc=on", "migratable=off", "migratable=no"})
    if (cpu.find(flag) != std::string_view::npos)
      faults.add({}, fmt::format("cpu: \"{}\": refused: {} promises the guest a clock that a takeover cannot keep", cpu,
                                 flag));
}

}  // namespace

Status check_qemu_arguments(const VmConfig& config) {
  config::Faults faults(config.file_name);
  check_cpu(config, faults);
  Walker(config.qemu_args, faults).walk();
  if (!faults.empty()) return fail(ErrorKind::kInput, faults.text());
  return {};
}

}  // namespace us
