// PrimaryDisks and StandbyDisks with real images, real threads and an NBD client in QEMU's place; the frames between
// them go through the real codec.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
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
constexpr uint64_t kSession = 77;

Bytes pattern(uint64_t seed, size_t size) {
  Rng rng(seed);
  Bytes out(size);
  for (uint8_t& b : out) b = static_cast<uint8_t>(rng.next());
  return out;
}

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

class DisksTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/disks_test_XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir = name;
    for (const char* host : {"a", "b"}) fs::create_directory(dir + "/" + host);
  }
  void TearDown() override {
    client.reset();
    stop_pump();
    primary.reset();
    standby.reset();
    fs::remove_all(dir);
  }

  std::string image(const std::string& host) const { return dir + "/" + host + "/disk.img"; }
  VmConfig config(const std::string& host) const {
    VmConfig out;
    out.name = "vm";
    DiskConfig disk;
    disk.file = {"disk.img", image(host)};
    disk.storage = DiskStorage::kReplicated;
    disk.size_bytes = kBytes;
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
  void make_primary_image(uint64_t data_bytes = 3 * kMiB) {
    std::ofstream file(image("a"), std::ios::binary);
    const Bytes data = pattern(1, data_bytes);
    file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
    file.close();
    fs::resize_file(image("a"), kBytes);
  }
  void start_primary(Generation own = Generation(1), Generation newest = Generation{}) {
    auto opened = PrimaryDisks::open(config("a"), options("a"));
    ASSERT_TRUE(opened) << opened.error().message;
    primary = std::move(*opened);
    const Status live = primary->go_live(own, newest, newest != Generation{}, false);
    ASSERT_TRUE(live) << live.error().message;
    client = std::make_unique<NbdTestClient>(primary->endpoints().at(0).socket_path);
    ASSERT_TRUE(client->connected());
  }
  void start_standby(const std::string& host = "b") {
    auto opened = StandbyDisks::open(config(host), options(host));
    ASSERT_TRUE(opened) << opened.error().message;
    standby = std::move(*opened);
  }

  // Carries frames in both directions until stop_pump().
  void connect(Generation generation, Epoch first) {
    next_epoch = first;
    standby->begin_session(
        generation, SessionId(kSession), kDiskVersion,
        {.send = [this](Bytes frame) { to_primary(frame); }, .failed = [this](const std::string& why) { note(why); }});
    primary->begin_session(first, SessionId(kSession), kDiskVersion, [this] { poke(); });
    pumping = true;
    pump = std::thread([this] { carry(); });
  }
  void stop_pump() {
    {
      const std::lock_guard lock(mutex);
      pumping = false;
    }
    poke();
    if (pump.joinable()) pump.join();
  }
  void disconnect() {
    stop_pump();
    primary->end_session();
    standby->end_session();
  }
  void carry() {
    std::unique_lock lock(mutex);
    while (pumping) {
      ready.wait(lock, [this] { return poked || !pumping; });
      poked = false;
      lock.unlock();
      send_frames();
      lock.lock();
    }
  }
  // Everything that the primary has for the standby now.
  void send_frames() {
    const std::lock_guard order(stream_mutex);
    for (;;) {
      const std::vector<Bytes> frames = primary->take_frames();
      if (frames.empty()) return;
      for (const Bytes& frame : frames) deliver_to(frame, [&](const Message& m) { return standby->on_message(m); });
    }
  }
  void to_primary(const Bytes& frame) {
    deliver_to(frame, [&](const Message& m) { return primary->on_message(m); });
    poke();
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
  void poke() {
    {
      const std::lock_guard lock(mutex);
      poked = true;
    }
    ready.notify_all();
  }
  void note(const std::string& why) {
    const std::lock_guard lock(mutex);
    trouble += why + "; ";
  }
  std::string troubles() {
    const std::lock_guard lock(mutex);
    return trouble;
  }

  template <typename Condition>
  bool eventually(Condition&& condition) {
    for (int i = 0; i < 2000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  // One epoch: cut, ship, check, commit.
  void epoch() {
    primary->begin_cut();
    client->flush();  // as QEMU's stop does
    end_epoch();
  }
  // With requests open that wait for the window: as QEMU's drain, until they are let through.
  void epoch_without_flush() {
    primary->begin_cut();
    ASSERT_TRUE(eventually([&] { return primary->status().at(0).at("open_writes") == 0; }));
    end_epoch();
  }
  void end_epoch() {
    const Result<Bytes> barrier = primary->cut(next_epoch);
    primary->end_cut();
    ASSERT_TRUE(barrier) << barrier.error().message;
    send_frames();
    const Status whole = standby->check(next_epoch, *barrier);
    ASSERT_TRUE(whole) << whole.error().message;
    ASSERT_TRUE(eventually([&] { return standby->ready(next_epoch); }));
    standby->commit(next_epoch);
    ++next_epoch;
  }
  bool durable_to(Epoch e) {
    return eventually([&] { return standby->status().at(0).at("durable_epoch").get<uint64_t>() >= e.value(); });
  }
  ImageEpoch last() const { return {Generation(1), kSession, Epoch(next_epoch.value() - 1)}; }

  std::string dir;
  std::shared_ptr<DiskFaults> faults_a = std::make_shared<DiskFaults>();
  std::shared_ptr<DiskFaults> faults_b = std::make_shared<DiskFaults>();
  std::unique_ptr<PrimaryDisks> primary;
  std::unique_ptr<StandbyDisks> standby;
  std::unique_ptr<NbdTestClient> client;
  Epoch next_epoch{1};
  std::mutex mutex, stream_mutex;
  std::condition_variable ready;
  bool poked = false, pumping = false;
  std::string trouble;
  std::thread pump;
};

TEST_F(DisksTest, AGuestWithoutAStandbyReadsWhatItWroteAndItIsInTheImage) {
  make_primary_image();
  start_primary();
  const Bytes data = pattern(2, 64 * 1024);
  EXPECT_EQ(client->write(kMiB + 512, data), NbdError::kNone);
  EXPECT_EQ(client->flush(), NbdError::kNone);
  EXPECT_EQ(client->read(kMiB + 512, 64 * 1024), data);
  EXPECT_EQ(client->read(0, 512), Bytes(pattern(1, 512)));
  const std::string all = content(image("a"));
  EXPECT_EQ(all.substr(kMiB + 512, data.size()), std::string(data.begin(), data.end()));
}

TEST_F(DisksTest, AStandbyIsSynchronisedFollowsAndTakesOverAtItsEpoch) {
  make_primary_image();
  start_primary();
  start_standby();  // makes its image by itself
  connect(Generation(1), Epoch(1));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  epoch();
  for (uint64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(client->write((4 + i) * kMiB, pattern(10 + i, 100 * 1024)), NbdError::kNone);
    epoch();
  }
  const std::string committed = content(image("a"));
  EXPECT_EQ(client->write(2 * kMiB, pattern(99, 4096)), NbdError::kNone);  // of an epoch that never commits
  send_frames();
  ASSERT_TRUE(eventually([&] { return standby->status().at(0).at("waiting_bytes").get<uint64_t>() > 0; }));
  client.reset();
  disconnect();
  auto taken = standby->take_over(Generation(2), last(), clock_now() + Duration::seconds(20));
  ASSERT_TRUE(taken) << taken.error().message;
  EXPECT_TRUE(content(image("b")) == committed);
  EXPECT_EQ(troubles(), "");
  // The same socket serves the guest from now on.
  NbdTestClient guest((*taken)->endpoints().at(0).socket_path);
  ASSERT_TRUE(guest.connected());
  EXPECT_EQ(guest.write(0, pattern(5, 4096)), NbdError::kNone);
  EXPECT_EQ(guest.read(0, 4096), pattern(5, 4096));
}

TEST_F(DisksTest, AFailingImageGivesTheGuestItsErrorAndItStaysMarked) {
  make_primary_image();
  start_primary();
  faults_a->write_error = ENOSPC;
  EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kEnospc);
  faults_a->write_error = EIO;
  EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kEio);
  faults_a->write_error = 0;
  EXPECT_EQ(client->write(0, pattern(3, 4096)), NbdError::kNone);
  faults_a->read_error = EIO;
  EXPECT_EQ(client->wait(client->ask(NbdCommand::kRead, 0, 512))->error, NbdError::kEio);
  const nlohmann::json status = primary->status().at(0);
  EXPECT_EQ(status.at("errors"), 3);
  EXPECT_THAT(status.at("error").get<std::string>(), HasSubstr("disk.img: write: No space left on device"));
}

TEST_F(DisksTest, AFailedSyncIsToldAtEveryFlush) {
  make_primary_image();
  start_primary();
  EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kNone);
  faults_a->sync_error = EIO;
  EXPECT_EQ(client->flush(), NbdError::kEio);
  EXPECT_EQ(client->write(0, pattern(2, 4096), kNbdCmdFlagFua), NbdError::kEio);
}

TEST_F(DisksTest, AWriteThatCannotBeMarkedIsNotBegun) {
  make_primary_image();
  start_primary();
  {
    // Known to be equal everywhere: every write needs its mark.
    client.reset();
    primary.reset();
    auto opened = DiskImage::open(image("a"), {});
    ASSERT_TRUE(opened);
    const DirtyMapShape shape{.image = opened->record().image, .disk_bytes = kBytes};
    ASSERT_TRUE(opened->write_map(DirtyMap(shape)));
  }
  start_primary(Generation(2), Generation(1));
  faults_a->map_error = EIO;
  EXPECT_EQ(client->write(8 * kMiB, pattern(2, 4096)), NbdError::kEio);
  EXPECT_EQ(client->read(8 * kMiB, 4096), Bytes(4096));
  faults_a->map_error = 0;
  EXPECT_EQ(client->write(8 * kMiB, pattern(2, 4096)), NbdError::kNone);
}

TEST_F(DisksTest, ACutDoesNotWaitForASyncAndNoLaterWriteOvertakesIt) {
  make_primary_image();
  start_primary();
  EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kNone);
  faults_a->hold_syncs = true;
  const uint64_t flush = client->ask(NbdCommand::kFlush, 0, 0);
  EXPECT_FALSE(client->answered_within(flush, 200));  // outside of a cut it waits for the disk
  primary->begin_cut();
  EXPECT_TRUE(client->answered_within(flush, 5000));
  EXPECT_EQ(client->flush(), NbdError::kNone);  // QEMU's own
  primary->end_cut();
  EXPECT_TRUE(primary->owes_sync());
  const uint64_t write = client->ask(NbdCommand::kWrite, 0, 4096, 0, pattern(3, 4096));
  EXPECT_FALSE(client->answered_within(write, 200));
  EXPECT_EQ(client->read(0, 4096), pattern(2, 4096));  // reads go on
  faults_a->hold_syncs = false;
  EXPECT_TRUE(client->answered_within(write, 5000));
  EXPECT_FALSE(primary->owes_sync());
}

TEST_F(DisksTest, NothingIsOwedForAFlushThatIsQemusOwn) {
  make_primary_image();
  start_primary();
  start_standby();
  connect(Generation(1), Epoch(1));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  uint64_t guest_flushes = 100;  // as QEMU counts them
  // The guest flushes so often in the epoch, and so often just before it stands; then QEMU flushes.
  const auto cut = [&](int before, int late) {
    EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kNone);
    for (int i = 0; i < before; ++i) EXPECT_EQ(client->flush(), NbdError::kNone);
    primary->begin_cut();
    for (int i = 0; i < late + 1; ++i) EXPECT_EQ(client->flush(), NbdError::kNone);
    const Result<Bytes> barrier = primary->cut(next_epoch);
    ASSERT_TRUE(barrier) << barrier.error().message;
    EXPECT_TRUE(primary->wants_flush_counts());
    guest_flushes += static_cast<uint64_t>(before + late);
    faults_a->hold_syncs = true;
    primary->end_cut({{"disk0", guest_flushes}, {"disk7", 1}});
    const bool owes = primary->owes_sync();
    EXPECT_EQ(owes, next_epoch == Epoch(1) || late > 0);  // of the first cut nothing is known
    const uint64_t write = client->ask(NbdCommand::kWrite, 0, 4096, 0, pattern(3, 4096));
    EXPECT_EQ(client->answered_within(write, owes ? 100 : 5000), !owes);
    faults_a->hold_syncs = false;
    EXPECT_TRUE(client->answered_within(write, 5000));
    ++next_epoch;
  };
  cut(0, 0);
  cut(0, 0);
  cut(3, 0);
  cut(2, 1);
  cut(0, 0);
  cut(0, 2);
  cut(1, 0);
  EXPECT_EQ(primary->status().at(0).at("flushes_of_qemu"), 4);
}

TEST_F(DisksTest, AWriteAfterAFlushInACutShowsThatItWasTheGuests) {
  make_primary_image();
  start_primary();
  EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kNone);
  faults_a->hold_syncs = true;
  primary->begin_cut();
  EXPECT_EQ(client->flush(), NbdError::kNone);
  const uint64_t write = client->ask(NbdCommand::kWrite, 0, 4096, 0, pattern(3, 4096));
  EXPECT_FALSE(client->answered_within(write, 200));  // not before what the flush promised is on the disk
  EXPECT_TRUE(primary->owes_sync());
  faults_a->hold_syncs = false;
  EXPECT_TRUE(client->answered_within(write, 5000));
  EXPECT_EQ(client->flush(), NbdError::kNone);  // QEMU's
  primary->end_cut();
}

TEST_F(DisksTest, WritesAndFlushesWaitUntilItIsKnownWhoseFlushItWas) {
  make_primary_image();
  start_primary();
  start_standby();
  connect(Generation(1), Epoch(1));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kNone);
  primary->begin_cut();
  EXPECT_EQ(client->flush(), NbdError::kNone);
  ASSERT_TRUE(primary->cut(next_epoch));
  const uint64_t write = client->ask(NbdCommand::kWrite, 0, 4096, 0, pattern(3, 4096));
  const uint64_t flush = client->ask(NbdCommand::kFlush, 0, 0);
  EXPECT_FALSE(client->answered_within(write, 200));
  EXPECT_FALSE(client->answered_within(flush, 200));
  primary->end_cut();
  EXPECT_TRUE(client->answered_within(write, 5000));
  EXPECT_TRUE(client->answered_within(flush, 5000));
}

TEST_F(DisksTest, AFencedHostAnswersNothingMoreAndItsImageIsStale) {
  make_primary_image();
  start_primary();
  EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kNone);
  primary->fence();
  EXPECT_FALSE(client->answered_within(client->ask(NbdCommand::kWrite, 0, 4096, 0, pattern(3, 4096)), 300));
  ASSERT_TRUE(primary->mark_stale(Generation(2)));
  primary.reset();
  auto again = PrimaryDisks::open(config("a"), options("a"));
  ASSERT_TRUE(again);
  const Status live = (*again)->go_live(Generation(3), Generation(2), false, false);
  ASSERT_FALSE(live);
  EXPECT_THAT(live.error().message, HasSubstr("it is stale and must be synchronised first"));
  EXPECT_EQ(content(image("a")).substr(0, 4096),
            std::string(reinterpret_cast<const char*>(pattern(2, 4096).data()), 4096));
}

TEST_F(DisksTest, OtherPeoplesClientsReadAndWriteIt) {
  if (std::system("command -v nbdinfo nbdcopy qemu-io > /dev/null") != 0) GTEST_SKIP() << "libnbd-bin, qemu-utils";
  make_primary_image();
  start_primary();
  client.reset();
  const std::string uri = " 'nbd+unix:///disk?socket=" + primary->endpoints().at(0).socket_path + "' ";
  const auto run = [](const std::string& command) { return std::system((command + " > /dev/null 2>&1").c_str()); };
  EXPECT_EQ(run("nbdinfo --can fua" + uri), 0);
  EXPECT_EQ(run("qemu-io -f raw -c 'write -P 7 1M 3M' -c 'write -f -P 8 5M 4k' -c flush -c 'read -P 7 1M 3M'" + uri),
            0);
  EXPECT_EQ(run("qemu-io -f raw -c 'write -z -u 2M 64k' -c 'discard 3M 64k' -c 'read -P 0 2M 64k'" + uri), 0);
  EXPECT_EQ(run("nbdcopy" + uri + dir + "/copy"), 0);
  EXPECT_TRUE(content(dir + "/copy") == content(image("a")));
  EXPECT_GT(primary->status().at(0).at("written_bytes").get<uint64_t>(), 3 * kMiB);
}

TEST_F(DisksTest, ASecondClientIsRefused) {
  make_primary_image();
  start_primary();
  NbdTestClient other(primary->endpoints().at(0).socket_path);
  EXPECT_FALSE(other.connected());
  EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kNone);
}

TEST_F(DisksTest, ASlowStandbyMakesTheGuestWaitAndMemoryStaysBounded) {
  make_primary_image();
  start_primary();
  start_standby();
  connect(Generation(1), Epoch(1));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  epoch();
  ASSERT_TRUE(durable_to(Epoch(1)));
  faults_b->write_error = ENOSPC;  // its disk is full
  std::vector<uint64_t> open;
  for (uint64_t i = 0; i < 36; ++i)
    open.push_back(client->ask(NbdCommand::kWrite, i % 16 * kMiB, kMiB, 0, pattern(100 + i, kMiB)));
  ASSERT_TRUE(eventually([&] { return primary->status().at(0).at("waits").get<uint64_t>() > 0; }));
  EXPECT_TRUE(primary->wants_cut());
  EXPECT_LT(primary->status().at(0).at("unconfirmed_bytes").get<uint64_t>(), 52 * kMiB);
  epoch_without_flush();
  ASSERT_TRUE(eventually([&] { return primary->status().at(0).contains("standby_error"); }));
  EXPECT_THAT(primary->status().at(0).at("standby_error").get<std::string>(), HasSubstr("No space left on device"));
  EXPECT_TRUE(client->answered_within(open.back(), 5000));  // the cut let it through
  EXPECT_FALSE(primary->may_cut());                         // but not the next one
  const uint64_t next = client->ask(NbdCommand::kWrite, 0, 4096, 0, pattern(7, 4096));
  EXPECT_FALSE(client->answered_within(next, 300));
  faults_b->write_error = 0;  // somebody has made room
  EXPECT_TRUE(client->answered_within(next, 10'000));
  EXPECT_TRUE(eventually([&] { return !primary->status().at(0).contains("standby_error"); }));
  EXPECT_TRUE(primary->may_cut());
  EXPECT_EQ(troubles(), "");
}

TEST_F(DisksTest, AfterATidyEndEitherImageStartsTheVmAndThenTheOtherDoesNot) {
  make_primary_image();
  start_primary();
  start_standby();
  connect(Generation(1), Epoch(1));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  EXPECT_FALSE(primary->may_end());
  epoch();
  EXPECT_EQ(client->write(5 * kMiB, pattern(4, 4096)), NbdError::kNone);
  ASSERT_TRUE(eventually([&] { return primary->may_end(); }));
  primary->begin_cut();
  client->flush();
  const Result<Bytes> barrier = primary->cut(next_epoch);
  primary->end_cut();
  ASSERT_TRUE(barrier);
  send_frames();
  EXPECT_FALSE(standby->end(next_epoch.next(), *barrier));
  const Status ends = standby->end(next_epoch, *barrier);
  ASSERT_TRUE(ends) << ends.error().message;
  ASSERT_TRUE(eventually([&] { return standby->ended(); }));
  ASSERT_TRUE(primary->sync_images(true));
  const Status marked = primary->mark_ended({Generation(1), kSession, next_epoch});
  ASSERT_TRUE(marked) << marked.error().message;
  client.reset();
  disconnect();
  primary.reset();
  standby.reset();
  EXPECT_TRUE(content(image("a")) == content(image("b")));
  for (const char* host : {"a", "b"}) {
    auto opened = PrimaryDisks::open(config(host), options(host));
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_TRUE((*opened)->may_go_live(Generation(1), false, false)) << host;
  }
  {
    auto first = PrimaryDisks::open(config("b"), options("b"));
    ASSERT_TRUE(first);
    ASSERT_TRUE((*first)->go_live(Generation(2), Generation(1), false, false));
  }
  auto late = PrimaryDisks::open(config("a"), options("a"));
  ASSERT_TRUE(late);
  const Status live = (*late)->go_live(Generation(3), Generation(2), false, false);
  ASSERT_FALSE(live);
  EXPECT_THAT(live.error().message, HasSubstr("the guest of generation 1 ended on it, and generation 2 has run since"));
}

// The standby's image is a file that takes every write and syncs nothing, as when the kernel has dropped the pages.
TEST_F(DisksTest, AStandbyWhoseSyncFailedIsSynchronisedAnewByItself) {
  make_primary_image(kBytes);  // nothing to be made a hole, which that file refuses
  start_primary();
  start_standby();
  int fd = -1;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (fs::read_symlink(entry, gone) == image("b")) fd = std::stoi(entry.path().filename());
  }
  ASSERT_GE(fd, 0);
  const int kept = ::dup(fd);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::dup2(null, fd), fd);
  connect(Generation(1), Epoch(1));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  primary->begin_cut();
  const Result<Bytes> barrier = primary->cut(next_epoch);
  primary->end_cut();
  send_frames();
  ASSERT_TRUE(barrier && standby->check(next_epoch, *barrier));
  EXPECT_FALSE(standby->ready(next_epoch));
  ASSERT_TRUE(eventually([&] { return troubles() != ""; }));
  EXPECT_THAT(troubles(), HasSubstr("disk.img: sync: Invalid argument"));
  EXPECT_THAT(standby->obstacle().value_or(""), HasSubstr("disk.img: sync: Invalid argument"));
  disconnect();
  ASSERT_EQ(::dup2(kept, fd), fd);
  for (const int other : {kept, null}) ::close(other);
  ASSERT_TRUE(eventually([&] { return !standby->obstacle(); }));
  trouble.clear();
  connect(Generation(1), Epoch(2));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  epoch();
  ASSERT_TRUE(durable_to(Epoch(2)));
  EXPECT_TRUE(content(image("a")) == content(image("b")));
  EXPECT_EQ(troubles(), "");
}

TEST_F(DisksTest, AStandbyThatCannotWriteIsReportedOnceItHasDoneSoForAWhile) {
  make_primary_image();
  start_primary();
  start_standby();
  connect(Generation(1), Epoch(1));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  epoch();
  ASSERT_TRUE(durable_to(Epoch(1)));
  const auto failure = [&](Duration patience) { return primary->take_standby_failure(clock_now(), patience); };
  EXPECT_FALSE(failure(Duration{}));
  faults_b->write_error = ENOSPC;
  EXPECT_EQ(client->write(0, pattern(2, 4096)), NbdError::kNone);
  epoch();
  ASSERT_TRUE(eventually([&] { return standby->obstacle().has_value(); }));
  EXPECT_FALSE(failure(Duration::seconds(3600)));
  std::optional<std::string> said;
  ASSERT_TRUE(eventually([&] { return (said = failure(Duration::millis(20))).has_value(); }));
  EXPECT_THAT(*said, HasSubstr("No space left on device"));
  EXPECT_FALSE(failure(Duration{})) << "once";
  faults_b->write_error = 0;
  EXPECT_TRUE(eventually([&] { return !standby->obstacle(); }));
  ASSERT_TRUE(durable_to(Epoch(2)));
}

TEST_F(DisksTest, AnAuditNamesThePieceOfTheStandbysImageThatIsWrong) {
  make_primary_image();
  start_primary();
  start_standby();
  connect(Generation(1), Epoch(1));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  EXPECT_FALSE(primary->begin_audit());
  epoch();
  const auto audit = [&] {
    EXPECT_TRUE(eventually([&] { return primary->begin_audit(); }));
    for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(client->write(i * kMiB + 512, pattern(i, 100 * 1024)), NbdError::kNone);
    EXPECT_TRUE(eventually([&] { return primary->audit_result().has_value(); })) << troubles();
    return primary->audit_result().value_or(nlohmann::json::array()).at(0);
  };
  const nlohmann::json equal = audit();
  EXPECT_EQ(equal.at("differences"), 0) << equal;
  EXPECT_EQ(equal.at("granules"), kBytes / equal.at("granule_bytes").get<uint64_t>());
  {
    std::fstream file(image("b"), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(11 * kMiB + 70'000);
    file.put('?');
  }
  const nlohmann::json wrong = audit();
  EXPECT_EQ(wrong.at("offsets"), nlohmann::json::array({11 * kMiB + 65'536}));
  EXPECT_EQ(troubles(), "");
}

TEST_F(DisksTest, TheOldPrimaryBecomesAStandbyAndOnlyWhatDiffersIsCopied) {
  make_primary_image();
  start_primary();
  start_standby();
  connect(Generation(1), Epoch(1));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  epoch();
  EXPECT_EQ(client->write(kMiB, pattern(3, 4096)), NbdError::kNone);
  epoch();
  ASSERT_TRUE(durable_to(Epoch(2)));
  client->flush();
  ASSERT_TRUE(eventually([&] { return primary->status().at(0).at("durable_epoch") == 2; }));
  EXPECT_EQ(client->write(5 * kMiB, pattern(4, 4096)), NbdError::kNone);  // lost with the host
  client.reset();
  disconnect();
  const ImageEpoch memory = last();
  primary.reset();
  auto taken = standby->take_over(Generation(2), memory, clock_now() + Duration::seconds(20));
  ASSERT_TRUE(taken) << taken.error().message;
  primary = std::move(*taken);
  standby.reset();
  client = std::make_unique<NbdTestClient>(primary->endpoints().at(0).socket_path);
  EXPECT_EQ(client->write(9 * kMiB, pattern(5, 4096)), NbdError::kNone);
  start_standby("a");
  connect(Generation(2), Epoch(3));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  const nlohmann::json status = primary->status().at(0);
  epoch();
  ASSERT_TRUE(durable_to(Epoch(3)));
  EXPECT_TRUE(content(image("a")) == content(image("b")));
  EXPECT_LT(status.at("synchronisation").at("total_bytes").get<uint64_t>(), 8 * kMiB);
  EXPECT_EQ(troubles(), "");
}

TEST_F(DisksTest, AStandbyThatWasKilledComesBackAtACommittedEpoch) {
  make_primary_image();
  start_primary();
  start_standby();
  connect(Generation(1), Epoch(1));
  ASSERT_TRUE(eventually([&] { return primary->ready_to_cut(); })) << troubles();
  epoch();
  EXPECT_EQ(client->write(kMiB, pattern(3, kMiB)), NbdError::kNone);
  epoch();
  ASSERT_TRUE(durable_to(Epoch(2)));
  const std::string at_two = content(image("b"));
  EXPECT_EQ(client->write(0, pattern(4, kMiB)), NbdError::kNone);
  send_frames();
  disconnect();
  standby.reset();
  EXPECT_TRUE(content(image("b")) == at_two);
  auto opened = DiskImage::open(image("b"), {});
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->record().state, ImageState::kConsistent);
}

}  // namespace
}  // namespace us
