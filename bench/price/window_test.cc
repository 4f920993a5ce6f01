#include "price/window.h"

#include <gtest/gtest.h>

namespace us::bench {
namespace {

using nlohmann::json;

TEST(MeanBetween, IsOfWhatCameBetweenTheTwoLooks) {
  const json before = {{"n", 10}, {"mean", 2.0}}, after = {{"n", 14}, {"mean", 4.0}};
  EXPECT_DOUBLE_EQ(mean_between(before, after), 9.0) << "56 in all, 20 of them before, 36 of four";
  EXPECT_DOUBLE_EQ(mean_between(json{{"n", 0}}, after), 4.0);
}

TEST(MeanBetween, OfNothingIsZero) {
  const json same = {{"n", 10}, {"mean", 2.0}};
  EXPECT_EQ(mean_between(same, same), 0);
  EXPECT_EQ(mean_between(same, json{{"n", 3}, {"mean", 1.0}}), 0) << "another primary's, which has just begun";
  EXPECT_EQ(mean_between(json::object(), json::object()), 0);
}

TEST(Quantile, IsAValueOfTheList) {
  EXPECT_EQ(nearest_rank({}, 0.5), 0);
  EXPECT_EQ(nearest_rank({7}, 0.99), 7);
  EXPECT_EQ(nearest_rank({3, 1, 2}, 0.5), 2);
  EXPECT_EQ(nearest_rank({3, 1, 2}, 1), 3);
  EXPECT_EQ(nearest_rank({3, 1, 2}, 0), 1);
}

}  // namespace
}  // namespace us::bench
