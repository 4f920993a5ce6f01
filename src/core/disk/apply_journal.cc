#include "core/disk/apply_journal.h"

#include <xxhash.h>

#include <algorithm>

namespace us {
namespace {

constexpr uint32_t kMagic = 0x4a445355;  // "USDJ" in memory order
constexpr uint16_t kVersion = 1;
constexpr size_t kHeadUsed = 88;  // the checksum of what comes before follows

struct Head {
  JournalRecord record;
  uint32_t entries = 0;
  uint64_t data_bytes = 0;
  uint64_t body_checksum = 0;
};

uint64_t checksum(ByteSpan bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Bytes table_of(const ApplyBatch& batch) {
  Bytes out;
  ByteWriter w(out);
  for (const DiskWrite& write : batch.writes) {
    w.le(static_cast<uint8_t>(write.kind));
    w.zeros(7);
    w.le(write.range.start);
    w.le(write.range.length());
  }
  return out;
}

uint64_t data_bytes(const ApplyBatch& batch) {
  uint64_t sum = 0;
  for (const DiskWrite& write : batch.writes) sum += write.data.size();
  return sum;
}

std::optional<Head> decode_head(ByteSpan bytes, const ImageId& image) {
  if (bytes.size() < kJournalHeadBytes) return std::nullopt;
  ByteReader in(bytes.first(kJournalHeadBytes));
  Head head;
  if (in.le<uint32_t>() != kMagic || in.le<uint16_t>() != kVersion || in.le<uint16_t>() != 0) return std::nullopt;
  if (!std::ranges::equal(in.bytes(image.size()), image)) return std::nullopt;
  head.record.sequence = JournalSequence(in.le<uint64_t>());
  ImageEpoch& target = head.record.batch.target;
  target.generation = Generation(in.le<uint64_t>());
  target.session = in.le<uint64_t>();
  target.epoch = Epoch(in.le<uint64_t>());
  head.entries = in.le<uint32_t>();
  if (in.le<uint32_t>() != 0) return std::nullopt;
  head.data_bytes = in.le<uint64_t>();
  head.body_checksum = in.le<uint64_t>();
  in.skip(8);  // reserved
  if (in.le<uint64_t>() != checksum(bytes.first(kHeadUsed))) return std::nullopt;
  return head;
}

// Disjoint, in order, within the disk; the data adds up.
bool decode_body(ByteSpan body, uint64_t disk_bytes, Head& head) {
  ByteReader in(body.first(head.entries * kJournalEntryBytes));
  ByteReader data(body.subspan(head.entries * kJournalEntryBytes));
  uint64_t last = 0;
  for (uint32_t i = 0; i < head.entries; ++i) {
    const auto kind = in.le<uint8_t>();
    in.skip(7);
    const uint64_t start = in.le<uint64_t>();
    const uint64_t length = in.le<uint64_t>();
    if (!is_write_kind(kind) || length == 0 || start < last || start > disk_bytes || length > disk_bytes - start)
      return false;
    last = start + length;
    DiskWrite write{static_cast<WriteKind>(kind), {start, last}, {}};
    if (write.kind == WriteKind::kData) {
      if (length > data.remaining()) return false;
      write.data = DataSlice::copy_of(data.bytes(length));
    }
    head.record.batch.writes.push_back(std::move(write));
  }
  return data.done();
}

}  // namespace

JournalLayout JournalLayout::for_staged(uint64_t staged_bytes_max) {
  // A record of StagedWrites becomes at most two extents, and its charge pays for both table entries.
  static_assert(2 * kJournalEntryBytes <= kWriteChargeBytes);
  const uint64_t bytes = staged_bytes_max + kJournalHeadBytes;
  return {(bytes + kJournalHeadBytes - 1) / kJournalHeadBytes * kJournalHeadBytes};
}

uint64_t journal_bytes(const ApplyBatch& batch) {
  return kJournalHeadBytes + batch.writes.size() * kJournalEntryBytes + data_bytes(batch);
}

Bytes encode_journal_start(const JournalRecord& record, const ImageId& image) {
  const Bytes table = table_of(record.batch);
  XXH3_state_t* state = XXH3_createState();
  XXH3_64bits_reset(state);
  XXH3_64bits_update(state, table.data(), table.size());
  for (const DiskWrite& write : record.batch.writes)
    XXH3_64bits_update(state, write.data.span().data(), write.data.size());
  const uint64_t body = XXH3_64bits_digest(state);
  XXH3_freeState(state);

  Bytes out;
  ByteWriter w(out);
  w.le(kMagic);
  w.le(kVersion);
  w.le(uint16_t{0});
  w.bytes(image);
  w.le(record.sequence.value());
  w.le(record.batch.target.generation.value());
  w.le(record.batch.target.session);
  w.le(record.batch.target.epoch.value());
  w.le(static_cast<uint32_t>(record.batch.writes.size()));
  w.le(uint32_t{0});
  w.le(data_bytes(record.batch));
  w.le(body);
  w.zeros(kHeadUsed - out.size());
  w.le(checksum(out));
  w.zeros(kJournalHeadBytes - out.size());
  w.bytes(table);
  return out;
}

std::optional<JournalRecord> decode_journal_record(ByteSpan slot, const ImageId& image, uint64_t disk_bytes) {
  auto head = decode_head(slot, image);
  if (!head || head->record.sequence == JournalSequence{}) return std::nullopt;
  const ByteSpan rest = slot.subspan(kJournalHeadBytes);
  const uint64_t table = uint64_t{head->entries} * kJournalEntryBytes;
  if (table > rest.size() || head->data_bytes > rest.size() - table) return std::nullopt;
  const ByteSpan body = rest.first(table + head->data_bytes);
  if (checksum(body) != head->body_checksum || !decode_body(body, disk_bytes, *head)) return std::nullopt;
  return std::move(head->record);
}

std::optional<JournalRecord> recover_journal(ByteSpan slot0, ByteSpan slot1, const ImageId& image, uint64_t disk_bytes,
                                             JournalSequence base) {
  std::optional<JournalRecord> newest;
  for (const ByteSpan slot : {slot0, slot1}) {
    auto record = decode_journal_record(slot, image, disk_bytes);
    if (!record || record->sequence <= base) continue;
    if (!newest || newest->sequence < record->sequence) newest = std::move(record);
  }
  return newest;
}

}  // namespace us
