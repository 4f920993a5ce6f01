#include "sim/disk_ops.h"

#include "core/disk/disk_source.h"

namespace us::sim {

void check_turn(Host& host) {
  if (host.lab().shared_disk && host.lab().image_holder != host.id())
    host.lab().judge->violation("a host writes to the shared image that does not have it");
}

bool Execute::operator()(const DiskReplica::WriteRecordFile& op) {
  check_turn(host);
  return files.record.write(op.offset, op.bytes) && files.record.sync();
}

bool Execute::operator()(const DiskReplica::WriteImage& op) {
  check_turn(host);
  for (const DiskWrite& write : op.writes)
    if (!files.write_image(write)) return false;
  return true;
}

bool Execute::operator()(const DiskReplica::ReadGranule& op) {
  const ByteSpan image = files.image.read(op.range.start, op.range.length());
  Bytes bytes(image.begin(), image.end());
  apply_over(bytes, op.range, op.over);
  sum = granule_sum(bytes);
  return true;
}

bool Execute::operator()(const DiskReplica::WriteJournal& op) {
  check_turn(host);
  uint64_t at = op.offset;
  if (!files.journal.write(at, *op.start)) return false;
  at += op.start->size();
  for (const DiskWrite& write : *op.writes) {
    if (!files.journal.write(at, write.data.span())) return false;
    at += write.data.size();
  }
  return true;
}

// The lock goes with the process: Host::end_process().
bool Execute::operator()(const DiskReplica::TakeImage&) {
  std::optional<HostId>& holder = host.lab().image_holder;
  if (holder) return false;
  holder = host.id();
  Result<DiskReplica::Image> image = files.open();
  if (!image) host.lab().judge->violation("what the shared image is cannot be read: " + image.error().message);
  host.note("has the shared image, record", image->record.counter);
  taken = std::move(*image);
  return true;
}

bool Execute::operator()(const DiskReplica::LetGo&) {
  check_turn(host);
  host.note("lets go of the shared image");
  host.lab().image_holder.reset();
  return true;
}

}  // namespace us::sim
