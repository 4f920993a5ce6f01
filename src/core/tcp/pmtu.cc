#include "core/tcp/pmtu.h"

#include <algorithm>

namespace us {
namespace {

constexpr uint32_t kRetriesToSuspect = 3;
// What is left of the 1280 bytes that every path should carry (RFC 8200 section 5) after 60 bytes of IPv6 and TCP
// headers and the timestamps: the base size of RFC 8899 section 5.1.2.
constexpr uint32_t kBaseMss = 1208;

}  // namespace

bool PathMtu::on_too_big(uint32_t mss) {
  const uint32_t lower = std::max(mss, floor_);
  if (suspended_ > lower) suspended_ = lower;
  if (lower >= mss_) return false;
  mss_ = lower;
  return true;
}

bool PathMtu::on_timeout(uint32_t retries, bool full_segment) {
  if (!full_segment || retries < kRetriesToSuspect) return false;
  const uint32_t lower = std::max(mss_ > kBaseMss ? kBaseMss : floor_, floor_);
  if (lower >= mss_) return false;
  if (!suspected_before_ && suspended_ == 0) suspended_ = mss_;
  mss_ = lower;
  return true;
}

bool PathMtu::on_progress() {
  if (suspended_ == 0) return false;
  const bool raised = suspended_ > mss_;
  mss_ = suspended_;
  suspended_ = 0;
  suspected_before_ = true;
  return raised;
}

}  // namespace us
