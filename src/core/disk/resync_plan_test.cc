#include "core/disk/resync_plan.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <deque>

#include "core/disk/disk_samples.h"

namespace us {
namespace {

using Action = ResyncPlan::Action;
using Mode = ResyncPlan::Mode;

constexpr uint32_t kGranule = 512;
constexpr uint64_t kDisk = 20 * kGranule - 100;
const DirtyMapShape kShape{.image = {}, .disk_bytes = kDisk, .granule_bytes = kGranule};

GranuleSet granules(std::initializer_list<uint64_t> which) {
  GranuleSet out(kShape.granules());
  for (const uint64_t g : which) out.set(g);
  return out;
}

TEST(ResyncPlan, CopiesWhatIsMarkedInOrderAndTheLastGranuleMayBeShort) {
  ResyncPlan plan(kShape, granules({3, 7, 19}), Mode::kMarked);
  EXPECT_EQ(plan.progress().granules_total, 3u);
  for (const uint64_t g : {3u, 7u, 19u}) {
    const auto step = plan.poll();
    ASSERT_TRUE(step);
    EXPECT_EQ(step->action, Action::kCopy);
    EXPECT_EQ(step->granule, g);
    EXPECT_FALSE(plan.finished());
    plan.on_copied(g);
  }
  EXPECT_FALSE(plan.poll());
  EXPECT_TRUE(plan.finished());
  EXPECT_EQ(plan.progress().granules_done, 3u);
  EXPECT_EQ(plan.progress().bytes_copied, 3 * kGranule - 100);
}

TEST(ResyncPlan, WritesNeedNotBeSentWhereAWholeGranuleIsStillToBeRead) {
  ResyncPlan plan(kShape, granules({3, 4}), Mode::kMarked);
  EXPECT_FALSE(plan.must_send({3 * kGranule, 5 * kGranule}));
  EXPECT_TRUE(plan.must_send({3 * kGranule - 1, 3 * kGranule + 1})) << "partly equal already";
  EXPECT_TRUE(plan.must_send({5 * kGranule, 5 * kGranule + 1}));
  ASSERT_TRUE(plan.poll());
  EXPECT_TRUE(plan.must_send({3 * kGranule, 3 * kGranule + 1})) << "being read";
  EXPECT_FALSE(plan.must_send({4 * kGranule, 4 * kGranule + 1}));
}

TEST(ResyncPlan, ComparesAndCopiesOnlyWhatDiffers) {
  ResyncPlan plan(kShape, granules({1, 2}), Mode::kCompare);
  EXPECT_EQ(plan.poll()->action, Action::kCompare);
  plan.on_compared(1);
  EXPECT_EQ(plan.poll()->granule, 2u);
  plan.on_compared(2);
  EXPECT_FALSE(plan.poll());
  EXPECT_FALSE(plan.finished()) << "answers are awaited";
  EXPECT_TRUE(plan.on_answer(1, true));
  EXPECT_TRUE(plan.on_answer(2, false));
  EXPECT_EQ(plan.progress().granules_done, 1u);
  const auto step = plan.poll();
  EXPECT_EQ(step->action, Action::kCopy);
  EXPECT_EQ(step->granule, 2u);
  plan.on_copied(2);
  EXPECT_TRUE(plan.finished());
}

TEST(ResyncPlan, RefusesAnswersThatNobodyWaitsFor) {
  ResyncPlan plan(kShape, granules({1}), Mode::kCompare);
  EXPECT_FALSE(plan.on_answer(1, true));
  plan.poll();
  plan.on_compared(1);
  EXPECT_FALSE(plan.on_answer(2, true));
  EXPECT_FALSE(plan.on_answer(1 << 30, true));
  EXPECT_TRUE(plan.on_answer(1, true));
  EXPECT_FALSE(plan.on_answer(1, true));
}

TEST(ResyncPlan, OnlySoManyAnswersAreAwaited) {
  GranuleSet all(kShape.granules());
  all.set_all();
  ResyncPlan plan(kShape, all, Mode::kCompare, 3);
  for (uint64_t g = 0; g < 3; ++g) {
    ASSERT_TRUE(plan.poll());
    plan.on_compared(g);
  }
  EXPECT_FALSE(plan.poll());
  EXPECT_TRUE(plan.on_answer(1, true));
  EXPECT_TRUE(plan.poll());
}

TEST(ResyncPlan, AGranuleThatCannotBeReadIsTriedAgain) {
  ResyncPlan plan(kShape, granules({5}), Mode::kMarked);
  plan.on_read_failed(*plan.poll());
  EXPECT_FALSE(plan.must_send({5 * kGranule, 6 * kGranule}));
  EXPECT_EQ(plan.poll()->granule, 5u);
  ResyncPlan compare(kShape, granules({5}), Mode::kCompare);
  compare.on_read_failed(*compare.poll());
  EXPECT_EQ(compare.poll()->action, Action::kCompare);
}

// The guest writes while granules are copied and compared; messages arrive late; at the end both images are equal.
RC_GTEST_PROP(ResyncPlan, BothImagesAreEqualAtTheEndWhateverTheGuestWritesMeanwhile, (uint64_t seed)) {
  Rng rng(seed);
  Bytes mine(kDisk), theirs(kDisk);
  GranuleSet differs(kShape.granules());
  for (uint64_t n = rng.below(12); n > 0; --n) {
    const DiskWrite w = disk_samples::random_write(rng, kDisk, 700);
    disk_samples::lay_over(rng.chance(0.5) ? mine : theirs, w);
    for (uint64_t g = w.range.start / kGranule; g * kGranule < w.range.end; ++g) differs.set(g);
  }
  const Mode mode = rng.chance(0.5) ? Mode::kMarked : Mode::kCompare;
  if (mode == Mode::kCompare) differs.set_all();
  ResyncPlan plan(kShape, differs, mode, 4);

  struct Message {
    DiskWrite write = {};                  // to be applied
    std::optional<uint64_t> compare = {};  // or to be compared with `write`
  };
  std::deque<Message> stream;
  std::deque<std::pair<uint64_t, bool>> answers;
  const auto slice = [](const Bytes& from, DiskRange r) {
    return Bytes(from.begin() + static_cast<ptrdiff_t>(r.start), from.begin() + static_cast<ptrdiff_t>(r.end));
  };
  int writes = 60;
  while (!plan.finished() || !stream.empty() || writes > 0) {
    if (writes > 0 && rng.chance(0.5)) {
      const DiskWrite w = disk_samples::random_write(rng, kDisk, 700);
      disk_samples::lay_over(mine, w);
      if (plan.must_send(w.range)) stream.push_back({w});
      --writes;
    }
    if (rng.chance(0.4)) {
      if (const auto step = plan.poll()) {
        // Under the lock, so at one moment.
        DiskWrite content = DiskWrite::of_data(step->range.start, DataSlice::copy_of(slice(mine, step->range)));
        if (step->action == Action::kCopy) {
          stream.push_back({std::move(content)});
          plan.on_copied(step->granule);
        } else {
          stream.push_back({std::move(content), step->granule});
          plan.on_compared(step->granule);
        }
      }
    }
    if (!stream.empty() && rng.chance(0.4)) {
      const Message m = std::move(stream.front());
      stream.pop_front();
      if (m.compare)
        answers.emplace_back(*m.compare, std::ranges::equal(slice(theirs, m.write.range), m.write.data.span()));
      else
        disk_samples::lay_over(theirs, m.write);
    }
    if (!answers.empty() && rng.chance(0.4)) {
      RC_ASSERT(plan.on_answer(answers.front().first, answers.front().second).has_value());
      answers.pop_front();
    }
  }
  RC_ASSERT((mine == theirs));
  RC_ASSERT(plan.progress().granules_done == plan.progress().granules_total);
}

}  // namespace
}  // namespace us
