#include "host/captured_epoch.h"

#include <algorithm>

namespace us {
namespace {
constexpr uint64_t kKeptPages = 16384;  // 64 MiB
}

uint8_t* CapturedEpoch::reserve(uint64_t count) {
  if (count > capacity_pages_) {
    capacity_pages_ = std::max<uint64_t>(count + count / 2, 1024);
    bytes_.reset(new uint8_t[capacity_pages_ * kPageSize]);  // not value-initialised: it is about to be overwritten
  }
  return bytes_.get();
}

void CapturedEpoch::trim() {
  if (capacity_pages_ > kKeptPages && pages < capacity_pages_ / 4) {
    capacity_pages_ = 0;
    bytes_.reset();
  }
}

}  // namespace us
