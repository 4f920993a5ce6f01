#include "common/statistics.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>

namespace us::bench {
namespace {

std::vector<double> one_to(int n) {
  std::vector<double> values(static_cast<size_t>(n));
  std::iota(values.rbegin(), values.rend(), 1);
  return values;
}

TEST(Statistics, TheMedianIsTheMiddleOrTheMeanOfTheTwoInTheMiddle) {
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
}

TEST(Statistics, AQuantileIsASampleThatSoManyAreNotAbove) {
  EXPECT_EQ(quantile(one_to(1000), 0.5), 500);
  EXPECT_EQ(quantile(one_to(1000), 0.99), 990);
  EXPECT_EQ(quantile(one_to(10'000), 0.999), 9990);
}

TEST(Statistics, AQuantileThatRestsOnTooFewSamplesIsNone) {
  EXPECT_EQ(quantile({}, 0.5), std::nullopt);
  EXPECT_EQ(quantile(one_to(499), 0.99), std::nullopt);
  EXPECT_EQ(quantile(one_to(500), 0.99), 495);
  EXPECT_EQ(quantile(one_to(4999), 0.999), std::nullopt);
  EXPECT_EQ(quantile(one_to(10), 0.5), 5);
}

TEST(Statistics, FairnessIsOneForEqualSharesAndOneOverNForAWinner) {
  EXPECT_DOUBLE_EQ(fairness({7, 7, 7, 7}), 1);
  EXPECT_DOUBLE_EQ(fairness({9, 0, 0, 0}), 0.25);
  EXPECT_DOUBLE_EQ(fairness({1, 2, 3}), 36.0 / 42);
  EXPECT_EQ(fairness({}), 0);
  EXPECT_EQ(fairness({0, 0}), 0);
}

TEST(Statistics, ABinHoldsWhatIsAtMostOnePercentBelowItsEdge) {
  const auto list = bins({1.0, 2.0, 2.0, 0.0, 150.0});
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0], (std::pair<double, uint64_t>{0, 1}));
  EXPECT_DOUBLE_EQ(list[1].first, 1.0);
  EXPECT_EQ(list[2].second, 2u);
  EXPECT_GE(list[2].first, 2.0);
  EXPECT_LT(list[2].first, 2.0 * 1.01);
  EXPECT_GE(list[3].first, 150.0);
  EXPECT_LT(list[3].first, 150.0 * 1.01);
}

}  // namespace
}  // namespace us::bench
