#include "core/disk/staged_writes.h"

#include <fmt/format.h>

namespace us {
namespace {

tl::unexpected<Error> bad(std::string what) { return fail(ErrorKind::kProtocol, "disk: " + std::move(what)); }

}  // namespace

void StagedWrites::begin_session(Generation generation, uint64_t session, Epoch committed) {
  US_CHECK(!unapplied());
  drop_uncommitted();
  generation_ = generation;
  session_ = session;
  committed_ = taken_ = committed;
}

Status StagedWrites::stage(Epoch epoch, const DiskWrite& write) {
  if (epoch <= committed_) return bad(fmt::format("a write of epoch {}, which has committed", epoch.value()));
  if (!open_.empty() && epoch < open_.back().epoch)
    return bad(fmt::format("a write of epoch {} after one of {}", epoch.value(), open_.back().epoch.value()));
  if (write.range.empty() || write.range.start > write.range.end || write.range.end > disk_bytes_)
    return bad("a write past the end of the disk");
  const uint64_t charge = kWriteChargeBytes + write.data.size();
  if (bytes_ + charge > bytes_max_)
    return fail(ErrorKind::kRefused, fmt::format("disk: over {} bytes of writes wait to be applied", bytes_max_));
  if (open_.empty() || open_.back().epoch < epoch) open_.push_back({.epoch = epoch, .writes = {}});
  Staged& staged = open_.back();
  staged.writes.put(write);
  ++staged.records;
  staged.data_bytes += write.data.size();
  staged.charged += charge;
  bytes_ += charge;
  return {};
}

Status StagedWrites::check(Epoch epoch, const DiskBarrier::Count& expected) const {
  uint64_t records = 0, bytes = 0;
  for (const Staged& s : open_)
    if (s.epoch == epoch) records = s.records, bytes = s.data_bytes;
  if (records == expected.records && bytes == expected.bytes) return {};
  return bad(fmt::format("epoch {} has {} writes of {} bytes, its barrier says {} of {}", epoch.value(), records, bytes,
                         expected.records, expected.bytes));
}

void StagedWrites::commit(Epoch epoch) {
  US_CHECK(epoch > committed_);
  committed_ = epoch;
  for (; !open_.empty() && open_.front().epoch <= epoch; open_.pop_front()) {
    merged_.put_all(open_.front().writes);
    merged_bytes_ += open_.front().charged;
  }
}

void StagedWrites::drop_uncommitted() {
  for (const Staged& s : open_) bytes_ -= s.charged;
  open_.clear();
}

void StagedWrites::drop_all() {
  open_.clear();
  merged_.clear();
  batch_.clear();
  batch_bytes_.reset();
  merged_bytes_ = bytes_ = 0;
  taken_ = committed_;
}

std::optional<ApplyBatch> StagedWrites::take_batch() {
  if (!has_batch()) return std::nullopt;
  ApplyBatch batch{{generation_, session_, committed_}, merged_.plan()};
  batch_ = std::exchange(merged_, {});
  batch_bytes_ = merged_bytes_;
  merged_bytes_ = 0;
  taken_ = committed_;
  return batch;
}

void StagedWrites::batch_applied() {
  US_CHECK(batch_bytes_);
  bytes_ -= *batch_bytes_;
  batch_bytes_.reset();
  batch_.clear();
}

std::vector<DiskWrite> StagedWrites::newest(DiskRange range) const {
  ExtentMap out;
  const auto lay = [&](const ExtentMap& layer) {
    for (const DiskWrite& write : layer.covering(range)) out.put(write);
  };
  lay(batch_);
  lay(merged_);
  for (const Staged& s : open_) lay(s.writes);
  return out.plan();
}

}  // namespace us
