// The samples are what QEMU 7.2.22 and 10.0.2 printed for the machines and devices named.
#include "qemu/ram_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace us {
namespace {

constexpr std::string_view kHeading =
    "              Block Name    PSize              Offset               Used              Total\n";
constexpr std::string_view kMain =
    "                     mem    4 KiB  0x0000000000000000 0x0000000004000000 0x0000000004000000\n";
constexpr std::string_view kRoms =
    "    /rom@etc/acpi/tables    4 KiB  0x0000000004080000 0x0000000000020000 0x0000000000200000\n"
    "           system.flash0    4 KiB  0x0000000004000000 0x0000000000040000 0x0000000000040000\n"
    "                isa-bios    4 KiB  0x0000000004040000 0x0000000000020000 0x0000000000020000\n"
    "0000:00:01.0/virtio-net-pci.rom    4 KiB  0x0000000004080000 0x0000000000040000 0x0000000000040000\n"
    "                  pc.rom    4 KiB  0x0000000004040000 0x0000000000020000 0x0000000000020000\n"
    "   /rom@etc/table-loader    4 KiB  0x0000000004280000 0x0000000000001000 0x0000000000010000\n"
    "      /rom@etc/acpi/rsdp    4 KiB  0x00000000042c0000 0x0000000000001000 0x0000000000001000\n"
    "\n";

const std::string kQemu10Heading =
    "              Block Name    PSize              Offset               Used              Total                HVA  "
    "RO\n";
constexpr std::string_view kQemu10Main =
    "                     mem    4 KiB  0x0000000000000000 0x0000000004000000 0x0000000004000000 0x00007f0923fff000  "
    "rw\n"
    "    /rom@etc/acpi/tables    4 KiB  0x0000000004040000 0x0000000000001000 0x0000000000200000 0x00007f096de00000  "
    "ro\n";
const std::string kQemu10Flash =
    "           system.flash0    4 KiB  0x0000000004000000 0x0000000000040000 0x0000000000040000 0x00007f0d34200000  "
    "rw\n";
const std::string kQemu10Microvm = kQemu10Heading + std::string(kQemu10Main) +
                                   "                 pc.bios    4 KiB  0x0000000004000000 0x0000000000010000 "
                                   "0x0000000000010000 0x00007f096e200000  rw\n";

VmConfig machine(Machine kind) {
  VmConfig config;
  config.memory_bytes = 64 * config::kMiB;
  config.machine = kind;
  return config;
}

std::string judge(const std::string& output, Machine kind = Machine::kQ35) {
  const auto blocks = parse_ram_blocks(output);
  if (!blocks) return blocks.error().message;
  const Status status = check_ram_blocks(*blocks, machine(kind));
  return status ? "" : status.error().message;
}

std::string table(std::string_view extra, std::string_view main = kMain) {
  return std::string(kHeading) + std::string(main) + std::string(extra) + std::string(kRoms);
}

TEST(RamBlocks, ReadsNamesSizesAndAccess) {
  const auto blocks = parse_ram_blocks(kQemu10Microvm);
  ASSERT_TRUE(blocks);
  ASSERT_EQ(blocks->size(), 3u);
  EXPECT_EQ(blocks->at(1).name, "/rom@etc/acpi/tables");
  EXPECT_EQ(blocks->at(1).used_bytes, 0x1000u);
  EXPECT_EQ(blocks->at(1).total_bytes, 0x200000u);
  EXPECT_EQ(blocks->at(1).access, RamBlock::Access::kReadOnly);
  EXPECT_EQ(blocks->at(2).access, RamBlock::Access::kReadWrite);
}

TEST(RamBlocks, AcceptsTheMainBlockAndRoms) { EXPECT_EQ(judge(table("")), ""); }

TEST(RamBlocks, AcceptsWritableFirmwareOnAMicrovmOnly) {
  EXPECT_EQ(judge(kQemu10Microvm, Machine::kMicrovm), "");
  EXPECT_THAT(judge(kQemu10Microvm, Machine::kQ35), testing::HasSubstr("\"pc.bios\" (64K)"));
}

TEST(RamBlocks, AcceptsTheFlashChipWhichQemu10ListsAsWritable) {
  EXPECT_EQ(judge(kQemu10Heading + std::string(kQemu10Main) + kQemu10Flash), "");
  const std::string rom = "pc.rom    4 KiB  0x0000000004040000 0x0000000000020000 0x0000000000020000 0x00007fc0  rw\n";
  EXPECT_THAT(judge(kQemu10Heading + std::string(kQemu10Main) + rom), testing::HasSubstr("\"pc.rom\" (128K)"));
}

TEST(RamBlocks, RefusesEveryBlockThatTheGuestCouldWrite) {
  const std::string row = "    4 KiB  0x0000000004080000 0x0000000001000000 0x0000000001000000\n";
  for (const std::string name : {"0000:00:01.0/vga.vram", "0000:00:01.0/qxl.vgavram", "0000:00:01.0/bochs-display-vram",
                                 "vmsvga.fifo", "0000:00:01.0/s", "s", "system.flash1", "pc.ram"}) {
    EXPECT_EQ(judge(table(name + row)),
              "the guest could write RAM that is not captured, and would find it stale after a takeover: \"" + name +
                  "\" (16M); remove the device that brings it from qemu_args");
  }
  EXPECT_THAT(judge(table("                        " + row)), testing::HasSubstr("\"unnamed\" (16M)"));
}

TEST(RamBlocks, RefusesAnotherAmountOfMemory) {
  EXPECT_EQ(judge(table("", "   mem    4 KiB  0x0000000000000000 0x0000000008000000 0x0000000008000000\n")),
            "QEMU's RAM block \"mem\" has 128M, but the VM file says memory = 64M");
}

TEST(RamBlocks, RefusesAVmWithoutTheSharedBlock) {
  EXPECT_EQ(judge(table("", "")), "QEMU has 0 RAM blocks named \"mem\"; protection needs exactly one");
  EXPECT_EQ(judge(table(kMain)), "QEMU has 2 RAM blocks named \"mem\"; protection needs exactly one");
}

TEST(RamBlocks, RefusesATableItCannotRead) {
  EXPECT_EQ(judge(""), "QEMU's list of RAM blocks has no heading: ");
  EXPECT_EQ(judge("unknown command: 'info ramblock'\n"),
            "QEMU's list of RAM blocks has no heading: unknown command: 'info ramblock'");
  for (const std::string row :
       {"mem 4 KiB 0x0 0x0\n", "mem 4 KiB 0x0 0x0 0xzz\n", "rw\n", "x 4 KiB 0x0 0x0 0x0 0x0\n"}) {
    const std::string said = judge(std::string(kHeading) + row);
    // One hex number too many would shift the columns: the page size is then no number and a unit.
    EXPECT_THAT(said, testing::HasSubstr("cannot be read at: " + row.substr(0, row.size() - 1)));
  }
}

}  // namespace
}  // namespace us
