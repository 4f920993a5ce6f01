// CHECK: an assertion that stays on in release builds.
//
// A failed CHECK is *our* bug, never something a guest, the network or the environment did (those
// return Result, see result.h).  The process stops at once: fail-stop is what the standby is for.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace us::internal {
[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: internal error, please report: CHECK(%s) failed\n", file, line, condition);
  std::abort();
}
}  // namespace us::internal

#define US_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::us::internal::check_failed(#condition, __FILE__, __LINE__))
