#include "core/virtio/net_backend.h"

#include <gtest/gtest.h>

#include "core/virtio/fake_driver.h"

namespace us {
namespace {

constexpr FileIdentity kRam{8, 15};
constexpr FileIdentity kOther{8, 16};
constexpr uint64_t kModern = (uint64_t{1} << 32) | (1 << 30) | (1 << 29) | (1 << 28) | (1 << 15) | (1 << 1);

// The messages of QEMU, in its order.
struct NetBackendTest : testing::Test {
  using Request = VhostUserRequest;

  Result<NetBackend::Answer> send(VhostUserMessage m, std::vector<FileIdentity> files = {}) {
    return backend.handle(m, files);
  }
  Result<NetBackend::Answer> send_ring(Request request, uint32_t ring, uint32_t value = 0) {
    VhostUserMessage m{.request = request};
    m.ring = ring;
    m.ring_value = value;
    return send(m);
  }
  Result<NetBackend::Answer> features(uint64_t f) { return send({.request = Request::kSetFeatures, .value = f}); }
  Result<NetBackend::Answer> table(FileIdentity file = kRam) {
    VhostUserMessage m{.request = Request::kSetMemTable};
    m.regions.push_back({GuestPhysAddr{FakeRam::kGuestBase}, ram.size, FakeRam::kUserBase, 0});
    return send(m, {file});
  }
  Result<NetBackend::Answer> kick(uint32_t ring) {
    VhostUserMessage m{.request = Request::kSetVringKick};
    m.ring = ring;
    m.has_fd = true;
    return send(m, {FileIdentity{1, 1}});
  }
  void configure(uint32_t ring, const FakeDriver& driver, uint16_t base) {
    const RingSetup s = driver.setup(base);
    ASSERT_TRUE(send_ring(Request::kSetVringNum, ring, s.size).has_value());
    ASSERT_TRUE(send_ring(Request::kSetVringBase, ring, s.base).has_value());
    VhostUserMessage m{.request = Request::kSetVringAddr};
    m.ring = ring;
    m.descriptors_user = s.descriptors_user;
    m.avail_user = s.avail_user;
    m.used_user = s.used_user;
    ASSERT_TRUE(send(m).has_value());
  }
  void start_all(uint16_t transmit_base = 0) {
    for (uint32_t r : {0u, 1u}) ASSERT_TRUE(send_ring(Request::kSetVringEnable, r, 1).has_value());
    ASSERT_TRUE(features(kModern).has_value());
    ASSERT_TRUE(table().has_value());
    configure(0, receive, 0);
    ASSERT_EQ(kick(0)->started, 0u);
    configure(1, transmit, transmit_base);
    ASSERT_EQ(kick(1)->started, 1u);
  }
  static uint32_t base_in(const NetBackend::Answer& a) { return load_le<uint32_t>(a.reply->data() + 16); }

  FakeRam ram{2 << 20};
  FakeDriver receive{ram, 0, 16, 512 << 10};
  FakeDriver transmit{ram, 1 << 20, 16, 512 << 10};
  NetBackend backend{GuestMemory(ram.base, ram.size, ram.dirty), kRam};
};

TEST_F(NetBackendTest, StartsAsQemuStartsItAndStopsWhereItWas) {
  EXPECT_TRUE(backend.quiescent());
  start_all();
  EXPECT_FALSE(backend.quiescent());
  EXPECT_TRUE(backend.active(0));
  EXPECT_TRUE(backend.active(1));
  transmit.post(std::vector<uint32_t>{100}, false);
  FramePool pool{1 << 20};
  NetTransmitter t;
  ASSERT_TRUE(t.take(backend.ring(1), backend.format(), pool).has_value());
  backend.ring(1).publish();

  auto stopped = send_ring(VhostUserRequest::kGetVringBase, 0);
  EXPECT_EQ(stopped->stopped, 0u);
  EXPECT_EQ(base_in(*stopped), 0u);
  EXPECT_FALSE(backend.quiescent());
  stopped = send_ring(VhostUserRequest::kGetVringBase, 1);
  EXPECT_EQ(base_in(*stopped), 1u);
  EXPECT_TRUE(backend.quiescent());

  start_all(1);
  transmit.post(std::vector<uint32_t>{100}, false);
  EXPECT_TRUE(t.take(backend.ring(1), backend.format(), pool).has_value());
  backend.ring(1).publish();
  EXPECT_EQ(base_in(*send_ring(VhostUserRequest::kGetVringBase, 1)), 2u);
}

TEST_F(NetBackendTest, ARingIsInactiveUntilEnabledWhenProtocolFeaturesAreNegotiated) {
  ASSERT_TRUE(features(kModern).has_value());
  ASSERT_TRUE(table().has_value());
  configure(1, transmit, 0);
  ASSERT_TRUE(kick(1).has_value());
  EXPECT_FALSE(backend.active(1));
  ASSERT_TRUE(send_ring(VhostUserRequest::kSetVringEnable, 1, 1).has_value());
  EXPECT_TRUE(backend.active(1));
  ASSERT_TRUE(send_ring(VhostUserRequest::kSetVringEnable, 1, 0).has_value());
  EXPECT_FALSE(backend.active(1));
}

TEST_F(NetBackendTest, ARingIsActiveAtOnceWithoutProtocolFeatures) {
  ASSERT_TRUE(features(kModern & ~(uint64_t{1} << 30)).has_value());
  ASSERT_TRUE(table().has_value());
  configure(1, transmit, 0);
  ASSERT_TRUE(kick(1).has_value());
  EXPECT_TRUE(backend.active(1));
}

TEST_F(NetBackendTest, TheFormatFollowsTheFeatures) {
  ASSERT_TRUE(features(0).has_value());
  EXPECT_EQ(backend.format().header_bytes, 10);
  EXPECT_FALSE(backend.format().mergeable);
  const auto changed = features(kModern | (1 << 7));
  EXPECT_TRUE(changed->features_changed);
  EXPECT_EQ(backend.format().header_bytes, 12);
  EXPECT_TRUE(backend.format().mergeable);
  EXPECT_TRUE(backend.format().guest_checksum);
  EXPECT_TRUE(backend.format().guest_tso4);
  EXPECT_FALSE(backend.format().guest_tso6);
  EXPECT_FALSE(features(kModern | (1 << 7))->features_changed);
}

TEST_F(NetBackendTest, RefusesMemoryThatIsNotTheGuestsRam) {
  const auto refused = table(kOther);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("another file"), std::string::npos);
}

TEST_F(NetBackendTest, RefusesDescriptorsThatDoNotMatchTheMessage) {
  VhostUserMessage m{.request = VhostUserRequest::kSetMemTable};
  m.regions.push_back({GuestPhysAddr{0}, kPageSize, 0, 0});
  EXPECT_FALSE(send(m, {}).has_value());
  EXPECT_FALSE(send(m, {kRam, kRam}).has_value());
  EXPECT_FALSE(send({.request = VhostUserRequest::kGetFeatures}, {kRam}).has_value());
}

TEST_F(NetBackendTest, RefusesFeaturesThatWereNotOffered) {
  EXPECT_FALSE(features(uint64_t{1} << 34).has_value()) << "packed ring";
  EXPECT_FALSE(features(1 << 26).has_value()) << "log";
}

TEST_F(NetBackendTest, RefusesARingThatDoesNotExist) {
  EXPECT_FALSE(send_ring(VhostUserRequest::kGetVringBase, 2).has_value());
  EXPECT_FALSE(send_ring(VhostUserRequest::kSetVringNum, 0xffffffff, 16).has_value());
}

TEST_F(NetBackendTest, RefusesToStartARingThatWasNotConfigured) {
  EXPECT_FALSE(kick(0).has_value());
  ASSERT_TRUE(features(kModern).has_value());
  configure(0, receive, 0);
  EXPECT_FALSE(kick(0).has_value()) << "no memory table";
}

TEST_F(NetBackendTest, RefusesChangesToARunningRing) {
  start_all();
  EXPECT_FALSE(send_ring(VhostUserRequest::kSetVringNum, 0, 8).has_value());
  EXPECT_FALSE(send_ring(VhostUserRequest::kSetVringBase, 1, 8).has_value());
  EXPECT_FALSE(features(0).has_value());
  EXPECT_TRUE(features(kModern).has_value()) << "the same again changes nothing";
}

TEST_F(NetBackendTest, StoppingARingThatNeverRanIsNoHarm) {
  const auto a = send_ring(VhostUserRequest::kGetVringBase, 1);
  ASSERT_TRUE(a.has_value());
  EXPECT_FALSE(a->stopped.has_value());
  EXPECT_EQ(base_in(*a), 0u);
}

TEST_F(NetBackendTest, ForgetsEverythingWhenTheFrontEndIsGone) {
  start_all();
  backend.reset();
  EXPECT_TRUE(backend.quiescent());
  EXPECT_EQ(backend.features(), 0u);
  EXPECT_FALSE(kick(0).has_value());
  ASSERT_TRUE(features(kModern).has_value());
  ASSERT_TRUE(table().has_value());
  configure(1, transmit, 0);
  ASSERT_TRUE(kick(1).has_value());
  EXPECT_FALSE(backend.active(1)) << "enabled by a connection that is gone";
}

TEST_F(NetBackendTest, OffersNoProtocolFeature) {
  const auto a = send({.request = VhostUserRequest::kGetProtocolFeatures});
  EXPECT_EQ(load_le<uint64_t>(a->reply->data() + 12), 0u);
  EXPECT_TRUE(send({.request = VhostUserRequest::kSetProtocolFeatures}).has_value());
  EXPECT_FALSE(send({.request = VhostUserRequest::kSetProtocolFeatures, .value = 1}).has_value());
  EXPECT_FALSE(send({.request = VhostUserRequest::kSetLogBase}).has_value());
}

}  // namespace
}  // namespace us
