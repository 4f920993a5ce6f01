#include "sim/source_disk.h"

#include <algorithm>

#include "sim/disk_ops.h"
#include "sim/host.h"
#include "sim/judge.h"

namespace us::sim {
namespace {

constexpr size_t kReadsMax = 2;
constexpr size_t kFrameBytes = 8192;
constexpr uint64_t kSyncsPerAudit = 3;

}  // namespace

SourceDisk::SourceDisk(Host& host, DiskFiles& files, ImageRecord record, DirtyMap map, Hooks hooks)
    : host_(host),
      files_(files),
      record_(std::move(record)),
      source_(DiskIndex{0}, kDiskWindow, std::move(map), host.lab().shared_disk),
      hooks_(std::move(hooks)) {
  if (record_.state != ImageState::kLive) host_.lab().judge->violation("an image is served that is not live");
  if (host_.lab().shared_disk) turn_.emplace(record_, kDiskStaged);
  sync_now_and_then();
}

// ---- the guest ----

void SourceDisk::submit(const GuestWrite& write) {
  writes_.push_back({LockId{next_id_++}, write});
  pump();
}

void SourceDisk::set_draining(bool draining) {
  draining_ = draining;
  pump();
}

void SourceDisk::pump() {
  take_turn();
  if (!hold_writes()) start_writes();
  start_reads();
  update_map();
  if (source_.has_stream()) hooks_.frames_ready();
}

void SourceDisk::start_writes() {
  for (Write& write : writes_) {
    if (write.under_way) continue;
    if (!write.held) {
      if (!draining_ && !source_.wants_writes()) return;
      write.under_way = true;  // waits for its range at least
      if (!locks_.acquire(write.id, write.guest.range())) continue;
      write.held = true;
    }
    begin(write);
  }
}

// Its range is held.
void SourceDisk::begin(Write& write) {
  write.under_way = source_.prepare(write.guest.range()) == DirtyMap::Ready::kReady;
  if (!write.under_way) return;  // the mark first: update_map() comes back to it
  host_.post(host_.disk_delay(), "guest's write", [this, id = write.id, guest = write.guest] {
    const DiskWrite disk_write = to_disk_write(guest);
    check_turn(host_);
    finish(id, disk_write, files_.write_image(disk_write));
  });
}

void SourceDisk::finish(LockId id, const DiskWrite& disk_write, bool written) {
  if (written)
    source_.on_written(disk_write);
  else
    source_.on_write_failed(disk_write.range);
  const auto it = std::ranges::find(writes_, id, &Write::id);
  const GuestWrite guest = it->guest;
  writes_.erase(it);
  hooks_.done(guest, written);
  release(id);
  pump();
}

void SourceDisk::release(LockId id) {
  for (const LockId next : locks_.release(id)) {
    if (const auto w = std::ranges::find(writes_, next, &Write::id); w != writes_.end()) {
      w->held = true;
      w->under_way = false;
    }
    if (const auto r = std::ranges::find(reads_, next, &Reading::id); r != reads_.end()) {
      r->held = true;
      read(next);
    }
  }
}

void SourceDisk::update_map() {
  if (map_busy_) return;
  auto update = source_.map().poll_update();
  if (!update) return;
  map_busy_ = true;
  host_.post(host_.disk_delay(), "marks", [this, update = std::move(*update)] {
    map_busy_ = false;
    if (files_.write_map(update))
      source_.map().on_update_done();
    else
      source_.map().on_update_failed();
    pump();
  });
}

// ---- for the standby ----

void SourceDisk::start_reads() {
  while (reads_.size() < kReadsMax) {
    const auto step = source_.poll_step();
    if (!step) return;
    const LockId id{next_id_++};
    reads_.push_back({id, *step, false});
    if (!locks_.acquire(id, step->what.range)) continue;
    reads_.back().held = true;
    read(id);
  }
}

void SourceDisk::read(LockId id) {
  host_.post(host_.disk_delay(), "read for the standby", [this, id] {
    const auto it = std::ranges::find(reads_, id, &Reading::id);
    const DiskSource::Step step = it->step;
    reads_.erase(it);
    const ByteSpan bytes = files_.image.read(step.what.range.start, step.what.range.length());
    if (step.what.action == ResyncPlan::Action::kCopy)
      source_.on_copied(step, DataSlice::copy_of(bytes));
    else
      source_.on_compared(step, granule_sum(bytes));
    release(id);
    pump();
  });
}

Bytes SourceDisk::begin_session(Epoch first, SessionId session) {
  if (turn_) first_ = {turn_->record().at.generation, session.value(), first};
  source_.begin_session(first);
  return offer_frame(source_, first, kProtocolVersionMax);
}

void SourceDisk::end_session() {
  source_.end_session();
  pump();
}

Status SourceDisk::on_message(const Message& message) {
  if (turn_ && source_.state() == DiskSource::State::kSolo) return {};  // the guest has just ended
  US_TRY(deliver(source_, message));
  judge_audit();
  pump();
  return {};
}

std::vector<Bytes> SourceDisk::take_frames() {
  std::vector<Bytes> out;
  take_stream_frames(source_, kProtocolVersionMax, kFrameBytes, out);
  return out;
}

Bytes SourceDisk::cut(Epoch epoch) {
  const bool gives = turn_ && source_.state() == DiskSource::State::kResyncing;
  Bytes barrier = encode(DiskBarrier{epoch, {source_.cut()}});
  if (gives) {
    first_.generation = turn_->record().at.generation;
    turn_->give(first_);
    take_turn();
  }
  return barrier;
}

// ---- a shared disk ----

// False: the writes go to the image.
bool SourceDisk::hold_writes() {
  if (!turn_ || turn_->direct()) return false;
  while (!writes_.empty() && !turn_->closing() && (draining_ || source_.wants_writes())) {
    if (writes_.front().under_way) return true;
    const GuestWrite guest = writes_.front().guest;
    writes_.pop_front();
    source_.hold(to_disk_write(guest));
    hooks_.done(guest, true);
  }
  return true;
}

void SourceDisk::take_turn() {
  if (!turn_ || turn_busy_ || std::ranges::any_of(writes_, &Write::under_way)) return;
  std::optional<SharedTurn::Op> op = turn_->next_op(source_.held());
  if (!op) return;
  turn_busy_ = true;
  host_.post(host_.disk_delay(), "primary's turn", [this, op = std::move(*op)] { on_turn(op); });
}

void SourceDisk::on_turn(const SharedTurn::Op& op) {
  turn_busy_ = false;
  const bool was_direct = turn_->direct();
  Execute with{host_, files_};
  const bool fine = std::visit(with, op);
  if (!fine) {
    turn_->on_op_failed();
    // A real primary gives nothing away after a sync that has failed; this one writes everything again.
    if (std::holds_alternative<DiskReplica::SyncImage>(op) && turn_->state() == SharedTurn::State::kGiving) {
      const ByteSpan bytes = files_.image.bytes();
      files_.image.write(0, Bytes(bytes.begin(), bytes.end()));
    }
    host_.post(Duration::millis(2), "turn again", [this] {
      turn_->retry();
      pump();
    });
    return;
  }
  if (with.taken)
    turn_->on_taken(with.taken->record, std::move(with.taken->replay), with.taken->last);
  else
    turn_->on_op_done(source_.held());
  if (turn_->lost()) host_.lab().judge->violation("the shared image is not what the primary left");
  if (turn_->direct() && !was_direct) hooks_.direct();
  pump();
}

bool SourceDisk::finish(Generation generation) {
  if (!turn_ || turn_->direct()) return true;
  source_.end_session();
  turn_->take_back(generation);
  pump();
  return false;
}

Bytes SourceDisk::view() const {
  const ByteSpan bytes = files_.image.bytes();
  Bytes out(bytes.begin(), bytes.end());
  for (const ReadPart& part : source_.held().read({0, kDiskBytes})) {
    if (!part.held) continue;
    const auto to = out.begin() + static_cast<ptrdiff_t>(part.range.start);
    if (part.held->kind == WriteKind::kData)
      std::ranges::copy(part.held->data.span(), to);
    else
      std::fill_n(to, part.range.length(), uint8_t{0});
  }
  return out;
}

bool SourceDisk::mark_ended(const ImageEpoch& last) {
  const Result<ImageRecord> next = record_.end(last, record_.journal_base);
  // Not before the record has followed the generation.
  if (record_busy_ || !next || !files_.image.sync() || !files_.write_record(*next)) return false;
  record_ = *next;
  host_.lab().judge->on_image_ended(host_, last);
  return true;
}

// No fault here makes the images differ beyond what is staged.
void SourceDisk::judge_audit() {
  if (source_.audit() && source_.audit()->result().differing > 0)
    host_.lab().judge->violation("an audit finds the standby's image different at byte " +
                                 std::to_string(source_.audit()->result().offsets.front()));
}

// ---- by itself ----

void SourceDisk::sync_now_and_then() {
  if (turn_) return;  // it is synced before it is given away
  host_.post(host_.lab().world.random(Duration::millis(5), Duration::millis(60)), "local sync", [this] {
    const Epoch over = source_.over();
    // After a failure nothing says any more what is on the medium (fsync(2), EIO): the marks stay.
    if (!files_.image.sync()) return;
    source_.on_local_sync(over);
    if (host_.lab().audit_disks && ++syncs_ % kSyncsPerAudit == 0) source_.begin_audit();
    pump();
    sync_now_and_then();
  });
}

void SourceDisk::follow_generation(Generation generation) {
  if (turn_) {
    if (source_.state() != DiskSource::State::kSolo) return;
    turn_->take_back(generation);
    return pump();
  }
  if (record_.at.generation == generation || record_busy_) return;
  const Result<ImageRecord> next = record_.go_live(generation, record_.journal_base);
  if (!next) host_.lab().judge->violation("the image cannot follow its generation: " + next.error().message);
  record_busy_ = true;
  host_.post(host_.disk_delay(), "record of the image", [this, next = *next] {
    record_busy_ = false;
    if (files_.write_record(next)) record_ = next;
  });
}

}  // namespace us::sim
