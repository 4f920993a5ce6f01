// How the demo and the tests look at the guest's disk at the end: the database from inside, the images from outside.
#pragma once

#include "base/result.h"
#include "demo/cluster.h"

namespace us::demo {

// pg_amcheck on the guest's databases, with all that it can compare: heap against index, index against index.
// Error: it has found something, or could not run; the message shows what it said.
Status check_database(Cluster& cluster);

// e2fsck of a host's image, which nobody has open.  It changes nothing.  Error: the file system is not clean.
Status check_file_system(Cluster& cluster, size_t host);

// Compares both hosts' images, which nobody has open, byte by byte.  Error: they differ; the message says where.
Status compare_images(Cluster& cluster);

}  // namespace us::demo
