// Clients: the demo's clients together, as one load on the guest: redis, a download, a ping-pong and, where the guest
// has a database, the ledger.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "demo/client.h"
#include "demo/cluster.h"
#include "demo/figures.h"
#include "demo/ledger_client.h"

namespace us::demo {

class Clients {
 public:
  Clients(const NetNs& ns, const std::string& guest_address, uint64_t download_bytes, uint64_t seed, bool with_ledger);

  void start();
  // Completes what is under way, for at most `limit` each.
  void finish(Duration limit);

  const RedisClient& redis() const { return redis_; }
  const DownloadClient& download() const { return download_; }
  const PingClient& ping() const { return ping_; }
  PingClient& ping() { return ping_; }

  const LedgerClient* ledger() const { return ledger_.get(); }  // nullptr: none
  std::vector<const Client*> all() const;
  // The first failure of any of them, with its name.
  std::optional<std::string> failure() const;

  // What each had received at a moment, to see later that all of them have gone on.
  using Marks = std::vector<uint64_t>;
  Marks marks() const;
  bool all_beyond(const Marks& marks) const;

  // After finish(): the clients' part of the figures.  Reads the counter and the ledger in the guest over new
  // connections.
  void report(DemoFigures& figures) const;

 private:
  void report_counter(DemoFigures& figures) const;
  void report_ledger(DemoFigures& figures) const;

  const NetNs& ns_;
  const std::string guest_address_;
  RedisClient redis_;
  DownloadClient download_;
  PingClient ping_;
  std::unique_ptr<LedgerClient> ledger_;
};

}  // namespace us::demo
