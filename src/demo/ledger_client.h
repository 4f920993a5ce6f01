// LedgerClient: commits one transaction of the ledger (ledger.h) after the other in the guest's PostgreSQL, over one
// connection, and counts those that were acknowledged.
#pragma once

#include <atomic>
#include <string>

#include "demo/client.h"
#include "demo/ledger.h"

namespace us::demo {

class LedgerClient final : public Client {
 public:
  LedgerClient(std::string address, const LedgerId& id);
  ~LedgerClient() override { finish(Duration::nanos(0)); }

  const LedgerId& id() const { return id_; }
  uint64_t acknowledged() const { return progress(); }
  // After finish(), which waits for the answer to the last.
  LedgerCounts counts() const { return {.sent = sent_, .acknowledged = acknowledged()}; }

 private:
  Status talk() override;

  const LedgerId id_;
  std::atomic<uint64_t> sent_ = 0;
};

// Reads the client's part of the tables over a new connection and judges it.
Result<LedgerVerdict> audit_ledger(const NetNs& ns, const std::string& address, const LedgerId& id,
                                   const LedgerCounts& counts);

}  // namespace us::demo
