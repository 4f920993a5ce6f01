#include "core/memory/page_codec.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "base/rng.h"

namespace us {
namespace {

using Page = std::array<uint8_t, kPageSize>;
using Pages = std::map<uint64_t, Page>;

constexpr uint64_t kRamPages = 1 << 20;

Page random_page(Rng& rng) {
  Page page;
  for (size_t at = 0; at < kPageSize; at += 8) store_le(page.data() + at, rng.next());
  return page;
}

// Half of it one repeated word: LZ4 takes it to a bit over a half.
Page compressible_page(Rng& rng) {
  Page page = random_page(rng);
  const uint64_t word = rng.next();
  for (size_t at = 0; at < kPageSize / 2; at += 8) store_le(page.data() + at, word);
  return page;
}

Pages random_pages(Rng& rng, size_t count) {
  Pages pages;
  uint64_t index = 0;
  for (size_t i = 0; i < count; ++i) {
    index += rng.chance(0.7) ? 1 : 1 + rng.below(300);
    const uint64_t kind = rng.below(4);
    pages[index] = kind == 0 ? Page{} : kind == 1 ? random_page(rng) : compressible_page(rng);
  }
  return pages;
}

std::vector<Bytes> encode_with(PageEncoder& encoder, const Pages& pages) {
  std::vector<Bytes> chunks;
  Bytes chunk;
  encoder.begin(chunk);
  for (const auto& [index, page] : pages) {
    if (encoder.add(PageIndex{index}, page)) continue;
    encoder.finish();
    chunks.push_back(std::move(chunk));
    chunk = Bytes();
    encoder.begin(chunk);
    EXPECT_TRUE(encoder.add(PageIndex{index}, page));
  }
  encoder.finish();
  chunks.push_back(std::move(chunk));
  return chunks;
}

std::vector<Bytes> encode(PageMode mode, const Pages& pages, size_t chunk_bytes = kPageChunkBytesDefault) {
  PageEncoder encoder(mode, chunk_bytes);
  return encode_with(encoder, pages);
}

class Collector : public PageSink {
 public:
  void apply(PageIndex page, PageSpan bytes) override {
    EXPECT_EQ(pages.count(page.value()), 0u);
    std::copy(bytes.begin(), bytes.end(), pages[page.value()].begin());
  }
  void apply_zero(PageIndex first, uint64_t count) override {
    EXPECT_GT(count, 0u);
    ++zero_runs;
    for (uint64_t i = 0; i < count; ++i) pages[first.value() + i] = Page{};
  }
  Pages pages;
  size_t zero_runs = 0;
};

Pages decode(const std::vector<Bytes>& chunks, uint64_t ram_pages = kRamPages) {
  Collector collector;
  PageDecoder decoder(ram_pages);
  for (const Bytes& chunk : chunks) {
    const Result<uint64_t> decoded = decoder.decode(chunk, collector);
    EXPECT_TRUE(decoded) << decoded.error().message;
  }
  return std::move(collector.pages);
}

std::string error_of(const Bytes& chunk, uint64_t ram_pages = kRamPages) {
  Collector collector;
  PageDecoder decoder(ram_pages);
  const Result<uint64_t> decoded = decoder.decode(chunk, collector);
  return decoded ? std::string() : decoded.error().message;
}

size_t total_bytes(const std::vector<Bytes>& chunks) {
  size_t sum = 0;
  for (const Bytes& chunk : chunks) sum += chunk.size();
  return sum;
}

TEST(ZeroPage, IsToldFromAPageWithOneBitAnywhere) {
  Page page{};
  EXPECT_TRUE(is_zero_page(page));
  for (size_t bit = 0; bit < kPageSize * 8; ++bit) {
    page[bit / 8] = static_cast<uint8_t>(1u << (bit % 8));
    EXPECT_FALSE(is_zero_page(page)) << bit;
    page[bit / 8] = 0;
  }
}

TEST(PageCodec, EveryModeReturnsThePagesExactly) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Rng rng(seed);
    const Pages pages = random_pages(rng, rng.below(400));
    for (const PageMode mode : {PageMode::kAuto, PageMode::kLz4, PageMode::kNone})
      for (const size_t chunk_bytes : {kPageChunkBytesMin, kPageChunkBytesDefault, kPageChunkBytesMax})
        ASSERT_TRUE(decode(encode(mode, pages, chunk_bytes)) == pages) << "seed " << seed;
  }
}

TEST(PageCodec, NoChunkIsLongerThanItMayBe) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Rng rng(seed);
    const Pages pages = random_pages(rng, 500);
    for (const PageMode mode : {PageMode::kAuto, PageMode::kLz4, PageMode::kNone})
      for (const Bytes& chunk : encode(mode, pages, kPageChunkBytesMin)) EXPECT_LE(chunk.size(), kPageChunkBytesMin);
  }
}

TEST(PageCodec, ChunksAreFilledWell) {
  Rng rng(1);
  Pages pages;
  for (uint64_t i = 0; i < 1000; ++i) pages[i] = random_page(rng);
  EXPECT_LE(encode(PageMode::kNone, pages).size(), 1000 * kPageSize / kPageChunkBytesDefault + 1);
}

TEST(PageCodec, ARunOfZeroPagesTakesEightBytesHoweverLong) {
  Pages pages;
  for (uint64_t i = 100; i < 20'100; ++i) pages[i] = Page{};
  const std::vector<Bytes> chunks = encode(PageMode::kAuto, pages);
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_EQ(chunks[0].size(), 16u + 8u);
  Collector collector;
  PageDecoder decoder(kRamPages);
  ASSERT_EQ(decoder.decode(chunks[0], collector).value(), 20'000u);
  EXPECT_EQ(collector.zero_runs, 1u);
  EXPECT_TRUE(collector.pages == pages);
}

TEST(PageCodec, ZeroPagesBetweenDataDoNotBreakUpItsBlocks) {
  Rng rng(1);
  Pages pages;
  for (uint64_t i = 0; i < 64; ++i) pages[i] = i % 2 == 0 ? Page{} : compressible_page(rng);
  PageEncoder encoder(PageMode::kLz4);
  const std::vector<Bytes> chunks = encode_with(encoder, pages);
  EXPECT_EQ(encoder.stats().blocks_lz4, 2u);
  EXPECT_TRUE(decode(chunks) == pages);
}

TEST(PageCodec, CompressiblePagesShrink) {
  Rng rng(1);
  Pages pages;
  for (uint64_t i = 0; i < 200; ++i) pages[i] = compressible_page(rng);
  EXPECT_LT(total_bytes(encode(PageMode::kAuto, pages)), 200 * kPageSize * 6 / 10);
}

TEST(PageCodec, RandomPagesCostLittleMoreThanTheirBytes) {
  Rng rng(1);
  Pages pages;
  for (uint64_t i = 0; i < 1024; ++i) pages[i * 2] = random_page(rng);
  for (const PageMode mode : {PageMode::kAuto, PageMode::kLz4, PageMode::kNone})
    EXPECT_LT(total_bytes(encode(mode, pages)), 1024 * kPageSize * 101 / 100);
}

TEST(PageCodec, StopsTryingToCompressWhatDoesNotShrinkAndStartsAgainWhenItDoes) {
  Rng rng(1);
  PageEncoder encoder(PageMode::kAuto);
  Pages hard;
  for (uint64_t i = 0; i < 4096; ++i) hard[i] = random_page(rng);
  encode_with(encoder, hard);
  const PageStats after_hard = encoder.stats();
  EXPECT_EQ(after_hard.blocks_lz4, 0u);
  EXPECT_GT(after_hard.blocks_skipped, after_hard.blocks_raw * 9 / 10);

  Pages easy;
  for (uint64_t i = 0; i < 4096; ++i) easy[i] = compressible_page(rng);
  encode_with(encoder, easy);
  EXPECT_GT(encoder.stats().blocks_lz4, 4096 / kPagesPerBlock - 40);
}

TEST(PageCodec, ForgetsPastFailuresOnceABlockShrinks) {
  Rng rng(1);
  const auto block_of = [&rng](bool hard) {
    Pages pages;
    for (uint64_t i = 0; i < kPagesPerBlock; ++i) pages[i] = hard ? random_page(rng) : compressible_page(rng);
    return pages;
  };
  PageEncoder encoder(PageMode::kAuto);
  for (int i = 0; i < 200; ++i) encode_with(encoder, block_of(true));
  while (encoder.stats().blocks_lz4 == 0) encode_with(encoder, block_of(false));
  const uint64_t skipped = encoder.stats().blocks_skipped;
  encode_with(encoder, block_of(true));   // tried
  encode_with(encoder, block_of(false));  // skipped
  encode_with(encoder, block_of(false));  // tried again
  EXPECT_EQ(encoder.stats().blocks_skipped, skipped + 1);
  EXPECT_EQ(encoder.stats().blocks_lz4, 2u);
}

TEST(PageCodec, AnOpenBlockCountsTowardTheLimitWhenZeroPagesFollow) {
  Rng rng(1);
  for (uint64_t data = 1; data < 2 * kPagesPerBlock; ++data) {
    Pages pages;
    for (uint64_t i = 0; i < data; ++i) pages[i] = random_page(rng);
    for (uint64_t i = 0; i < 3000; ++i) pages[data + 1 + 2 * i] = Page{};
    for (const PageMode mode : {PageMode::kAuto, PageMode::kLz4, PageMode::kNone}) {
      const std::vector<Bytes> chunks = encode(mode, pages, kPageChunkBytesMin);
      for (const Bytes& chunk : chunks) ASSERT_LE(chunk.size(), kPageChunkBytesMin);
      ASSERT_TRUE(decode(chunks) == pages);
    }
  }
}

TEST(PageCodec, Lz4ModeTriesEveryBlock) {
  Rng rng(1);
  PageEncoder encoder(PageMode::kLz4);
  Pages hard;
  for (uint64_t i = 0; i < 256; ++i) hard[i] = random_page(rng);
  encode_with(encoder, hard);
  EXPECT_EQ(encoder.stats().blocks_skipped, 0u);
  EXPECT_GE(encoder.stats().blocks_raw, 256 / kPagesPerBlock);
}

TEST(PageCodec, TheSameHistoryGivesTheSameBytes) {
  Rng rng(5);
  const Pages first = random_pages(rng, 300);
  const Pages second = random_pages(rng, 300);
  PageEncoder a(PageMode::kAuto);
  PageEncoder b(PageMode::kAuto);
  EXPECT_TRUE(encode_with(a, first) == encode_with(b, first));
  EXPECT_TRUE(encode_with(a, second) == encode_with(b, second));
}

TEST(PageCodec, AppendsToWhatTheBufferAlreadyHolds) {
  Rng rng(1);
  const Page page = compressible_page(rng);
  Bytes out = {1, 2, 3};
  PageEncoder encoder(PageMode::kAuto);
  encoder.begin(out);
  ASSERT_TRUE(encoder.add(PageIndex{9}, page));
  encoder.finish();
  EXPECT_EQ(Bytes(out.begin(), out.begin() + 3), (Bytes{1, 2, 3}));
  EXPECT_TRUE(decode({Bytes(out.begin() + 3, out.end())}) == (Pages{{9, page}}));
}

TEST(PageCodec, TheLastPageOfTheLargestRamIsAPage) {
  Rng rng(1);
  const Pages pages{{kRamPagesMax - 2, Page{}}, {kRamPagesMax - 1, random_page(rng)}};
  EXPECT_TRUE(decode(encode(PageMode::kAuto, pages), kRamPagesMax) == pages);
}

// ---- hostile chunks ----

Bytes small_chunk() {
  Rng rng(3);
  Pages pages;
  for (uint64_t i = 10; i < 30; ++i) pages[i] = compressible_page(rng);
  pages[40] = Page{};
  return encode(PageMode::kLz4, pages).front();
}

TEST(PageCodecHostile, AChunkCutAtAnyOffsetIsRefused) {
  const Bytes chunk = small_chunk();
  for (size_t n = 0; n < chunk.size(); ++n)
    ASSERT_NE(error_of(Bytes(chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(n))), "") << n;
}

TEST(PageCodecHostile, LeftOverBytesAreRefused) {
  Bytes chunk = small_chunk();
  chunk.push_back(0);
  EXPECT_NE(error_of(chunk), "");
}

TEST(PageCodecHostile, AnyChangedByteIsRefusedOrDecodedWithinBounds) {
  const Bytes good = small_chunk();
  Rng rng(1);
  for (size_t at = 0; at < good.size(); ++at) {
    Bytes chunk = good;
    chunk[at] ^= static_cast<uint8_t>(1 + rng.below(255));
    Collector collector;
    PageDecoder decoder(64);
    const Result<uint64_t> decoded = decoder.decode(chunk, collector);
    if (decoded) {
      EXPECT_EQ(*decoded, collector.pages.size());
    }
    for (const auto& [index, page] : collector.pages) EXPECT_LT(index, 64u);
  }
}

// A chunk by hand.
Bytes chunk_of(uint32_t pages, uint32_t data_pages, const Bytes& blocks,
               std::vector<std::pair<uint32_t, uint32_t>> runs) {
  Bytes out;
  ByteWriter w(out);
  w.le(pages);
  w.le(data_pages);
  w.le(static_cast<uint32_t>(runs.size()));
  w.le(static_cast<uint32_t>(blocks.size()));
  w.bytes(blocks);
  for (const auto& [first, count] : runs) {
    w.le(first);
    w.le(count);
  }
  return out;
}

constexpr uint32_t kZero = uint32_t{1} << 31;

Bytes raw_block(uint32_t pages) {
  Bytes out;
  ByteWriter w(out);
  w.le(static_cast<uint32_t>(pages * kPageSize));
  for (size_t i = 0; i < pages * kPageSize; ++i) out.push_back(0x61);
  return out;
}

TEST(PageCodecHostile, WellFormedChunksMadeByHandAreAccepted) {
  EXPECT_EQ(error_of(chunk_of(0, 0, {}, {})), "");
  EXPECT_EQ(error_of(chunk_of(5, 0, {}, {{7, kZero | 5}})), "");
  EXPECT_EQ(error_of(chunk_of(3, 2, raw_block(2), {{7, 2}, {9, kZero | 1}})), "");
}

TEST(PageCodecHostile, RunsOutOfPlaceAreRefused) {
  EXPECT_EQ(error_of(chunk_of(0, 0, {}, {{7, kZero | 0}})), "page chunk: run 0 is empty");
  EXPECT_EQ(error_of(chunk_of(3, 0, {}, {{7, kZero | 2}, {8, kZero | 1}})),
            "page chunk: run 1 starts at page 8, before page 9 where the last ended");
  EXPECT_EQ(error_of(chunk_of(3, 0, {}, {{98, kZero | 3}}), 100), "page chunk: run 0 ends at page 101 of 100");
  EXPECT_EQ(error_of(chunk_of(2, 0, {}, {{98, kZero | 2}}), 100), "");
  EXPECT_NE(error_of(chunk_of(0, 0, {}, {{0xffffffff, kZero | 0x7fffffff}}), kRamPagesMax), "");
}

TEST(PageCodecHostile, CountsThatDoNotAddUpAreRefused) {
  EXPECT_EQ(error_of(chunk_of(6, 0, {}, {{7, kZero | 5}})),
            "page chunk: the runs hold 0 data and 5 zero pages, the header says 0 of 6");
  EXPECT_NE(error_of(chunk_of(2, 1, raw_block(1), {{7, 2}})), "");
  EXPECT_NE(error_of(chunk_of(2, 2, raw_block(1), {{7, 2}})), "");
  EXPECT_NE(error_of(chunk_of(2, 2, raw_block(3), {{7, 2}})), "");
  EXPECT_NE(error_of(chunk_of(1, 0, raw_block(1), {{7, kZero | 1}})), "");
}

TEST(PageCodecHostile, BlocksOfImpossibleSizeAreRefused) {
  Bytes empty_block(4);
  EXPECT_EQ(error_of(chunk_of(1, 1, empty_block, {{7, 1}})), "page chunk: a block of 1 pages claims 0 bytes");
  Bytes large_block(4 + kPageSize + 1);
  store_le(large_block.data(), static_cast<uint32_t>(kPageSize + 1));
  EXPECT_EQ(error_of(chunk_of(1, 1, large_block, {{7, 1}})), "page chunk: a block of 1 pages claims 4097 bytes");
}

TEST(PageCodecHostile, Lz4DataThatYieldsTooLittleOrTooMuchIsRefused) {
  // The block of one page that LZ4 made of compressible data, claimed to be two pages or vice versa.
  Rng rng(1);
  const Pages one{{5, compressible_page(rng)}};
  const Pages two{{5, compressible_page(rng)}, {6, compressible_page(rng)}};
  const Bytes one_chunk = encode(PageMode::kLz4, one).front();
  const Bytes two_chunk = encode(PageMode::kLz4, two).front();
  const auto blocks = [](const Bytes& chunk) { return Bytes(chunk.begin() + 16, chunk.end() - 8); };
  EXPECT_EQ(error_of(chunk_of(1, 1, blocks(one_chunk), {{5, 1}})), "");
  EXPECT_NE(error_of(chunk_of(2, 2, blocks(one_chunk), {{5, 2}})), "");
  EXPECT_NE(error_of(chunk_of(1, 1, blocks(two_chunk), {{5, 1}})), "");
}

TEST(PageCodecHostile, WorkPerChunkIsBounded) {
  const uint32_t pages = kPageChunkDataPagesMax + kPagesPerBlock;
  EXPECT_EQ(error_of(chunk_of(pages, pages, {}, {{0, pages}})),
            "page chunk: 2064 data pages, more than the limit of 2048");
  EXPECT_EQ(error_of(Bytes(kPageChunkBytesMax + 1)), "page chunk: 1048513 bytes, more than the limit of 1048512");
}

TEST(PageCodecHostile, RandomBytesAreRefused) {
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) {
    Bytes chunk(rng.below(200));
    for (uint8_t& b : chunk) b = static_cast<uint8_t>(rng.below(4) == 0 ? rng.next() : 0);
    if (chunk.size() <= 16 || load_le<uint32_t>(chunk.data() + 8) == 0) continue;
    EXPECT_NE(error_of(chunk), "") << i;
  }
}

TEST(PageCodec, TheEncoderKeepsToTheWorkLimitWithPagesThatShrinkToNothing) {
  Page same;
  same.fill(0x77);
  Pages pages;
  for (uint64_t i = 0; i < 2 * kPageChunkDataPagesMax + 1; ++i) pages[i] = same;
  const std::vector<Bytes> chunks = encode(PageMode::kAuto, pages, kPageChunkBytesMax);
  EXPECT_EQ(chunks.size(), 3u);
  EXPECT_TRUE(decode(chunks) == pages);
}

// ---- golden files: test/golden/page_codec/ ----
// raw.bin is compared byte by byte.  lz4.bin is only decoded: another version of LZ4 may find other, equally valid
// bytes.

Bytes golden(std::string_view name, const Bytes& fresh) {
  const auto path = std::filesystem::path(US_SOURCE_DIR) / "test/golden/page_codec" / name;
  if (std::getenv("US_GOLDEN_REWRITE") != nullptr) {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(fresh.data()), static_cast<std::streamsize>(fresh.size()));
  }
  std::ifstream in(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

TEST(PageCodecGolden, ChunksAreEncodedAndDecodedAsCommitted) {
  Rng rng(20);
  const Pages pages{
      {3, compressible_page(rng)}, {4, compressible_page(rng)}, {5, Page{}}, {6, Page{}}, {900, random_page(rng)}};
  const Bytes raw = encode(PageMode::kNone, pages).front();
  EXPECT_EQ(golden("raw.bin", raw), raw);
  EXPECT_TRUE(decode({golden("lz4.bin", encode(PageMode::kLz4, pages).front())}) == pages);
}

}  // namespace
}  // namespace us
