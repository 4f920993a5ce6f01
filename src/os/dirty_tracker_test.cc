// What every dirty tracker must do, tried with each on a process that writes pages when told to, and on one that writes
// all the time.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <cstring>
#include <set>
#include <thread>

#include "base/rng.h"
#include "os/choose_tracker.h"
#include "os/soft_dirty_tracker.h"
#include "os/traced_child.h"
#include "os/uffd_tracker.h"

namespace us {
namespace {

constexpr uint64_t kPages = 3000;
constexpr uint64_t kMap = ~uint64_t{0};
constexpr uint64_t kWriteForEver = kMap - 1;

// A process with the RAM file mapped in two pieces, the second one first, as a q35 machine's RAM may be.
class Tracker : public testing::TestWithParam<TrackerChoice> {
 protected:
  void SetUp() override {
    Result<GuestRam> ram = GuestRam::create(kPages * kPageSize);
    ASSERT_TRUE(ram);
    ram_.emplace(std::move(*ram));
    child_.emplace([this](uint64_t command) { return serve(command); });
    ASSERT_EQ(child_->ask(kMap), 0u);
    Result<ChosenTracker> chosen = attach_tracker(GetParam(), child_->pid(), *ram_);
    if (!chosen) GTEST_SKIP() << "not on this kernel: " << chosen.error().message;
    tracker_ = std::move(chosen->tracker);
    scan();
  }

  // The writer stands still meanwhile if the tracker wants that, as a guest does at a cut.
  std::set<uint64_t> scan() {
    if (!tracker_->exact_while_written()) stop_child();
    std::vector<DirtyRun> runs;
    const Status status = tracker_->scan(runs);
    EXPECT_TRUE(status) << status.error().message;
    if (!tracker_->exact_while_written()) ::kill(child_->pid(), SIGCONT);
    std::set<uint64_t> pages;
    uint64_t last = 0;
    for (const DirtyRun& run : runs) {
      EXPECT_GE(run.first.value(), last) << "ascending, and no page twice";
      for (uint64_t i = 0; i < run.count; ++i) pages.insert(run.first.value() + i);
      last = run.first.value() + run.count;
    }
    return pages;
  }

  void stop_child() {
    ::kill(child_->pid(), SIGSTOP);
    ::waitpid(child_->pid(), nullptr, WUNTRACED);
  }

  std::optional<GuestRam> ram_;
  std::optional<TracedChild> child_;
  std::unique_ptr<DirtyTracker> tracker_;

 private:
  // In the child.
  uint64_t serve(uint64_t command) {
    if (command == kMap)
      map();
    else if (command == kWriteForEver)
      std::thread([this] { write_for_ever(); }).detach();
    else
      ++*at(command);
    return 0;
  }
  void map() {
    ::munmap(ram_->base(), ram_->size());  // what fork() left
    const auto piece = [this](uint64_t from, uint64_t count) {
      return static_cast<uint8_t*>(::mmap(nullptr, count * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, ram_->fd(),
                                          static_cast<off_t>(from * kPageSize)));
    };
    high_ = piece(kFirst, kPages - kFirst);
    low_ = piece(0, kFirst);
  }
  uint8_t* at(uint64_t page) { return page < kFirst ? low_ + page * kPageSize : high_ + (page - kFirst) * kPageSize; }
  [[noreturn]] void write_for_ever() {
    for (Rng rng(1);;) {
      uint8_t* const to = at(rng.below(kPages));
      store_le(to + 8 * rng.below(kPageSize / 8), rng.next());
    }
  }

  static constexpr uint64_t kFirst = kPages / 3;
  uint8_t* low_ = nullptr;
  uint8_t* high_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Of, Tracker, testing::Values(TrackerChoice::kUserfaultfd, TrackerChoice::kSoftDirty),
                         [](const auto& test) {
                           return std::string(test.param == TrackerChoice::kSoftDirty ? "SoftDirty" : "Userfaultfd");
                         });

TEST_P(Tracker, FindsExactlyThePagesThatWereWritten) {
  EXPECT_TRUE(scan().empty());
  const std::set<uint64_t> written = {0, 1, 2, 500, kPages / 3 - 1, kPages / 3, 2000, kPages - 1};
  for (uint64_t page : written) child_->ask(page);
  EXPECT_EQ(scan(), written);
  EXPECT_TRUE(scan().empty()) << "each write is reported once";
}

TEST_P(Tracker, WatchesAgainAfterEachScan) {
  for (int round = 0; round < 5; ++round) {
    child_->ask(7);
    child_->ask(7);
    EXPECT_EQ(scan(), std::set<uint64_t>{7});
  }
}

TEST_P(Tracker, SeesTheFirstWriteToAPageThatHadNoMemory) {
  child_->ask(1234);
  EXPECT_EQ(scan(), std::set<uint64_t>{1234});
}

TEST_P(Tracker, FindsManyScatteredPages) {
  std::set<uint64_t> written;
  for (uint64_t page = 0; page < kPages; page += 2) {
    child_->ask(page);
    written.insert(page);
  }
  EXPECT_EQ(scan(), written);
}

TEST_P(Tracker, DoesNotSeeWhatThisProcessWrites) {
  ram_->page(PageIndex{3})[0] = 1;
  EXPECT_FALSE(scan().contains(3)) << "the reason for DirtySet";
}

// A shadow is kept up to date from scanned pages alone; whenever the writer stands, it must be the same byte for byte.
TEST_P(Tracker, LosesNoWriteOfOneWhoWritesAllTheTime) {
  child_->ask(kWriteForEver);
  std::vector<uint8_t> shadow(ram_->base(), ram_->base() + ram_->size());
  const auto follow = [&] {
    for (const uint64_t page : scan())
      std::memcpy(shadow.data() + page * kPageSize, ram_->base() + page * kPageSize, kPageSize);
  };
  for (int round = 0; round < 60; ++round) {
    // Pages are copied while the writer runs: what it changes then is in the next scan.
    for (int i = 0; i < 5; ++i) follow();
    stop_child();
    std::vector<DirtyRun> rest;
    ASSERT_TRUE(tracker_->scan(rest));
    for (const DirtyRun& run : rest)
      std::memcpy(shadow.data() + run.first.value() * kPageSize, ram_->base() + run.first.value() * kPageSize,
                  run.count * kPageSize);
    ASSERT_EQ(std::memcmp(shadow.data(), ram_->base(), ram_->size()), 0) << "round " << round;
    ::kill(child_->pid(), SIGCONT);
  }
}

TEST_P(Tracker, RefusesAProcessThatDoesNotMapTheMemory) {
  TracedChild stranger([this](uint64_t) {
    ::munmap(ram_->base(), ram_->size());
    return 0;
  });
  stranger.ask(0);
  EXPECT_FALSE(attach_tracker(GetParam(), stranger.pid(), *ram_));
}

TEST_P(Tracker, SaysWhenTheProcessIsGone) {
  child_.reset();
  std::vector<DirtyRun> runs;
  const Status status = tracker_->scan(runs);
  // The kernel answers for a dead address space with an error, or with nothing at all; never with pages.
  EXPECT_TRUE(!status || runs.empty());
}

TEST(TrackerChoice, AutomaticTakesTheFastOneWhereItWorks) {
  Result<GuestRam> ram = GuestRam::create(16 * kPageSize);
  ASSERT_TRUE(ram);
  const auto idle = [](uint64_t) { return uint64_t{0}; };
  TracedChild other(idle), child(idle);  // have the memory mapped as fork() left it
  other.ask(0);
  child.ask(0);
  const bool fast_works = UffdTracker::attach(other.pid(), *ram).has_value();
  const bool slow_works = SoftDirtyTracker::check_kernel().has_value();
  const auto chosen = attach_tracker(TrackerChoice::kAuto, child.pid(), *ram);
  if (!fast_works && !slow_works) {
    ASSERT_FALSE(chosen);
    EXPECT_NE(chosen.error().message.find("userfaultfd: "), std::string::npos);
    EXPECT_NE(chosen.error().message.find("soft-dirty: "), std::string::npos);
    return;
  }
  ASSERT_TRUE(chosen) << chosen.error().message;
  EXPECT_STREQ(chosen->tracker->name(), fast_works ? "userfaultfd" : "soft-dirty");
  EXPECT_FALSE(chosen->reason.empty());
}

TEST(SoftDirty, HugePagesForSharedMemoryAreRecognised) {
  EXPECT_TRUE(shared_memory_has_small_pages_only("always within_size advise [never] deny force"));
  EXPECT_TRUE(shared_memory_has_small_pages_only("always within_size advise never [deny] force"));
  EXPECT_FALSE(shared_memory_has_small_pages_only("always within_size [advise] never deny force"));
  EXPECT_FALSE(shared_memory_has_small_pages_only("[always] within_size advise never deny force"));
}

}  // namespace
}  // namespace us
