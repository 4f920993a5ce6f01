#include "core/tcp/persist.h"

#include <algorithm>

namespace us {
namespace {

constexpr uint32_t kBackoffMax = 20;

}  // namespace

void PersistTimer::stop() {
  deadline_.reset();
  backoff_ = 0;
  unanswered_ = 0;
}

void PersistTimer::on_probe(Instant now, Duration rto) {
  ++unanswered_;
  backoff_ = std::min(backoff_ + 1, kBackoffMax);
  deadline_ = now + interval(rto);
}

Duration PersistTimer::interval(Duration rto) const {
  return std::min(std::min(rto, interval_max_) * (int64_t{1} << backoff_), interval_max_);
}

}  // namespace us
