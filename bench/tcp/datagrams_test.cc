#include "tcp/datagrams.h"

#include <gtest/gtest.h>

namespace us::bench {
namespace {

constexpr Duration kTime = Duration::millis(1);

TEST(AnswerLog, WhatHasNoAnswerIsLost) {
  AnswerLog log(4);
  log.on_answer(0, kTime);
  log.on_answer(2, kTime);
  const DatagramResult result = log.result(4);
  EXPECT_EQ(result.sent, 4u);
  EXPECT_EQ(result.lost, 2u);
  EXPECT_EQ(result.reordered, 0u);
  EXPECT_FALSE(log.complete(4));
}

TEST(AnswerLog, AnAnswerAfterALaterOneIsReordered) {
  AnswerLog log(4);
  for (const uint64_t number : {0, 3, 1, 2}) log.on_answer(number, kTime);
  EXPECT_EQ(log.result(4).reordered, 2u);
  EXPECT_EQ(log.result(4).lost, 0u);
  EXPECT_TRUE(log.complete(4));
}

TEST(AnswerLog, ASecondAnswerIsADuplicateAndNoTime) {
  AnswerLog log(2);
  for (const uint64_t number : {0, 0, 1}) log.on_answer(number, kTime);
  EXPECT_EQ(log.result(2).duplicated, 1u);
  EXPECT_EQ(log.result(2).round_trips.size(), 2u);
}

TEST(AnswerLog, ANumberThatWasNeverSentIsIgnored) {
  AnswerLog log(2);
  log.on_answer(99, kTime);
  EXPECT_EQ(log.result(2).lost, 2u);
}

}  // namespace
}  // namespace us::bench
