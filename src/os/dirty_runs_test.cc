#include "os/dirty_runs.h"

#include <gtest/gtest.h>

namespace us {
namespace {

using Runs = std::vector<std::pair<uint64_t, uint64_t>>;

Runs ordered(const Runs& in) {
  std::vector<DirtyRun> runs;
  for (const auto& [first, count] : in) runs.push_back({PageIndex{first}, count});
  put_in_order(runs);
  Runs out;
  for (const DirtyRun& run : runs) out.emplace_back(run.first.value(), run.count);
  return out;
}

TEST(DirtyRuns, InOrderStayAsTheyAre) {
  EXPECT_EQ(ordered({}), Runs{});
  EXPECT_EQ(ordered({{1, 2}, {3, 1}, {9, 9}}), (Runs{{1, 2}, {3, 1}, {9, 9}}));
}

TEST(DirtyRuns, ThoseThatComeLateGoToTheirPlace) {
  EXPECT_EQ(ordered({{5, 1}, {20, 2}, {7, 1}, {30, 1}}), (Runs{{5, 1}, {7, 1}, {20, 2}, {30, 1}}));
}

TEST(DirtyRuns, ThoseThatOverlapBecomeOneAlsoWhenTheyBeginInOrder) {
  EXPECT_EQ(ordered({{2000, 1000}, {2181, 1}, {4000, 1}}), (Runs{{2000, 1000}, {4000, 1}}));
  EXPECT_EQ(ordered({{10, 5}, {12, 8}}), (Runs{{10, 10}}));
}

}  // namespace
}  // namespace us
