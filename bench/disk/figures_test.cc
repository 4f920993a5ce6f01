#include "disk/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace us::bench {
namespace {

using testing::HasSubstr;

void add(DiskFigures& figures, const std::string& mode, int round, double iops, double paused) {
  figures.add("fsync", mode, round, {{"iops", "1/s", iops, true}}, paused);
}

TEST(DiskFigures, RatiosAreFormedWithinARoundAndTheirMedianIsShown) {
  DiskFigures figures;
  // Medians of 200 and 100 would give 0.5; the rounds give 0.9, 0.8 and 1.0.
  const double stock[] = {100, 200, 1000}, replicated[] = {90, 160, 1000};
  for (int round = 0; round < 3; ++round) {
    add(figures, "stock", round, stock[round], 0);
    add(figures, "replicated", round, replicated[round], 0.5);
  }
  EXPECT_THAT(figures.table(), HasSubstr("0.90        0.45    50.0%"));
  EXPECT_EQ(figures.goals(), "  fsync             0.90 of stock, goal 0.85: reached\n");
}

TEST(DiskFigures, TheGoalCanBeMissed) {
  DiskFigures figures;
  add(figures, "stock", 1, 100, 0);
  add(figures, "replicated", 1, 84, 0);
  EXPECT_THAT(figures.goals(), HasSubstr("MISSED"));
}

TEST(DiskFigures, ARoundWithoutStockGivesNoRatio) {
  DiskFigures figures;
  add(figures, "stock", 1, 100, 0);
  add(figures, "replicated", 2, 84, 0);
  EXPECT_EQ(figures.goals(), "");
}

}  // namespace
}  // namespace us::bench
