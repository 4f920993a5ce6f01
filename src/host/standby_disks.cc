#include "host/standby_disks.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace us {

Result<std::unique_ptr<StandbyDisks>> StandbyDisks::open(const VmConfig& config, const LocalDiskOptions& options) {
  std::unique_ptr<StandbyDisks> out(new StandbyDisks);
  LocalDiskOptions as_standby = options;
  as_standby.standby = true;
  US_ASSIGN(out->local_, open_local_disks(config, as_standby));
  for (const auto& local : out->local_) {
    US_ASSIGN(auto disk, StandbyDisk::open(*local));
    out->disks_.push_back(std::move(disk));
    local->loop->set_role(out->disks_.back().get());
  }
  return out;
}

StandbyDisks::~StandbyDisks() {
  for (const auto& disk : local_) disk->loop->stop();  // before the roles that it calls
}

std::vector<DiskEndpoint> StandbyDisks::endpoints() const {
  std::vector<DiskEndpoint> out;
  for (const auto& disk : local_) out.push_back(disk->endpoint);
  return out;
}

std::optional<std::string> StandbyDisks::obstacle() const {
  for (const auto& disk : disks_)
    if (auto why = disk->obstacle()) return why;
  return std::nullopt;
}

void StandbyDisks::begin_session(Generation generation, SessionId session, uint16_t version, const Hooks& hooks) {
  for (const auto& disk : disks_) disk->begin_session(generation, session, version, hooks);
}

Status StandbyDisks::on_message(const Message& message) {
  const std::optional<DiskIndex> index = disk_of(message);
  const auto it = std::ranges::find_if(local_, [&](const auto& disk) { return index && disk->index == *index; });
  if (it == local_.end()) return fail(ErrorKind::kProtocol, "the primary speaks of a disk that is not replicated");
  return disks_[static_cast<size_t>(it - local_.begin())]->on_message(message);
}

Result<std::vector<DiskBarrier::Count>> StandbyDisks::counts_of(Epoch epoch, ByteSpan barrier) const {
  US_ASSIGN(DiskBarrier counts, decode_disk_barrier(barrier));
  if (counts.epoch != epoch || counts.disks.size() != disks_.size())
    return fail(ErrorKind::kProtocol, fmt::format("the disk barrier of epoch {} is of epoch {} and {} disks",
                                                  epoch.value(), counts.epoch.value(), counts.disks.size()));
  for (size_t i = 0; i < disks_.size(); ++i)
    if (counts.disks[i].disk != local_[i]->index)
      return fail(ErrorKind::kProtocol, "the disk barrier names other disks");
  return std::move(counts.disks);
}

Status StandbyDisks::check(Epoch epoch, ByteSpan barrier) const {
  if (disks_.empty() && barrier.empty()) return {};
  US_ASSIGN(const auto counts, counts_of(epoch, barrier));
  for (size_t i = 0; i < disks_.size(); ++i) US_TRY(disks_[i]->check(epoch, counts[i]));
  return {};
}

Status StandbyDisks::end(Epoch last, ByteSpan barrier) {
  US_ASSIGN(const auto counts, counts_of(last, barrier));
  for (size_t i = 0; i < disks_.size(); ++i) US_TRY(disks_[i]->end(last, counts[i]));
  return {};
}

bool StandbyDisks::await_end() const {
  return !local_.empty() && std::ranges::none_of(local_, [](const auto& disk) { return disk->shared; });
}

bool StandbyDisks::ended() const {
  return std::ranges::all_of(disks_, [](const auto& disk) { return disk->ended(); });
}

bool StandbyDisks::ready(Epoch epoch) {
  bool all = true;
  for (const auto& disk : disks_) all = disk->ready(epoch) && all;
  return all;
}

void StandbyDisks::commit(Epoch epoch) {
  for (const auto& disk : disks_) disk->commit(epoch);
}

void StandbyDisks::end_session() {
  for (const auto& disk : disks_) disk->end_session();
}

void StandbyDisks::give_up() {
  for (const auto& disk : disks_) disk->give_up();
}

Result<std::unique_ptr<PrimaryDisks>> StandbyDisks::take_over(Generation own, const ImageEpoch& memory,
                                                              Instant deadline) {
  for (const auto& disk : disks_) US_TRY(disk->settle(deadline));
  for (size_t i = 0; i < disks_.size(); ++i) {
    if (const Status allowed = disks_[i]->may_take_over(memory); !allowed)
      return fail(allowed.error().kind, fmt::format("{}: {}", local_[i]->image.path(), allowed.error().message));
  }
  for (const auto& disk : disks_) US_TRY(disk->go_live(own, deadline));
  std::vector<DirtyMap> maps;
  for (size_t i = 0; i < disks_.size(); ++i) {
    local_[i]->loop->set_role(nullptr);
    local_[i]->image.go_direct();
    maps.push_back(disks_[i]->take_map());
  }
  auto primary = PrimaryDisks::from_standby(std::move(local_), std::move(maps));
  local_.clear();
  disks_.clear();
  return primary;
}

nlohmann::json StandbyDisks::status() const {
  nlohmann::json out = nlohmann::json::array();
  for (const auto& disk : disks_) out.push_back(disk->status());
  return out;
}

}  // namespace us
