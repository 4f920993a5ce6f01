#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>
#include <future>
#include <nlohmann/json.hpp>

#include "host/disk_limits.h"
#include "host/disk_ops.h"
#include "host/shared_disk.h"
#include "os/clock.h"

namespace us {
namespace {

constexpr Duration kRetryEvery = Duration::seconds(1);
// When the guest has ended, for the standby to let go of the image and for what is held to be written.
constexpr Duration kEndPatience = Duration::seconds(20);

const char* state_name(SharedTurn::State state) {
  switch (state) {
    case SharedTurn::State::kDirect:
      return "written by this host";
    case SharedTurn::State::kGiving:
      return "being given to the standby";
    case SharedTurn::State::kGiven:
      return "written by the standby";
    case SharedTurn::State::kReturning:
      return "being taken back";
  }
  return "?";
}

DiskIo::Call call_of(const DiskReplica::Op& op) {
  if (std::holds_alternative<DiskReplica::SyncImage>(op)) return DiskIo::Call::kSyncImage;
  if (std::holds_alternative<DiskReplica::WriteJournal>(op)) return DiskIo::Call::kWriteJournal;
  if (std::holds_alternative<DiskReplica::SyncJournal>(op)) return DiskIo::Call::kSyncJournal;
  if (std::holds_alternative<DiskReplica::WriteImage>(op)) return DiskIo::Call::kZero;
  return DiskIo::Call::kRecord;
}

}  // namespace

// ---- a session ----

void SharedDisk::begin_session(Epoch first, SessionId session, uint16_t version, std::function<void()> frames_ready) {
  std::function<void()> ready;
  {
    const std::lock_guard lock(mutex_);
    version_ = version;
    session_ = session;
    first_ = first;
    frames_ready_ = std::move(frames_ready);
    standby_trouble_.clear();
    source_.begin_session(first);
    first_frames_ = {offer_frame(source_, first, version)};
    ready = frames_ready_;
  }
  if (ready) ready();
}

// What is held stays so: whether this host goes on is not said yet.
void SharedDisk::end_session() {
  const std::lock_guard lock(mutex_);
  source_.end_session();
  first_frames_.clear();
  frames_ready_ = nullptr;
  standby_trouble_.clear();
}

void SharedDisk::go_on_alone(Generation own) {
  {
    const std::lock_guard lock(mutex_);
    if (fenced_ || source_.state() != DiskSource::State::kSolo) return;
    if (turn_.direct() && turn_.record().at.generation == own) return;
    if (turn_.state() != SharedTurn::State::kReturning)
      spdlog::info("{}: {} is taken back; {} bytes of writes are held", disk_.name, disk_.image.path(),
                   source_.held().bytes());
    generation_ = own;
    turn_.take_back(own);
  }
  disk_.loop->wake();
}

void SharedDisk::take_frames(size_t bytes_max, std::vector<Bytes>& out) {
  const std::lock_guard lock(mutex_);
  if (!frames_ready_) return;
  for (Bytes& frame : std::exchange(first_frames_, {})) out.push_back(std::move(frame));
  take_stream_frames(source_, version_, bytes_max, out);
}

Status SharedDisk::on_message(const Message& message) {
  std::function<void()> cut_wake;
  {
    const std::lock_guard lock(mutex_);
    if (!frames_ready_) return {};  // of a session that has just ended
    if (const auto* trouble = std::get_if<DiskTrouble>(&message)) {
      if (standby_trouble_.report(trouble->text, clock_now()))
        spdlog::warn("{}: the standby {}", disk_.name,
                     trouble->text.empty() ? "can write to it again" : "cannot write to it: " + trouble->text);
      return {};
    }
    const bool could_cut = source_.may_cut();
    US_TRY(deliver(source_, message));
    if (!could_cut && source_.may_cut()) cut_wake = cut_wake_;
  }
  if (cut_wake) cut_wake();
  disk_.loop->wake();
  return {};
}

std::optional<std::string> SharedDisk::take_standby_failure(Instant now, Duration patience) {
  const std::lock_guard lock(mutex_);
  return standby_trouble_.take_failure(now, patience);
}

std::optional<nlohmann::json> SharedDisk::audit_result() const {
  return nlohmann::json{{"name", disk_.name},
                        {"image", disk_.image.path()},
                        {"granule_bytes", source_.map().shape().granule_bytes},
                        {"granules", 0},
                        {"left_out", 0},
                        {"differences", 0},
                        {"offsets", nlohmann::json::array()}};
}

bool SharedDisk::resynchronised() const {
  const std::lock_guard lock(mutex_);
  return source_.resynchronised() && (source_.state() == DiskSource::State::kFollowed || turn_.direct());
}

void SharedDisk::tell_sender() {
  std::function<void()> ready;
  std::function<void()> cut_wake;
  {
    const std::lock_guard lock(mutex_);
    if (source_.has_stream()) ready = frames_ready_;
    if (source_.wants_cut()) cut_wake = cut_wake_;
  }
  if (ready) ready();
  if (cut_wake) cut_wake();
}

// ---- the cut ----

void SharedDisk::begin_cut() {
  {
    const std::lock_guard lock(mutex_);
    cutting_ = true;
  }
  disk_.loop->wake();
}

Result<DiskBarrier::Count> SharedDisk::cut() {
  const std::lock_guard lock(mutex_);
  if (open_changes_ > 0)
    return fail(ErrorKind::kProtocol,
                fmt::format("{}: QEMU has stopped the guest and left {} writes open", disk_.name, open_changes_));
  const bool is_first = source_.state() == DiskSource::State::kResyncing;
  if (is_first && !turn_.direct())
    return fail(ErrorKind::kProtocol, fmt::format("{}: it is not this host that writes to it", disk_.name));
  const DiskBarrier::Count count = source_.cut();
  if (is_first) turn_.give({turn_.record().at.generation, session_.value(), first_});
  return count;
}

void SharedDisk::end_cut(std::optional<uint64_t>) {
  {
    const std::lock_guard lock(mutex_);
    if (!cutting_) return;
    cutting_ = false;
  }
  disk_.loop->wake();
}

bool SharedDisk::wants_cut() const {
  const std::lock_guard lock(mutex_);
  return source_.wants_cut();
}

bool SharedDisk::may_cut() const {
  const std::lock_guard lock(mutex_);
  return source_.may_cut();
}

void SharedDisk::set_cut_wake(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  cut_wake_ = std::move(wake);
}

// ---- whose turn it is ----

void SharedDisk::pump() {
  if (busy_ || !changes_.empty()) return;
  auto op = std::make_shared<std::optional<DiskReplica::Op>>();
  {
    const std::lock_guard lock(mutex_);
    if (fenced_) return;
    if (turn_.failed() && clock_now() >= retry_at_) {
      // What is held is written again; but what this host has written itself must have been synced at the first try.
      if (turn_.state() == SharedTurn::State::kReturning && sync_failed_) turn_.lose();
      if (turn_.state() == SharedTurn::State::kReturning) disk_.image.forget_sync_errors();
      turn_.retry();
    }
    *op = turn_.next_op(source_.held());
  }
  if (!*op) return;
  busy_ = true;
  auto taken = std::make_shared<DiskImage::Taken>();
  disk_.loop->io().call(
      call_of(**op), [&image = disk_.image, op, taken] { return perform_shared_op(image, **op, *taken); },
      [this, op, taken](int error) { on_op_done(**op, *taken, error); });
}

void SharedDisk::on_op_done(const DiskReplica::Op& op, DiskImage::Taken& taken, int error) {
  busy_ = false;
  std::function<void()> cut_wake;
  {
    const std::lock_guard lock(mutex_);
    if (fenced_) return;
    if (error != 0 && std::holds_alternative<DiskReplica::SyncImage>(op))
      sync_failed_ = sync_failed_ || turn_.state() == SharedTurn::State::kGiving;
    if (error != 0)
      turn_.on_op_failed();
    else if (std::holds_alternative<DiskReplica::TakeImage>(op))
      turn_.on_taken(taken.record, std::move(taken.journal.replay), taken.journal.last);
    else
      turn_.on_op_done(source_.held());
    if (error == EAGAIN) turn_.retry();
    note_op(op, error);
    if (turn_.direct()) cut_wake = cut_wake_;  // the first cut may have waited for this
  }
  if (error != 0 && error != EAGAIN) retry_at_ = clock_now() + kRetryEvery;
  changed_.notify_all();
  if (cut_wake) cut_wake();
  pump();
  let_in();
  sync_image();
}

// Says once that it cannot go on, and once that it can.
void SharedDisk::note_op(const DiskReplica::Op& op, int error) {
  if (turn_.lost() && error_.empty()) {
    error_ = fmt::format("{}: {}", disk_.image.path(),
                         sync_failed_ ? "it could not be synced" : "it is another VM's or another host's now");
    spdlog::error("{}: {}; the guest gets errors", disk_.name, error_);
  }
  if (error == 0) {
    if (!trouble_.empty()) spdlog::info("{}: it goes on", disk_.name);
    trouble_.clear();
    return;
  }
  if (!trouble_.empty()) return;
  const bool waits = std::holds_alternative<DiskReplica::TakeImage>(op) && error == EAGAIN;
  trouble_ = waits ? fmt::format("{}: the other host has not let go of it yet", disk_.image.path())
                   : fmt::format("{}: {}: {}", disk_.image.path(), state_name(turn_.state()), std::strerror(error));
  spdlog::warn("{}: {}; tried again, and the guest waits when the window is full", disk_.name, trouble_);
}

// ---- the end ----

void SharedDisk::fence() {
  const std::lock_guard lock(mutex_);
  fenced_ = true;
  frames_ready_ = nullptr;
  cut_wake_ = nullptr;
  changed_.notify_all();
}

// Who might still take over has all that is held, and must find the image as he left it.
Status SharedDisk::sync(bool vm_is_ours) {
  {
    const std::lock_guard lock(mutex_);
    if (!turn_.direct() && !vm_is_ours)
      return fail(ErrorKind::kRefused, fmt::format("{}: {} bytes of writes are left to the standby", disk_.image.path(),
                                                   source_.held().bytes()));
    source_.end_session();
    frames_ready_ = nullptr;
    if (!turn_.direct()) turn_.take_back(generation_);
  }
  disk_.loop->wake();
  const Instant until = clock_now() + kEndPatience;
  {
    std::unique_lock lock(mutex_);
    while (!turn_.direct() && !turn_.lost() && !fenced_ && clock_now() < until)
      changed_.wait_for(lock, std::chrono::milliseconds(kDiskTick.to_millis()));
    if (!turn_.direct())
      return fail(ErrorKind::kTimeout,
                  fmt::format("{}: {} bytes of writes are not on it: {}", disk_.image.path(), source_.held().bytes(),
                              trouble_.empty() ? state_name(turn_.state()) : trouble_));
  }
  auto synced = std::make_shared<std::promise<int>>();
  std::future<int> result = synced->get_future();
  disk_.loop->run([&] {
    disk_.loop->io().call(
        DiskIo::Call::kSyncImage, [&image = disk_.image] { return image.image().sync(); },
        [synced](int error) { synced->set_value(error); });
  });
  const int error = result.get();
  return error == 0 ? Status{} : fail_errno(fmt::format("sync {}", disk_.image.path()), error);
}

nlohmann::json SharedDisk::status() const {
  const std::lock_guard lock(mutex_);
  nlohmann::json out = {
      {"name", disk_.name},
      {"image", disk_.image.path()},
      {"bytes", disk_.image.bytes()},
      {"storage", "shared"},
      {"state", fenced_ ? "fenced" : state_name(turn_.state())},
      {"direct_io", disk_.image.image().direct()},
      {"reads", counters_.reads},
      {"read_bytes", counters_.read_bytes},
      {"writes", counters_.writes},
      {"written_bytes", counters_.written_bytes},
      {"held_writes", counters_.held},
      {"flushes", counters_.flushes},
      {"syncs", counters_.syncs},
      {"open_writes", open_changes_},
      {"waits", counters_.waits},
      {"errors", counters_.errors},
      {"unconfirmed_bytes", source_.unconfirmed_bytes()},
      {"durable_epoch", source_.durable().value()},
  };
  if (!error_.empty()) out["error"] = error_;
  if (!trouble_.empty()) out["waits_for"] = trouble_;
  if (!standby_trouble_.text().empty()) out["standby_error"] = standby_trouble_.text();
  return out;
}

}  // namespace us
