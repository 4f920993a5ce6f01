#include "host/status_json.h"

#include <gtest/gtest.h>

namespace us {
namespace {

Instant at(int64_t ms) { return Instant() + Duration::millis(ms); }

TakeoverRecord record() {
  TakeoverRecord out;
  out.generation = Generation{2};
  out.detection = Duration::millis(100);
  out.arbitration = Duration::millis(3);
  out.restore = Duration::millis(20);
  out.decided = at(1100);
  out.restored = at(1124);
  return out;
}

TEST(TakeoverJson, HasTheInstantsFromTheLastSignOfLifeToTheFirstFrame) {
  nlohmann::json out = takeover_json(record());
  EXPECT_FALSE(out.contains("announce_ms"));
  add_end_of_takeover(out, record(), at(1130), {.announced = at(1126), .first_frame = at(1131)});
  EXPECT_EQ(out["detection_ms"], 100.0);
  EXPECT_EQ(out["announce_ms"], 6.0) << "from the restored guest to the one that runs and is announced";
  EXPECT_EQ(out["total_ms"], 130.0);
  const nlohmann::json expected = {{"last_heard", 1000'000'000}, {"decided", 1100'000'000},   {"granted", 1103'000'000},
                                   {"restored", 1124'000'000},   {"announced", 1126'000'000}, {"resumed", 1130'000'000},
                                   {"first_frame", 1131'000'000}};
  EXPECT_EQ(out["at_ns"], expected);
}

TEST(TakeoverJson, IsWithoutAnEndUntilTheGuestRunsAndIsAnnounced) {
  nlohmann::json out = takeover_json(record());
  add_end_of_takeover(out, record(), Instant(), {.announced = at(1126), .first_frame = Instant()});
  EXPECT_FALSE(out.contains("at_ns"));
  add_end_of_takeover(out, record(), at(1130), {});
  EXPECT_FALSE(out.contains("at_ns"));
  add_end_of_takeover(out, record(), at(1124), {.announced = at(1126), .first_frame = Instant()});
  EXPECT_EQ(out["announce_ms"], 2.0);
  EXPECT_TRUE(out["at_ns"]["first_frame"].is_null());
}

}  // namespace
}  // namespace us
