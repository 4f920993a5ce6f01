#include "disk/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace us::bench {
namespace {

using testing::HasSubstr;

// Cut down from what fio 3.33 prints.
constexpr std::string_view kFioReport = R"(fio: a warning
{"fio version": "fio-3.33", "jobs": [{"jobname": "x", "error": 0,
 "read": {"io_bytes": 4096, "bw_bytes": 40960000, "iops": 10000.5,
          "clat_ns": {"percentile": {"50.000000": 1500000, "99.000000": 9000000}}},
 "write": {"bw_bytes": 2000000, "iops": 500, "clat_ns": {"percentile": {"50.000000": 100000, "99.000000": 200000}}},
 "sync": {"total_ios": 10, "lat_ns": {"percentile": {"50.000000": 4000000, "99.000000": 7000000}}}}]})";

constexpr std::string_view kPgbenchReport = R"(pgbench (15.18 (Debian 15.18-0+deb12u1))
number of transactions actually processed: 336
latency average = 117.959 ms
tps = 33.910211 (without initial connection time)
)";

DiskLoad load(const std::string& name) {
  for (const DiskLoad& load : disk_loads(5))
    if (load.name == name) return load;
  return {};
}

double value_of(const std::vector<DiskQuantity>& quantities, const std::string& metric) {
  for (const DiskQuantity& q : quantities)
    if (q.metric == metric) return q.value;
  return -1;
}

TEST(DiskLoad, AReadIsTakenFromTheReadsOfTheReport) {
  const auto read = read_disk_report(load("random-read"), kFioReport);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_DOUBLE_EQ(value_of(*read, "iops"), 10000.5);
  EXPECT_DOUBLE_EQ(value_of(*read, "throughput"), 40.96);
  EXPECT_DOUBLE_EQ(value_of(*read, "latency-p50"), 1.5);
  EXPECT_DOUBLE_EQ(value_of(*read, "latency-p99"), 9);
}

TEST(DiskLoad, TheFsyncLoadIsTakenFromTheWritesAndItsTimesFromTheSyncs) {
  const auto read = read_disk_report(load("fsync"), kFioReport);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_DOUBLE_EQ(value_of(*read, "iops"), 500);
  EXPECT_DOUBLE_EQ(value_of(*read, "fsync-p50"), 4);
}

TEST(DiskLoad, PgbenchGivesTransactions) {
  const auto read = read_disk_report(load("pgbench"), kPgbenchReport);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_DOUBLE_EQ(value_of(*read, "transactions"), 33.910211);
  EXPECT_DOUBLE_EQ(value_of(*read, "latency-mean"), 117.959);
}

TEST(DiskLoad, WhatIsNoReportIsAnErrorThatShowsIt) {
  for (const char* name : {"random-read", "pgbench"})
    for (const char* report : {"", "sh: not found", "{\"jobs\": []}"}) {
      const auto read = read_disk_report(load(name), report);
      ASSERT_FALSE(read) << name << ": " << report;
      EXPECT_THAT(read.error().message, HasSubstr("did not report"));
    }
}

TEST(DiskLoad, AnErrorInTheGuestIsAnError) {
  std::string report(kFioReport);
  report.replace(report.find("\"error\": 0"), 10, "\"error\": 5");
  EXPECT_FALSE(read_disk_report(load("random-write"), report));
}

TEST(DiskLoad, PausesTakeTheirShareOfARate) { EXPECT_DOUBLE_EQ(wall_rate(200, 0.25), 150); }

}  // namespace
}  // namespace us::bench
