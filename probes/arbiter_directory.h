// The arbiter's directory: its file system must let exactly one of two hosts win.
#pragma once

#include <string>

#include "probes/finding.h"

namespace us::probes {

// Writes two files, links both to one name (link(2) must fail for the second), syncs, and removes all three.
// Whether all hosts see the same directory cannot be told from one of them.
Finding probe_arbiter_directory(const std::string& directory);

}  // namespace us::probes
