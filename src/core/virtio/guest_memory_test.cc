#include "core/virtio/guest_memory.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/bytes.h"

namespace us {
namespace {

struct GuestMemoryTest : testing::Test {
  GuestMemoryTest() { std::iota(ram.begin(), ram.end(), uint8_t{0}); }
  static MemoryRegion region(uint64_t guest, uint64_t bytes, uint64_t user, uint64_t offset) {
    return {GuestPhysAddr{guest}, bytes, user, offset};
  }
  Status set(std::vector<MemoryRegion> regions) { return memory.set_regions(regions); }

  std::vector<uint8_t> ram = std::vector<uint8_t>(4 * kPageSize);
  DirtySet dirty{4};
  GuestMemory memory{ram.data(), ram.size(), dirty};
  std::vector<GuestPiece> pieces;
};

TEST_F(GuestMemoryTest, FindsARangeThatSpansTwoRegionsInTwoPieces) {
  ASSERT_TRUE(set({region(0x1000, 0x1000, 0xa000, 0x2000), region(0x2000, 0x1000, 0x10000, 0)}).has_value());
  ASSERT_TRUE(memory.find(GuestPhysAddr{0x1ff0}, 0x20, pieces));
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].data, ram.data() + 0x2ff0);
  EXPECT_EQ(pieces[0].bytes, 0x10u);
  EXPECT_EQ(pieces[1].data, ram.data());
  Bytes copy(0x20);
  ASSERT_TRUE(memory.read(GuestPhysAddr{0x1ff0}, copy));
  EXPECT_EQ(copy[0], ram[0x2ff0]);
  EXPECT_EQ(copy[0x10], ram[0]);
}

TEST_F(GuestMemoryTest, RefusesARangeWithAHole) {
  ASSERT_TRUE(set({region(0x1000, 0x1000, 0xa000, 0), region(0x3000, 0x1000, 0xc000, 0x1000)}).has_value());
  pieces.push_back({ram.data(), 1});
  EXPECT_FALSE(memory.find(GuestPhysAddr{0x1800}, 0x2000, pieces));
  EXPECT_EQ(pieces.size(), 1u) << "a refused range left pieces behind";
  EXPECT_FALSE(memory.find(GuestPhysAddr{0xfff}, 1, pieces));
  EXPECT_FALSE(memory.find(GuestPhysAddr{0x2000}, 1, pieces));
  EXPECT_FALSE(memory.find(GuestPhysAddr{~uint64_t{0}}, 2, pieces));
  EXPECT_TRUE(memory.find(GuestPhysAddr{0x1fff}, 1, pieces));
  Bytes copy(2);
  EXPECT_FALSE(memory.read(GuestPhysAddr{0x1fff}, copy));
}

TEST_F(GuestMemoryTest, FindsFrontEndAddressesInsideOneRegionOnly) {
  ASSERT_TRUE(set({region(0, 0x1000, 0xa000, 0x1000), region(0x1000, 0x1000, 0xb000, 0)}).has_value());
  EXPECT_EQ(memory.find_user(0xaff0, 0x10), ram.data() + 0x1ff0);
  EXPECT_EQ(memory.find_user(0xaff0, 0x11), nullptr);
  EXPECT_EQ(memory.find_user(0x9fff, 1), nullptr);
  EXPECT_EQ(memory.find_user(~uint64_t{0}, 2), nullptr);
}

TEST_F(GuestMemoryTest, RefusesTablesThatLeaveTheFileWrapOrOverlapAndKeepsTheOldOne) {
  ASSERT_TRUE(set({region(0, 0x1000, 0xa000, 0)}).has_value());
  EXPECT_FALSE(set({region(0, 0, 0, 0)}).has_value());
  EXPECT_FALSE(set({region(0, 0x4001, 0, 0)}).has_value());
  EXPECT_FALSE(set({region(0, 0x1000, 0, 0x3001)}).has_value());
  EXPECT_FALSE(set({region(0, 0x1000, 0, ~uint64_t{0})}).has_value());
  EXPECT_FALSE(set({region(~uint64_t{0} - 10, 0x1000, 0, 0)}).has_value());
  EXPECT_FALSE(set({region(0, 0x1000, ~uint64_t{0} - 10, 0)}).has_value());
  EXPECT_FALSE(set({region(0, 0x1000, 0, 0), region(0xfff, 0x1000, 0x5000, 0)}).has_value());
  EXPECT_FALSE(set(std::vector<MemoryRegion>(9, region(0, 1, 0, 0))).has_value());
  EXPECT_TRUE(memory.find(GuestPhysAddr{0}, 0x1000, pieces)) << "the old table is gone";
}

TEST_F(GuestMemoryTest, MarksEveryPageOfAWrite) {
  memory.wrote(ram.data() + kPageSize - 1, kPageSize + 2);
  std::vector<uint64_t> marked;
  dirty.drain([&](PageIndex p) { marked.push_back(p.value()); });
  EXPECT_EQ(marked, (std::vector<uint64_t>{0, 1, 2}));
}

}  // namespace
}  // namespace us
