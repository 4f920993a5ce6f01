#include "core/net/frame_pool.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(FramePool, GivesAFrameOfTheSizeAskedForInABufferLessThanTwiceAsLarge) {
  FramePool pool(1 << 20);
  for (size_t bytes = 14; bytes <= kMaxEthernetBytes; bytes += 97) {
    const EthernetFrame f = pool.take(bytes);
    EXPECT_EQ(f.size(), bytes);
    EXPECT_LT(f.capacity(), std::max<size_t>(2 * bytes, 257));
  }
  EXPECT_EQ(pool.take(kMaxEthernetBytes).capacity(), kMaxEthernetBytes);
}

TEST(FramePool, UsesABufferAgain) {
  FramePool pool(1 << 20);
  EthernetFrame f = pool.take(5000);
  const uint8_t* where = f.ethernet().data();
  pool.give_back(std::move(f));
  EXPECT_EQ(pool.kept_bytes(), 8192u);
  f = pool.take(6000);
  EXPECT_EQ(f.ethernet().data(), where);
  EXPECT_EQ(pool.kept_bytes(), 0u);
}

TEST(FramePool, KeepsNoMoreThanItsLimit) {
  FramePool pool(100'000);
  std::vector<EthernetFrame> frames;
  for (int i = 0; i < 10; ++i) frames.push_back(pool.take(30'000));
  for (EthernetFrame& f : frames) pool.give_back(std::move(f));
  EXPECT_EQ(pool.kept_bytes(), 3u * 32'768);
}

TEST(FramePool, TakesNoBufferThatIsNotOfItsOwnSizes) {
  FramePool pool(1 << 20);
  pool.give_back(EthernetFrame(1000));
  pool.give_back(EthernetFrame());
  EXPECT_EQ(pool.kept_bytes(), 0u);
}

}  // namespace
}  // namespace us
