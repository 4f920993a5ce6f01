#include "host/capture.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"

namespace us {
namespace {

using Runs = std::vector<std::pair<uint64_t, uint64_t>>;

std::vector<DirtyRun> runs(const Runs& list) {
  std::vector<DirtyRun> out;
  for (const auto& [first, count] : list) out.push_back({PageIndex{first}, count});
  return out;
}

Runs merged(const Runs& a, const Runs& b) {
  std::vector<DirtyRun> out = runs({{99, 99}});  // what was in it before does not count
  merge_runs(runs(a), runs(b), out);
  Runs list;
  for (const DirtyRun& run : out) list.emplace_back(run.first.value(), run.count);
  return list;
}

TEST(MergeRuns, OfNothingIsNothing) { EXPECT_EQ(merged({}, {}), Runs{}); }

TEST(MergeRuns, WithNothingIsTheSame) {
  EXPECT_EQ(merged({{1, 2}, {5, 1}}, {}), (Runs{{1, 2}, {5, 1}}));
  EXPECT_EQ(merged({}, {{1, 2}, {5, 1}}), (Runs{{1, 2}, {5, 1}}));
}

TEST(MergeRuns, JoinsWhatTouchesOrOverlaps) {
  EXPECT_EQ(merged({{0, 2}}, {{2, 2}}), (Runs{{0, 4}}));
  EXPECT_EQ(merged({{0, 5}}, {{2, 1}}), (Runs{{0, 5}}));
  EXPECT_EQ(merged({{2, 1}}, {{0, 5}}), (Runs{{0, 5}}));
  EXPECT_EQ(merged({{0, 3}, {10, 3}}, {{2, 9}}), (Runs{{0, 13}}));
}

TEST(MergeRuns, KeepsApartWhatIsApart) {
  EXPECT_EQ(merged({{0, 1}, {4, 1}}, {{2, 1}}), (Runs{{0, 1}, {2, 1}, {4, 1}}));
}

TEST(MergeRuns, IsTheUnionForAnyLists) {
  Rng rng(1);
  for (int round = 0; round < 2000; ++round) {
    std::array<bool, 64> set{};
    const auto random_list = [&] {
      Runs list;
      for (uint64_t at = rng.below(4); at < 60;) {
        const uint64_t count = 1 + rng.below(4);
        list.emplace_back(at, count);
        std::fill_n(set.begin() + static_cast<std::ptrdiff_t>(at), count, true);
        at += count + rng.below(6);
      }
      return list;
    };
    const Runs a = random_list(), b = random_list();
    std::array<bool, 64> got{};
    uint64_t end = 0;
    for (const auto& [first, count] : merged(a, b)) {
      ASSERT_TRUE(end == 0 || first > end) << "ascending and apart";
      std::fill_n(got.begin() + static_cast<std::ptrdiff_t>(first), count, true);
      end = first + count;
    }
    ASSERT_EQ(got, set);
  }
}

}  // namespace
}  // namespace us
