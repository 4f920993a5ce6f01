// Both halves of an audit, and the hashes they share: each of the two must notice what it is told wrongly.
#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"
#include "core/memory/audit_judge.h"
#include "core/memory/copy_audit.h"

namespace us {
namespace {

constexpr uint64_t kPages = 3 * kAuditRegionPages + 100;  // the last region is a short one
constexpr Epoch kEpoch{7};

// A primary's RAM at the cut, and the standby's copy of it.
class Audit : public testing::Test {
 protected:
  void SetUp() override {
    Rng rng(1);
    for (size_t at = 0; at < ram_.size(); at += 64) store_le(ram_.data() + at, rng.next());
    copy_ = ram_;
    auto hashes = std::make_unique<RamHashes>(kPages);
    hashes->hash(ram_.data(), kPages / 2, kPages - kPages / 2);  // in any order, in pieces
    hashes->hash(ram_.data(), 0, kPages / 2);
    digests_ = hashes->digests(0, hashes->regions());
    judge_.emplace(kEpoch, std::move(hashes));
    audit_.emplace(copy_.data(), kPages);
  }

  void send_digests() { ASSERT_TRUE(audit_->on_digests(kEpoch, kEpoch, audit_regions(kPages), 0, digests_)); }

  void write_copy(uint64_t page, uint8_t value) {
    audit_->before_write(PageIndex{page});
    copy_[page * kPageSize + 5] = value;
  }

  // Runs to the end and returns the pages found to differ.
  std::set<uint64_t> finish() {
    while (audit_->busy()) audit_->step(1);
    while (auto region = audit_->poll_region()) {
      const Status taken = judge_->on_region(kEpoch, region->region, region->hashes);
      EXPECT_TRUE(taken) << taken.error().message;
    }
    const auto verdict = audit_->poll_verdict();
    if (!verdict) {
      ADD_FAILURE() << "no verdict";
      return {};
    }
    EXPECT_EQ(verdict->epoch, kEpoch);
    EXPECT_TRUE(judge_->on_end(verdict->epoch, verdict->pages, verdict->regions_differ));
    EXPECT_TRUE(judge_->done());
    std::set<uint64_t> pages;
    for (const PageIndex page : judge_->differing()) pages.insert(page.value());
    EXPECT_EQ(judge_->equal(), pages.empty());
    return pages;
  }

  Bytes ram_ = Bytes(kPages * kPageSize);
  Bytes copy_;
  Bytes digests_;
  std::optional<AuditJudge> judge_;
  std::optional<CopyAudit> audit_;
};

TEST_F(Audit, OfAnEqualCopyFindsNothing) {
  send_digests();
  EXPECT_TRUE(finish().empty());
  EXPECT_FALSE(audit_->active()) << "memory is given back";
}

TEST_F(Audit, NamesEveryPageThatDiffersByOneBit) {
  for (const uint64_t page : {uint64_t{0}, kAuditRegionPages - 1, kAuditRegionPages, kPages - 1})
    copy_[page * kPageSize + page % kPageSize] ^= 1;
  send_digests();
  EXPECT_EQ(finish(), (std::set<uint64_t>{0, kAuditRegionPages - 1, kAuditRegionPages, kPages - 1}));
}

TEST_F(Audit, JudgesTheCopyAsItWasWhenItBegan) {
  send_digests();
  audit_->step(1);                       // the first region
  write_copy(3, 1);                      // already compared
  write_copy(kAuditRegionPages + 3, 1);  // not yet
  write_copy(kAuditRegionPages + 3, 2);  // the second write must not count either
  write_copy(kPages - 1, 1);
  EXPECT_TRUE(finish().empty());
}

TEST_F(Audit, ALaterWriteDoesNotHideADifference) {
  copy_[(kAuditRegionPages + 9) * kPageSize] ^= 1;
  send_digests();
  audit_->before_write(PageIndex{kAuditRegionPages + 9});
  copy_[(kAuditRegionPages + 9) * kPageSize] ^= 1;  // a later epoch happens to bring the right page
  EXPECT_EQ(finish(), (std::set<uint64_t>{kAuditRegionPages + 9}));
}

TEST_F(Audit, TakesDigestsInPiecesAndComparesWhatItHas) {
  const ByteSpan all(digests_);
  ASSERT_TRUE(audit_->on_digests(kEpoch, kEpoch, 4, 0, all.first(16)));
  while (audit_->busy()) audit_->step(1);
  EXPECT_FALSE(audit_->poll_verdict()) << "half of it is still to come";
  write_copy(2 * kAuditRegionPages, 1);
  ASSERT_TRUE(audit_->on_digests(kEpoch, kEpoch, 4, 2, all.subspan(16)));
  EXPECT_TRUE(finish().empty());
}

TEST_F(Audit, ANewAuditEndsAnUnfinishedOne) {
  copy_[0] ^= 1;
  send_digests();
  audit_->step(1);
  copy_[0] ^= 1;
  send_digests();
  EXPECT_TRUE(finish().empty()) << "what the first had found is gone with it";
}

TEST_F(Audit, DigestsThatMakeNoSenseAreRefused) {
  const auto refused = [this](Epoch epoch, uint32_t regions, uint32_t first, ByteSpan digests) {
    const Status status = audit_->on_digests(epoch, kEpoch, regions, first, digests);
    return !status && status.error().kind == ErrorKind::kProtocol;
  };
  EXPECT_TRUE(refused(Epoch{6}, 4, 0, digests_)) << "the copy holds another epoch";
  EXPECT_TRUE(refused(kEpoch, 5, 0, digests_)) << "another size of RAM";
  EXPECT_TRUE(refused(kEpoch, 4, 1, digests_)) << "without the first region";
  EXPECT_TRUE(refused(kEpoch, 4, 0, {}));
  EXPECT_TRUE(refused(kEpoch, 4, 0, ByteSpan(digests_).first(9)));
  send_digests();
  EXPECT_TRUE(refused(kEpoch, 4, 4, ByteSpan(digests_).first(8))) << "beyond the last region";
  EXPECT_TRUE(refused(kEpoch, 4, 4'000'000'000, ByteSpan(digests_).first(8)));
}

TEST_F(Audit, OnlySoManyRegionsAreNamedAndTheRestIsCounted) {
  constexpr uint64_t kMany = (kAuditRegionsNamedMax + 3) * kAuditRegionPages;
  const Bytes zeros(kMany * kPageSize);
  Bytes ones = zeros;
  for (uint64_t page = 0; page < kMany; page += kAuditRegionPages) ones[page * kPageSize] = 1;
  auto hashes = std::make_unique<RamHashes>(kMany);
  hashes->hash(ones.data(), 0, kMany);
  CopyAudit audit(zeros.data(), kMany);
  ASSERT_TRUE(audit.on_digests(kEpoch, kEpoch, hashes->regions(), 0, hashes->digests(0, hashes->regions())));
  AuditJudge judge(kEpoch, std::move(hashes));
  audit.step(kMany);
  while (auto region = audit.poll_region()) ASSERT_TRUE(judge.on_region(kEpoch, region->region, region->hashes));
  const auto verdict = audit.poll_verdict();
  ASSERT_TRUE(verdict);
  ASSERT_TRUE(judge.on_end(kEpoch, kMany, verdict->regions_differ));
  EXPECT_EQ(judge.differing().size(), kAuditRegionsNamedMax);
  EXPECT_EQ(judge.regions_unnamed(), 3u);
  EXPECT_FALSE(judge.equal());
}

TEST_F(Audit, AnswersThatMakeNoSenseAreRefused) {
  const Bytes wrong(kAuditRegionPages * 8);
  const auto ours = digests_;  // as page hashes: right nowhere
  EXPECT_FALSE(judge_->on_region(Epoch{6}, 0, wrong)) << "another epoch";
  EXPECT_FALSE(judge_->on_region(kEpoch, 4, wrong)) << "out of range";
  EXPECT_FALSE(judge_->on_region(kEpoch, 0, ByteSpan(wrong).first(8))) << "too few pages";
  EXPECT_FALSE(judge_->on_region(kEpoch, 3, wrong)) << "the last region is shorter";
  ASSERT_TRUE(judge_->on_region(kEpoch, 1, wrong));
  EXPECT_FALSE(judge_->on_region(kEpoch, 1, wrong)) << "twice";
  EXPECT_FALSE(judge_->on_region(kEpoch, 0, wrong)) << "backwards";
  EXPECT_FALSE(judge_->on_end(kEpoch, kPages - 1, 1)) << "not every page";
  EXPECT_FALSE(judge_->on_end(kEpoch, kPages, 0)) << "fewer than were sent";
  EXPECT_FALSE(judge_->on_end(kEpoch, kPages, 5)) << "more than there are";
  EXPECT_FALSE(judge_->on_end(Epoch{8}, kPages, 1));
  ASSERT_TRUE(judge_->on_end(kEpoch, kPages, 1));
  EXPECT_FALSE(judge_->on_end(kEpoch, kPages, 1)) << "it is over";
}

TEST_F(Audit, ARegionThatIsSaidToDifferAndDoesNotIsRefused) {
  Bytes same;
  ByteWriter writer(same);
  for (uint64_t page = 0; page < kAuditRegionPages; ++page)
    writer.le(page_hash(std::span<const uint8_t, kPageSize>(ram_.data() + page * kPageSize, kPageSize)));
  EXPECT_FALSE(judge_->on_region(kEpoch, 0, same));
}

}  // namespace
}  // namespace us
