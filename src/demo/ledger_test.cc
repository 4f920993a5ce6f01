#include "demo/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace us::demo {
namespace {

constexpr LedgerId kId{.seed = 7, .client = 3};

// What the tables hold after the transactions 1 to `count`.
LedgerContents after(uint64_t count) {
  LedgerContents out;
  out.balances.assign(kLedgerAccounts, kLedgerOpening);
  for (uint64_t sequence = 1; sequence <= count; ++sequence) {
    const Transfer transfer = transfer_of(kId, sequence);
    out.entries.push_back({sequence, transfer.checksum});
    out.balances[transfer.from] -= transfer.amount;
    out.balances[transfer.to] += transfer.amount;
  }
  return out;
}

TEST(Ledger, TransfersMoveBetweenTwoAccountsAndFollowFromSeedClientAndNumber) {
  for (uint64_t sequence = 1; sequence <= 1000; ++sequence) {
    const Transfer transfer = transfer_of(kId, sequence);
    EXPECT_NE(transfer.from, transfer.to);
    EXPECT_LT(std::max(transfer.from, transfer.to), kLedgerAccounts);
    EXPECT_EQ(transfer.checksum, transfer_of(kId, sequence).checksum);
    EXPECT_NE(transfer.checksum, transfer_of(kId, sequence + 1).checksum);
    EXPECT_NE(transfer.checksum, transfer_of({.seed = 8, .client = 3}, sequence).checksum);
    EXPECT_NE(transfer.checksum, transfer_of({.seed = 7, .client = 4}, sequence).checksum);
  }
}

TEST(Ledger, AllAcknowledgedTransactionsAndTheOneUnderWayAreGood) {
  for (const uint64_t there : {99u, 100u}) {
    const LedgerVerdict verdict = judge_ledger(kId, {.sent = 100, .acknowledged = 99}, after(there));
    EXPECT_TRUE(verdict.good()) << to_text(verdict);
    EXPECT_EQ(verdict.committed, there);
  }
}

TEST(Ledger, AnAcknowledgedTransactionThatIsUndoneIsLost) {
  const LedgerVerdict verdict = judge_ledger(kId, {.sent = 100, .acknowledged = 100}, after(98));
  EXPECT_EQ(verdict.lost, 2u);
  EXPECT_EQ(verdict.unbalanced, 0u) << "its transfers are undone as well";
  EXPECT_FALSE(verdict.good());
}

TEST(Ledger, ARowThatIsMissingAmongOthersIsLostAndItsAccountsDoNotBalance) {
  LedgerContents contents = after(100);
  contents.entries.erase(contents.entries.begin() + 50);
  const LedgerVerdict verdict = judge_ledger(kId, {.sent = 100, .acknowledged = 100}, contents);
  EXPECT_EQ(verdict.lost, 1u);
  EXPECT_EQ(verdict.unbalanced, 2u);
}

TEST(Ledger, RowsThatNobodySentOrThatAreThereTwiceAreInvented) {
  LedgerContents contents = after(12);
  contents.entries.push_back(contents.entries.front());
  contents.entries.push_back({0, 0});
  const LedgerVerdict verdict = judge_ledger(kId, {.sent = 11, .acknowledged = 10}, contents);
  EXPECT_EQ(verdict.invented, 3u);
  EXPECT_FALSE(verdict.good());
}

TEST(Ledger, ARowWithAnotherChecksumIsWrong) {
  LedgerContents contents = after(10);
  contents.entries[4].checksum ^= 1;
  const LedgerVerdict verdict = judge_ledger(kId, {.sent = 10, .acknowledged = 10}, contents);
  EXPECT_EQ(verdict.wrong, 1u);
  EXPECT_EQ(verdict.lost, 0u);
  EXPECT_FALSE(verdict.good());
}

TEST(Ledger, ABalanceThatIsWrongOrMissingShows) {
  LedgerContents contents = after(10);
  ++contents.balances[5];
  contents.balances.pop_back();
  const LedgerVerdict verdict = judge_ledger(kId, {.sent = 10, .acknowledged = 10}, contents);
  EXPECT_EQ(verdict.unbalanced, 2u);
  EXPECT_THAT(to_text(verdict), testing::HasSubstr("2 accounts with a wrong balance"));
}

TEST(Ledger, ATransactionBeginsAndCommitsAndNamesItsRow) {
  const std::string sql = ledger_transaction(kId, 42);
  EXPECT_TRUE(sql.starts_with("BEGIN;") && sql.ends_with(";COMMIT")) << sql;
  EXPECT_THAT(sql, testing::HasSubstr("VALUES (3, 42, "));
}

}  // namespace
}  // namespace us::demo
