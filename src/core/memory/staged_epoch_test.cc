#include "core/memory/staged_epoch.h"

#include <gtest/gtest.h>

#include <array>
#include <map>

#include "base/rng.h"

namespace us {
namespace {

using Page = std::array<uint8_t, kPageSize>;
using Pages = std::map<uint64_t, Page>;

constexpr uint64_t kRamPages = 10'000;
constexpr size_t kRoom = 64 << 20;

class Ram : public PageSink {
 public:
  void apply(PageIndex page, PageSpan bytes) override {
    std::copy(bytes.begin(), bytes.end(), pages[page.value()].begin());
  }
  void apply_zero(PageIndex first, uint64_t count) override {
    for (uint64_t i = 0; i < count; ++i) pages[first.value() + i] = Page{};
  }
  Pages pages;
};

Page page_of(uint64_t seed) {
  Rng rng(seed);
  Page page{};
  for (size_t at = 0; at < kPageSize / 2; at += 8) store_le(page.data() + at, rng.next());
  return page;
}

Pages pages_of(uint64_t seed, size_t count) {
  Rng rng(seed);
  Pages pages;
  uint64_t index = 0;
  for (size_t i = 0; i < count; ++i) {
    pages[index] = rng.chance(0.3) ? Page{} : page_of(rng.next());
    index += 1 + (rng.chance(0.5) ? rng.below(5) : 0);
  }
  return pages;
}

// An epoch in parts: chunks of pages, each with a made-up frame checksum.
struct Parts {
  Pages pages;
  std::vector<Bytes> chunks;
  Bytes device = {1, 2, 3, 4, 5};
  Bytes nic = {6, 7};
  Bytes disk = {8, 9, 10};
  EpochSize size;
  ChunkDigest digest;
};

uint64_t checksum_of(size_t chunk) { return 1000 + chunk; }

Parts parts_of(const Pages& pages) {
  Parts parts;
  parts.pages = pages;
  PageEncoder encoder(PageMode::kLz4, kPageChunkBytesMin);
  Bytes chunk;
  encoder.begin(chunk);
  for (const auto& [index, page] : pages) {
    if (encoder.add(PageIndex{index}, page)) continue;
    encoder.finish();
    parts.chunks.push_back(std::move(chunk));
    chunk = Bytes();
    encoder.begin(chunk);
    EXPECT_TRUE(encoder.add(PageIndex{index}, page));
  }
  encoder.finish();
  parts.chunks.push_back(std::move(chunk));
  parts.size = {pages.size(), 5, 5};
  for (size_t i = 0; i < parts.chunks.size() + 3; ++i) parts.digest.add(checksum_of(i));
  return parts;
}

Status add_all(StagedEpoch& staged, const Parts& parts) {
  size_t n = 0;
  for (const Bytes& chunk : parts.chunks) US_TRY(staged.add_pages(chunk, checksum_of(n++)));
  US_TRY(staged.add_device_state(parts.device, checksum_of(n++)));
  US_TRY(staged.add_side_state(SideKind::kNicAddresses, parts.nic, checksum_of(n++)));
  return staged.add_side_state(SideKind::kDiskBarrier, parts.disk, checksum_of(n));
}

Status end(StagedEpoch& staged, const Parts& parts) {
  return staged.end(parts.size.pages, parts.digest.chunks(), parts.digest.value());
}

Status stage(StagedEpoch& staged, const Parts& parts) {
  US_TRY(staged.begin(Epoch{5}, parts.size));
  US_TRY(add_all(staged, parts));
  return end(staged, parts);
}

TEST(StagedEpoch, AppliesExactlyWhatWasStaged) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Parts parts = parts_of(pages_of(seed, seed * 60));
    StagedEpoch staged(kRamPages, kRoom);
    const Status status = stage(staged, parts);
    ASSERT_TRUE(status) << status.error().message;
    ASSERT_TRUE(staged.whole());
    EXPECT_EQ(staged.pages(), parts.pages.size());
    Ram ram;
    staged.apply_to(ram);
    EXPECT_TRUE(ram.pages == parts.pages) << "seed " << seed;
    EXPECT_TRUE(std::ranges::equal(staged.device_state(), parts.device));
    EXPECT_TRUE(std::ranges::equal(staged.side_state(SideKind::kNicAddresses), parts.nic));
    EXPECT_TRUE(std::ranges::equal(staged.side_state(SideKind::kDiskBarrier), parts.disk));
  }
}

TEST(StagedEpoch, CanBeAppliedAgain) {
  const Parts parts = parts_of(pages_of(1, 300));
  StagedEpoch staged(kRamPages, kRoom);
  ASSERT_TRUE(stage(staged, parts));
  Ram first;
  staged.apply_to(first);
  Ram second;
  staged.apply_to(second);
  EXPECT_TRUE(first.pages == second.pages);
}

TEST(StagedEpoch, IsNotWholeBeforeItsEnd) {
  const Parts parts = parts_of(pages_of(1, 300));
  StagedEpoch staged(kRamPages, kRoom);
  ASSERT_TRUE(staged.begin(Epoch{5}, parts.size));
  EXPECT_FALSE(staged.whole());
  ASSERT_TRUE(add_all(staged, parts));
  EXPECT_FALSE(staged.whole());
}

TEST(StagedEpoch, PartsThatCameInAnotherOrderAreAnotherEpoch) {
  const Parts parts = parts_of(pages_of(1, 300));
  StagedEpoch staged(kRamPages, kRoom);
  ASSERT_TRUE(staged.begin(Epoch{5}, parts.size));
  ASSERT_TRUE(staged.add_device_state(parts.device, checksum_of(parts.chunks.size())));
  size_t n = 0;
  for (const Bytes& chunk : parts.chunks) ASSERT_TRUE(staged.add_pages(chunk, checksum_of(n++)));
  ASSERT_TRUE(staged.add_side_state(SideKind::kNicAddresses, parts.nic, checksum_of(n + 1)));
  ASSERT_TRUE(staged.add_side_state(SideKind::kDiskBarrier, parts.disk, checksum_of(n + 2)));
  EXPECT_FALSE(end(staged, parts));
  EXPECT_FALSE(staged.whole());
}

// Stages with one thing changed; the epoch must never become whole.
template <typename Change>
std::string error_with(Change&& change) {
  Parts parts = parts_of(pages_of(1, 300));
  change(parts);
  StagedEpoch staged(kRamPages, kRoom);
  const Status status = stage(staged, parts);
  EXPECT_FALSE(status);
  EXPECT_FALSE(staged.whole());
  EXPECT_FALSE(end(staged, parts)) << "a failed epoch stays failed";
  EXPECT_FALSE(staged.whole());
  return status ? "" : status.error().message;
}

TEST(StagedEpoch, WithMoreOrLessThanItAnnouncedIsRefused) {
  EXPECT_EQ(error_with([](Parts& p) { ++p.size.pages; }), "epoch: 300 of 301 pages came");
  EXPECT_EQ(error_with([](Parts& p) { --p.size.pages; }), "epoch: more than the 299 pages it announced");
  EXPECT_EQ(error_with([](Parts& p) { ++p.size.device_state_bytes; }), "epoch: 5 of 6 bytes of device state came");
  EXPECT_EQ(error_with([](Parts& p) { --p.size.device_state_bytes; }),
            "epoch: more than the 4 bytes of device state it announced");
  EXPECT_EQ(error_with([](Parts& p) { ++p.size.side_state_bytes; }), "epoch: 5 of 6 bytes of side state came");
  EXPECT_EQ(error_with([](Parts& p) { --p.size.side_state_bytes; }),
            "epoch: more than the 4 bytes of side state it announced");
}

TEST(StagedEpoch, WithAnotherDigestIsRefused) {
  EXPECT_NE(error_with([](Parts& p) {
              ChunkDigest other;
              for (size_t i = 0; i < p.digest.chunks(); ++i) other.add(checksum_of(i) + (i == 1 ? 1 : 0));
              p.digest = other;
            }).find("digest of the chunks"),
            std::string::npos);
  EXPECT_NE(error_with([](Parts& p) { p.digest.add(1); }).find("chunks came"), std::string::npos);
}

TEST(StagedEpoch, ABadChunkAnywhereSpoilsIt) {
  const size_t chunks = parts_of(pages_of(1, 300)).chunks.size();
  ASSERT_GT(chunks, 2u);
  for (size_t i = 0; i < chunks; ++i) {
    // The LZ4 data itself is damaged where the structure of the chunk does not show it.
    error_with([i](Parts& p) {
      Bytes& chunk = p.chunks[i];
      const uint32_t block = load_le<uint32_t>(chunk.data() + 16);
      std::fill_n(chunk.begin() + 20, block, uint8_t{0xff});
    });
  }
}

TEST(StagedEpoch, AnnouncedSizesAreLimited) {
  StagedEpoch staged(kRamPages, kRoom);
  EXPECT_FALSE(staged.begin(Epoch{1}, {kRamPages + 1, 0, 0}));
  EXPECT_FALSE(staged.begin(Epoch{1}, {0, kDeviceStateBytesMax + 1, 0}));
  EXPECT_FALSE(staged.begin(Epoch{1}, {0, 0, kSideStateBytesMax + 1}));
  EXPECT_TRUE(staged.is_clear());
  EXPECT_TRUE(staged.begin(Epoch{1}, {kRamPages, kDeviceStateBytesMax, 0}));
}

TEST(StagedEpoch, MemoryStaysUnderItsLimitAndTheRefusalSaysSo) {
  const size_t room = 4 << 20;
  StagedEpoch staged(kRamPages, room);
  Pages pages;
  for (uint64_t i = 0; i < 2000; ++i) pages[i] = page_of(i);
  const Parts parts = parts_of(pages);
  ASSERT_TRUE(staged.begin(Epoch{1}, parts.size));
  const Status status = add_all(staged, parts);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::kRefused);
  EXPECT_EQ(status.error().message, "epoch: needs more than the 4194304 bytes there are to stage it");
  EXPECT_LE(staged.bytes(), room);
  EXPECT_FALSE(staged.whole());

  staged.clear();
  EXPECT_FALSE(staged.begin(Epoch{1}, {0, 3 << 20, 2 << 20}));
}

TEST(StagedEpoch, ZeroPagesTakeNoMemory) {
  Pages pages;
  for (uint64_t i = 0; i < kRamPages; ++i) pages[i] = Page{};
  const Parts parts = parts_of(pages);
  StagedEpoch staged(kRamPages, 1 << 20);
  ASSERT_TRUE(stage(staged, parts));
  EXPECT_LT(staged.bytes(), 4096u);
  Ram ram;
  staged.apply_to(ram);
  EXPECT_TRUE(ram.pages == pages);
}

TEST(StagedEpoch, ClearForgetsTheEpochAndGivesMostOfItsMemoryBack) {
  StagedEpoch staged(kRamPages, kRoom);
  Pages pages;
  for (uint64_t i = 0; i < 8000; ++i) pages[i] = page_of(i);
  ASSERT_TRUE(stage(staged, parts_of(pages)));
  EXPECT_GT(staged.bytes(), 8000 * kPageSize);
  staged.clear();
  EXPECT_TRUE(staged.is_clear());
  EXPECT_FALSE(staged.whole());
  EXPECT_TRUE(staged.device_state().empty());
  EXPECT_LT(staged.bytes(), size_t{20} << 20);

  const Parts next = parts_of(pages_of(9, 200));
  ASSERT_TRUE(stage(staged, next));
  Ram ram;
  staged.apply_to(ram);
  EXPECT_TRUE(ram.pages == next.pages);
}

TEST(StagedEpoch, AFailedEpochCanBeClearedAndTheNextOneStaged) {
  const Parts parts = parts_of(pages_of(1, 300));
  StagedEpoch staged(kRamPages, kRoom);
  ASSERT_TRUE(staged.begin(Epoch{5}, parts.size));
  EXPECT_FALSE(staged.add_pages(Bytes{1, 2, 3}, 1));
  EXPECT_FALSE(staged.add_pages(parts.chunks[0], 2));
  staged.clear();
  ASSERT_TRUE(stage(staged, parts));
}

TEST(StagedEpoch, WhatComesAfterItsEndIsRefusedAndDoesNotHarmIt) {
  const Parts parts = parts_of(pages_of(1, 300));
  StagedEpoch staged(kRamPages, kRoom);
  ASSERT_TRUE(stage(staged, parts));
  EXPECT_FALSE(staged.add_pages(parts.chunks[0], 1));
  EXPECT_FALSE(staged.add_device_state(parts.device, 1));
  EXPECT_FALSE(staged.add_side_state(SideKind::kRelay, parts.nic, 1));
  EXPECT_FALSE(end(staged, parts));
  EXPECT_TRUE(staged.whole());
  Ram ram;
  staged.apply_to(ram);
  EXPECT_TRUE(ram.pages == parts.pages);
}

TEST(StagedEpoch, APageThatComesTwiceIsAppliedInOrder) {
  Pages old_pages{{7, page_of(1)}};
  Pages new_pages{{7, page_of(2)}};
  const Bytes first = parts_of(old_pages).chunks.front();
  const Bytes second = parts_of(new_pages).chunks.front();
  StagedEpoch staged(kRamPages, kRoom);
  ChunkDigest digest;
  digest.add(1);
  digest.add(2);
  ASSERT_TRUE(staged.begin(Epoch{1}, {2, 0, 0}));
  ASSERT_TRUE(staged.add_pages(first, 1));
  ASSERT_TRUE(staged.add_pages(second, 2));
  ASSERT_TRUE(staged.end(2, 2, digest.value()));
  Ram ram;
  staged.apply_to(ram);
  EXPECT_TRUE(ram.pages == new_pages);
}

TEST(StagedEpoch, PartsOutsideOfAnEpochAreRefused) {
  StagedEpoch staged(kRamPages, kRoom);
  const Parts parts = parts_of(pages_of(1, 10));
  EXPECT_FALSE(staged.add_pages(parts.chunks[0], 1));
  EXPECT_FALSE(staged.add_device_state(parts.device, 1));
  EXPECT_FALSE(staged.add_side_state(SideKind::kRelay, parts.nic, 1));
  EXPECT_FALSE(end(staged, parts));
  EXPECT_FALSE(staged.whole());
}

}  // namespace
}  // namespace us
