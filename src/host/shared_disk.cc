#include "host/shared_disk.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "host/disk_limits.h"

namespace us {
namespace {

WriteKind kind_of(const NbdRequest& request) {
  if (request.command == NbdCommand::kWrite) return WriteKind::kData;
  return request.may_unmap || request.command == NbdCommand::kTrim ? WriteKind::kDiscard : WriteKind::kZeroes;
}

DiskRange range_of(const NbdRequest& request) { return {request.offset, request.offset + request.length}; }

// What is held, over what the image had.
void lay_over(const std::vector<DiskWrite>& held, uint64_t offset, std::span<uint8_t> bytes) {
  for (const DiskWrite& write : held) {
    uint8_t* at = bytes.data() + (write.range.start - offset);
    if (write.kind == WriteKind::kData)
      std::ranges::copy(write.data.span(), at);
    else
      std::fill_n(at, write.range.length(), uint8_t{0});
  }
}

}  // namespace

// Nothing is ever marked: a map of no use but its shape, which the offer names.
SharedDisk::SharedDisk(LocalDisk& disk)
    : disk_(disk),
      source_(disk.index, kDiskWindowBytes,
              DirtyMap(DirtyMapShape{.image = disk.image.record().image, .disk_bytes = disk.image.bytes()}), true),
      turn_(disk.image.record(), kDiskStagedBytesMax),
      generation_(disk.image.record().at.generation) {}

void SharedDisk::start(NbdRequest request, DiskReply reply) {
  {
    const std::lock_guard lock(mutex_);
    if (fenced_) return;
  }
  switch (request.command) {
    case NbdCommand::kRead:
      return read(request, reply);
    case NbdCommand::kBlockStatus:
      return block_status(request, reply);
    case NbdCommand::kFlush:
      return flush(reply);
    default:
      return change(std::move(request), reply);
  }
}

void SharedDisk::on_wake() {
  {
    const std::lock_guard lock(mutex_);
    if (fenced_) return;
  }
  pump();
  let_in();
}

// ---- what changes nothing ----

void SharedDisk::read(const NbdRequest& request, DiskReply reply) {
  auto held = std::make_shared<std::vector<DiskWrite>>();
  uint64_t covered = 0;
  bool lost = false;
  {
    const std::lock_guard lock(mutex_);
    ++counters_.reads;
    counters_.read_bytes += request.length;
    for (ReadPart& part : source_.held().read(range_of(request))) {
      if (!part.held) continue;
      covered += part.range.length();
      held->push_back(std::move(*part.held));
    }
    lost = turn_.lost();
  }
  if (lost) return disk_.loop->complete(reply, EIO);
  auto bytes = std::make_shared<AlignedBuffer>(request.length);
  if (covered == request.length) {
    lay_over(*held, request.offset, bytes->span());
    return disk_.loop->complete_read(reply, std::move(*bytes));
  }
  disk_.loop->io().read(disk_.image.image(), request.offset, bytes->span(),
                        [this, reply, bytes, held, offset = request.offset](int error) {
                          if (error != 0) {
                            note_error("read", error);
                            return disk_.loop->complete(reply, error);
                          }
                          lay_over(*held, offset, bytes->span());
                          disk_.loop->complete_read(reply, std::move(*bytes));
                        });
}

void SharedDisk::block_status(const NbdRequest& request, DiskReply reply) {
  bool held = false;
  {
    const std::lock_guard lock(mutex_);
    for (const ReadPart& part : source_.held().read(range_of(request))) held = held || part.held.has_value();
  }
  std::vector<NbdExtent> extents;
  if (held) {
    extents.push_back({request.length, 0});
  } else {
    for (const BlockFile::Extent& e :
         disk_.image.image().extents(request.offset, request.length, request.one_extent ? 1 : kNbdExtentsMax))
      extents.push_back({e.length, e.hole ? kNbdStateHole | kNbdStateZero : 0});
  }
  disk_.loop->complete_status(reply, extents);
}

// ---- what changes the disk ----

void SharedDisk::change(NbdRequest request, DiskReply reply) {
  const DiskRange range = range_of(request);
  {
    const std::lock_guard lock(mutex_);
    ++open_changes_;
  }
  waiting_.push_back(std::make_unique<Change>(Change{reply, std::move(request), range}));
  let_in();
}

SharedDisk::Way SharedDisk::way() const {
  const std::lock_guard lock(mutex_);
  if (fenced_) return Way::kWait;
  if (turn_.lost()) return Way::kRefuse;
  if (turn_.direct()) return Way::kImage;
  if (turn_.closing()) return Way::kWait;
  return cutting_ || source_.wants_writes() ? Way::kHold : Way::kWait;
}

void SharedDisk::let_in() {
  while (!waiting_.empty()) {
    const Way way = this->way();
    if (way == Way::kWait) {
      const std::lock_guard lock(mutex_);
      ++counters_.waits;
      break;
    }
    std::unique_ptr<Change> change = std::move(waiting_.front());
    waiting_.pop_front();
    if (way == Way::kHold) {
      hold(std::move(change));
      continue;
    }
    if (way == Way::kRefuse) {
      {
        const std::lock_guard lock(mutex_);
        --open_changes_;
      }
      disk_.loop->complete(change->reply, EIO);
      continue;
    }
    const LockId id(next_id_++);
    const DiskRange range = change->range;
    changes_.emplace(id, std::move(change));
    if (locks_.acquire(id, range)) begin_change(id);
  }
  tell_sender();
}

void SharedDisk::hold(std::unique_ptr<Change> change) {
  NbdRequest& request = change->request;
  bool must_wait = false;
  {
    const std::lock_guard lock(mutex_);
    DiskWrite write{kind_of(request), change->range, {}};
    if (write.kind == WriteKind::kData) write.data = DataSlice(std::move(request.payload));
    source_.hold(write);
    --open_changes_;
    ++counters_.writes;
    ++counters_.held;
    counters_.written_bytes += change->range.length();
    must_wait = request.fua && turn_.state() == SharedTurn::State::kReturning;
  }
  if (must_wait)
    flushes_.push_back(change->reply);
  else
    disk_.loop->complete(change->reply, 0);
}

// The range is held.
void SharedDisk::begin_change(LockId id) {
  const NbdRequest& request = changes_.at(id)->request;
  const BlockFile& image = disk_.image.image();
  auto done = [this, id](int error) { on_changed(id, error); };
  if (request.command == NbdCommand::kWrite)
    return disk_.loop->io().write(image, request.offset, request.payload.span(), std::move(done));
  const bool discard = kind_of(request) == WriteKind::kDiscard;
  const bool fast = request.fast_only || request.command == NbdCommand::kTrim;
  disk_.loop->io().call(
      DiskIo::Call::kZero,
      [&image, offset = request.offset, length = request.length, discard, fast] {
        return image.zero(offset, length, discard, fast);
      },
      std::move(done));
}

void SharedDisk::on_changed(LockId id, int error) {
  const std::unique_ptr<Change> change = std::move(changes_.at(id));
  changes_.erase(id);
  const bool untouched = error == EOPNOTSUPP && change->request.command != NbdCommand::kWrite;
  {
    const std::lock_guard lock(mutex_);
    --open_changes_;
    if (fenced_) return;
    if (error == 0) {
      ++counters_.writes;
      counters_.written_bytes += change->range.length();
    }
  }
  if (untouched && change->request.command == NbdCommand::kTrim) error = 0;  // a hint that cannot be followed here
  if (error != 0 && !untouched) note_error("write", error);
  for (const LockId next : locks_.release(id)) begin_change(next);
  if (error != 0 || !change->request.fua) return disk_.loop->complete(change->reply, error);
  flushes_.push_back(change->reply);
  sync_image();
}

// ---- flushes ----

void SharedDisk::flush(DiskReply reply) {
  SharedTurn::State state{};
  bool lost = false;
  {
    const std::lock_guard lock(mutex_);
    ++counters_.flushes;
    state = turn_.state();
    lost = turn_.lost();
  }
  if (lost) return disk_.loop->complete(reply, EIO);
  // Everything before it is held, and in the stream: docs/disk.md, FLUSH and FUA.
  if (state == SharedTurn::State::kGiving || state == SharedTurn::State::kGiven) return disk_.loop->complete(reply, 0);
  flushes_.push_back(reply);
  sync_image();
}

// One at a time; what asks for one meanwhile waits for the next.  While the image is taken back they all wait.
void SharedDisk::sync_image() {
  if (syncing_ || flushes_.empty()) return;
  bool lost = false;
  {
    const std::lock_guard lock(mutex_);
    lost = turn_.lost();
    if (fenced_ || (!lost && turn_.state() == SharedTurn::State::kReturning)) return;
    ++counters_.syncs;
  }
  if (lost) {
    for (const DiskReply& reply : std::exchange(flushes_, {})) disk_.loop->complete(reply, EIO);
    return;
  }
  syncing_ = true;
  flushing_ = std::exchange(flushes_, {});
  disk_.loop->io().call(
      DiskIo::Call::kSyncImage, [&image = disk_.image] { return image.image().sync(); },
      [this](int error) { on_synced(error); });
}

void SharedDisk::on_synced(int error) {
  syncing_ = false;
  if (error != 0) {
    note_error("sync", error);
    const std::lock_guard lock(mutex_);
    sync_failed_ = true;
  }
  for (const DiskReply& reply : std::exchange(flushing_, {})) disk_.loop->complete(reply, error);
  sync_image();
}

void SharedDisk::note_error(const char* what, int error) {
  const std::string text = fmt::format("{}: {}: {}", disk_.image.path(), what, std::strerror(error));
  const std::lock_guard lock(mutex_);
  ++counters_.errors;
  if (error_.empty()) {
    error_ = text;
    spdlog::error("{}: {}; the guest is told", disk_.name, text);
  }
}

}  // namespace us
