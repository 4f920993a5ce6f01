#include "probes/finding.h"

#include <cerrno>

namespace us::probes {

std::string_view to_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kDegraded:
      return "degraded";
    case Verdict::kMissing:
      return "missing";
    case Verdict::kForbidden:
      return "forbidden";
    case Verdict::kUnexpected:
      return "unexpected";
  }
  return "unexpected";
}

bool is_usable(Verdict verdict) { return verdict == Verdict::kOk || verdict == Verdict::kDegraded; }

Verdict verdict_of_errno(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ENOSYS:
    case ENOTTY:
    case ENOPKG:
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
      return Verdict::kMissing;
    case EPERM:
    case EACCES:
    case EROFS:
      return Verdict::kForbidden;
    default:
      return Verdict::kUnexpected;
  }
}

}  // namespace us::probes
