#include "core/tcp/rto.h"

#include <algorithm>

namespace us {
namespace {

constexpr uint32_t kBackoffMax = 20;  // 2^20 times the smallest timeout is beyond every bound

}  // namespace

void RetransmitTimer::on_expiry(Instant now, Duration rto) {
  ++retries_;
  backoff_ = std::min(backoff_ + 1, kBackoffMax);
  restart(now, rto);
}

void RetransmitTimer::on_peer_alive() {
  retries_ = 0;
  backoff_ = 0;
}

Duration RetransmitTimer::backed_off(Duration rto) const {
  // The bound first: a large timeout times 2^20 must not overflow.
  return std::min(std::min(rto, rto_max_) * (int64_t{1} << backoff_), rto_max_);
}

}  // namespace us
