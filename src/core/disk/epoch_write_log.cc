#include "core/disk/epoch_write_log.h"

namespace us {

void EpochWriteLog::begin_session(Epoch running) {
  running_ = {.epoch = running};
  applied_ = {};
  over_.clear();
  unapplied_bytes_ = 0;
  records_.clear();
  polled_ = 0;
  unpolled_bytes_ = 0;
}

void EpochWriteLog::append(const DiskWrite& write) {
  US_CHECK(running_.epoch != Epoch{});
  for (DiskWrite& part : split_for_records(write)) {
    const uint64_t charge = kWriteChargeBytes + part.data.size();
    ++running_.records;
    running_.bytes += part.data.size();
    running_.charged += charge;
    unapplied_bytes_ += charge;
    unpolled_bytes_ += part.data.size();
    records_.push_back({disk_, running_.epoch, std::move(part)});
  }
}

DiskBarrier::Count EpochWriteLog::cut() {
  const DiskBarrier::Count count{disk_, running_.records, running_.bytes};
  over_.push_back(running_);
  running_ = {.epoch = running_.epoch.next()};
  return count;
}

std::optional<WriteRecord> EpochWriteLog::poll() {
  if (records_.empty()) return std::nullopt;
  WriteRecord record = std::move(records_.front());
  records_.pop_front();
  ++polled_;
  unpolled_bytes_ -= record.write.data.size();
  return record;
}

void EpochWriteLog::on_applied(Epoch epoch) {
  US_CHECK(epoch < running_.epoch);
  if (epoch > applied_) applied_ = epoch;
  for (; !over_.empty() && over_.front().epoch <= epoch; over_.pop_front()) unapplied_bytes_ -= over_.front().charged;
}

}  // namespace us
