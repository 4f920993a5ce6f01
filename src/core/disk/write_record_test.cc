#include "core/disk/write_record.h"

#include <gtest/gtest.h>

#include "core/disk/disk_samples.h"

namespace us {
namespace {

Bytes encoded(const DiskWrite& write) {
  Bytes out;
  encode(WriteRecord{DiskIndex(2), Epoch(9), write}, out);
  return out;
}

bool decodes(const Bytes& bytes) {
  ByteReader in(bytes);
  return decode_write_record(in).has_value();
}

TEST(WriteRecord, HasTheBytesOfItsPage) {
  const Bytes data = encoded(DiskWrite::of_data(0x1000, DataSlice::copy_of(Bytes{0xaa, 0xbb})));
  EXPECT_EQ(data, (Bytes{1,    2, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,    0,
                         0x10, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0xbb}));
}

TEST(WriteRecord, EveryKindComesBack) {
  for (const DiskWrite& write : {disk_samples::filled(512, 700, 7), DiskWrite{WriteKind::kZeroes, {1, 1ull << 50}, {}},
                                 DiskWrite{WriteKind::kDiscard, {4096, 8192}, {}}}) {
    const Bytes bytes = encoded(write);
    ByteReader in(bytes);
    const auto record = decode_write_record(in);
    ASSERT_TRUE(record);
    EXPECT_TRUE(in.done());
    EXPECT_EQ(record->disk, DiskIndex(2));
    EXPECT_EQ(record->epoch, Epoch(9));
    EXPECT_EQ(record->write.kind, write.kind);
    EXPECT_EQ(record->write.range, write.range);
    EXPECT_TRUE(std::ranges::equal(record->write.data.span(), write.data.span()));
    for (size_t n = 0; n < bytes.size(); ++n)
      EXPECT_FALSE(decodes(Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n)))) << n;
  }
}

TEST(WriteRecord, RefusesWhatMakesNoSense) {
  const Bytes good = encoded(disk_samples::filled(0, 8, 1));
  const auto with = [&](size_t at, std::initializer_list<uint8_t> values) {
    Bytes b = good;
    std::ranges::copy(values, b.begin() + static_cast<ptrdiff_t>(at));
    return b;
  };
  ASSERT_TRUE(decodes(good));
  EXPECT_FALSE(decodes(with(0, {0})));
  EXPECT_FALSE(decodes(with(0, {4})));
  EXPECT_FALSE(decodes(with(1, {kDiskIndexMax})));
  EXPECT_FALSE(decodes(with(5, {1}))) << "reserved";
  EXPECT_FALSE(decodes(with(8, {0}))) << "epoch 0";
  EXPECT_FALSE(decodes(with(24, {0}))) << "empty";
  EXPECT_FALSE(decodes(with(26, {2, 1}))) << "more data than a record may have";
  EXPECT_FALSE(decodes(with(16, {255, 255, 255, 255, 255, 255, 255, 255}))) << "wraps around";
}

TEST(WriteRecord, LongWritesAreSplitAndLongZeroesAreNot) {
  const auto parts = split_for_records(disk_samples::filled(100, kWriteRecordDataMax * 2 + 1, 3));
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[2].range, (DiskRange{100 + 2ull * kWriteRecordDataMax, 101 + 2ull * kWriteRecordDataMax}));
  EXPECT_EQ(split_for_records({WriteKind::kZeroes, {0, 1ull << 40}, {}}).size(), 1u);
}

TEST(DiskBarrier, ComesBackAndIsRefusedAtEveryTruncationAndExtension) {
  const DiskBarrier barrier{Epoch(7), {{DiskIndex(0), 3, 4096}, {DiskIndex(1), 0, 0}}};
  Bytes bytes = encode(barrier);
  const auto back = decode_disk_barrier(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, barrier);
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(decode_disk_barrier(ByteSpan(bytes).first(n))) << n;
  bytes.push_back(0);
  EXPECT_FALSE(decode_disk_barrier(bytes));
}

TEST(DiskBarrier, RefusesOtherVersionsTooManyDisksAndDisksOutOfOrder) {
  const Bytes good = encode(DiskBarrier{Epoch(7), {{DiskIndex(0), 3, 4096}, {DiskIndex(1), 0, 0}}});
  for (const size_t at : {size_t{0}, size_t{4}, size_t{6}, size_t{16}, size_t{40}}) {
    Bytes bad = good;
    bad[at] ^= 0x40;
    EXPECT_FALSE(decode_disk_barrier(bad)) << at;
  }
}

}  // namespace
}  // namespace us
