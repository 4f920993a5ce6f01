// Everything of a disk that is read from a peer or a file, against hostile bytes: what decodes encodes to the same
// bytes again, and what the standby stages stays within its limit.  Seeds: any file beside an image.
#include <algorithm>

#include "base/check.h"
#include "core/disk/dirty_map.h"
#include "core/disk/image_record.h"
#include "core/disk/staged_writes.h"
#include "core/disk/write_record.h"

using namespace us;

namespace {

constexpr uint64_t kDisk = 1 << 20;
constexpr uint64_t kStagedMax = 64 * 1024;

void stage_records(ByteSpan in) {
  StagedWrites staged(kDisk, kStagedMax);
  staged.begin_session(Generation(1), 1, Epoch(0));
  ByteReader reader(in);
  while (reader.remaining() > 0) {
    const size_t at = in.size() - reader.remaining();
    const Result<WriteRecord> record = decode_write_record(reader);
    if (!record) return;
    Bytes again;
    encode(*record, again);
    US_CHECK(std::equal(again.begin(), again.end(), in.begin() + static_cast<ptrdiff_t>(at)));
    if (!staged.stage(record->epoch, record->write)) return;
    US_CHECK(staged.bytes() <= kStagedMax);
    if (record->disk.value() == 1) staged.commit(record->epoch);
    if (record->disk.value() != 2) continue;
    if (const auto batch = staged.take_batch()) {
      US_CHECK(journal_bytes(*batch) <= JournalLayout::for_staged(kStagedMax).slot_bytes);
      staged.batch_applied();
    }
  }
}

void check_journal(ByteSpan in) {
  const auto record = decode_journal_record(in, ImageId{}, kDisk);
  if (!record) return;
  uint64_t last = 0;
  for (const DiskWrite& write : record->batch.writes) {
    US_CHECK(write.range.start >= last && write.range.end > write.range.start && write.range.end <= kDisk);
    last = write.range.end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteSpan in(data, size);
  stage_records(in);
  check_journal(in);
  if (const auto barrier = decode_disk_barrier(in)) US_CHECK(std::ranges::equal(encode(*barrier), in));
  (void)decode_image_record(in);
  const DirtyMapShape shape{.image = {}, .disk_bytes = kDisk, .granule_bytes = 4096};
  if (auto map = DirtyMap::load(shape, in)) {
    (void)map->poll_update();
    US_CHECK(map->marked().count() <= shape.granules());
  }
  return 0;
}
