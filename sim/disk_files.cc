#include "sim/disk_files.h"

namespace us::sim {

DiskFiles::DiskFiles(uint64_t seed, uint8_t id, bool garbage)
    : image(kDiskBytes, seed),
      journal(JournalLayout::for_staged(kDiskStaged).file_bytes(), seed + 1),
      record(kImageRecordFileBytes, seed + 2),
      map(DirtyMapShape{ImageId{id}, kDiskBytes, kGranuleBytes}.file_bytes(), seed + 3) {
  if (garbage) {
    Bytes bytes(kDiskBytes);
    Rng rng(seed);
    for (size_t at = 0; at < bytes.size(); at += 8)
      if (at / kGranuleBytes % 3 != 0) store_le(bytes.data() + at, rng.next());
    image.write(0, bytes);
  }
  const DirtyMapShape shape{ImageId{id}, kDiskBytes, kGranuleBytes};
  map.write(0, DirtyMap(shape).initial_file());
  write_record({.image = ImageId{id},
                .disk_bytes = kDiskBytes,
                .state = ImageState::kNew,
                .at = {},
                .journal_base = {},
                .counter = 1});
  image.sync();
  map.sync();
}

Result<DiskReplica::Image> DiskFiles::open() const {
  const uint64_t slot = JournalLayout::for_staged(kDiskStaged).slot_bytes;
  return recover_image({record.bytes(), map.bytes(), {journal.read(0, slot), journal.read(slot, slot)}}, kGranuleBytes,
                       kMarkKeepEpochs);
}

void DiskFiles::power_loss() {
  for (ModelDisk* file : {&image, &journal, &record, &map}) file->crash();
}

void DiskFiles::set_failures(double probability) {
  for (ModelDisk* file : {&image, &journal, &record, &map}) file->set_failures(probability);
}

bool DiskFiles::write_image(const DiskWrite& w) {
  if (w.kind == WriteKind::kData) return image.write(w.range.start, w.data.span());
  return image.write(w.range.start, Bytes(w.range.length()));
}

bool DiskFiles::write_record(const ImageRecord& next) {
  return record.write(image_record_offset(next), encode(next)) && record.sync();
}

bool DiskFiles::write_map(const DirtyMap::Update& update) {
  bool fine = true;
  for (const auto& block : update.blocks) fine = map.write(block.offset, block.bytes) && fine;
  return fine && (!update.must_sync || map.sync());
}

}  // namespace us::sim
