// LogPosition: how far the relay log of a session has come.  Records count from 1; 0 is "none yet", or "no log".
#pragma once

#include "base/strong.h"

namespace us {

using LogPosition = Strong<struct LogPositionTag>;

}  // namespace us
