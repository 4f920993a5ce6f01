#include "config/vm_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "config/derived_names.h"
#include "config/field_reader.h"

namespace us {
namespace {

using config::FieldReader;
using config::Node;
using config::Range;

constexpr std::array<std::string_view, 3> kAccelerators = {"auto", "kvm", "tcg"};
constexpr std::array<std::string_view, 3> kMachines = {"q35", "pc", "microvm"};
constexpr std::array<std::string_view, 3> kCompressions = {"auto", "lz4", "none"};
constexpr std::array<std::string_view, 3> kDirtyTrackers = {"auto", "userfaultfd", "soft-dirty"};
constexpr std::array<std::string_view, 2> kDiskFormats = {"raw", "qcow2"};
constexpr std::array<std::string_view, 3> kDiskStorages = {"read-only", "replicated", "shared"};
constexpr std::array<std::string_view, 3> kDiskBuses = {"virtio-blk", "virtio-scsi", "ahci"};
constexpr std::array<std::string_view, 2> kDiskCaches = {"writeback", "none"};
constexpr std::array<std::string_view, 1> kArbiterTypes = {"directory"};
constexpr size_t kNameMax = 32;
constexpr int64_t kVmFileBytesMax = 1 << 20;

constexpr std::array<std::string_view, 12> kKeysInTables = {"audit.every",
                                                            "replication.hosts",
                                                            "replication.heartbeat",
                                                            "replication.detection",
                                                            "replication.compression",
                                                            "replication.rejoin",
                                                            "epoch.length",
                                                            "tcp.mode",
                                                            "arbiter.primary_delay",
                                                            "limits.gate",
                                                            "nic.bridge",
                                                            "nic.mac"};

constexpr std::string_view kHostsAdvice =
    "the replication address of every host that may run this VM, such as "
    "hosts = [\"10.0.0.1:7400\", \"10.0.0.2:7400\"] under [replication]";

// Reads one file.  Each read_* takes the keys of one table.
class Parser {
 public:
  Parser(std::string_view file_name, config::Faults& faults) : faults_(faults) {
    out_.file_name = file_name;
    directory_ = std::filesystem::path(file_name).parent_path();
  }

  VmConfig parse(const Node& root) {
    FieldReader top(&root, "", {}, faults_);
    read_machine(top);
    read_boot(top);
    read_qemu(top);
    read_disks(top);
    read_nics(top);
    read_epoch(top);
    read_audit(top);
    read_tcp(top);
    read_replication(top);
    read_arbiter(top);
    read_limits(top);
    top.finish(kKeysInTables);
    return std::move(out_);
  }

 private:
  void read_machine(FieldReader& top);
  void read_boot(FieldReader& top);
  void read_qemu(FieldReader& top);
  void read_disks(FieldReader& top);
  void read_disk(const Node& node, size_t index);
  void read_disk_files(FieldReader& table, DiskConfig& disk);
  void judge_disk(FieldReader& table, const DiskConfig& disk);
  void read_nics(FieldReader& top);
  void read_nic(const Node& node, size_t index);
  void check_nics_differ(const std::span<const Node> nodes);
  void read_epoch(FieldReader& top);
  void read_audit(FieldReader& top);
  void read_tcp(FieldReader& top);
  void read_replication(FieldReader& top);
  void read_hosts(FieldReader& table);
  void read_arbiter(FieldReader& top);
  void read_limits(FieldReader& top);
  std::optional<HostPath> path(FieldReader& table, std::string_view key);
  std::optional<std::string> interface_name(FieldReader& table, std::string_view key);

  // The table under `key`; an absent one is reported, when it must be there, by what it must contain.
  FieldReader open(FieldReader& top, std::string_view key) {
    const Node* table = top.table(key);
    return FieldReader(table, std::string(key), table != nullptr ? table->at : config::Location{}, faults_);
  }

  config::Faults& faults_;
  std::filesystem::path directory_;
  VmConfig out_;
};

bool is_name(std::string_view name) {
  const auto plain = [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || name.size() > kNameMax || !plain(static_cast<unsigned char>(name[0]))) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](unsigned char c) { return plain(c) || c == '.' || c == '_' || c == '-'; });
}

std::optional<std::array<uint8_t, 6>> parse_mac(std::string_view text) {
  std::array<uint8_t, 6> mac{};
  if (text.size() != 17) return std::nullopt;
  for (size_t i = 0; i < mac.size(); ++i) {
    const char* at = text.data() + 3 * i;
    if (std::from_chars(at, at + 2, mac[i], 16).ptr != at + 2) return std::nullopt;
    if (i < 5 && at[2] != ':') return std::nullopt;
  }
  return mac;
}

void Parser::read_machine(FieldReader& top) {
  top.require("name", "a name for the VM, such as name = \"web\"");
  if (const auto name = top.string("name")) {
    out_.name = *name;
    if (!is_name(*name))
      top.fault("name", fmt::format("\"{}\" cannot be a VM name; expected 1 to {} of A-Z a-z 0-9 . _ - that begin "
                                    "with a letter or a digit",
                                    *name, kNameMax));
  }
  top.require("memory", "the guest's RAM, such as memory = \"512M\"");
  out_.memory_bytes = top.size("memory", {kMemoryMin, kMemoryMax}, kMemoryStep).value_or(kMemoryMin);
  out_.cpus = static_cast<int>(top.integer("cpus", {1, kCpusMax}).value_or(1));
  if (const auto i = top.one_of("accelerator", kAccelerators)) out_.accelerator = static_cast<AcceleratorChoice>(*i);
  if (const auto i = top.one_of("machine", kMachines)) out_.machine = static_cast<Machine>(*i);
  if (const auto i = top.one_of("dirty_tracker", kDirtyTrackers))
    out_.dirty_tracker = static_cast<DirtyTrackerChoice>(*i);
  out_.cpu = top.string("cpu");
}

void Parser::read_boot(FieldReader& top) {
  out_.kernel = path(top, "kernel");
  out_.initrd = path(top, "initrd");
  out_.append = top.string("append").value_or("");
  out_.firmware = path(top, "firmware");
  for (const std::string_view key : {"initrd", "append"})
    if (top.has(key) && !top.has("kernel")) top.fault(key, "needs kernel as well");
  if (!top.has("kernel") && !top.has("disk"))
    top.fault("kernel", "nothing to boot from; expected kernel = \"...\" or a [[disk]]");
  if (out_.machine == Machine::kMicrovm && !top.has("kernel"))
    top.fault("kernel", "machine = \"microvm\" boots only from a kernel file; expected kernel = \"...\"");
}

void Parser::read_qemu(FieldReader& top) {
  out_.serial_log = path(top, "serial_log");
  if (const auto binary = top.string("qemu_binary")) out_.qemu_binary = *binary;
  for (const Node& item : top.list("qemu_args", Node::Kind::kString)) out_.qemu_args.push_back({item.text, item.at});
}

void Parser::read_disks(FieldReader& top) {
  const auto nodes = top.list("disk", Node::Kind::kTable);
  if (nodes.size() > kDisksMax) top.fault("disk", fmt::format("more than {} disks", kDisksMax));
  for (size_t i = 0; i < nodes.size(); ++i) read_disk(nodes[i], i);
}

void Parser::read_disk(const Node& node, size_t index) {
  FieldReader table(&node, fmt::format("disk[{}]", index), node.at, faults_);
  DiskConfig disk;
  table.require("file", "the image, such as file = \"root.img\"");
  if (const auto file = path(table, "file")) disk.file = *file;
  if (const auto i = table.one_of("format", kDiskFormats)) disk.format = kDiskFormats[*i];
  const bool read_only = table.boolean("read_only").value_or(false);
  disk.storage = read_only ? DiskStorage::kReadOnly : DiskStorage::kReplicated;
  if (const auto i = table.one_of("storage", kDiskStorages)) disk.storage = static_cast<DiskStorage>(*i);
  if (read_only && disk.writable())
    table.fault("storage", "a disk with read_only = true is not written; remove one of the two keys");
  if (const auto i = table.one_of("bus", kDiskBuses)) disk.bus = static_cast<DiskBus>(*i);
  if (const auto i = table.one_of("cache", kDiskCaches)) disk.cache = static_cast<DiskCache>(*i);
  disk.size_bytes = table.size("size", {kDiskBytesMin, kDiskBytesMax}, kDiskBytesStep);
  read_disk_files(table, disk);
  judge_disk(table, disk);
  table.finish();
  out_.disks.push_back(std::move(disk));
}

void Parser::read_disk_files(FieldReader& table, DiskConfig& disk) {
  const Node* files = table.table("files");
  if (files == nullptr) return;
  FieldReader hosts(files, table.full_key("files"), files->at, faults_);
  for (const config::Member& member : files->members) {
    const auto address = parse_replica_address(member.key);
    const auto file = path(hosts, member.key);
    if (!address)
      hosts.fault(member.key, "is not an address of replication.hosts; expected such as \"10.0.0.1:7400\"");
    else if (file)
      disk.files.emplace(*address, *file);
  }
}

void Parser::judge_disk(FieldReader& table, const DiskConfig& disk) {
  if (!disk.writable())
    for (const std::string_view key : {"size", "cache", "files"})
      if (table.has(key))
        table.fault(key, "is only for a disk that the guest writes to (storage = \"replicated\" or \"shared\")");
  if (disk.storage == DiskStorage::kShared && table.has("cache"))
    table.fault("cache", "a shared disk is always used past the page cache; remove the key");
  if (disk.writable() && disk.format == "qcow2" && !disk.size_bytes)
    table.fault("size",
                "a qcow2 image does not tell its disk's size before it is opened; expected such as size = \"20G\"");
  if (out_.machine == Machine::kMicrovm && disk.bus == DiskBus::kAhci)
    table.fault("bus", "machine = \"microvm\" has no AHCI; expected \"virtio-blk\" or \"virtio-scsi\"");
}

void Parser::read_nics(FieldReader& top) {
  const auto nodes = top.list("nic", Node::Kind::kTable);
  if (nodes.size() > kNicsMax) top.fault("nic", fmt::format("more than {} NICs", kNicsMax));
  for (size_t i = 0; i < nodes.size(); ++i) read_nic(nodes[i], i);
  check_nics_differ(nodes);
}

void Parser::read_nic(const Node& node, size_t index) {
  FieldReader table(&node, fmt::format("nic[{}]", index), node.at, faults_);
  NicConfig nic;
  nic.bridge = interface_name(table, "bridge").value_or("");
  nic.tap = interface_name(table, "tap").value_or(config::derived_tap_name(out_.name, index));
  nic.mac = config::derived_mac(out_.name, index);
  if (const auto text = table.string("mac")) {
    const auto mac = parse_mac(*text);
    const bool usable = mac && ((*mac)[0] & 1) == 0 && *mac != std::array<uint8_t, 6>{};
    if (usable) {
      nic.mac = *mac;
    } else {
      table.fault("mac", fmt::format("\"{}\" is not the address of one station; expected six hexadecimal pairs such "
                                     "as \"52:54:00:12:34:56\", the first even",
                                     *text));
    }
  }
  table.finish();
  out_.nics.push_back(std::move(nic));
}

void Parser::check_nics_differ(const std::span<const Node> nodes) {
  std::set<std::string> taps;
  std::set<std::array<uint8_t, 6>> macs;
  for (size_t i = 0; i < out_.nics.size(); ++i) {
    const NicConfig& nic = out_.nics[i];
    if (!taps.insert(nic.tap).second)
      faults_.add(nodes[i].at, fmt::format("nic[{}].tap: \"{}\" is used by an earlier NIC", i, nic.tap));
    if (!macs.insert(nic.mac).second)
      faults_.add(nodes[i].at, fmt::format("nic[{}].mac: \"{}\" is used by an earlier NIC", i, mac_text(nic.mac)));
  }
}

void Parser::read_epoch(FieldReader& top) {
  FieldReader table = open(top, "epoch");
  RuntimeSettings& out = out_.runtime;
  constexpr std::array<std::string_view, 2> kPolicies = {"fixed", "adaptive"};
  out.epoch_length = table.duration("length", {kEpochMin, kEpochMax}).value_or(out.epoch_length);
  if (const auto policy = table.one_of("policy", kPolicies))
    out.epoch_kind = *policy == 0 ? EpochKind::kFixed : EpochKind::kAdaptive;
  out.latency_target = table.duration("latency_target", {kEpochMin, kEpochMax}).value_or(out.latency_target);
  if (const auto percent = table.integer("pause_budget", {1, 90}))
    out.pause_budget_percent = static_cast<int>(*percent);
  table.finish();
}

void Parser::read_audit(FieldReader& top) {
  FieldReader table = open(top, "audit");
  if (const auto every = table.integer("every", {0, kAuditEveryMax}))
    out_.runtime.audit_every = static_cast<uint64_t>(*every);
  table.finish();
}

void Parser::read_tcp(FieldReader& top) {
  FieldReader table = open(top, "tcp");
  TcpSettings& out = out_.runtime.tcp;
  const std::vector<std::string_view>& modes = tcp_mode_names();
  if (const auto mode = table.one_of("mode", modes)) apply_tcp_mode(modes[*mode], out);
  const auto read_switch = [&](std::string_view key, bool& value) { value = table.boolean(key).value_or(value); };
  read_switch("relay", out.relay);
  read_switch("ack_guest", out.ack_guest);
  read_switch("ack_peer", out.ack_peer);
  read_switch("recovery", out.recovery);
  read_switch("offload", out.offload);
  read_switch("cut_on_output", out.cut_on_output);
  table.finish();
}

void Parser::read_replication(FieldReader& top) {
  FieldReader table = open(top, "replication");
  ReplicationConfig& out = out_.replication;
  read_hosts(table);
  out.heartbeat = table.duration("heartbeat", {kHeartbeatMin, kHeartbeatMax}).value_or(out.heartbeat);
  out.detection = table.duration("detection", {kDetectionMin, kDetectionMax}).value_or(out.detection);
  if (out.detection < out.heartbeat * kHeartbeatsPerDetection)
    table.fault(table.has("detection") ? "detection" : "heartbeat",
                fmt::format("detection ({}) must be at least {} heartbeats of {}, or one late packet would be taken "
                            "for a dead host",
                            config::duration_text(out.detection), kHeartbeatsPerDetection,
                            config::duration_text(out.heartbeat)));
  if (const auto i = table.one_of("compression", kCompressions)) out.compression = static_cast<Compression>(*i);
  out.rejoin = table.boolean("rejoin").value_or(out.rejoin);
  table.finish();
}

void Parser::read_hosts(FieldReader& table) {
  table.require("hosts", kHostsAdvice);
  if (!table.has("hosts")) return;
  const auto nodes = table.list("hosts", Node::Kind::kString);
  std::set<ReplicaAddress> seen;
  for (const Node& node : nodes) {
    const auto address = parse_replica_address(node.text);
    if (!address) {
      faults_.add(node.at, fmt::format("replication.hosts: {} is not a numeric address and port; expected such as "
                                       "\"10.0.0.1:7400\" or \"[fd00::1]:7400\"",
                                       config::shown(node)));
    } else if (!seen.insert(*address).second) {
      faults_.add(node.at, fmt::format("replication.hosts: {} is there twice", config::shown(node)));
    } else {
      out_.replication.hosts.push_back(*address);
    }
  }
  if (nodes.size() < 2 || nodes.size() > kHostsMax)
    table.fault("hosts", fmt::format("expected 2 to {} addresses: {}", kHostsMax, kHostsAdvice));
}

void Parser::read_arbiter(FieldReader& top) {
  FieldReader table = open(top, "arbiter");
  table.one_of("type", kArbiterTypes);
  table.require("path",
                "a directory that all hosts of the VM share, which decides who runs it when they lose each "
                "other, such as path = \"/mnt/shared/understudy\" under [arbiter]");
  if (const auto directory = path(table, "path")) out_.arbiter.directory = *directory;
  const Duration usual = out_.replication.detection * 3;
  out_.arbiter.primary_delay = table.duration("primary_delay", {Duration::nanos(0), kPrimaryDelayMax}).value_or(usual);
  table.finish();
}

void Parser::read_limits(FieldReader& top) {
  FieldReader table = open(top, "limits");
  out_.gate_bytes_max = table.size("gate", {kGateMin, kGateMax}, 1).value_or(out_.gate_bytes_max);
  table.finish();
}

std::optional<HostPath> Parser::path(FieldReader& table, std::string_view key) {
  const auto written = table.string(key);
  if (!written) return std::nullopt;
  const std::filesystem::path absolute = std::filesystem::absolute(directory_ / *written);
  return HostPath{*written, absolute.lexically_normal().string()};
}

std::optional<std::string> Parser::interface_name(FieldReader& table, std::string_view key) {
  auto name = table.string(key);
  if (!name || config::is_interface_name(*name)) return name;
  table.fault(key, fmt::format("\"{}\" cannot be the name of a network interface; expected 1 to {} characters without "
                               "'/', ':', '%' or spaces",
                               *name, config::kInterfaceNameMax));
  return std::nullopt;
}

}  // namespace

Result<VmConfig> parse_vm_config(std::string_view text, std::string_view file_name) {
  US_ASSIGN(const Node root, config::parse_document(text, file_name));
  config::Faults faults{std::string(file_name)};
  VmConfig parsed = Parser(file_name, faults).parse(root);
  if (!faults.empty()) return fail(ErrorKind::kInput, faults.text());
  return parsed;
}

Result<VmConfig> load_vm_config(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return fail(ErrorKind::kInput, path + ": there is no such VM file");
  if (std::filesystem::is_directory(status)) return fail(ErrorKind::kInput, path + ": is a directory, not a VM file");
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(ErrorKind::kInput, path + ": this VM file cannot be opened for reading");
  std::string text(static_cast<size_t>(kVmFileBytesMax) + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (in.bad()) return fail(ErrorKind::kInput, path + ": this VM file cannot be read");
  if (text.size() > static_cast<size_t>(kVmFileBytesMax))
    return fail(ErrorKind::kInput, path + ": larger than 1M, so not a VM file");
  return parse_vm_config(text, path);
}

std::string_view to_text(AcceleratorChoice choice) { return kAccelerators[static_cast<size_t>(choice)]; }
std::string_view to_text(Machine machine) { return kMachines[static_cast<size_t>(machine)]; }
std::string_view to_text(Compression compression) { return kCompressions[static_cast<size_t>(compression)]; }
std::string_view to_text(DiskStorage storage) { return kDiskStorages[static_cast<size_t>(storage)]; }
std::string_view to_text(DiskBus bus) { return kDiskBuses[static_cast<size_t>(bus)]; }

std::string mac_text(const std::array<uint8_t, 6>& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

}  // namespace us
