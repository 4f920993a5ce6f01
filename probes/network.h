// The guest's uplink: a tap device with virtio-net headers and offloads, as the port of a bridge.
// Both probes make devices with the name "us-probe…" and remove them at once.
#pragma once

#include "probes/finding.h"

namespace us::probes {

Finding probe_tap();
Finding probe_bridge();

}  // namespace us::probes
