#include "demo/ledger.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/rng.h"

namespace us::demo {
namespace {

constexpr int64_t kAmountMax = 1000;

}  // namespace

Transfer transfer_of(const LedgerId& id, uint64_t sequence) {
  Rng rng(Rng(id.seed ^ Rng(id.client).next()).next() ^ sequence);
  Transfer out;
  out.from = static_cast<uint32_t>(rng.below(kLedgerAccounts));
  out.to = (out.from + 1 + static_cast<uint32_t>(rng.below(kLedgerAccounts - 1))) % kLedgerAccounts;
  out.amount = rng.between(1, kAmountMax);
  out.checksum = static_cast<int64_t>(rng.next() >> 1);
  return out;
}

std::string ledger_opening(const LedgerId& id) {
  return fmt::format(
      "CREATE TABLE IF NOT EXISTS entry (client int, sequence bigint, checksum bigint NOT NULL,"
      " PRIMARY KEY (client, sequence));"
      "CREATE TABLE IF NOT EXISTS account (client int, id int, balance bigint NOT NULL, PRIMARY KEY (client, id));"
      "INSERT INTO account SELECT {}, i, {} FROM generate_series(0, {}) AS i;",
      id.client, kLedgerOpening, kLedgerAccounts - 1);
}

std::string ledger_transaction(const LedgerId& id, uint64_t sequence) {
  const Transfer t = transfer_of(id, sequence);
  return fmt::format(
      "BEGIN;"
      "INSERT INTO entry VALUES ({0}, {1}, {2});"
      "UPDATE account SET balance = balance - {3} WHERE client = {0} AND id = {4};"
      "UPDATE account SET balance = balance + {3} WHERE client = {0} AND id = {5};"
      "COMMIT",
      id.client, sequence, t.checksum, t.amount, t.from, t.to);
}

std::string ledger_entries_query(const LedgerId& id) {
  return fmt::format("SELECT sequence, checksum FROM entry WHERE client = {}", id.client);
}

std::string ledger_balances_query(const LedgerId& id) {
  return fmt::format("SELECT id, balance FROM account WHERE client = {} ORDER BY id", id.client);
}

LedgerVerdict judge_ledger(const LedgerId& id, const LedgerCounts& counts, const LedgerContents& contents) {
  LedgerVerdict verdict;
  std::vector<bool> seen(counts.sent + 1);
  std::vector<int64_t> due(kLedgerAccounts, kLedgerOpening);
  for (const LedgerEntry& entry : contents.entries) {
    if (entry.sequence == 0 || entry.sequence > counts.sent || seen[entry.sequence]) {
      ++verdict.invented;
      continue;
    }
    seen[entry.sequence] = true;
    const Transfer transfer = transfer_of(id, entry.sequence);
    due[transfer.from] -= transfer.amount;
    due[transfer.to] += transfer.amount;
    if (entry.checksum == transfer.checksum)
      ++verdict.committed;
    else
      ++verdict.wrong;
  }
  for (uint64_t sequence = 1; sequence <= counts.acknowledged; ++sequence)
    if (!seen[sequence]) ++verdict.lost;
  for (size_t account = 0; account < due.size(); ++account)
    if (account >= contents.balances.size() || contents.balances[account] != due[account]) ++verdict.unbalanced;
  return verdict;
}

std::string to_text(const LedgerVerdict& verdict) {
  std::string out;
  const auto add = [&out](uint64_t count, std::string_view what) {
    if (count > 0) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", count, what);
  };
  add(verdict.lost, "acknowledged transactions lost");
  add(verdict.invented, "that nobody sent");
  add(verdict.wrong, "with a wrong checksum");
  add(verdict.unbalanced, "accounts with a wrong balance");
  return out;
}

}  // namespace us::demo
