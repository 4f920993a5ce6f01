#include "host/disk_ops.h"

#include <cerrno>

namespace us {
namespace {

struct Perform {
  DiskImage& image;
  DiskImage::Taken& taken;

  int operator()(const DiskReplica::WriteRecordFile& op) {
    const int error = image.record_file().write(op.offset, op.bytes);
    return error == 0 ? image.record_file().sync() : error;
  }
  int operator()(const DiskReplica::WriteImage& op) {
    for (const DiskWrite& write : op.writes) {
      const int error = write.kind == WriteKind::kData ? image.image().write(write.range.start, write.data.span())
                                                       : image.image().zero(write.range.start, write.range.length(),
                                                                            write.kind == WriteKind::kDiscard, false);
      if (error != 0) return error;
    }
    return 0;
  }
  int operator()(const DiskReplica::SyncImage&) { return image.image().sync(); }
  int operator()(const DiskReplica::WriteJournal& op) {
    return write_journal(image.journal_file(), op.offset, *op.start, *op.writes);
  }
  int operator()(const DiskReplica::SyncJournal&) { return image.journal_file().sync(); }
  int operator()(const DiskReplica::TakeImage&) { return image.take(kTakePatience, true, taken); }
  int operator()(const DiskReplica::LetGo&) {
    image.let_go();
    return 0;
  }
  // A primary has no map and copies nothing.
  int operator()(const DiskReplica::WriteMap&) { return EINVAL; }
  int operator()(const DiskReplica::ReadGranule&) { return EINVAL; }
};

}  // namespace

int write_journal(const BlockFile& file, uint64_t offset, const Bytes& start, const std::vector<DiskWrite>& writes) {
  std::vector<ByteSpan> pieces = {start};
  for (const DiskWrite& write : writes)
    if (write.data.size() > 0) pieces.push_back(write.data.span());
  return file.write(offset, pieces);
}

int perform_shared_op(DiskImage& image, const DiskReplica::Op& op, DiskImage::Taken& taken) {
  return std::visit(Perform{image, taken}, op);
}

}  // namespace us
