// redis-benchmark (Debian's redis-tools) against the guest's redis: SET and GET of 64 bytes over 50 connections.
#pragma once

#include <string>
#include <vector>

#include "tcp/client.h"

namespace us::bench {

struct RedisFigures {
  std::string test;  // "set", "get"
  double requests_per_second = 0;
  double p50_ms = 0;
  double p99_ms = 0;
};

// `pipeline` requests under way on each connection; as many requests as take about `length` for each test.
Result<std::vector<RedisFigures>> measure_redis(const Client& client, int pipeline, Duration length);

// What `redis-benchmark --csv` printed; pure.
Result<std::vector<RedisFigures>> parse_redis_csv(const std::string& text);

}  // namespace us::bench
