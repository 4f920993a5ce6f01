// What the files beside an image say after a start, whatever the crash before it: the image as DiskReplica takes it
// over.
//
// A map that does not fit (damaged, of another image) means that nothing is known: everything is marked.  A record that
// cannot be read is an error (ErrorKind::kInput): what the image is must then be said by a person.  Pure.
#pragma once

#include "base/bytes.h"
#include "base/result.h"
#include "core/disk/disk_replica.h"

namespace us {

struct ImageFiles {
  ByteSpan record;  // as far as it exists
  ByteSpan map;
  ByteSpan journal_slots[2];
};
// `keep_epochs`: DirtyMap's.
Result<DiskReplica::Image> recover_image(const ImageFiles& files, uint32_t granule_bytes, uint64_t keep_epochs = 64);

}  // namespace us
