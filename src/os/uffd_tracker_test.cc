#include "os/uffd_tracker.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <set>

#include "os/traced_child.h"

namespace us {
namespace {

constexpr uint64_t kPages = 3000;

// A process with the RAM file mapped in two pieces, the second one first, as a q35 machine's RAM may be; it writes the
// page it is asked to.
class Uffd : public testing::Test {
 protected:
  void SetUp() override {
    Result<GuestRam> ram = GuestRam::create(kPages * kPageSize);
    ASSERT_TRUE(ram);
    ram_.emplace(std::move(*ram));
    child_.emplace([this](uint64_t page) { return write(page); });
    ASSERT_EQ(child_->ask(~uint64_t{0}), 0u);  // maps
    Result<std::unique_ptr<UffdTracker>> tracker = UffdTracker::attach(child_->pid(), *ram_);
    if (!tracker) GTEST_SKIP() << "no userfaultfd tracking here: " << tracker.error().message;
    tracker_ = std::move(*tracker);
    scan();
  }

  std::set<uint64_t> scan() {
    std::vector<DirtyRun> runs;
    const Status status = tracker_->scan(runs);
    EXPECT_TRUE(status) << status.error().message;
    std::set<uint64_t> pages;
    uint64_t last = 0;
    for (const DirtyRun& run : runs) {
      EXPECT_GE(run.first.value(), last) << "ascending";
      for (uint64_t i = 0; i < run.count; ++i) pages.insert(run.first.value() + i);
      last = run.first.value() + run.count;
    }
    return pages;
  }

  std::optional<GuestRam> ram_;
  std::optional<TracedChild> child_;
  std::unique_ptr<UffdTracker> tracker_;

 private:
  // In the child.
  uint64_t write(uint64_t page) {
    constexpr uint64_t kFirst = kPages / 3;
    if (page == ~uint64_t{0}) {
      ::munmap(ram_->base(), ram_->size());  // what fork() left
      const auto map = [this](uint64_t from, uint64_t count) {
        return static_cast<uint8_t*>(::mmap(nullptr, count * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, ram_->fd(),
                                            static_cast<off_t>(from * kPageSize)));
      };
      high_ = map(kFirst, kPages - kFirst);
      low_ = map(0, kFirst);
      return 0;
    }
    if (page < kFirst)
      ++low_[page * kPageSize];
    else
      ++high_[(page - kFirst) * kPageSize];
    return 0;
  }
  uint8_t* low_ = nullptr;
  uint8_t* high_ = nullptr;
};

TEST_F(Uffd, FindsExactlyThePagesThatWereWritten) {
  EXPECT_TRUE(scan().empty());
  const std::set<uint64_t> written = {0, 1, 2, 500, kPages / 3 - 1, kPages / 3, 2000, kPages - 1};
  for (uint64_t page : written) child_->ask(page);
  EXPECT_EQ(scan(), written);
  EXPECT_TRUE(scan().empty()) << "each write is reported once";
}

TEST_F(Uffd, WatchesAgainAfterEachScan) {
  for (int round = 0; round < 5; ++round) {
    child_->ask(7);
    child_->ask(7);
    EXPECT_EQ(scan(), std::set<uint64_t>{7});
  }
}

TEST_F(Uffd, SeesTheFirstWriteToAPageThatHadNoMemory) {
  child_->ask(1234);
  EXPECT_EQ(scan(), std::set<uint64_t>{1234});
}

TEST_F(Uffd, FindsManyScatteredPages) {
  std::set<uint64_t> written;
  for (uint64_t page = 0; page < kPages; page += 2) {
    child_->ask(page);
    written.insert(page);
  }
  EXPECT_EQ(scan(), written);
}

TEST_F(Uffd, DoesNotSeeWhatThisProcessWrites) {
  ram_->page(PageIndex{3})[0] = 1;
  EXPECT_FALSE(scan().contains(3)) << "the reason for DirtySet";
}

TEST_F(Uffd, RefusesAProcessThatDoesNotMapTheMemory) {
  TracedChild stranger([this](uint64_t) {
    ::munmap(ram_->base(), ram_->size());
    return 0;
  });
  stranger.ask(0);
  EXPECT_FALSE(UffdTracker::attach(stranger.pid(), *ram_));
}

TEST_F(Uffd, SaysWhenTheProcessIsGone) {
  child_.reset();
  std::vector<DirtyRun> runs;
  const Status status = tracker_->scan(runs);
  // The kernel answers for a dead address space with an error, or with nothing at all; never with pages.
  EXPECT_TRUE(!status || runs.empty());
}

}  // namespace
}  // namespace us
