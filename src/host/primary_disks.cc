#include "host/primary_disks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "host/disk_limits.h"
#include "host/primary_disk.h"
#include "host/shared_disk.h"

namespace us {
namespace {

// At the start of a guest, for an old process of this host to end.
constexpr Duration kSharedPatience = Duration::millis(500);

tl::unexpected<Error> refuse(const LocalDisk& disk, const std::string& why) {
  return fail(ErrorKind::kRefused, fmt::format("{}: {}", disk.image.path(), why));
}

// Locks a shared image for this host, and judges what is in its files now.
Status take_shared(LocalDisk& disk, Generation newest, bool force) {
  DiskImage::Taken taken;
  const int error = disk.image.take(kSharedPatience, false, taken);
  if (error == EAGAIN)
    return refuse(disk, "another host or process writes to it.  If the VM runs there: understudy standby");
  if (error != 0) return fail_errno(fmt::format("lock {} and read the files beside it", disk.image.path()), error);
  const Status allowed = may_start_from_shared(disk.image.record(), newest, disk.vm);
  const bool served = disk.image.record().shared_by == disk.vm || disk.image.record().state == ImageState::kNew;
  if (allowed || (force && served)) return {};
  disk.image.let_go();
  return refuse(disk, allowed.error().message);
}

Status judge_shared(LocalDisk& disk, Generation newest, bool force) {
  US_TRY(take_shared(disk, newest, force));
  disk.image.let_go();
  return {};
}

Status go_live_shared(LocalDisk& disk, Generation own, Generation newest, bool force) {
  US_TRY(take_shared(disk, newest, force));
  US_ASSIGN(const JournalSequence last, disk.image.finish_journal());
  US_ASSIGN(ImageRecord record, disk.image.record().go_live(own, last));
  record.shared_by = disk.vm;
  return disk.image.write_record(record);
}

// Whether the guest may start from this disk.
Status judge(const LocalDisk& disk, Generation newest, bool newest_was_here, bool force) {
  const ImageRecord& record = disk.image.record();
  const Status allowed = may_start_from(record, {record.image, disk.image.bytes(), newest, newest_was_here});
  const bool served = record.state != ImageState::kStale && record.state != ImageState::kSyncing;
  if (allowed || (force && served)) return {};
  return fail(allowed.error().kind, fmt::format("{}: {}", disk.image.path(), allowed.error().message));
}

}  // namespace

Result<std::unique_ptr<PrimaryDisks>> PrimaryDisks::open(const VmConfig& config, const LocalDiskOptions& options) {
  US_ASSIGN(auto local, open_local_disks(config, options));
  return std::unique_ptr<PrimaryDisks>(new PrimaryDisks(std::move(local)));
}

Result<std::unique_ptr<PrimaryDisks>> PrimaryDisks::from_standby(std::vector<std::unique_ptr<LocalDisk>> disks,
                                                                 std::vector<DirtyMap> maps) {
  std::unique_ptr<PrimaryDisks> out(new PrimaryDisks(std::move(disks)));
  out->serve(std::move(maps));
  return out;
}

PrimaryDisks::~PrimaryDisks() {
  for (const auto& disk : local_) disk->loop->stop();  // before the roles that it calls
}

bool PrimaryDisks::are_replicated() const {
  return std::ranges::any_of(local_, [](const auto& disk) { return !disk->shared; });
}

std::vector<DiskEndpoint> PrimaryDisks::endpoints() const {
  std::vector<DiskEndpoint> out;
  for (const auto& disk : local_) out.push_back(disk->endpoint);
  return out;
}

void PrimaryDisks::serve(std::vector<DirtyMap> maps) {
  for (size_t i = 0; i < local_.size(); ++i) {
    if (local_[i]->shared)
      disks_.push_back(std::make_unique<SharedDisk>(*local_[i]));
    else
      disks_.push_back(std::make_unique<PrimaryDisk>(*local_[i], std::move(maps[i])));
    local_[i]->loop->set_role(disks_.back().get());
  }
}

Status PrimaryDisks::may_go_live(Generation newest, bool newest_was_here, bool force) const {
  for (const auto& disk : local_)
    US_TRY(disk->shared ? judge_shared(*disk, newest, force) : judge(*disk, newest, newest_was_here, force));
  return {};
}

Status PrimaryDisks::go_live(Generation own, Generation newest, bool newest_was_here, bool force) {
  US_TRY(may_go_live(newest, newest_was_here, force));
  std::vector<DirtyMap> maps;
  for (size_t i = 0; i < local_.size(); ++i) {
    if (local_[i]->shared) {
      US_TRY(go_live_shared(*local_[i], own, newest, force));
      maps.emplace_back(
          DirtyMapShape{.image = local_[i]->image.record().image, .disk_bytes = local_[i]->image.bytes()});
      continue;
    }
    US_ASSIGN(DirtyMap map, local_[i]->image.load_map());
    // An image that was a standby's may have its last epoch in the journal.
    US_ASSIGN(const JournalSequence last, local_[i]->image.finish_journal());
    US_ASSIGN(const ImageRecord record, local_[i]->image.record().go_live(own, last));
    // The marks are on disk before the image says that it is ahead.
    if (!local_[i]->image.has_map()) US_TRY(local_[i]->image.write_map(map));
    US_TRY(local_[i]->image.write_record(record));
    maps.push_back(std::move(map));
  }
  serve(std::move(maps));
  return {};
}

Status PrimaryDisks::advance(Generation own) {
  for (const auto& disk : local_) {
    if (disk->shared) continue;  // go_on_alone()
    const ImageRecord& record = disk->image.record();
    US_ASSIGN(const ImageRecord live, record.go_live(own, record.journal_base));
    US_TRY(disk->image.write_record(live));
  }
  return {};
}

void PrimaryDisks::go_on_alone(Generation own) {
  for (const auto& disk : disks_) disk->go_on_alone(own);
}

void PrimaryDisks::begin_session(Epoch first, SessionId session, uint16_t version,
                                 const std::function<void()>& frames_ready) {
  for (const auto& disk : disks_) disk->begin_session(first, session, version, frames_ready);
}

void PrimaryDisks::end_session() {
  for (const auto& disk : disks_) disk->end_session();
}

std::vector<Bytes> PrimaryDisks::take_frames(size_t bytes_max) {
  std::vector<Bytes> out;
  for (const auto& disk : disks_) disk->take_frames(bytes_max / disks_.size(), out);
  return out;
}

Status PrimaryDisks::on_message(const Message& message) {
  const std::optional<DiskIndex> index = disk_of(message);
  const auto it = std::ranges::find_if(local_, [&](const auto& disk) { return index && disk->index == *index; });
  if (it == local_.end() || disks_.empty())
    return fail(ErrorKind::kProtocol, "the standby speaks of a disk that is not replicated");
  return disks_[static_cast<size_t>(it - local_.begin())]->on_message(message);
}

std::optional<std::string> PrimaryDisks::take_standby_failure(Instant now, Duration patience) {
  for (const auto& disk : disks_)
    if (auto what = disk->take_standby_failure(now, patience)) return what;
  return std::nullopt;
}

bool PrimaryDisks::begin_audit() {
  bool all = true;
  for (const auto& disk : disks_) all = disk->begin_audit() && all;
  return all;
}

std::optional<nlohmann::json> PrimaryDisks::audit_result() const {
  nlohmann::json out = nlohmann::json::array();
  for (const auto& disk : disks_) {
    std::optional<nlohmann::json> result = disk->audit_result();
    if (!result) return std::nullopt;
    out.push_back(std::move(*result));
  }
  return out;
}

uint64_t PrimaryDisks::bytes() const {
  uint64_t sum = 0;
  for (const auto& disk : local_) sum += disk->image.bytes();
  return sum;
}

bool PrimaryDisks::ready_to_cut() const {
  return std::ranges::all_of(disks_, [](const auto& disk) { return disk->resynchronised(); });
}

GuestDisk::Progress PrimaryDisks::progress() const {
  GuestDisk::Progress out;
  for (const auto& disk : disks_) {
    const GuestDisk::Progress progress = disk->progress();
    out.total_bytes += progress.total_bytes;
    out.done_bytes += progress.done_bytes;
  }
  return out;
}

void PrimaryDisks::begin_cut() {
  for (const auto& disk : disks_) disk->begin_cut();
}

Result<Bytes> PrimaryDisks::cut(Epoch epoch) {
  DiskBarrier barrier{epoch, {}};
  for (const auto& disk : disks_) {
    US_ASSIGN(const DiskBarrier::Count count, disk->cut());
    barrier.disks.push_back(count);
  }
  return encode(barrier);
}

bool PrimaryDisks::wants_flush_counts() const {
  return std::ranges::any_of(disks_, [](const auto& disk) { return disk->wants_flush_count(); });
}

void PrimaryDisks::end_cut(const FlushCounts& counts) {
  for (size_t i = 0; i < disks_.size(); ++i) {
    const auto it = counts.find(local_[i]->name);
    disks_[i]->end_cut(it == counts.end() ? std::nullopt : std::optional(it->second));
  }
}

bool PrimaryDisks::wants_cut() const {
  return std::ranges::any_of(disks_, [](const auto& disk) { return disk->wants_cut(); });
}

bool PrimaryDisks::may_cut() const {
  return std::ranges::all_of(disks_, [](const auto& disk) { return disk->may_cut(); });
}

void PrimaryDisks::set_cut_wake(const std::function<void()>& wake) {
  for (const auto& disk : disks_) disk->set_cut_wake(wake);
}

bool PrimaryDisks::owes_sync() const {
  return std::ranges::any_of(disks_, [](const auto& disk) { return disk->owes_sync(); });
}

void PrimaryDisks::fence() {
  for (const auto& disk : disks_) disk->fence();
}

Status PrimaryDisks::mark_stale(Generation other) {
  for (const auto& disk : local_) {
    if (disk->shared) continue;  // it is the other host's now
    const ImageRecord& record = disk->image.record();
    if (record.state == ImageState::kStale && record.at.generation >= other) continue;
    US_ASSIGN(const ImageRecord stale, record.fall_behind(other));
    US_TRY(disk->image.write_record(stale));
  }
  return {};
}

Status PrimaryDisks::sync_images(bool vm_is_ours) {
  for (const auto& disk : disks_) US_TRY(disk->sync(vm_is_ours));
  return {};
}

bool PrimaryDisks::may_end() const {
  return !disks_.empty() && std::ranges::all_of(disks_, [](const auto& disk) { return disk->may_end(); });
}

Status PrimaryDisks::mark_ended(const ImageEpoch& last) {
  for (const auto& disk : local_) {
    const ImageRecord& record = disk->image.record();
    US_ASSIGN(const ImageRecord ended, record.end(last, record.journal_base));
    US_TRY(disk->image.write_record(ended));
  }
  return {};
}

nlohmann::json PrimaryDisks::status() const {
  nlohmann::json out = nlohmann::json::array();
  for (const auto& disk : disks_) out.push_back(disk->status());
  return out;
}

}  // namespace us
