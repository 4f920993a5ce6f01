// Streams: TCP connections that carry as much as they can, in either direction or both at once.
//
// From the guest, what the client has received counts.  Toward the guest, what the client's kernel holds an
// acknowledgement for (tcpi_bytes_acked, tcp(7)): what fills a send buffer does not count.
#pragma once

#include <vector>

#include "tcp/client.h"

namespace us::bench {

struct Streams {
  int from_guest = 0;  // connections
  int to_guest = 0;
  Duration skip = {};    // after all are connected; left out
  Duration length = {};  // what counts
};

struct StreamRates {  // bits per second of each connection
  std::vector<double> from_guest;
  std::vector<double> to_guest;
};

Result<StreamRates> measure_streams(const Client& client, const Streams& wanted);

// Bits per second of `flows` connections together, in one direction.
Result<double> measure_bulk(const Client& client, bool from_guest, int flows, double skip_s, double length_s);

double sum(const std::vector<double>& values);

}  // namespace us::bench
