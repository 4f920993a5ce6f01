#include "host/standby_disk.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/disk/disk_source.h"
#include "host/disk_limits.h"
#include "host/disk_ops.h"
#include "os/clock.h"

namespace us {
namespace {

constexpr Duration kRetryEvery = Duration::seconds(1);
// Between a session that cannot go on and the next: each begins with a whole copy of the memory.
constexpr Duration kBrokenPause = Duration::seconds(5);
constexpr size_t kWritesAtOnce = 16;
// Each batch costs two syncs, on a disk that may be the guest's as well.
constexpr Duration kBatchEvery = Duration::millis(100);

}  // namespace

Result<std::unique_ptr<StandbyDisk>> StandbyDisk::open(LocalDisk& disk) {
  if (disk.shared) {  // whatever it is now: it is read when the primary has given it to this host
    const ImageRecord& record = disk.image.record();
    DirtyMap none(DirtyMapShape{.image = record.image, .disk_bytes = disk.image.bytes()});
    return std::unique_ptr<StandbyDisk>(new StandbyDisk(disk, {record, std::move(none), std::nullopt, {}}));
  }
  US_ASSIGN(DirtyMap map, disk.image.load_map());
  if (!disk.image.has_map()) US_TRY(disk.image.write_map(map));
  // The process before may have met a failed sync, and what it lost would be found equal.
  if (disk.image.record().state == ImageState::kSyncing) disk.image.image().drop_cache();
  US_ASSIGN(DiskImage::Journal journal, disk.image.open_journal(kDiskStagedBytesMax));
  return std::unique_ptr<StandbyDisk>(
      new StandbyDisk(disk, {disk.image.record(), std::move(map), std::move(journal.replay), journal.last}));
}

StandbyDisk::StandbyDisk(LocalDisk& disk, DiskReplica::Image image)
    : disk_(disk), replica_(std::move(image), kDiskStagedBytesMax, disk.shared) {}

void StandbyDisk::start(NbdRequest request, DiskReply reply) {
  if (request.command == NbdCommand::kFlush) return disk_.loop->complete(reply, 0);
  if (request.command == NbdCommand::kBlockStatus) {
    const NbdExtent all{request.length, 0};
    return disk_.loop->complete_status(reply, {&all, 1});
  }
  if (request.command != NbdCommand::kRead) return disk_.loop->complete(reply, EPERM);
  auto bytes = std::make_shared<AlignedBuffer>(request.length);
  disk_.loop->io().read(disk_.image.image(), request.offset, bytes->span(), [this, reply, bytes](int error) {
    if (error != 0) return disk_.loop->complete(reply, error);
    disk_.loop->complete_read(reply, std::move(*bytes));
  });
}

void StandbyDisk::on_wake() {
  if (!busy_ && clock_now() >= retry_at_) try_again();
  tell_primary();
  pump();
}

void StandbyDisk::try_again() {
  const std::lock_guard lock(mutex_);
  if (!replica_.failed()) return;
  if (replica_.broken() && hooks_.failed) return;  // its session has yet to end
  // Everything since the last good sync is written again: by the Op that is repeated, or by the next synchronisation.
  disk_.image.forget_sync_errors();
  if (!replica_.broken()) return replica_.retry();
  disk_.image.image().drop_cache();
  replica_.recover();
  trouble_.clear();
  spdlog::warn("{}: {} is tried again, and synchronised anew", disk_.name, disk_.image.path());
}

std::optional<std::string> StandbyDisk::obstacle() const {
  const std::lock_guard lock(mutex_);
  const bool stuck = replica_.failed() || !replica_.settled();
  return stuck && !trouble_.empty() ? std::optional(trouble_) : std::nullopt;
}

// ---- a session ----

void StandbyDisk::begin_session(Generation generation, SessionId session, uint16_t version, const Hooks& hooks) {
  const std::lock_guard lock(mutex_);
  generation_ = generation;
  session_ = session;
  version_ = version;
  hooks_ = hooks;
  offer_.reset();
  answers_.clear();
}

void StandbyDisk::end_session() {
  {
    const std::lock_guard lock(mutex_);
    hooks_ = {};
    offer_.reset();
    answers_.clear();
    replica_.end_session();
  }
  disk_.loop->wake();
}

Status StandbyDisk::on_message(const Message& message) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto* offer = std::get_if<DiskOffer>(&message)) {
      if (offer_) return fail(ErrorKind::kProtocol, "a second offer of one disk");
      offer_ = to_offer(*offer, generation_, session_);
    } else if (offer_) {
      return fail(ErrorKind::kProtocol, "the primary goes on before its offer was answered");
    } else {
      US_TRY(deliver(replica_, message));
    }
  }
  disk_.loop->wake();
  return {};
}

Status StandbyDisk::check(Epoch epoch, const DiskBarrier::Count& expected) const {
  const std::lock_guard lock(mutex_);
  return replica_.check(epoch, expected);
}

bool StandbyDisk::ready(Epoch epoch) {
  bool ready = false;
  {
    const std::lock_guard lock(mutex_);
    ready = replica_.ready(epoch);
  }
  if (!ready) disk_.loop->wake();
  return ready;
}

void StandbyDisk::commit(Epoch epoch) {
  {
    const std::lock_guard lock(mutex_);
    replica_.commit(epoch);
  }
  disk_.loop->wake();
}

Status StandbyDisk::end(Epoch last, const DiskBarrier::Count& expected) {
  {
    const std::lock_guard lock(mutex_);
    US_TRY(replica_.end(last, expected));
  }
  disk_.loop->wake();
  return {};
}

bool StandbyDisk::ended() const {
  const std::lock_guard lock(mutex_);
  return replica_.ended();
}

// ---- what is to be done ----

void StandbyDisk::pump() {
  bool read = false;
  while (!busy_) {
    std::optional<DiskReplica::Op> op;
    {
      const std::lock_guard lock(mutex_);
      op = replica_.next_op(clock_now() >= next_batch_);
    }
    if (!op) break;
    const auto* granule = std::get_if<DiskReplica::ReadGranule>(&*op);
    if (const auto sum = granule != nullptr ? sum_at_once(*granule) : std::nullopt) {
      const std::lock_guard lock(mutex_);
      replica_.on_read(*sum);
      read = true;
      continue;
    }
    busy_ = true;
    std::visit([this](auto& what) { perform(what); }, *op);
  }
  {
    const std::lock_guard lock(mutex_);
    read = read || replica_.has_sum_answers();
  }
  if (!read) return;
  changed_.notify_all();
  tell_primary();
}

std::optional<uint64_t> StandbyDisk::sum_at_once(const DiskReplica::ReadGranule& op) const {
  const BlockFile& image = disk_.image.image();
  const DiskRange range = op.range;
  AlignedBuffer bytes = AlignedBuffer::zeroed(range.length());
  if (!image.is_hole(range.start, range.length()) && !image.read_cached(range.start, bytes.span())) return std::nullopt;
  apply_over(bytes.span(), range, op.over);
  return granule_sum(bytes.span());
}

void StandbyDisk::perform(const DiskReplica::WriteRecordFile& op) {
  disk_.loop->io().call(
      DiskIo::Call::kRecord,
      [&file = disk_.image.record_file(), op] {
        const int error = file.write(op.offset, op.bytes);
        return error == 0 ? file.sync() : error;
      },
      [this](int error) { op_done("write the record", error); });
}

void StandbyDisk::perform(DiskReplica::WriteMap& op) {
  disk_.loop->io().call(
      DiskIo::Call::kMap,
      [&file = disk_.image.map_file(), update = std::make_shared<DirtyMap::Update>(std::move(op.update))] {
        int error = 0;
        for (const DirtyMap::Update::Block& block : update->blocks)
          if (error == 0) error = file.write(block.offset, block.bytes);
        return error == 0 && update->must_sync ? file.sync() : error;
      },
      [this](int error) { op_done("write the dirty map", error); });
}

void StandbyDisk::perform(DiskReplica::WriteImage& op) {
  auto work = std::make_shared<ImageWrites>();
  work->writes = std::move(op.writes);
  write_more(work);
}

void StandbyDisk::write_more(const std::shared_ptr<ImageWrites>& work) {
  while (work->error == 0 && work->next < work->writes.size() && work->open < kWritesAtOnce) {
    const DiskWrite& write = work->writes[work->next++];
    ++work->open;
    auto done = [this, work](int error) {
      --work->open;
      if (work->error == 0) work->error = error;
      write_more(work);
    };
    const BlockFile& image = disk_.image.image();
    if (write.kind == WriteKind::kData) {
      disk_.loop->io().write(image, write.range.start, write.data.span(), std::move(done));
    } else {
      disk_.loop->io().call(
          DiskIo::Call::kZero,
          [&image, range = write.range, kind = write.kind] {
            return image.zero(range.start, range.length(), kind == WriteKind::kDiscard, false);
          },
          std::move(done));
    }
  }
  if (work->open == 0) op_done("write", work->error);
}

void StandbyDisk::perform(const DiskReplica::ReadGranule& op) {
  auto bytes = std::make_shared<AlignedBuffer>(op.range.length());
  disk_.loop->io().read(disk_.image.image(), op.range.start, bytes->span(), [this, bytes, op](int error) {
    if (error != 0) return op_done("read", error);
    apply_over(bytes->span(), op.range, op.over);
    const uint64_t sum = granule_sum(bytes->span());
    busy_ = false;
    {
      const std::lock_guard lock(mutex_);
      replica_.on_read(sum);
    }
    changed_.notify_all();
    tell_primary();
    pump();
  });
}

void StandbyDisk::perform(const DiskReplica::SyncImage&) {
  disk_.loop->io().call(
      DiskIo::Call::kSyncImage, [&image = disk_.image] { return image.image().sync(); },
      [this](int error) { op_done("sync", error); });
}

void StandbyDisk::perform(const DiskReplica::WriteJournal& op) {
  next_batch_ = clock_now() + kBatchEvery;
  disk_.loop->io().call(
      DiskIo::Call::kWriteJournal,
      [&file = disk_.image.journal_file(), op] { return write_journal(file, op.offset, *op.start, *op.writes); },
      [this](int error) { op_done("write the journal", error); });
}

void StandbyDisk::perform(const DiskReplica::SyncJournal&) {
  disk_.loop->io().call(
      DiskIo::Call::kSyncJournal, [&file = disk_.image.journal_file()] { return file.sync(); },
      [this](int error) { op_done("sync the journal", error); });
}

void StandbyDisk::perform(const DiskReplica::TakeImage&) {
  auto taken = std::make_shared<DiskImage::Taken>();
  disk_.loop->io().call(
      DiskIo::Call::kRecord, [&image = disk_.image, taken] { return image.take(kTakePatience, false, *taken); },
      [this, taken](int error) {
        error == 0 ? on_taken(taken->record) : error == EAGAIN ? on_taken_by_another() : op_done("take", error);
      });
}

void StandbyDisk::perform(const DiskReplica::LetGo&) {
  disk_.loop->io().call(
      DiskIo::Call::kRecord,
      [&image = disk_.image] {
        image.let_go();
        return 0;
      },
      [this](int error) { op_done("let go", error); });
}

void StandbyDisk::on_taken(const ImageRecord& record) {
  busy_ = false;
  std::function<void(std::string)> failed;
  {
    const std::lock_guard lock(mutex_);
    replica_.on_taken(record);
    if (replica_.broken()) failed = hooks_.failed;
  }
  changed_.notify_all();
  if (failed)
    failed(
        fmt::format("{}: it is not what this session's primary has given to its standby; are both hosts' files the "
                    "same one, and does nobody else write to it?",
                    disk_.image.path()));
  tell_primary();
  pump();
}

// The primary is still writing, or a host that has lost the VM has not found out yet.
void StandbyDisk::on_taken_by_another() {
  busy_ = false;
  {
    const std::lock_guard lock(mutex_);
    replica_.on_op_failed();
    replica_.retry();
  }
  changed_.notify_all();
  pump();
}

void StandbyDisk::give_up() {
  {
    const std::lock_guard lock(mutex_);
    replica_.give_up();
    if (disk_.shared) trouble_.clear();
  }
  disk_.loop->wake();
}

void StandbyDisk::op_done(const char* what, int error) {
  busy_ = false;
  std::vector<Bytes> frames;
  std::function<void(std::string)> failed;
  {
    const std::lock_guard lock(mutex_);
    if (error == 0) {
      replica_.on_op_done();
    } else {
      replica_.on_op_failed();
      if (replica_.broken()) failed = hooks_.failed;
    }
    note_failure(what, error, frames);
  }
  if (error != 0) retry_at_ = clock_now() + (failed ? kBrokenPause : kRetryEvery);
  changed_.notify_all();
  send_all(std::move(frames));
  if (failed) failed(fmt::format("{}: {}: {}", disk_.image.path(), what, std::strerror(error)));
  tell_primary();
  pump();
}

// Says once that it fails, and once that it does not any more.
void StandbyDisk::note_failure(const char* what, int error, std::vector<Bytes>& out) {
  if (error != 0 && !trouble_.empty()) return;
  if (error == 0 && (trouble_.empty() || replica_.failed())) return;
  trouble_ = error == 0 ? "" : fmt::format("{}: {}: {}", disk_.image.path(), what, std::strerror(error));
  if (error == 0)
    spdlog::warn("{}: {} can be written again", disk_.name, disk_.image.path());
  else
    spdlog::error("{}: {}; tried again until it works.  Meanwhile this host cannot take over", disk_.name, trouble_);
  if (hooks_.send) out.push_back(encode(DiskTrouble{disk_.index, trouble_}, version_));
}

void StandbyDisk::take_offer() {
  if (!offer_ || busy_ || !replica_.settled()) return;
  const DiskReplica::Answer answer = replica_.begin_session(*std::exchange(offer_, std::nullopt));
  if (answer.refused) spdlog::error("{}: {}", disk_.image.path(), answer.reason);
  for (Bytes& frame : answer_frames(disk_.index, answer, version_)) answers_.push_back(std::move(frame));
}

void StandbyDisk::tell_primary() {
  std::vector<Bytes> frames;
  {
    const std::lock_guard lock(mutex_);
    if (!hooks_.send) return;
    take_offer();
    frames = std::exchange(answers_, {});
    for (Bytes& frame : take_reply_frames(disk_.index, replica_, version_)) frames.push_back(std::move(frame));
  }
  send_all(std::move(frames));
}

void StandbyDisk::send_all(std::vector<Bytes> frames) {
  if (frames.empty()) return;
  std::function<void(Bytes)> send;
  {
    const std::lock_guard lock(mutex_);
    send = hooks_.send;
  }
  if (!send) return;
  for (Bytes& frame : frames) send(std::move(frame));
}

// ---- a takeover ----

Status StandbyDisk::settle(Instant deadline) {
  disk_.loop->wake();
  std::unique_lock lock(mutex_);
  while (!replica_.settled()) {
    if (clock_now() >= deadline)
      return fail(ErrorKind::kTimeout,
                  fmt::format("{}: what has been committed cannot be brought to the image: {}", disk_.image.path(),
                              trouble_.empty() ? "the disk is too slow" : trouble_));
    changed_.wait_for(lock, std::chrono::milliseconds(kDiskTick.to_millis()));
  }
  return {};
}

Status StandbyDisk::may_take_over(const ImageEpoch& memory) const {
  const std::lock_guard lock(mutex_);
  return replica_.may_take_over(memory);
}

Status StandbyDisk::go_live(Generation own, Instant deadline) {
  {
    const std::lock_guard lock(mutex_);
    US_TRY(replica_.go_live(own));
  }
  US_TRY(settle(deadline));
  const std::lock_guard lock(mutex_);
  if (replica_.lost())
    return fail(ErrorKind::kRefused,
                fmt::format("{}: another host has written to it since its last epoch here", disk_.image.path()));
  disk_.image.record_was_written(replica_.record());
  return {};
}

DirtyMap StandbyDisk::take_map() {
  const std::lock_guard lock(mutex_);
  return replica_.take_map();
}

nlohmann::json StandbyDisk::status() const {
  const std::lock_guard lock(mutex_);
  nlohmann::json out = {
      {"name", disk_.name},
      {"image", disk_.image.path()},
      {"bytes", disk_.image.bytes()},
      {"storage", disk_.shared ? "shared" : "replicated"},
      {"state", image_state_name(replica_.record().state)},
      {"durable_epoch", replica_.durable().value()},
      {"committed_epoch", replica_.committed().value()},
      {"waiting_bytes", replica_.waiting_bytes()},
  };
  if (!trouble_.empty()) out["error"] = trouble_;
  return out;
}

}  // namespace us
