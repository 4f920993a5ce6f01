// How an errno looks to an NBD client ("Error values" of doc/proto.md: EDQUOT and EFBIG are ENOSPC there).
#pragma once

#include "core/nbd/protocol.h"

namespace us {

NbdError to_nbd(int error);

}  // namespace us
