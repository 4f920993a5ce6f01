#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <future>
#include <nlohmann/json.hpp>

#include "host/disk_limits.h"
#include "host/primary_disk.h"
#include "os/clock.h"

namespace us {
namespace {

// After a part of the image could not be read.
constexpr Duration kReadRetry = Duration::seconds(1);

const char* state_name(DiskSource::State state) {
  switch (state) {
    case DiskSource::State::kSolo:
      return "alone";
    case DiskSource::State::kOffered:
      return "offered";
    case DiskSource::State::kResyncing:
      return "synchronising";
    case DiskSource::State::kFollowed:
      return "replicated";
  }
  return "?";
}

}  // namespace

// ---- a session ----

void PrimaryDisk::begin_session(Epoch first, SessionId, uint16_t version, std::function<void()> frames_ready) {
  std::function<void()> ready;
  {
    const std::lock_guard lock(mutex_);
    version_ = version;
    frames_ready_ = std::move(frames_ready);
    standby_trouble_.clear();
    counted_.reset();
    since_counted_ = 0;
    source_.begin_session(first);
    first_frames_ = {offer_frame(source_, first, version)};
    ready = frames_ready_;
  }
  if (ready) ready();
}

void PrimaryDisk::end_session() {
  {
    const std::lock_guard lock(mutex_);
    source_.end_session();
    first_frames_.clear();
    frames_ready_ = nullptr;
    standby_trouble_.clear();
  }
  disk_.loop->wake();  // the window is empty
}

void PrimaryDisk::take_frames(size_t bytes_max, std::vector<Bytes>& out) {
  const std::lock_guard lock(mutex_);
  if (!frames_ready_) return;
  for (Bytes& frame : std::exchange(first_frames_, {})) out.push_back(std::move(frame));
  take_stream_frames(source_, version_, bytes_max, out);
}

Status PrimaryDisk::on_message(const Message& message) {
  std::function<void()> cut_wake;
  {
    const std::lock_guard lock(mutex_);
    if (!frames_ready_) return {};  // of a session that has just ended
    if (const auto* trouble = std::get_if<DiskTrouble>(&message)) {
      if (standby_trouble_.report(trouble->text, clock_now()))
        spdlog::warn("{}: the standby's image {}", disk_.name,
                     trouble->text.empty() ? "can be written again" : "cannot be written: " + trouble->text);
      return {};
    }
    const bool was_offered = source_.state() == DiskSource::State::kOffered;
    const bool could_cut = source_.may_cut();
    US_TRY(deliver(source_, message));
    if (!could_cut && source_.may_cut()) cut_wake = cut_wake_;
    if (was_offered && source_.state() == DiskSource::State::kResyncing)
      spdlog::info("{}: {} of {} granules are copied or compared", disk_.name, source_.progress().granules_total,
                   source_.map().shape().granules());
  }
  if (cut_wake) cut_wake();
  disk_.loop->wake();
  return {};
}

bool PrimaryDisk::resynchronised() const {
  const std::lock_guard lock(mutex_);
  return source_.resynchronised();
}

bool PrimaryDisk::may_end() const {
  const std::lock_guard lock(mutex_);
  return source_.state() == DiskSource::State::kFollowed && source_.durable() != Epoch{};
}

std::optional<std::string> PrimaryDisk::take_standby_failure(Instant now, Duration patience) {
  const std::lock_guard lock(mutex_);
  return standby_trouble_.take_failure(now, patience);
}

// ---- audits ----

bool PrimaryDisk::begin_audit() {
  {
    const std::lock_guard lock(mutex_);
    if (fenced_ || !source_.begin_audit()) return false;
  }
  disk_.loop->wake();
  return true;
}

std::optional<nlohmann::json> PrimaryDisk::audit_result() const {
  const std::lock_guard lock(mutex_);
  if (!source_.audit() || !source_.audit()->finished()) return std::nullopt;
  const DiskAudit::Result& result = source_.audit()->result();
  return nlohmann::json{{"name", disk_.name},
                        {"image", disk_.image.path()},
                        {"granule_bytes", source_.map().shape().granule_bytes},
                        {"granules", result.compared},
                        {"left_out", result.left_out},
                        {"differences", result.differing},
                        {"offsets", result.offsets}};
}

GuestDisk::Progress PrimaryDisk::progress() const {
  const std::lock_guard lock(mutex_);
  const ResyncPlan::Progress progress = source_.progress();
  const uint64_t granule = source_.map().shape().granule_bytes;
  return {progress.granules_total * granule, progress.granules_done * granule};
}

// ---- the cut ----

void PrimaryDisk::begin_cut() {
  {
    const std::lock_guard lock(mutex_);
    cutting_ = true;
    doubtful_ = since_cut_ = 0;
  }
  disk_.loop->wake();
}

Result<DiskBarrier::Count> PrimaryDisk::cut() {
  const std::lock_guard lock(mutex_);
  standing_ = cutting_;
  if (open_changes_ > 0)
    return fail(ErrorKind::kProtocol,
                fmt::format("{}: QEMU has stopped the guest and left {} writes open", disk_.name, open_changes_));
  return source_.cut();
}

bool PrimaryDisk::wants_flush_count() const {
  const std::lock_guard lock(mutex_);
  return must_be_judged() && disk_.raw;
}

void PrimaryDisk::end_cut(std::optional<uint64_t> flushes) {
  {
    const std::lock_guard lock(mutex_);
    if (!cutting_) return;
    cutting_ = standing_ = false;
    if (doubtful_ > 0 && !doubtful_are_qemus(flushes)) owed_ = true;
    doubtful_ = 0;
    since_counted_ += std::exchange(since_cut_, 0);
  }
  disk_.loop->wake();
}

// When it was counted nothing had been answered since the cut, and QEMU had seen all answers of before.  A flush that
// QEMU has counted and not passed on, as nothing had been written, looks like one of these: then it is a sync too many.
bool PrimaryDisk::doubtful_are_qemus(std::optional<uint64_t> flushes) {
  if (!flushes || !disk_.raw) return false;
  const bool all = counted_ && *flushes == *counted_ + since_counted_;
  if (all) counters_.qemu_flushes += doubtful_;
  counted_ = flushes;
  since_counted_ = 0;
  return all;
}

bool PrimaryDisk::wants_cut() const {
  const std::lock_guard lock(mutex_);
  return source_.wants_cut();
}

bool PrimaryDisk::may_cut() const {
  const std::lock_guard lock(mutex_);
  return source_.may_cut();
}

void PrimaryDisk::set_cut_wake(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  cut_wake_ = std::move(wake);
}

bool PrimaryDisk::owes_sync() const {
  const std::lock_guard lock(mutex_);
  return owed_;
}

// ---- synchronisation ----

void PrimaryDisk::copy_some() {
  if (clock_now() < next_copy_) return;
  while (copies_.size() < kDiskCopiesMax) {
    std::optional<DiskSource::Step> step;
    {
      const std::lock_guard lock(mutex_);
      if (fenced_) return;
      step = source_.poll_step();
    }
    if (!step) return;
    const LockId id(next_id_++);
    copies_.emplace(id, Copy{*step, std::make_shared<AlignedBuffer>(step->what.range.length())});
    acquire(id, step->what.range);
  }
}

void PrimaryDisk::read_for_copy(LockId id) {
  const Copy& copy = copies_.at(id);
  const DiskRange range = copy.step.what.range;
  if (disk_.image.image().is_hole(range.start, range.length())) {
    std::ranges::fill(copy.bytes->span(), uint8_t{0});
    return disk_.loop->io().at_once([this, id](int) { on_copy_read(id, 0); });
  }
  disk_.loop->io().read(disk_.image.image(), copy.step.what.range.start, copy.bytes->span(),
                        [this, id, keep = copy.bytes](int error) { on_copy_read(id, error); });
}

void PrimaryDisk::on_copy_read(LockId id, int error) {
  const Copy copy = std::move(copies_.at(id));
  copies_.erase(id);
  const bool compares = copy.step.what.action == ResyncPlan::Action::kCompare;
  const uint64_t sum = error == 0 && compares ? granule_sum(copy.bytes->span()) : 0;
  {
    const std::lock_guard lock(mutex_);
    if (error != 0)
      source_.on_read_failed(copy.step);
    else if (compares)
      source_.on_compared(copy.step, sum);
    else
      source_.on_copied(copy.step, DataSlice(std::move(*copy.bytes)));
  }
  if (error != 0) {
    note_error("read for the standby", error);
    next_copy_ = clock_now() + kReadRetry;
  }
  release(id);
  tell_sender();
  copy_some();
}

void PrimaryDisk::tell_sender() {
  std::function<void()> ready;
  std::function<void()> cut_wake;
  {
    const std::lock_guard lock(mutex_);
    if (source_.wants_sender()) ready = frames_ready_;
    if (source_.wants_cut()) cut_wake = cut_wake_;
  }
  if (ready) ready();
  if (cut_wake) cut_wake();
}

// ---- the end ----

void PrimaryDisk::fence() {
  const std::lock_guard lock(mutex_);
  fenced_ = true;
  frames_ready_ = nullptr;
  cut_wake_ = nullptr;
}

Status PrimaryDisk::sync(bool) {
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

nlohmann::json PrimaryDisk::status() const {
  const std::lock_guard lock(mutex_);
  const ResyncPlan::Progress progress = source_.progress();
  const uint64_t granule = source_.map().shape().granule_bytes;
  nlohmann::json out = {
      {"name", disk_.name},
      {"image", disk_.image.path()},
      {"bytes", disk_.image.bytes()},
      {"storage", "replicated"},
      {"state", fenced_ ? "fenced" : state_name(source_.state())},
      {"direct_io", disk_.image.image().direct()},
      {"reads", counters_.reads},
      {"read_bytes", counters_.read_bytes},
      {"writes", counters_.writes},
      {"written_bytes", counters_.written_bytes},
      {"flushes", counters_.flushes},
      {"flushes_answered_early", counters_.early_flushes},
      {"flushes_of_qemu", counters_.qemu_flushes},
      {"syncs", counters_.syncs},
      {"open_writes", open_changes_},
      {"waits", counters_.waits},
      {"errors", counters_.errors},
      {"unconfirmed_bytes", source_.unconfirmed_bytes()},
      {"durable_epoch", source_.durable().value()},
      {"differs_bytes", source_.map().marked().count() * granule},
  };
  if (source_.state() == DiskSource::State::kResyncing)
    out["synchronisation"] = {{"total_bytes", progress.granules_total * granule},
                              {"done_bytes", progress.granules_done * granule},
                              {"copied_bytes", progress.bytes_copied}};
  if (!error_.empty()) out["error"] = error_;
  if (!standby_trouble_.text().empty()) out["standby_error"] = standby_trouble_.text();
  return out;
}

}  // namespace us
