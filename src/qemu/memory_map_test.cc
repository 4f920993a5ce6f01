// The sample is what QEMU 7.2.22 printed for a q35 machine, shortened; the last piece is of one with more than 2 GiB.
#include "qemu/memory_map.h"

#include <gtest/gtest.h>

namespace us {
namespace {

constexpr std::string_view kSample =
    "FlatView #0\r\n"
    " AS \"I/O\", root: io\r\n"
    " Root memory region: io\r\n"
    "  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan\r\n"
    "\r\n"
    "FlatView #2\r\n"
    " AS \"cpu-smm-0\", root: memory\r\n"
    " Root memory region: memory\r\n"
    "  0000000000000000-00000000000bffff (prio 0, ram): mem\r\n"
    "\r\n"
    "FlatView #3\r\n"
    " AS \"memory\", root: system\r\n"
    " AS \"cpu-memory-0\", root: system\r\n"
    " Root memory region: system\r\n"
    "  0000000000000000-000000000009ffff (prio 0, ram): mem\r\n"
    "  00000000000a0000-00000000000bffff (prio 1, i/o): vga-lowmem\r\n"
    "  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n"
    "  0000000000100000-000000007fffffff (prio 0, ram): mem @0000000000100000\r\n"
    "  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic\r\n"
    "  0000000100000000-000000013fffffff (prio 0, ram): mem @0000000080000000\r\n"
    "  0000000200000000-000000020fffffff (prio 0, ram): other @0000000000000000\r\n"
    "FlatView #4\r\n"
    " AS \"mch\", root: bus master container\r\n"
    "  0000000900000000-00000009ffffffff (prio 0, ram): mem\r\n";

TEST(MemoryMap, FindsWhereTheGuestSeesItsRam) {
  const auto map = parse_memory_map(kSample);
  ASSERT_EQ(map.size(), 3u);
  EXPECT_EQ(guest_address(map, 0), GuestPhysAddr{0});
  EXPECT_EQ(guest_address(map, 0x123456), GuestPhysAddr{0x123456});
  EXPECT_EQ(guest_address(map, 0x80000000), GuestPhysAddr{0x100000000});
}

TEST(MemoryMap, WhatLiesUnderADeviceHasNoAddress) {
  EXPECT_EQ(guest_address(parse_memory_map(kSample), 0xa0000), std::nullopt);
  EXPECT_EQ(guest_address(parse_memory_map(kSample), 0xc0000000), std::nullopt);
}

TEST(MemoryMap, NonsenseHasNoPieces) {
  EXPECT_TRUE(parse_memory_map("").empty());
  EXPECT_TRUE(parse_memory_map("AS \"memory\"\n  zz-yy (prio 0, ram): mem\n  5-1 (prio 0, ram): mem @2\n").empty());
}

}  // namespace
}  // namespace us
