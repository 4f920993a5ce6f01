// The clients of `./do bench tcp`.  Each runs in the client's namespace, against the services of the guest
// (docs/guest.md), and returns what it measured with the client's clock: the guest's own stands still in every pause.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "demo/netns.h"

namespace us::bench {

struct Client {
  const demo::NetNs& ns;
  std::string guest;                     // its address
  std::string cc;                        // congestion control of the client's sockets
  const std::atomic<bool>& interrupted;  // ends a measurement early, with an error
};

// iperf3 over `flows` connections for `skip` + `length` seconds; bits per second of the second part.  Toward the guest,
// what the client's kernel took from iperf3 counts: its send buffer is as full at the end as it was at the beginning.
Result<double> measure_bulk(const Client& client, bool from_guest, int flows, double skip_s, double length_s);

// Fetches `bytes` over HTTP, each time on a new connection, at most `count` times and not much longer than `limit`, but
// 5 times at least.  Each from before the connect to the last byte.
Result<std::vector<Duration>> measure_fetches(const Client& client, size_t bytes, int count, Duration limit);

// One byte to the echo service and back, again and again over one connection.
Result<std::vector<Duration>> measure_requests(const Client& client, int count, Duration limit);

// Connections that stay open and idle until the object is destroyed.
class IdleFlows {
 public:
  static Result<std::unique_ptr<IdleFlows>> open(const Client& client, uint16_t port, int count);
  ~IdleFlows();

 private:
  explicit IdleFlows(std::vector<int> sockets) : sockets_(std::move(sockets)) {}
  std::vector<int> sockets_;
};

}  // namespace us::bench
