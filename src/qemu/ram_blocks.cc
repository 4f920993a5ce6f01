#include "qemu/ram_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>

namespace us {
namespace {

constexpr size_t kBlocksMax = 256;

bool parse_hex(std::string_view text, uint64_t& value) {
  if (!text.starts_with("0x")) return false;
  text.remove_prefix(2);
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return error == std::errc{} && rest == text.data() + text.size();
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(std::move(word));
  return words;
}

// From the right, because the name may be empty or, in theory, hold spaces:
//   NAME  4 KiB  OFFSET USED TOTAL [HVA ro|rw]
bool parse_row(std::vector<std::string> words, RamBlock& block) {
  if (words.empty()) return false;
  const std::string& last = words.back();
  if (last == "ro" || last == "rw") {
    block.access = last == "ro" ? RamBlock::Access::kReadOnly : RamBlock::Access::kReadWrite;
    if (words.size() < 2) return false;
    words.resize(words.size() - 2);
  }
  uint64_t offset = 0;
  const size_t n = words.size();
  if (n < 5 || !parse_hex(words[n - 1], block.total_bytes) || !parse_hex(words[n - 2], block.used_bytes) ||
      !parse_hex(words[n - 3], offset) || !words[n - 4].ends_with("B"))
    return false;
  for (size_t i = 0; i + 5 < n; ++i) block.name += (i > 0 ? " " : "") + words[i];
  return true;
}

// ROMs whose contents QEMU makes from its own files on every host: firmware, its copy below 1 MiB, option ROMs, and
// fw_cfg files (ACPI tables), which the guest reads through a device.
bool is_rom_name(std::string_view name) {
  if (name == "pc.bios" || name == "pc.rom" || name == "isa-bios" || name == "system.flash0") return true;
  return name.starts_with("/rom@etc/") || (name.ends_with(".rom") && name.find('/') != std::string_view::npos);
}

// Blocks that QEMU lists as writable although nothing is lost with them.  The flash chip: its contents change only by
// commands to the device, which refuses them because its file is read-only (command_line.cc).  A microvm's firmware
// lies in RAM, but nothing reads it once the kernel has started, and a microvm never reboots.
bool may_be_listed_writable(std::string_view name, Machine machine) {
  return name == "system.flash0" || (machine == Machine::kMicrovm && name == "pc.bios");
}

std::string describe(const RamBlock& block) {
  return fmt::format("\"{}\" ({})", block.name.empty() ? "unnamed" : block.name, config::size_text(block.total_bytes));
}

Status check_main_block(const std::vector<RamBlock>& blocks, const VmConfig& config) {
  const auto count =
      std::count_if(blocks.begin(), blocks.end(), [](const RamBlock& b) { return b.name == kMainRamBlock; });
  if (count != 1)
    return fail(ErrorKind::kRefused,
                fmt::format("QEMU has {} RAM blocks named \"{}\"; protection needs exactly one", count, kMainRamBlock));
  const auto main =
      std::find_if(blocks.begin(), blocks.end(), [](const RamBlock& b) { return b.name == kMainRamBlock; });
  if (main->total_bytes == config.memory_bytes) return {};
  return fail(ErrorKind::kRefused,
              fmt::format("QEMU's RAM block \"{}\" has {}, but the VM file says memory = {}", kMainRamBlock,
                          config::size_text(main->total_bytes), config::size_text(config.memory_bytes)));
}

}  // namespace

Result<std::vector<RamBlock>> parse_ram_blocks(std::string_view output) {
  std::istringstream lines{std::string(output)};
  std::string line;
  if (!std::getline(lines, line) || line.find("Block Name") == std::string::npos)
    return fail(ErrorKind::kProtocol, fmt::format("QEMU's list of RAM blocks has no heading: {}", line.substr(0, 80)));
  std::vector<RamBlock> blocks;
  while (std::getline(lines, line)) {
    const std::vector<std::string> words = words_of(line);
    if (words.empty()) continue;
    RamBlock block;
    if (!parse_row(words, block) || blocks.size() == kBlocksMax)
      return fail(ErrorKind::kProtocol, fmt::format("QEMU's list of RAM blocks cannot be read at: {}", line));
    blocks.push_back(std::move(block));
  }
  return blocks;
}

Status check_ram_blocks(const std::vector<RamBlock>& blocks, const VmConfig& config) {
  US_TRY(check_main_block(blocks, config));
  std::string bad;
  for (const RamBlock& block : blocks) {
    if (block.name == kMainRamBlock) continue;
    const bool writable = block.access == RamBlock::Access::kReadWrite;
    if (is_rom_name(block.name) && (!writable || may_be_listed_writable(block.name, config.machine))) continue;
    bad += (bad.empty() ? "" : ", ") + describe(block);
  }
  if (bad.empty()) return {};
  return fail(
      ErrorKind::kRefused,
      fmt::format("the guest could write RAM that is not captured, and would find it stale after a takeover: {}; "
                  "remove the device that brings it from qemu_args",
                  bad));
}

}  // namespace us
