// Ledger: what the ledger client writes into the guest's database, and how the result is judged.  Pure.
//
// Every transaction of a client has a number, and seed, client and number say all that it does: it enters one row
// (client, number, checksum) and moves an amount between two of the client's accounts.  So whoever reads the tables at
// the end knows what must be in them, without asking anybody: each acknowledged transaction exactly once, besides at
// most the one that was under way, and on every account the sum of what was moved.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace us::demo {

inline constexpr uint32_t kLedgerAccounts = 64;  // of each client
inline constexpr int64_t kLedgerOpening = 1'000'000;

struct LedgerId {
  uint64_t seed = 0;
  uint32_t client = 0;
};

struct Transfer {
  uint32_t from = 0;  // account, below kLedgerAccounts, another one than `to`
  uint32_t to = 0;
  int64_t amount = 0;    // 1 to 1000
  int64_t checksum = 0;  // of all the others, seed, client and sequence
};

// `sequence` counts from 1.
Transfer transfer_of(const LedgerId& id, uint64_t sequence);

// SQL that makes the tables, unless they are there, and opens the client's accounts.
std::string ledger_opening(const LedgerId& id);
// SQL of one whole transaction, BEGIN to COMMIT.
std::string ledger_transaction(const LedgerId& id, uint64_t sequence);
// SQL whose rows are LedgerContents, in the order of the members.
std::string ledger_entries_query(const LedgerId& id);   // sequence, checksum
std::string ledger_balances_query(const LedgerId& id);  // account, balance; in order of account

struct LedgerEntry {
  uint64_t sequence = 0;
  int64_t checksum = 0;
};

struct LedgerContents {
  std::vector<LedgerEntry> entries;  // in any order
  std::vector<int64_t> balances;     // by account
};

// What the client knows of its own transactions; they are sent one at a time.
struct LedgerCounts {
  uint64_t sent = 0;
  uint64_t acknowledged = 0;
};

struct LedgerVerdict {
  uint64_t committed = 0;   // rows that are there and right
  uint64_t lost = 0;        // acknowledged, and not there
  uint64_t invented = 0;    // there, and never sent; or there twice
  uint64_t wrong = 0;       // rows with another checksum
  uint64_t unbalanced = 0;  // accounts with another balance than the rows make

  bool good() const { return lost == 0 && invented == 0 && wrong == 0 && unbalanced == 0; }
};

LedgerVerdict judge_ledger(const LedgerId& id, const LedgerCounts& counts, const LedgerContents& contents);

// "3 acknowledged transactions lost, 1 invented, ..."; for a verdict that is not good.
std::string to_text(const LedgerVerdict& verdict);

}  // namespace us::demo
