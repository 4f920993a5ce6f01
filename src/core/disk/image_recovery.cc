#include "core/disk/image_recovery.h"

#include <algorithm>

namespace us {

Result<DiskReplica::Image> recover_image(const ImageFiles& files, uint32_t granule_bytes, uint64_t keep_epochs) {
  US_ASSIGN(const ImageRecord record, decode_image_record(files.record));
  const DirtyMapShape shape{record.image, record.disk_bytes, granule_bytes};
  Result<DirtyMap> map = DirtyMap::load(shape, files.map, keep_epochs);
  if (!map) {
    map = DirtyMap(shape, keep_epochs);
    map->mark_all();
  }
  DiskReplica::Image image{record, std::move(*map), std::nullopt, record.journal_base};
  std::optional<JournalRecord> newest = recover_journal(files.journal_slots[0], files.journal_slots[1], record.image,
                                                        record.disk_bytes, record.journal_base);
  if (!newest) return image;
  image.last = std::max(image.last, newest->sequence);
  // Of another session than the one that the record names it cannot be: its base is raised when one begins.
  if (record.state == ImageState::kConsistent) image.replay = std::move(newest);
  return image;
}

}  // namespace us
