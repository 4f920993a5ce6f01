#include "demo/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

namespace us::demo {
namespace {

DemoFigures good() {
  DemoFigures f;
  f.rounds_wanted = 2;
  f.connections = f.connections_survived = 3;
  f.acknowledged_writes = 500;
  f.downloads = 4;
  f.download_sha256_ok = true;
  f.stall_ms = {210, 190.456};
  f.takeovers = {{.generation = 2, .detection_ms = 101, .restore_ms = 17}, {.generation = 3, .detection_ms = 99}};
  f.pause_p50_ms = 5;
  f.epochs = 321;
  f.audits = 2;
  return f;
}

TEST(Figures, AllGoodIsGreen) {
  DemoFigures f = good();
  f.judge();
  EXPECT_TRUE(f.green()) << f.failures.front();
  EXPECT_THAT(to_text(f, false), testing::HasSubstr("GREEN"));
}

DemoFigures good_with_disk() {
  DemoFigures f = good();
  f.disk = {.transactions = 80, .amcheck_clean = true, .fsck_clean = true, .images_equal = true};
  return f;
}

TEST(Figures, ADiskThatIsWhollyGoodIsGreenAndTold) {
  DemoFigures f = good_with_disk();
  f.judge();
  EXPECT_TRUE(f.green()) << f.failures.front();
  EXPECT_THAT(to_text(f, false), testing::HasSubstr("committed transactions      80, lost 0"));
  EXPECT_THAT(to_text(f, false), testing::HasSubstr("both images equal, e2fsck clean, pg_amcheck clean"));
}

TEST(Figures, EachThingThatIsWrongWithADiskIsRed) {
  const std::function<void(DiskFigures&)> faults[] = {
      [](DiskFigures& d) { d.transactions = 0; },      [](DiskFigures& d) { d.transactions_lost = 1; },
      [](DiskFigures& d) { d.amcheck_clean = false; }, [](DiskFigures& d) { d.fsck_clean = false; },
      [](DiskFigures& d) { d.images_equal = false; },
  };
  for (const auto& fault : faults) {
    DemoFigures f = good_with_disk();
    fault(*f.disk);
    f.judge();
    EXPECT_EQ(f.failures.size(), 1u);
    EXPECT_THAT(to_text(f, false), testing::HasSubstr("RED"));
  }
}

TEST(Figures, EachThingThatIsWrongIsRed) {
  const std::function<void(DemoFigures&)> faults[] = {
      [](DemoFigures& f) { f.connections_survived = 2; },
      [](DemoFigures& f) { f.connections = f.connections_survived = 0; },
      [](DemoFigures& f) { f.acknowledged_writes = 0; },
      [](DemoFigures& f) { f.acknowledged_writes_lost = 1; },
      [](DemoFigures& f) { f.downloads = 0; },
      [](DemoFigures& f) { f.download_sha256_ok = false; },
      [](DemoFigures& f) { f.takeovers.pop_back(); },
      [](DemoFigures& f) { f.stall_ms.pop_back(); },
      [](DemoFigures& f) { f.audits = 1; },
      [](DemoFigures& f) { f.failures.push_back("the lights went out"); },
  };
  for (const auto& fault : faults) {
    DemoFigures f = good();
    fault(f);
    f.judge();
    EXPECT_FALSE(f.green()) << (&fault - faults);
    EXPECT_THAT(to_text(f, false), testing::HasSubstr("RED"));
    EXPECT_EQ(nlohmann::json::parse(to_json(f))["verdict"], "red");
  }
}

TEST(Figures, JsonHasWhatAProgramNeeds) {
  const auto json = nlohmann::json::parse(to_json(good()));
  EXPECT_EQ(json["verdict"], "green");
  EXPECT_EQ(json["connections_survived"], 3);
  EXPECT_EQ(json["acknowledged_writes_lost"], 0);
  EXPECT_EQ(json["download_sha256_ok"], true);
  EXPECT_EQ(json["stall_ms"], nlohmann::json({210, 190.46}));
  EXPECT_EQ(json["detection_ms"], nlohmann::json({101, 99}));
  EXPECT_EQ(json["restore_ms"], nlohmann::json({17, 0}));
  EXPECT_EQ(json["pause_ms"]["p50"], 5);
  EXPECT_TRUE(json["pause_ms"]["p99"].is_null());
  EXPECT_EQ(json["epochs"], 321);
}

TEST(Figures, ColourOnlyWhenAskedFor) {
  EXPECT_THAT(to_text(good(), true), testing::HasSubstr("\033["));
  EXPECT_THAT(to_text(good(), false), testing::Not(testing::HasSubstr("\033[")));
}

}  // namespace
}  // namespace us::demo
