#include "host/nbd_errno.h"

#include <cerrno>

namespace us {

NbdError to_nbd(int error) {
  switch (error) {
    case 0:
      return NbdError::kNone;
    case EPERM:
    case EACCES:
    case EROFS:
    case EBADF:
      return NbdError::kEperm;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return NbdError::kEnospc;
    case EOPNOTSUPP:
      return NbdError::kEnotsup;
    case EINVAL:
      return NbdError::kEinval;
    case ENOMEM:
      return NbdError::kEnomem;
    default:
      return NbdError::kEio;
  }
}

}  // namespace us
