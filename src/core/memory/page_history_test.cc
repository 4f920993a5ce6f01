#include "core/memory/page_history.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(PageHistory, KnowsNothingAtFirst) {
  PageHistory history(4);
  history.reset(Epoch{10});
  EXPECT_EQ(history.last(PageIndex{3}).writer, PageWriter::kNobody);
}

TEST(PageHistory, KeepsTheLastWriterAndItsEpoch) {
  PageHistory history(8);
  history.reset(Epoch{10});
  history.note(PageIndex{2}, 3, PageWriter::kGuest, Epoch{10});
  history.note(PageIndex{3}, 1, PageWriter::kDataPath, Epoch{12});
  EXPECT_EQ(history.last(PageIndex{1}).writer, PageWriter::kNobody);
  EXPECT_EQ(history.last(PageIndex{2}).writer, PageWriter::kGuest);
  EXPECT_EQ(history.last(PageIndex{2}).epoch, Epoch{10});
  EXPECT_EQ(history.last(PageIndex{3}).writer, PageWriter::kDataPath);
  EXPECT_EQ(history.last(PageIndex{3}).epoch, Epoch{12});
  EXPECT_EQ(history.last(PageIndex{4}).writer, PageWriter::kGuest);
  EXPECT_EQ(history.last(PageIndex{5}).writer, PageWriter::kNobody);
}

TEST(PageHistory, TwoWritersInOneEpochAreBothNamed) {
  PageHistory history(1);
  history.reset(Epoch{1});
  history.note(PageIndex{0}, 1, PageWriter::kGuest, Epoch{1});
  history.note(PageIndex{0}, 1, PageWriter::kDataPath, Epoch{1});
  EXPECT_EQ(history.last(PageIndex{0}).writer, PageWriter::kBoth);
}

TEST(PageHistory, ResetForgets) {
  PageHistory history(1);
  history.note(PageIndex{0}, 1, PageWriter::kGuest, Epoch{1});
  history.reset(Epoch{5});
  EXPECT_EQ(history.last(PageIndex{0}).writer, PageWriter::kNobody);
}

TEST(PageHistory, ASessionOfMoreEpochsThanItCanCountReportsTheLastItCan) {
  PageHistory history(1);
  history.reset(Epoch{1});
  history.note(PageIndex{0}, 1, PageWriter::kGuest, Epoch{uint64_t{1} << 40});
  EXPECT_EQ(history.last(PageIndex{0}).epoch, Epoch{uint64_t{1} << 30});
}

}  // namespace
}  // namespace us
