#include "host/dirty_page_fault.h"

#include <gtest/gtest.h>

namespace us {
namespace {

using Runs = std::vector<std::pair<uint64_t, uint64_t>>;

Runs after_scan(DirtyPageFault& fault, const Runs& found, bool is_cut = true) {
  std::vector<DirtyRun> runs;
  for (const auto& [first, count] : found) runs.push_back({PageIndex{first}, count});
  fault.on_scan(runs, is_cut);
  Runs left;
  for (const DirtyRun& run : runs) left.emplace_back(run.first.value(), run.count);
  return left;
}

TEST(DirtyPageFault, WithoutTheOptionHidesNothing) {
  DirtyPageFault fault;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(after_scan(fault, {{5, 2}}), (Runs{{5, 2}}));
}

TEST(DirtyPageFault, HidesTheFirstPageOfTheNthCutFromThereOn) {
  DirtyPageFault fault = DirtyPageFault::parse("drop-dirty-page=2").value();
  EXPECT_EQ(after_scan(fault, {{5, 2}}, false), (Runs{{5, 2}})) << "not a cut";
  EXPECT_EQ(after_scan(fault, {{5, 2}}), (Runs{{5, 2}}));
  EXPECT_EQ(after_scan(fault, {{7, 3}, {20, 1}}), (Runs{{8, 2}, {20, 1}}));
  EXPECT_EQ(fault.page(), PageIndex{7});
  EXPECT_EQ(after_scan(fault, {{5, 5}}), (Runs{{5, 2}, {8, 2}}));
  EXPECT_EQ(after_scan(fault, {{5, 3}}), (Runs{{5, 2}}));
  EXPECT_EQ(after_scan(fault, {{7, 1}}, false), (Runs{}));
  EXPECT_EQ(after_scan(fault, {{8, 1}}), (Runs{{8, 1}}));
}

TEST(DirtyPageFault, EndsWithItsSession) {
  DirtyPageFault fault(1);
  fault.on_session();
  EXPECT_EQ(after_scan(fault, {{7, 1}}), (Runs{}));
  fault.on_session();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(after_scan(fault, {{7, 1}}), (Runs{{7, 1}}));
}

TEST(DirtyPageFault, BringsItsEventAboutInTheNthCutAndOnlyThere) {
  for (const auto& [text, event] :
       {std::pair{"reset-in-pause=2", PauseEvent::kReset}, std::pair{"power-off-in-pause=2", PauseEvent::kPowerOff},
        std::pair{"panic-in-pause=2", PauseEvent::kPanic}}) {
    DirtyPageFault fault = DirtyPageFault::parse(text).value();
    EXPECT_EQ(fault.on_stop(), std::nullopt);
    EXPECT_EQ(fault.on_stop(), event) << text;
    EXPECT_EQ(fault.on_stop(), std::nullopt);
    EXPECT_EQ(after_scan(fault, {{5, 2}}), (Runs{{5, 2}})) << "no page is hidden";
  }
  EXPECT_EQ(DirtyPageFault(1).on_stop(), std::nullopt);
}

TEST(DirtyPageFault, OtherTextIsRefused) {
  for (const char* bad : {"drop-dirty-page", "drop-dirty-page=", "drop-dirty-page=0", "drop-dirty-page=x", "panic=1",
                          "reset-in-pause", "reset-in-pause=0", "power-off-in-pause=-1", "panic-in-pause"})
    EXPECT_FALSE(DirtyPageFault::parse(bad)) << bad;
  EXPECT_TRUE(DirtyPageFault::parse(""));
}

}  // namespace
}  // namespace us
