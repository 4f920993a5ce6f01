#include "core/virtio/net_ring.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "core/virtio/fake_driver.h"

namespace us {
namespace {

constexpr uint16_t kSize = 64;
constexpr NetRingFormat kModern{12, true, true, true, true};
constexpr NetRingFormat kFirmware{10, false, false, false, false};

Bytes random_bytes(Rng& rng, size_t n) {
  Bytes out(n);
  for (uint8_t& b : out) b = static_cast<uint8_t>(rng.next());
  return out;
}

// Cuts `total` into up to `parts` sizes; some may be zero.
std::vector<uint32_t> cut(Rng& rng, uint64_t total, uint64_t parts) {
  std::vector<uint32_t> out;
  for (uint64_t i = 1; i < parts; ++i) {
    out.push_back(static_cast<uint32_t>(rng.below(total + 1)));
    total -= out.back();
  }
  out.push_back(static_cast<uint32_t>(total));
  return out;
}

struct NetRingTest : testing::Test {
  void start(RingDirection direction) {
    ring.emplace(direction, ram.memory);
    ASSERT_TRUE(ring->start(driver.setup(), {.event_index = true, .indirect = true}).has_value());
  }
  NetReceiver::Outcome deliver(const EthernetFrame& frame, const NetRingFormat& format = kModern) {
    const auto outcome = receiver.deliver(*ring, format, frame, ram.memory);
    ring->publish();
    return outcome;
  }
  FakeRam ram{16 << 20};
  FakeDriver driver{ram, 0, kSize, 15 << 20};
  std::optional<SplitRing> ring;
  FramePool pool{1 << 20};
  NetTransmitter transmitter;
  NetReceiver receiver;
};

TEST_F(NetRingTest, EveryFrameAWellBehavedDriverSendsArrivesIntact) {
  start(RingDirection::kFromDriver);
  Rng rng(7);
  for (int i = 0; i < 1000; ++i) {
    const bool modern = rng.chance(0.7);
    const NetRingFormat& format = modern ? kModern : kFirmware;
    const size_t size = 14 + rng.below(rng.chance(0.2) ? kMaxEthernetBytes - 13 : 1600);
    Bytes sent = random_bytes(rng, format.header_bytes + size);
    const auto sizes = cut(rng, sent.size(), 1 + rng.below(18));
    const auto head = driver.post(sizes, false, rng.chance(0.5), sent);
    ASSERT_TRUE(head.has_value());
    const auto frame = transmitter.take(*ring, format, pool);
    ASSERT_TRUE(frame.has_value()) << to_string(ring->fault());
    ring->publish();
    EXPECT_EQ(Bytes(frame->ethernet().begin(), frame->ethernet().end()),
              Bytes(sent.begin() + format.header_bytes, sent.end()));
    EXPECT_EQ(frame->header().gso_type, sent[1]);
    EXPECT_EQ(frame->header().flags, sent[0] & VnetHeader::kNeedsChecksum) << "other flags mean nothing on the way out";
    EXPECT_EQ(frame->header().gso_size, load_le<uint16_t>(sent.data() + 4));
    EXPECT_EQ(frame->header().checksum_offset, load_le<uint16_t>(sent.data() + 8));
    EXPECT_EQ(frame->header().buffer_count, 0);
    const auto used = driver.collect();
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->head, *head);
    EXPECT_EQ(used->written, 0u);
    EXPECT_FALSE(transmitter.take(*ring, format, pool).has_value());
  }
}

TEST_F(NetRingTest, AFrameShorterThanItsHeadersIsAFault) {
  start(RingDirection::kFromDriver);
  driver.post(std::vector<uint32_t>{12 + 13}, false);
  EXPECT_FALSE(transmitter.take(*ring, kModern, pool).has_value());
  EXPECT_EQ(ring->fault(), RingFault::kFrameTooShort);
}

TEST_F(NetRingTest, AFrameLongerThanAnyPacketIsAFault) {
  start(RingDirection::kFromDriver);
  const auto too_long = static_cast<uint32_t>(12 + kMaxEthernetBytes + 1);
  driver.post(std::vector<uint32_t>{too_long}, false);
  EXPECT_FALSE(transmitter.take(*ring, kModern, pool).has_value());
  EXPECT_EQ(ring->fault(), RingFault::kFrameTooLong);
  ring->publish();
  EXPECT_FALSE(ring->wants_interrupt());
}

TEST_F(NetRingTest, EveryFrameFromTheUplinkArrivesIntactAndItsPagesAreMarked) {
  start(RingDirection::kToDriver);
  Rng rng(11);
  for (int i = 0; i < 400; ++i) {
    while (driver.post(cut(rng, 300 + rng.below(4000), 1 + rng.below(3)), true, rng.chance(0.3))) {
    }
    const size_t size = 14 + rng.below(rng.chance(0.2) ? kMaxEthernetBytes - 13 : 1600);
    const Bytes sent = random_bytes(rng, size);
    EthernetFrame frame{ByteSpan(sent)};
    frame.set_header({.flags = VnetHeader::kNeedsChecksum, .gso_type = VnetHeader::kGsoTcp4, .gso_size = 1448});
    std::optional<WriteAudit> audit;
    if (i % 20 == 0) audit.emplace(ram);
    ASSERT_EQ(deliver(frame), NetReceiver::Outcome::kDelivered);
    ASSERT_FALSE(audit && audit->unmarked().has_value());
    Bytes got;
    uint16_t parts = 0;
    while (const auto used = driver.collect()) {
      const Bytes part = driver.contents(*used);
      got.insert(got.end(), part.begin(), part.end());
      ++parts;
    }
    ASSERT_EQ(got.size(), 12 + size);
    EXPECT_EQ(Bytes(got.begin() + 12, got.end()), sent);
    EXPECT_EQ(got[0], VnetHeader::kNeedsChecksum);
    EXPECT_EQ(load_le<uint16_t>(got.data() + 4), 1448);
    EXPECT_EQ(load_le<uint16_t>(got.data() + 10), parts);
  }
}

TEST_F(NetRingTest, AFrameWaitsUntilThereAreBuffersForAllOfIt) {
  start(RingDirection::kToDriver);
  Rng rng(3);
  const EthernetFrame frame{ByteSpan(random_bytes(rng, 3000))};
  EXPECT_EQ(deliver(frame), NetReceiver::Outcome::kNoBuffers);
  driver.post(std::vector<uint32_t>{1500}, true);
  driver.post(std::vector<uint32_t>{1500}, true);
  EXPECT_EQ(deliver(frame), NetReceiver::Outcome::kNoBuffers);
  EXPECT_FALSE(driver.collect().has_value());
  driver.post(std::vector<uint32_t>{1500}, true);
  EXPECT_EQ(deliver(frame), NetReceiver::Outcome::kDelivered);
  EXPECT_EQ(driver.collect()->written, 1500u);
  EXPECT_EQ(driver.collect()->written, 1500u);
  EXPECT_EQ(driver.collect()->written, 12u);
}

TEST_F(NetRingTest, WithoutMergingAFrameThatDoesNotFitOneChainIsUnfit) {
  start(RingDirection::kToDriver);
  const EthernetFrame frame{ByteSpan(Bytes(1000))};
  driver.post(std::vector<uint32_t>{10, 999}, true);
  EXPECT_EQ(deliver(frame, kFirmware), NetReceiver::Outcome::kUnfit);
  EXPECT_FALSE(driver.collect().has_value());
  EXPECT_EQ(deliver(EthernetFrame{ByteSpan(Bytes(999))}, kFirmware), NetReceiver::Outcome::kDelivered);
  EXPECT_EQ(driver.collect()->written, 1009u);
}

TEST_F(NetRingTest, AFrameThatAWholeRingOfBuffersCannotHoldIsUnfit) {
  start(RingDirection::kToDriver);
  for (int i = 0; i < kSize; ++i) driver.post(std::vector<uint32_t>{8}, true);
  EXPECT_EQ(deliver(EthernetFrame{ByteSpan(Bytes(1000))}), NetReceiver::Outcome::kUnfit);
  EXPECT_EQ(ring->stop(), 0u);
}

TEST_F(NetRingTest, AnOffloadTheGuestDidNotAskForIsUnfit) {
  start(RingDirection::kToDriver);
  driver.post(std::vector<uint32_t>{2000}, true);
  EthernetFrame frame{ByteSpan(Bytes(1000))};
  NetRingFormat only_tso4 = kModern;
  only_tso4.guest_tso6 = false;
  frame.set_header({.flags = VnetHeader::kNeedsChecksum, .gso_type = VnetHeader::kGsoTcp6, .gso_size = 1448});
  EXPECT_EQ(deliver(frame, only_tso4), NetReceiver::Outcome::kUnfit);
  frame.set_header({.flags = VnetHeader::kNeedsChecksum});
  EXPECT_EQ(deliver(frame, kFirmware), NetReceiver::Outcome::kUnfit);
  frame.set_header({.flags = VnetHeader::kDataValid});
  EXPECT_EQ(deliver(frame, kFirmware), NetReceiver::Outcome::kDelivered);
  EXPECT_EQ(driver.contents(*driver.collect())[0], 0) << "a flag the guest did not negotiate";
}

TEST_F(NetRingTest, AFaultLeavesTheFrameUndelivered) {
  start(RingDirection::kToDriver);
  driver.offer(kSize);
  EXPECT_EQ(deliver(EthernetFrame{ByteSpan(Bytes(100))}), NetReceiver::Outcome::kFault);
}

}  // namespace
}  // namespace us
