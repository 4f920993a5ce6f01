#include "tcp/redis_benchmark.h"

#include <gtest/gtest.h>

namespace us::bench {
namespace {

// As redis-benchmark 7.0.15 prints it.
constexpr const char* kOutput =
    "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\","
    "\"max_latency_ms\"\n"
    "\"SET\",\"1219.51\",\"40.123\",\"2.104\",\"41.055\",\"43.000\",\"44.500\",\"50.1\"\n"
    "\"GET\",\"9000.00\",\"5.1\",\"1.2\",\"5.0\",\"6.0\",\"7.5\",\"9.0\"\n";

TEST(RedisCsv, EachTestHasItsRateAndQuantiles) {
  const auto figures = parse_redis_csv(kOutput);
  ASSERT_TRUE(figures);
  ASSERT_EQ(figures->size(), 2u);
  EXPECT_EQ((*figures)[0].test, "set");
  EXPECT_DOUBLE_EQ((*figures)[0].requests_per_second, 1219.51);
  EXPECT_DOUBLE_EQ((*figures)[0].p50_ms, 41.055);
  EXPECT_DOUBLE_EQ((*figures)[1].p99_ms, 7.5);
}

TEST(RedisCsv, AnErrorIsShown) {
  const auto figures = parse_redis_csv("Could not connect to Redis at 10.50.0.10:6379: Connection refused\n");
  ASSERT_FALSE(figures);
  EXPECT_NE(figures.error().message.find("Connection refused"), std::string::npos);
}

}  // namespace
}  // namespace us::bench
