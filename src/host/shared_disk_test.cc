// A shared disk between PrimaryDisks and StandbyDisks: one real image, real locks, real threads, and an NBD client in
// QEMU's place; the frames between the two go through the real codec.
#include "host/shared_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/rng.h"
#include "core/replica/frame_parser.h"
#include "host/faulty_disk_io.h"
#include "host/nbd_test_client.h"
#include "host/primary_disks.h"
#include "host/standby_disks.h"
#include "os/clock.h"

namespace us {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kBytes = 16 * kMiB;
constexpr SessionId kSession(77);
const char* const kStandbyWrites = "written by the standby";

Bytes pattern(uint64_t seed, size_t size) {
  Rng rng(seed);
  Bytes out(size);
  for (uint8_t& b : out) b = static_cast<uint8_t>(rng.next());
  return out;
}

class SharedDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "shared_disk_test_XXXXXX";  // in the working directory: /tmp is often without O_DIRECT
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir = fs::absolute(name).string();
    for (const char* host : {"a", "b", "c"}) fs::create_directory(dir + "/" + host);
    std::ofstream(image()).close();
    fs::resize_file(image(), kBytes);
  }
  void TearDown() override {
    client.reset();
    primary.reset();
    standby.reset();
    fs::remove_all(dir);
  }

  std::string image() const { return dir + "/disk.img"; }
  VmConfig config(const std::string& vm = "vm") const {
    VmConfig out;
    out.name = vm;
    DiskConfig disk;
    disk.file = {"disk.img", image()};
    disk.storage = DiskStorage::kShared;
    out.disks.push_back(disk);
    return out;
  }
  LocalDiskOptions options(const std::string& host) {
    return {.runtime_directory = dir + "/" + host,
            .self = {"10.0.0.1", 1},
            .make_io = [faults = host == "a" ? faults_a : faults_b]() -> Result<std::unique_ptr<DiskIo>> {
              US_ASSIGN(auto io, start_thread_disk_io(4));
              return std::make_unique<FaultyDiskIo>(std::move(io), faults);
            }};
  }
  Status try_primary(const std::string& host, Generation own, Generation newest, const std::string& vm = "vm") {
    US_ASSIGN(primary, PrimaryDisks::open(config(vm), options(host)));
    return primary->go_live(own, newest, false, false);
  }
  void start_primary(Generation own = Generation(1), Generation newest = Generation{}) {
    const Status live = try_primary("a", own, newest);
    ASSERT_TRUE(live) << live.error().message;
    connect_client(*primary);
  }
  void connect_client(PrimaryDisks& to) {
    client = std::make_unique<NbdTestClient>(to.endpoints().at(0).socket_path);
    ASSERT_TRUE(client->connected());
  }
  void begin_session(Generation generation, Epoch first) {
    next_epoch = first;
    if (!standby) {
      auto opened = StandbyDisks::open(config(), options("b"));
      ASSERT_TRUE(opened) << opened.error().message;
      standby = std::move(*opened);
    }
    standby->begin_session(
        generation, kSession, kDiskVersion,
        {.send = [this](Bytes frame) { to_primary(frame); }, .failed = [this](const std::string& why) { note(why); }});
    primary->begin_session(first, kSession, kDiskVersion, [] {});
  }
  // From the beginning of a session to the first epoch that the standby may acknowledge.
  void protect(Generation generation = Generation(1), Epoch first = Epoch(1)) {
    ASSERT_NO_FATAL_FAILURE(begin_session(generation, first));
    ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << trouble;
    ASSERT_NO_FATAL_FAILURE(epoch());
  }
  void ship() {
    for (;;) {
      const std::vector<Bytes> frames = primary->take_frames();
      if (frames.empty()) return;
      for (const Bytes& frame : frames) deliver_to(frame, [&](const Message& m) { return standby->on_message(m); });
    }
  }
  void to_primary(const Bytes& frame) {
    deliver_to(frame, [&](const Message& m) { return primary->on_message(m); });
  }
  template <typename To>
  void deliver_to(const Bytes& frame, To&& to) {
    FrameParser parser;
    parser.establish(kDiskVersion);
    const Status fed = parse_frames(parser, frame, [&](const Frame& f) -> Status {
      US_ASSIGN(const Message message, decode(f));
      return to(message);
    });
    if (!fed) note(fed.error().message);
  }
  void note(const std::string& why) {
    const std::lock_guard lock(mutex);
    trouble += why + "; ";
  }
  template <typename Condition>
  bool eventually(Condition&& condition) {
    for (int i = 0; i < 2000; ++i) {
      if (primary && standby) ship();
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  void cut() {
    primary->begin_cut();
    EXPECT_EQ(client->flush(), NbdError::kNone);  // as QEMU's stop does
    const Result<Bytes> barrier = primary->cut(next_epoch);
    primary->end_cut();
    ASSERT_TRUE(barrier) << barrier.error().message;
    ship();
    const Status whole = standby->check(next_epoch, *barrier);
    ASSERT_TRUE(whole) << whole.error().message;
  }
  void epoch() {
    ASSERT_NO_FATAL_FAILURE(cut());
    ASSERT_TRUE(eventually([&] { return standby->ready(next_epoch); })) << trouble;
    standby->commit(next_epoch);
    ++next_epoch;
  }
  void disconnect() {
    primary->end_session();
    standby->end_session();
  }
  Epoch last() const { return Epoch(next_epoch.value() - 1); }
  bool durable_to(Epoch e) {
    return eventually([&] { return primary->status().at(0).at("durable_epoch").get<uint64_t>() >= e.value(); });
  }
  std::string state() { return primary->status().at(0).at("state"); }
  // As the storage has it.
  Bytes stored(uint64_t offset, size_t size) const {
    std::ifstream in(image(), std::ios::binary);
    in.seekg(static_cast<std::streamoff>(offset));
    Bytes out(size);
    in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(size));
    return out;
  }

  std::string dir;
  std::shared_ptr<DiskFaults> faults_a = std::make_shared<DiskFaults>();
  std::shared_ptr<DiskFaults> faults_b = std::make_shared<DiskFaults>();
  std::unique_ptr<PrimaryDisks> primary;
  std::unique_ptr<StandbyDisks> standby;
  std::unique_ptr<NbdTestClient> client;
  Epoch next_epoch{1};
  std::mutex mutex;
  std::string trouble;
};

TEST_F(SharedDiskTest, AlonePrimaryWritesToTheImage) {
  start_primary();
  EXPECT_EQ(client->write(kMiB, pattern(1, 8192)), NbdError::kNone);
  EXPECT_EQ(client->flush(), NbdError::kNone);
  EXPECT_EQ(client->read(kMiB, 8192), pattern(1, 8192));
  EXPECT_EQ(stored(kMiB, 8192), pattern(1, 8192));
}

TEST_F(SharedDiskTest, WithAStandbyNothingReachesTheImageBeforeItsEpochCommitsAndReadsSeeIt) {
  start_primary();
  EXPECT_EQ(client->write(0, pattern(1, 4096)), NbdError::kNone);
  protect();
  EXPECT_EQ(client->write(0, pattern(2, 4096), kNbdCmdFlagFua), NbdError::kNone);
  EXPECT_EQ(client->flush(), NbdError::kNone);
  EXPECT_EQ(client->read(0, 8192).size(), 8192u);
  EXPECT_EQ(client->read(0, 4096), pattern(2, 4096));
  EXPECT_EQ(stored(0, 4096), pattern(1, 4096));
  epoch();
  ASSERT_TRUE(durable_to(last()));
  EXPECT_EQ(stored(0, 4096), pattern(2, 4096));
  EXPECT_EQ(client->read(0, 4096), pattern(2, 4096));
  EXPECT_EQ(primary->status().at(0).at("unconfirmed_bytes"), 0);
  EXPECT_EQ(state(), kStandbyWrites);
  EXPECT_EQ(trouble, "");
}

TEST_F(SharedDiskTest, ATakeoverHasWhatHasCommittedAndNothingElse) {
  start_primary();
  protect();
  EXPECT_EQ(client->write(0, pattern(1, 4096)), NbdError::kNone);
  epoch();
  EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kNone);  // of an epoch that never commits
  ship();
  client.reset();
  disconnect();
  primary.reset();
  auto taken =
      standby->take_over(Generation(2), {Generation(1), kSession.value(), last()}, clock_now() + Duration::seconds(20));
  ASSERT_TRUE(taken) << taken.error().message;
  EXPECT_EQ(stored(0, 4096), pattern(1, 4096));
  connect_client(**taken);
  EXPECT_EQ(client->write(0, pattern(3, 4096)), NbdError::kNone);
  EXPECT_EQ(client->flush(), NbdError::kNone);
  EXPECT_EQ(stored(0, 4096), pattern(3, 4096));
  client.reset();
}

TEST_F(SharedDiskTest, APrimaryWithoutItsStandbyTakesTheImageBackWithAllThatIsHeld) {
  start_primary();
  protect();
  faults_b->write_error = EIO;  // the standby cannot apply what commits
  EXPECT_EQ(client->write(0, pattern(1, 4096)), NbdError::kNone);
  epoch();
  EXPECT_EQ(client->write(4096, pattern(2, 4096)), NbdError::kNone);
  disconnect();
  standby.reset();
  primary->go_on_alone(Generation(2));
  EXPECT_EQ(client->flush(), NbdError::kNone);  // waits until everything is there
  EXPECT_EQ(stored(0, 4096), pattern(1, 4096));
  EXPECT_EQ(stored(4096, 4096), pattern(2, 4096));
  EXPECT_EQ(client->write(0, pattern(3, 4096)), NbdError::kNone);
  EXPECT_EQ(stored(0, 4096), pattern(3, 4096));
  EXPECT_EQ(state(), "written by this host");
}

TEST_F(SharedDiskTest, AStandbyThatHasTheImageIsWaitedForAndTheGuestGoesOnMeanwhile) {
  start_primary();
  protect();
  primary->end_session();  // the standby has not found out
  primary->go_on_alone(Generation(2));
  EXPECT_EQ(client->write(0, pattern(1, 4096)), NbdError::kNone);
  EXPECT_EQ(client->read(0, 4096), pattern(1, 4096));
  ASSERT_TRUE(eventually([&] { return primary->status().at(0).contains("waits_for"); }));
  EXPECT_EQ(stored(0, 4096), Bytes(4096));
  standby->end_session();
  standby->give_up();
  ASSERT_TRUE(eventually([&] { return state() == "written by this host"; }));
  EXPECT_EQ(stored(0, 4096), pattern(1, 4096));
}

TEST_F(SharedDiskTest, AStandbyDoesNotTakeOverAnImageThatWasTakenBack) {
  start_primary();
  protect();
  EXPECT_EQ(client->write(0, pattern(1, 4096)), NbdError::kNone);
  epoch();
  ASSERT_TRUE(durable_to(last()));
  disconnect();
  primary->go_on_alone(Generation(2));
  ASSERT_TRUE(eventually([&] { return state() == "written by this host"; }));
  client.reset();
  primary.reset();
  const auto taken =
      standby->take_over(Generation(3), {Generation(1), kSession.value(), last()}, clock_now() + Duration::seconds(20));
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message, HasSubstr("another host has written to it"));
}

TEST_F(SharedDiskTest, ASecondSessionNeedsNoCopying) {
  start_primary();
  protect();
  EXPECT_EQ(client->write(0, pattern(1, 4096)), NbdError::kNone);
  epoch();
  disconnect();
  primary->go_on_alone(Generation(2));
  standby->give_up();
  ASSERT_TRUE(eventually([&] { return state() == "written by this host"; }));
  EXPECT_EQ(client->write(4096, pattern(2, 4096)), NbdError::kNone);
  protect(Generation(2), next_epoch);
  EXPECT_EQ(client->write(8192, pattern(3, 4096)), NbdError::kNone);
  epoch();
  ASSERT_TRUE(durable_to(last()));
  EXPECT_EQ(stored(4096, 4096), pattern(2, 4096));
  EXPECT_EQ(stored(8192, 4096), pattern(3, 4096));
  EXPECT_EQ(trouble, "");
}

TEST_F(SharedDiskTest, ASlowStandbyMakesTheGuestWaitAndMemoryStaysBounded) {
  start_primary();
  protect();
  faults_b->write_error = ENOSPC;
  std::vector<uint64_t> open;
  for (uint64_t i = 0; i < 36; ++i)
    open.push_back(client->ask(NbdCommand::kWrite, i % 16 * kMiB, kMiB, 0, pattern(100 + i, kMiB)));
  ASSERT_TRUE(eventually([&] { return primary->status().at(0).at("waits").get<uint64_t>() > 0; }));
  EXPECT_TRUE(primary->wants_cut());
  EXPECT_LT(primary->status().at(0).at("unconfirmed_bytes").get<uint64_t>(), 52 * kMiB);
  EXPECT_FALSE(client->answered_within(open.back(), 200));
  primary->begin_cut();
  ASSERT_TRUE(client->answered_within(open.back(), 5000)) << "a cut drains what waits";
  const Result<Bytes> barrier = primary->cut(next_epoch);
  primary->end_cut();
  ASSERT_TRUE(barrier);
  ship();
  ASSERT_TRUE(standby->check(next_epoch, *barrier));
  standby->commit(next_epoch);
  next_epoch = Epoch{next_epoch.value() + 1};
  EXPECT_FALSE(primary->may_cut());
  faults_b->write_error = 0;
  EXPECT_TRUE(eventually([&] { return primary->may_cut(); }));
  ASSERT_TRUE(durable_to(last()));
  EXPECT_EQ(trouble, "");
}

TEST_F(SharedDiskTest, ASecondPrimaryIsRefusedWhoeverHasTheImage) {
  start_primary();
  std::unique_ptr<PrimaryDisks> first = std::move(primary);
  const Status second = try_primary("c", Generation(2), Generation(1));
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("another host or process writes to it"));
  primary = std::move(first);
  protect();
  first = std::move(primary);
  const Status third = try_primary("c", Generation(2), Generation(1));
  ASSERT_FALSE(third);
  EXPECT_THAT(third.error().message, HasSubstr("another host or process writes to it"));
  primary = std::move(first);
}

TEST_F(SharedDiskTest, ItIsOneVmsAndNotAReplicatedOnes) {
  start_primary();
  client.reset();
  primary.reset();
  const Status other = try_primary("c", Generation(1), Generation{}, "other");
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message, HasSubstr("is the shared disk of VM vm"));
  VmConfig replicated = config();
  replicated.disks[0].storage = DiskStorage::kReplicated;
  const auto opened = PrimaryDisks::open(replicated, options("c"));
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("is the shared disk of VM vm"));
  // The same VM with another arbiter, which knows of nothing.
  primary.reset();
  const Status again = try_primary("a", Generation(1), Generation{});
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, HasSubstr("the arbiter knows of none after 0"));
  ASSERT_TRUE(try_primary("c", Generation(2), Generation(1))) << "on whichever host";
}

TEST_F(SharedDiskTest, AStartAfterBothHaveDiedBringsTheLastBatchToTheImage) {
  start_primary();
  protect();
  faults_b->write_error = EIO;
  EXPECT_EQ(client->write(0, pattern(1, 4096)), NbdError::kNone);
  epoch();
  // In the journal, and not on the image.
  ASSERT_TRUE(eventually([&] { return primary->status().at(0).contains("standby_error"); }));
  client.reset();
  disconnect();
  standby.reset();
  primary.reset();
  EXPECT_EQ(stored(0, 4096), Bytes(4096));
  start_primary(Generation(2), Generation(1));
  EXPECT_EQ(client->read(0, 4096), pattern(1, 4096));
}

TEST_F(SharedDiskTest, AtTheGuestsEndWhatIsHeldIsWrittenIfNobodyCanTakeOver) {
  start_primary();
  protect();
  EXPECT_EQ(client->write(0, pattern(1, 4096)), NbdError::kNone);
  const Status not_ours = primary->sync_images(false);
  ASSERT_FALSE(not_ours);
  EXPECT_THAT(not_ours.error().message, HasSubstr("left to the standby"));
  standby->end_session();
  standby.reset();  // told of the end, it ends too
  const Status ours = primary->sync_images(true);
  ASSERT_TRUE(ours) << ours.error().message;
  EXPECT_EQ(stored(0, 4096), pattern(1, 4096));
}

TEST_F(SharedDiskTest, AFencedPrimaryAnswersNothingMore) {
  start_primary();
  protect();
  primary->fence();
  EXPECT_FALSE(client->answered_within(client->ask(NbdCommand::kWrite, 0, 4096, 0, pattern(3, 4096)), 300));
  ASSERT_TRUE(primary->mark_stale(Generation(2))) << "the image is not its own";
}

}  // namespace
}  // namespace us
