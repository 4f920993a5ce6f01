#include "qemu/block_stats.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace us {
namespace {

using Json = nlohmann::json;

TEST(BlockStats, CountsTheGuestsFlushesOfEachNode) {
  // As QEMU 7.2 answers, cut short.
  const Json answer = Json::parse(R"([
    {"device": "", "node-name": "disk0", "qdev": "/machine/peripheral/virtio-disk0/virtio-backend",
     "parent": {"node-name": "nbd0", "stats": {"flush_operations": 0}},
     "stats": {"flush_operations": 12, "failed_flush_operations": 1, "wr_operations": 40}},
    {"device": "", "node-name": "disk1", "stats": {"flush_operations": 3}}])");
  EXPECT_EQ(parse_flush_counts(answer), (FlushCounts{{"disk0", 13}, {"disk1", 3}}));
}

TEST(BlockStats, LeavesOutWhatIsNotAsExpected) {
  const Json answer = Json::parse(R"([
    7, {"node-name": "disk0"}, {"node-name": 3, "stats": {"flush_operations": 1}},
    {"stats": {"flush_operations": 1}}, {"node-name": "disk1", "stats": {"flush_operations": "many"}},
    {"node-name": "disk2", "stats": {"flush_operations": -1}}, {"node-name": "disk3", "stats": []}])");
  EXPECT_EQ(parse_flush_counts(answer), FlushCounts{});
  EXPECT_EQ(parse_flush_counts(Json()), FlushCounts{});
  EXPECT_EQ(parse_flush_counts(Json::object()), FlushCounts{});
}

}  // namespace
}  // namespace us
