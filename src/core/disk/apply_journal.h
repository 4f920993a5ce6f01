// The apply journal: what makes a batch of writes all or nothing on an image, power loss included.
//
//     journal file:   slot 0 [ record n   ]   slot 1 [ record n+1 ]     record n goes to slot n % 2
//     record:         head (4096 bytes) | table of writes | their data
//
// A record is complete or void: one checksum covers the head, another table and data.  The order, kept by EpochApplier:
//
//     write record n, sync the journal  ──►  write its data to the image, sync the image  ──►  record n+1 …
//
// So after a crash (what was not synced is there in part, torn, in any order):
//   * record n is void: nothing of it has reached the image, which is exactly at record n-1;
//   * record n is complete: applying it (again) gives exactly epoch n, whatever part of it was there already;
//   * record n-1, in the other slot, is on the image for good, because n was not begun before.
// Hence recover(): apply the complete record with the highest sequence number, sync, and the image is at its epoch.
// Records up to `base` (image_record.h) are void: the image has been written otherwise since.
//
// Layout: docs/wire/disk.md.  All input is untrusted: a record that does not decode exactly is void.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/strong.h"
#include "core/disk/staged_writes.h"

namespace us {

using ImageId = std::array<uint8_t, 16>;                    // random; the same on both hosts
using JournalSequence = Strong<struct JournalSequenceTag>;  // counts from 1 over the life of an image

inline constexpr size_t kJournalHeadBytes = 4096;
inline constexpr size_t kJournalEntryBytes = 24;

// Where things are in the journal file.  A slot holds any batch of a StagedWrites with `staged_bytes_max`.
struct JournalLayout {
  uint64_t slot_bytes = 0;
  static JournalLayout for_staged(uint64_t staged_bytes_max);
  uint64_t slot_offset(JournalSequence sequence) const { return (sequence.value() % 2) * slot_bytes; }
  uint64_t file_bytes() const { return 2 * slot_bytes; }
};

struct JournalRecord {
  JournalSequence sequence;
  ApplyBatch batch;
};

// Head and table; the data of the writes follows in order (journal_bytes() in all).
Bytes encode_journal_start(const JournalRecord& record, const ImageId& image);
uint64_t journal_bytes(const ApplyBatch& batch);

// The record at the start of `slot`; nullopt: there is no complete one for this image.  Copies the data.
std::optional<JournalRecord> decode_journal_record(ByteSpan slot, const ImageId& image, uint64_t disk_bytes);

// What is to be applied after a crash; nullopt: the image is at the epoch its ImageRecord says.
std::optional<JournalRecord> recover_journal(ByteSpan slot0, ByteSpan slot1, const ImageId& image, uint64_t disk_bytes,
                                             JournalSequence base);

}  // namespace us
