// Exchanges: loads in which the client asks and the guest answers.  What is measured is the time of each answer.
#pragma once

#include <memory>
#include <vector>

#include "tcp/client.h"

namespace us::bench {

// How long to go on: `count` times at most, and after `limit` only until `least` are done.  It ends at
// kHopelessShare of the limit if `count` is far away even then: the time is better spent elsewhere.
inline constexpr double kHopelessShare = 0.6;
struct Patience {
  int count;
  int least;
  Duration limit;
  bool may_give_up = false;
};

// Fetches `bytes` over HTTP.  On a new connection each time, from before the connect to the last byte; or all on one
// (`kept`), from the request to the last byte, the first of them left out.
Result<std::vector<Duration>> measure_fetches(const Client& client, size_t bytes, bool kept, const Patience& patience);

// `bytes` to the echo service and back, again and again over one connection, the first of them left out.
Result<std::vector<Duration>> measure_requests(const Client& client, size_t bytes, const Patience& patience);

// Incast: many senders answer at once through one queue, and the next round begins when the slowest is done
// (barrier-synchronised: Phanishayee et al., "Measurement and Analysis of TCP Throughput Collapse in Cluster-based
// Storage Systems", FAST 2008; their server request unit is our block).  `clients` connections that stay open; in each
// round every one of them asks for a block (from_guest) or sends one and waits for one byte.  The time of each round,
// the first left out.
struct Incast {
  int clients;
  size_t block;
  bool from_guest;
};
Result<std::vector<Duration>> measure_incast(const Client& client, const Incast& incast, const Patience& patience);

// Connections that stay open and idle until the object is destroyed.
Result<std::vector<UniqueFd>> open_idle_flows(const Client& client, uint16_t port, int count);

}  // namespace us::bench
