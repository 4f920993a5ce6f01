// Datagrams: UDP to the guest's echo service, or ICMP echo, at a steady rate whether answers come or not; what came
// back, when, and in which order.  For the check that packets which no relay touches fare no worse.
#pragma once

#include <cstdint>
#include <vector>

#include "tcp/client.h"

namespace us::bench {

struct Datagrams {
  bool icmp = false;  // else UDP
  size_t bytes = 64;  // payload, 16 at least
  int per_second = 500;
  Duration length = {};
};

struct DatagramResult {
  uint64_t sent = 0;
  uint64_t lost = 0;        // no answer 1 s after the last was sent
  uint64_t reordered = 0;   // came after one that had been sent later
  uint64_t duplicated = 0;  // answers beyond the first
  std::vector<Duration> round_trips;
};

// Sends on time in the mean: what a late wake-up missed is sent at once.
Result<DatagramResult> measure_datagrams(const Client& client, const Datagrams& wanted);

// Reads the answers: pure, for the test.
class AnswerLog {
 public:
  explicit AnswerLog(size_t expected) : seen_(expected) {}
  void on_answer(uint64_t number, Duration round_trip);
  // `sent` of them were.
  DatagramResult result(uint64_t sent) const;
  bool complete(uint64_t sent) const { return result_.round_trips.size() >= sent; }

 private:
  std::vector<bool> seen_;
  uint64_t latest_ = 0;  // 1 + the greatest number so far
  DatagramResult result_;
};

}  // namespace us::bench
