// Finding: what one probe learnt about this host, for a person and for a program.
#pragma once

#include <string>
#include <string_view>

namespace us::probes {

enum class Verdict {
  kOk,
  kDegraded,    // works, but slower or less safe than it could be
  kMissing,     // not there: to be installed, loaded or upgraded
  kForbidden,   // there, but this process may not use it
  kUnexpected,  // there and allowed, but it does something else than the design relies on
};

struct Finding {
  std::string probe;    // a short name, "userfaultfd"
  std::string purpose;  // what Understudy needs it for
  Verdict verdict = Verdict::kOk;
  std::string evidence;  // what was seen
  std::string advice;    // what to do; empty when all is well
};

// "ok", "degraded", "missing", "forbidden", "unexpected"
std::string_view to_text(Verdict verdict);

// Whether a VM can be protected on this host in spite of it.
bool is_usable(Verdict verdict);

// What a failed system call says: not there, not allowed, or something else.
Verdict verdict_of_errno(int error_number);

}  // namespace us::probes
