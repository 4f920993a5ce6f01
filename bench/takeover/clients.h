// The clients that see a takeover.  Each talks over one TCP connection that is never opened again, checks every byte,
// and notes when it received something.  Threads of the client's namespace (demo/client.h).
#pragma once

#include "demo/client.h"
#include "takeover/arrivals.h"

namespace us::bench {

class StallClient : public demo::Client {
 public:
  using Client::Client;
  Arrivals& arrivals() { return arrivals_; }

 protected:
  void received(Instant at, uint64_t bytes) {
    advance(bytes);
    arrivals_.add(at, bytes);
  }

 private:
  Arrivals arrivals_;
};

// A number every 5 ms to the echo service, whether the one before was answered or not.
class PingStall final : public StallClient {
 public:
  explicit PingStall(std::string address) : StallClient("ping", std::move(address), 7) {}
  ~PingStall() override { finish(Duration::nanos(0)); }

 private:
  Status talk() override;
};

// `INCR key`: the next command `pause` after the answer, so that there is one on its way at most.  Each answer must be
// the one before plus 1.
class RedisStall final : public StallClient {
 public:
  RedisStall(std::string address, std::string key, Duration pause)
      : StallClient("redis", std::move(address), 6379), key_(std::move(key)), pause_(pause) {}
  ~RedisStall() override { finish(Duration::nanos(0)); }

  const std::string& key() const { return key_; }
  uint64_t acknowledged() const { return acknowledged_; }

 private:
  Status talk() override;

  const std::string key_;
  const Duration pause_;
  std::atomic<uint64_t> acknowledged_ = 0;
};

// One endless download, as fast as it comes.
class BulkStall final : public StallClient {
 public:
  BulkStall(std::string address, uint64_t seed) : StallClient("bulk", std::move(address), 80), seed_(seed) {}
  ~BulkStall() override { finish(Duration::nanos(0)); }

 private:
  Status talk() override;

  const uint64_t seed_;
};

}  // namespace us::bench
