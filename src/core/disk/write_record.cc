#include "core/disk/write_record.h"

#include <algorithm>

namespace us {
namespace {

constexpr uint32_t kBarrierMagic = 0x42445355;  // "USDB" in memory order
constexpr uint16_t kBarrierVersion = 1;

tl::unexpected<Error> bad(const char* what) { return fail(ErrorKind::kProtocol, std::string("disk record: ") + what); }

}  // namespace

void encode(const WriteRecord& record, Bytes& out) {
  const DiskWrite& w = record.write;
  US_CHECK(!w.range.empty());
  US_CHECK(w.kind != WriteKind::kData || (w.data.size() == w.range.length() && w.data.size() <= kWriteRecordDataMax));
  ByteWriter b(out);
  b.le(static_cast<uint8_t>(w.kind));
  b.le(record.disk.value());
  b.zeros(6);
  b.le(record.epoch.value());
  b.le(w.range.start);
  b.le(w.range.length());
  b.bytes(w.data.span());
}

Result<WriteRecord> decode_write_record(ByteReader& in) {
  const auto kind = in.le<uint8_t>();
  WriteRecord record;
  record.disk = DiskIndex(in.le<uint8_t>());
  for (int i = 0; i < 6; ++i)
    if (in.le<uint8_t>() != 0) return bad("reserved bytes are not zero");
  record.epoch = Epoch(in.le<uint64_t>());
  const uint64_t start = in.le<uint64_t>();
  const uint64_t length = in.le<uint64_t>();
  if (!in.ok()) return bad("it is cut short");
  if (!is_write_kind(kind)) return bad("unknown kind of write");
  if (record.disk.value() >= kDiskIndexMax) return bad("no such disk");
  if (record.epoch == Epoch{}) return bad("epoch 0");
  if (length == 0 || start > UINT64_MAX - length) return bad("impossible range");
  record.write = {static_cast<WriteKind>(kind), {start, start + length}, {}};
  if (record.write.kind != WriteKind::kData) return record;
  if (length > kWriteRecordDataMax) return bad("too much data");
  const ByteSpan data = in.bytes(length);
  if (!in.ok()) return bad("its data is cut short");
  record.write.data = DataSlice::copy_of(data);
  return record;
}

std::vector<DiskWrite> split_for_records(const DiskWrite& write) {
  if (write.kind != WriteKind::kData) return {write};
  std::vector<DiskWrite> out;
  for (uint64_t at = write.range.start; at < write.range.end; at = out.back().range.end)
    out.push_back(write.part({at, std::min(at + kWriteRecordDataMax, write.range.end)}));
  return out;
}

Bytes encode(const DiskBarrier& barrier) {
  US_CHECK(barrier.disks.size() <= kDiskIndexMax);
  Bytes out;
  ByteWriter b(out);
  b.le(kBarrierMagic);
  b.le(kBarrierVersion);
  b.le(static_cast<uint16_t>(barrier.disks.size()));
  b.le(barrier.epoch.value());
  for (const DiskBarrier::Count& c : barrier.disks) {
    b.le(uint64_t{c.disk.value()});
    b.le(c.records);
    b.le(c.bytes);
  }
  return out;
}

Result<DiskBarrier> decode_disk_barrier(ByteSpan bytes) {
  ByteReader in(bytes);
  if (in.le<uint32_t>() != kBarrierMagic) return bad("no disk barrier");
  if (in.le<uint16_t>() != kBarrierVersion) return bad("disk barrier of an unknown version");
  const auto count = in.le<uint16_t>();
  DiskBarrier barrier{.epoch = Epoch(in.le<uint64_t>()), .disks = {}};
  if (count > kDiskIndexMax || barrier.epoch == Epoch{}) return bad("impossible disk barrier");
  for (uint16_t i = 0; i < count && in.ok(); ++i) {
    const auto disk = in.le<uint64_t>();
    const auto records = in.le<uint64_t>();
    if (disk != i) return bad("disk barrier with its disks out of order");
    barrier.disks.push_back({DiskIndex(static_cast<uint8_t>(disk)), records, in.le<uint64_t>()});
  }
  if (!in.done()) return bad("disk barrier of a wrong length");
  return barrier;
}

}  // namespace us
