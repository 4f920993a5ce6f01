// The times that primary and standby must agree on.  They travel in the Hello.
#pragma once

#include "base/time.h"

namespace us {

struct FailoverConfig {
  Duration heartbeat = Duration::millis(20);
  // Silence after which the other side counts as lost.  The standby promises not to claim earlier.
  Duration detection = Duration::millis(100);
  // How long a primary that lost its standby lets the standby go first at the arbiter.
  Duration primary_delay = Duration::millis(300);
  // Between two tries at an arbiter that does not answer.
  Duration claim_retry = Duration::millis(200);
  // A standby that is alive but has not acknowledged an epoch for this long is given up.
  Duration ack_timeout = Duration::seconds(5);
  // Silence after which a first synchronisation is given up; nothing is lost with it.
  Duration sync_timeout = Duration::seconds(3);
  // Epochs captured and not yet acknowledged.
  int epochs_in_flight_max = 2;

  // The primary's right to release ends this long after it sent the last message that the standby has echoed.  The
  // margin covers clocks that run at different speeds.
  constexpr Duration lease() const { return detection - detection / 10; }
};

}  // namespace us
