#include "core/disk/held_writes.h"

#include <limits>

namespace us {

// One write may come while there is hardly any room: the guest is stopped before, not in the middle.
HeldWrites::HeldWrites(uint64_t disk_bytes, uint64_t bytes_max)
    : bytes_max_(bytes_max), staged_(disk_bytes, std::numeric_limits<uint64_t>::max()) {}

void HeldWrites::begin_session(Generation generation, uint64_t session, Epoch running) {
  US_CHECK(running != Epoch{});
  running_ = running;
  durable_ = Epoch(running.value() - 1);
  staged_.begin_session(generation, session, durable_);
}

void HeldWrites::write(const DiskWrite& write) { US_CHECK(staged_.stage(running_, write).has_value()); }

std::vector<ReadPart> HeldWrites::read(DiskRange range) const {
  std::vector<ReadPart> out;
  uint64_t at = range.start;
  for (DiskWrite& held : staged_.newest(range)) {
    const DiskRange part = held.range;
    if (at < part.start) out.push_back({{at, part.start}, std::nullopt});
    at = part.end;
    out.push_back({part, std::move(held)});
  }
  if (at < range.end) out.push_back({{at, range.end}, std::nullopt});
  return out;
}

void HeldWrites::commit(Epoch epoch) {
  US_CHECK(epoch < running_);
  staged_.commit(epoch);
}

void HeldWrites::batch_applied() {
  staged_.batch_applied();
  durable_ = staged_.taken();
}

void HeldWrites::let_go(Epoch durable) {
  if (durable <= durable_) return;
  commit(durable);
  US_CHECK(staged_.take_batch().has_value());
  batch_applied();
}

std::vector<DiskWrite> HeldWrites::take_all() {
  cut();
  commit(Epoch(running_.value() - 1));
  std::optional<ApplyBatch> batch = staged_.take_batch();
  US_CHECK(batch.has_value());
  return std::move(batch->writes);
}

}  // namespace us
