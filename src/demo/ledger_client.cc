#include "demo/ledger_client.h"

#include <fmt/format.h>

#include <charconv>
#include <thread>

#include "demo/postgres.h"

namespace us::demo {
namespace {

constexpr const char* kDatabase = "ledger";

template <typename Number>
Result<Number> number(const std::string& text) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return fail(ErrorKind::kProtocol, fmt::format("the database answered \"{}\" instead of a number", text));
  return value;
}

Result<LedgerContents> read_ledger(const std::string& address, const LedgerId& id) {
  const std::atomic<bool> never = false;
  US_ASSIGN(PgConnection connection, PgConnection::connect(address, kDatabase, never));
  LedgerContents out;
  US_ASSIGN(const auto entries, connection.run(ledger_entries_query(id)));
  for (const auto& row : entries) {
    US_ASSIGN(const auto sequence, number<uint64_t>(row.at(0)));
    US_ASSIGN(const auto checksum, number<int64_t>(row.at(1)));
    out.entries.push_back({sequence, checksum});
  }
  US_ASSIGN(const auto balances, connection.run(ledger_balances_query(id)));
  for (const auto& row : balances) {
    US_ASSIGN(const auto balance, number<int64_t>(row.at(1)));
    out.balances.push_back(balance);
  }
  return out;
}

}  // namespace

LedgerClient::LedgerClient(std::string address, const LedgerId& id)
    : Client("ledger", std::move(address), kPostgresPort), id_(id) {}

Status LedgerClient::talk() {
  US_ASSIGN(PgConnection connection, PgConnection::connect(address(), kDatabase, aborted()));
  US_TRY(connection.run(ledger_opening(id_)));
  while (!stopping()) {
    const uint64_t sequence = ++sent_;
    US_TRY(connection.run(ledger_transaction(id_, sequence)));
    advance(1);
  }
  return {};
}

Result<LedgerVerdict> audit_ledger(const NetNs& ns, const std::string& address, const LedgerId& id,
                                   const LedgerCounts& counts) {
  Result<LedgerContents> contents;
  std::thread([&] {
    if (const Status entered = ns.enter(); !entered)
      contents = tl::unexpected(entered.error());
    else
      contents = read_ledger(address, id);
  }).join();
  if (!contents) return tl::unexpected(contents.error());
  return judge_ledger(id, counts, *contents);
}

}  // namespace us::demo
