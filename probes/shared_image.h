// The image of a shared disk: its storage must keep two writers apart.
#pragma once

#include <string>

#include "probes/finding.h"

namespace us::probes {

// Opens the image twice and locks it with the one (the other must be refused), and once past the page cache.  Nothing
// is written.  An image that is locked already is well: a VM uses it.  Whether other hosts see the same file and its
// locks cannot be told from one of them.
Finding probe_shared_image(const std::string& image);

}  // namespace us::probes
