// Clients: the demo's three clients together, as one load on the guest.
#pragma once

#include <array>
#include <string>

#include "base/time.h"
#include "demo/client.h"
#include "demo/cluster.h"
#include "demo/figures.h"

namespace us::demo {

class Clients {
 public:
  Clients(const NetNs& ns, const std::string& guest_address, uint64_t download_bytes, uint64_t seed);

  void start();
  // Completes what is under way, for at most `limit` each.
  void finish(Duration limit);

  const RedisClient& redis() const { return redis_; }
  const DownloadClient& download() const { return download_; }
  const PingClient& ping() const { return ping_; }
  PingClient& ping() { return ping_; }

  std::array<const Client*, 3> all() const { return {&redis_, &download_, &ping_}; }
  // The first failure of any of them, with its name.
  std::optional<std::string> failure() const;

  // What each had received at a moment, to see later that all of them have gone on.
  using Marks = std::array<uint64_t, 3>;
  Marks marks() const;
  bool all_beyond(const Marks& marks) const;

  // After finish(): the clients' part of the figures.  Reads the counter in the guest over a new connection.
  void report(DemoFigures& figures) const;

 private:
  const NetNs& ns_;
  const std::string guest_address_;
  RedisClient redis_;
  DownloadClient download_;
  PingClient ping_;
};

}  // namespace us::demo
