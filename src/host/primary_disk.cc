#include "host/primary_disk.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "host/disk_limits.h"
#include "os/clock.h"

namespace us {
namespace {

// Without anybody asking, so that marks can go (dirty_map.h): of the first synchronisation soon, later ones with time.
// A guest that does not flush has its data in the page cache for as long as the kernel likes, as with any other driver.
constexpr Duration kFirstSyncAfter = Duration::seconds(1);
constexpr Duration kSyncEvery = Duration::seconds(10);

WriteKind kind_of(const NbdRequest& request) {
  if (request.command == NbdCommand::kWrite) return WriteKind::kData;
  return request.may_unmap || request.command == NbdCommand::kTrim ? WriteKind::kDiscard : WriteKind::kZeroes;
}

}  // namespace

PrimaryDisk::PrimaryDisk(LocalDisk& disk, DirtyMap map)
    : disk_(disk), mark_ahead_(disk.image.bytes()), source_(disk.index, kDiskWindowBytes, std::move(map)) {}

void PrimaryDisk::start(NbdRequest request, DiskReply reply) {
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

void PrimaryDisk::on_wake() {
  bool at_once = false;
  {
    const std::lock_guard lock(mutex_);
    if (fenced_) return;
    at_once = answers_at_once();
  }
  let_in();
  if (at_once)
    answer_flushes_early();
  else
    sync_if_due(clock_now());
  copy_some();
  update_map();
}

// A cut does not wait for a sync: these are owed.
void PrimaryDisk::answer_flushes_early() {
  if (flushes_.empty() && flushing_.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    counters_.early_flushes += flushes_.size() + flushing_.size();
    // Those of the sync under way are paid by it.
    owed_in_sync_ = flushes_.empty() && (!owed_ || owed_in_sync_);
    owed_ = true;
  }
  for (const DiskReply& reply : std::exchange(flushing_, {})) disk_.loop->complete(reply, 0);
  for (const DiskReply& reply : std::exchange(flushes_, {})) disk_.loop->complete(reply, 0);
}

void PrimaryDisk::sync_if_due(Instant now) {
  bool due = !flushes_.empty();
  {
    const std::lock_guard lock(mutex_);
    if (owed_) due = true;
    if (source_.awaits_local_sync())
      due = due || now >= last_sync_ + (source_.marks_confirmed() ? kSyncEvery : kFirstSyncAfter);
  }
  if (due) sync_image();
}

// ---- what changes nothing ----

void PrimaryDisk::read(const NbdRequest& request, DiskReply reply) {
  auto bytes = std::make_shared<AlignedBuffer>(request.length);
  disk_.loop->io().read(disk_.image.image(), request.offset, bytes->span(), [this, reply, bytes](int error) {
    if (error != 0) {
      note_error("read", error);
      return disk_.loop->complete(reply, error);
    }
    {
      const std::lock_guard lock(mutex_);
      ++counters_.reads;
      counters_.read_bytes += bytes->size();
    }
    disk_.loop->complete_read(reply, std::move(*bytes));
  });
}

void PrimaryDisk::block_status(const NbdRequest& request, DiskReply reply) {
  std::vector<NbdExtent> extents;
  for (const BlockFile::Extent& e :
       disk_.image.image().extents(request.offset, request.length, request.one_extent ? 1 : kNbdExtentsMax))
    extents.push_back({e.length, e.hole ? kNbdStateHole | kNbdStateZero : 0});
  disk_.loop->complete_status(reply, extents);
}

// ---- what changes the image ----

void PrimaryDisk::change(NbdRequest request, DiskReply reply) {
  const DiskRange range{request.offset, request.offset + request.length};
  auto change = std::make_unique<Change>(Change{reply, std::move(request), range});
  {
    const std::lock_guard lock(mutex_);
    ++open_changes_;
  }
  waiting_.push_back(std::move(change));
  let_in();
}

bool PrimaryDisk::may_begin() {
  const std::lock_guard lock(mutex_);
  if (fenced_ || owed_ || must_be_judged()) return false;
  if (doubtful_ > 0) {
    // QEMU's own flush comes when nothing is left to write.
    since_counted_ += std::exchange(doubtful_, 0);
    owed_ = true;
    return false;
  }
  return cutting_ || source_.wants_writes();
}

void PrimaryDisk::let_in() {
  while (!waiting_.empty() && may_begin()) {
    const LockId id(next_id_++);
    const DiskRange range = waiting_.front()->range;
    changes_.emplace(id, std::move(waiting_.front()));
    waiting_.pop_front();
    acquire(id, range);
  }
  if (waiting_.empty()) return;
  bool owed = false;
  {
    const std::lock_guard lock(mutex_);
    ++counters_.waits;
    owed = owed_;
  }
  if (owed) sync_image();  // even in a cut: QEMU's stop waits for this write
}

void PrimaryDisk::acquire(LockId id, DiskRange range) {
  if (locks_.acquire(id, range)) on_held(id);
}

void PrimaryDisk::on_held(LockId id) {
  if (copies_.contains(id)) return read_for_copy(id);
  bool marked = false;
  std::optional<DiskRange> ahead;
  {
    const std::lock_guard lock(mutex_);
    if (fenced_) return;
    const DiskRange range = changes_.at(id)->range;
    marked = source_.prepare(range) == DirtyMap::Ready::kReady;
    ahead = mark_ahead_.next(range, marked);
    if (ahead) source_.prepare(*ahead);
  }
  if (!marked) marking_.push_back(id);
  if (!marked || ahead) update_map();
  if (marked) begin_change(id);
}

void PrimaryDisk::release(LockId id) {
  for (const LockId next : locks_.release(id)) on_held(next);
}

void PrimaryDisk::begin_change(LockId id) {
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

void PrimaryDisk::on_changed(LockId id, int error) {
  const std::unique_ptr<Change> change = std::move(changes_.at(id));
  changes_.erase(id);
  NbdRequest& request = change->request;
  const bool untouched = error == EOPNOTSUPP && request.command != NbdCommand::kWrite;
  bool at_once = false;
  {
    const std::lock_guard lock(mutex_);
    --open_changes_;
    if (fenced_) return;
    if (error == 0) {
      DiskWrite write{kind_of(request), change->range, {}};
      if (write.kind == WriteKind::kData) write.data = DataSlice(std::move(request.payload));
      source_.on_written(write);
      ++counters_.writes;
      counters_.written_bytes += change->range.length();
    } else if (!untouched) {
      source_.on_write_failed(change->range);
    }
    at_once = answers_at_once();
    if (error == 0 && request.fua && at_once) owed_ = true;
  }
  if (untouched && request.command == NbdCommand::kTrim) error = 0;  // a hint that cannot be followed here
  if (error != 0 && !untouched) note_error("write", error);
  release(id);
  tell_sender();
  if (error != 0 || !request.fua || at_once) return disk_.loop->complete(change->reply, error);
  flushes_.push_back(change->reply);
  sync_image();
}

// ---- marks ----

void PrimaryDisk::update_map() {
  if (map_busy_) return;
  std::optional<DirtyMap::Update> update;
  {
    const std::lock_guard lock(mutex_);
    update = source_.map().poll_update();
  }
  if (!update) return;
  map_busy_ = true;
  disk_.loop->io().call(
      DiskIo::Call::kMap,
      [&file = disk_.image.map_file(), update = std::make_shared<DirtyMap::Update>(std::move(*update))] {
        int error = 0;
        for (const DirtyMap::Update::Block& block : update->blocks)
          if (error == 0) error = file.write(block.offset, block.bytes);
        if (error == 0 && update->must_sync) error = file.sync();
        return error;
      },
      [this](int error) { on_map_updated(error); });
}

void PrimaryDisk::on_map_updated(int error) {
  map_busy_ = false;
  {
    const std::lock_guard lock(mutex_);
    error == 0 ? source_.map().on_update_done() : source_.map().on_update_failed();
  }
  const std::vector<LockId> marked = std::exchange(marking_, {});
  if (error != 0) {
    note_error("mark in the dirty map", error);
    for (const LockId id : marked) on_changed(id, error);
    return;
  }
  for (const LockId id : marked) on_held(id);
}

// ---- flushes ----

void PrimaryDisk::flush(DiskReply reply) {
  bool at_once = false;
  {
    const std::lock_guard lock(mutex_);
    ++counters_.flushes;
    at_once = answers_at_once();
    if (at_once) {
      ++doubtful_;
      ++counters_.early_flushes;
    } else {
      ++(standing_ ? since_cut_ : since_counted_);
    }
  }
  if (at_once) return disk_.loop->complete(reply, 0);
  flushes_.push_back(reply);
  sync_image();
}

// One sync at a time; what asks for one meanwhile waits for the next.
void PrimaryDisk::sync_image() {
  if (syncing_) return;
  Epoch over;
  {
    const std::lock_guard lock(mutex_);
    if (fenced_ || must_be_judged()) return;  // end_cut() comes back to it
    over = source_.over();
    owed_in_sync_ = owed_;
    ++counters_.syncs;
  }
  syncing_ = true;
  last_sync_ = clock_now();
  flushing_ = std::exchange(flushes_, {});
  disk_.loop->io().call(
      DiskIo::Call::kSyncImage, [&image = disk_.image] { return image.image().sync(); },
      [this, over](int error) { on_synced(error, over); });
}

void PrimaryDisk::on_synced(int error, Epoch over) {
  syncing_ = false;
  if (error != 0) note_error("sync", error);
  bool owed_again = false;
  {
    const std::lock_guard lock(mutex_);
    if (error == 0) source_.on_local_sync(over);
    // Owed since the sync began: another one.  A failed sync is final, so waiting for a better one leads nowhere: the
    // guest hears of it at every flush from now on.
    if (owed_in_sync_ || error != 0) owed_ = false;
    owed_again = owed_;
  }
  for (const DiskReply& reply : std::exchange(flushing_, {})) disk_.loop->complete(reply, error);
  if (!flushes_.empty() || owed_again) sync_image();
  let_in();
}

void PrimaryDisk::note_error(const char* what, int error) {
  const std::string text = fmt::format("{}: {}: {}", disk_.image.path(), what, std::strerror(error));
  const std::lock_guard lock(mutex_);
  ++counters_.errors;
  if (error_.empty()) {
    error_ = text;
    spdlog::error("{}: {}; the guest is told", disk_.name, text);
  }
}

}  // namespace us
