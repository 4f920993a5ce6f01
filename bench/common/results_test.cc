#include "common/results.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

namespace us::bench {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class ResultsTest : public testing::Test {
 protected:
  ResultsTest() { fs::remove_all(directory_); }
  ~ResultsTest() override { fs::remove_all(directory_); }

  Results open() const {
    auto results = Results::open(directory_, "bulk-1");
    EXPECT_TRUE(results.has_value());
    return std::move(*results);
  }

  const fs::path directory_ = fs::temp_directory_path() / ("results-test-" + std::to_string(::getpid()));
  const Key key_{.scenario = "bulk",
                 .params = "flows=4",
                 .mode = "accelerated",
                 .epoch = "25",
                 .direction = "both",
                 .mtu = 1500,
                 .rtt_ms = 20,
                 .loss = 0.001,
                 .cc = "bbr",
                 .round = 3};
};

TEST_F(ResultsTest, EveryKindOfLineBeginsWithTheKeyUnderAHeader) {
  Results results = open();
  results.row(key_, "throughput", 143.25, "Mbit/s");
  results.sample(key_, "latency", 3.5, "ms", 12);
  results.point(key_, "stall", -20, 1, "bytes");
  const std::string columns = "scenario,params,mode,epoch_ms,direction,mtu,rtt_ms,loss,cc,round,metric,";
  const std::string key = "bulk,flows=4,accelerated,25,both,1500,20,0.001,bbr,3,";
  EXPECT_EQ(contents(directory_ / "rows/bulk-1.csv"), columns + "value,unit\n" + key + "throughput,143.25,Mbit/s\n");
  EXPECT_EQ(contents(directory_ / "samples/bulk-1.csv"), columns + "value,count,unit\n" + key + "latency,3.5,12,ms\n");
  EXPECT_EQ(contents(directory_ / "series/bulk-1.csv"), columns + "t_ms,value,unit\n" + key + "stall,-20,1,bytes\n");
  EXPECT_TRUE(results.status());
}

TEST_F(ResultsTest, WhatDoesNotApplyIsEmpty) { EXPECT_EQ(csv_key({.scenario = "wire"}), "wire,,,,,,0,0,,1"); }

TEST_F(ResultsTest, ATextWithACommaOrAQuoteIsQuoted) {
  EXPECT_EQ(csv_field("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_field("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(csv_field("plain; words"), "plain; words");
}

TEST_F(ResultsTest, AStepThatIsRunAgainBeginsItsFilesAnew) {
  {
    Results results = open();
    results.row(key_, "throughput", 1, "Mbit/s");
    results.sample(key_, "latency", 1, "ms");
  }
  Results results = open();
  EXPECT_FALSE(fs::exists(directory_ / "samples/bulk-1.csv"));
  results.row(key_, "throughput", 2, "Mbit/s");
  const std::string text = contents(directory_ / "rows/bulk-1.csv");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_NE(text.find("throughput,2,"), std::string::npos);
}

TEST_F(ResultsTest, ALineIsOnDiskAtOnce) {
  Results results = open();
  results.row(key_, "throughput", 1, "Mbit/s");
  EXPECT_NE(contents(directory_ / "rows/bulk-1.csv").find("throughput,1,"), std::string::npos);
}

TEST_F(ResultsTest, AStepCannotNameAFileElsewhere) {
  for (const char* name : {"", "../x", "a/b", ".hidden", "a b"}) EXPECT_FALSE(Results::open(directory_, name)) << name;
}

TEST_F(ResultsTest, AFileThatCannotBeWrittenIsReported) {
  Results results = open();
  fs::remove_all(directory_ / "rows");
  results.row(key_, "throughput", 1, "Mbit/s");
  ASSERT_FALSE(results.status());
  EXPECT_NE(results.status().error().message.find("rows/bulk-1.csv"), std::string::npos);
}

TEST_F(ResultsTest, ManySamplesAreWrittenInBins) {
  Results results = open();
  results.samples(key_, "few", std::vector<double>(Results::kSamplesMax, 2.0), "ms");
  results.samples(key_, "many", std::vector<double>(Results::kSamplesMax + 1, 1.0), "ms");
  const std::string text = contents(directory_ / "samples/bulk-1.csv");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1 + static_cast<ptrdiff_t>(Results::kSamplesMax) + 1);
  EXPECT_NE(text.find("few,2,1,ms"), std::string::npos);
  EXPECT_NE(text.find("many,1,101,ms"), std::string::npos);
}

TEST_F(ResultsTest, NowhereWritesNothing) {
  Results results = Results::nowhere();
  results.row(key_, "throughput", 1, "Mbit/s");
  EXPECT_TRUE(results.status());
}

}  // namespace
}  // namespace us::bench
