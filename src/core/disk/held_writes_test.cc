#include "core/disk/held_writes.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/disk/disk_samples.h"

namespace us {
namespace {

using namespace disk_samples;

constexpr uint64_t kBytes = 4096;

Bytes read(const HeldWrites& held, const Bytes& image, DiskRange range) {
  Bytes out;
  for (const ReadPart& part : held.read(range)) {
    EXPECT_EQ(part.range.start, range.start + out.size()) << "in order, without gaps";
    Bytes bytes(image.begin() + static_cast<ptrdiff_t>(part.range.start),
                image.begin() + static_cast<ptrdiff_t>(part.range.end));
    if (part.held && part.held->kind == WriteKind::kData)
      bytes.assign(part.held->data.span().begin(), part.held->data.span().end());
    else if (part.held)
      bytes.assign(part.range.length(), 0);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  EXPECT_EQ(out.size(), range.length());
  return out;
}

TEST(HeldWrites, ReadsSeeWhatIsHeldWhereverItWaits) {
  HeldWrites held(kBytes, 100'000);
  held.begin_session(Generation(1), 1, Epoch(1));
  const Bytes image(kBytes, 'i');
  const auto at = [&](uint64_t offset) { return read(held, image, {offset, offset + 1})[0]; };
  held.write(filled(0, 1, 'a'));
  held.write(filled(1, 1, 'a'));
  held.write(filled(2, 1, 'a'));
  held.cut();
  held.commit(Epoch(1));
  ASSERT_TRUE(held.take_batch());  // being applied
  held.write(filled(1, 1, 'b'));
  held.cut();
  held.commit(Epoch(2));          // waits for the batch
  held.write(filled(2, 1, 'c'));  // of the epoch that runs
  EXPECT_EQ(at(0), 'a');
  EXPECT_EQ(at(1), 'b');
  EXPECT_EQ(at(2), 'c');
  EXPECT_EQ(at(3), 'i');
}

TEST(HeldWrites, NothingLeavesBeforeItsEpochCommitsAndDurableFollowsTheImage) {
  HeldWrites held(kBytes, 100'000);
  held.begin_session(Generation(1), 1, Epoch(5));
  held.write(filled(0, 1, 'a'));
  held.cut();
  EXPECT_FALSE(held.take_batch());
  EXPECT_EQ(held.durable(), Epoch(4));
  held.commit(Epoch(5));
  ASSERT_TRUE(held.take_batch());
  EXPECT_EQ(held.durable(), Epoch(4));
  held.batch_applied();
  EXPECT_EQ(held.durable(), Epoch(5));
  EXPECT_FALSE(held.unapplied());
}

TEST(HeldWrites, TheGuestWaitsAtTheLimitAndAnEarlyCutIsAskedFor) {
  HeldWrites held(kBytes, 10'000);
  held.begin_session(Generation(1), 1, Epoch(1));
  EXPECT_FALSE(held.wants_cut());
  while (held.wants_writes()) held.write(filled(0, 1000, 1));
  EXPECT_TRUE(held.wants_cut());
  EXPECT_LE(held.bytes(), 10'000 + 1000 + kWriteChargeBytes);
  held.cut();
  held.commit(Epoch(1));
  held.take_batch();
  held.batch_applied();
  EXPECT_TRUE(held.wants_writes());
}

RC_GTEST_PROP(HeldWrites, TheGuestSeesItsOwnDiskAndTheImageOnlyCommittedEpochs, (uint64_t seed)) {
  Rng rng(seed);
  HeldWrites held(kBytes, 10 << 20);
  held.begin_session(Generation(1), 1, Epoch(1));
  Bytes guest(kBytes), image(kBytes);
  std::vector<Bytes> at{guest};
  uint64_t committed = 0;
  std::optional<ApplyBatch> batch;
  for (int i = 0; i < 80; ++i) {
    const DiskWrite w = random_write(rng, kBytes, 600);
    lay_over(guest, w);
    held.write(w);
    if (rng.chance(0.3)) {
      held.cut();
      at.push_back(guest);
    }
    if (committed + 1 < held.running().value() && rng.chance(0.4)) held.commit(Epoch(++committed));
    if (!batch && rng.chance(0.4)) batch = held.take_batch();
    if (batch && rng.chance(0.5)) {
      lay_over(image, batch->writes);
      if (rng.chance(0.5)) {
        held.batch_applied();
        RC_ASSERT((image == at[held.durable().value()]));
        batch.reset();
      }
    }
    const uint64_t start = rng.below(kBytes);
    const DiskRange range{start, start + 1 + rng.below(kBytes - start)};
    RC_ASSERT((read(held, image, range) == Bytes(guest.begin() + static_cast<ptrdiff_t>(range.start),
                                                 guest.begin() + static_cast<ptrdiff_t>(range.end))));
  }
}

}  // namespace
}  // namespace us
