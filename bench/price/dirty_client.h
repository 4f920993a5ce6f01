// DirtyClient: has the guest write to its memory at a chosen rate (port 9002, docs/guest.md) while the object lives.
#pragma once

#include "base/result.h"
#include "demo/netns.h"
#include "os/unique_fd.h"

namespace us::bench {

class DirtyClient {
 public:
  // Whole pages, spread over `megabytes`.
  static Result<DirtyClient> start(const demo::NetNs& client, int pages_per_second, int megabytes);
  // Ends it; how many pages the guest has written.
  Result<double> finish();

 private:
  explicit DirtyClient(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace us::bench
