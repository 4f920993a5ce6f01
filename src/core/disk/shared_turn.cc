#include "core/disk/shared_turn.h"

#include <algorithm>

namespace us {

SharedTurn::SharedTurn(ImageRecord live, uint64_t staged_bytes_max)
    : record_(std::move(live)), layout_(JournalLayout::for_staged(staged_bytes_max)), own_(record_.at.generation) {
  US_CHECK(record_.state == ImageState::kLive);
}

void SharedTurn::give(const ImageEpoch& first) {
  US_CHECK(direct() && doing_ == Doing::kNothing && record_.at.generation == first.generation);
  state_ = State::kGiving;
  first_ = first;
  synced_ = given_ = false;
}

void SharedTurn::take_back(Generation own) {
  own_ = std::max(own_, own);
  if (direct() && record_.at.generation == own_) return;
  if (state_ == State::kReturning) return;
  state_ = State::kReturning;
  taken_ = finishing_ = false;
  failed_ = false;
  batches_ = 0;
  // What the standby has written is in its journal; it has written nothing if this host still holds the image.
  applier_.emplace(record_.image, layout_, record_.journal_base);
}

std::optional<SharedTurn::Op> SharedTurn::next_op(HeldWrites& held) {
  US_CHECK(doing_ == Doing::kNothing);
  if (failed_ || lost_) return std::nullopt;
  if (state_ == State::kGiving) return give_op();
  if (state_ == State::kReturning) return return_op(held);
  return std::nullopt;
}

std::optional<SharedTurn::Op> SharedTurn::give_op() {
  if (!synced_) {
    doing_ = Doing::kSync;
    return DiskReplica::SyncImage{};
  }
  if (!given_) return write_record(record_.give(first_));
  doing_ = Doing::kLetGo;
  return DiskReplica::LetGo{};
}

std::optional<SharedTurn::Op> SharedTurn::return_op(HeldWrites& held) {
  if (!holds_) {
    doing_ = Doing::kTake;
    return DiskReplica::TakeImage{};
  }
  if (auto op = applier_op()) return op;
  if (!taken_) return write_record(record_.take_back(own_, applier_->sequence()));
  if (held.bytes() > 0) {
    applier_->begin({{own_, 0, Epoch{}}, held.take_all()});
    is_held_ = true;
    return applier_op();
  }
  finishing_ = true;
  return write_record(record_.finish_taking_back(own_, applier_->sequence()));
}

SharedTurn::Op SharedTurn::write_record(Result<ImageRecord> next) {
  US_CHECK(next);
  next_ = *next;
  doing_ = Doing::kRecord;
  return DiskReplica::WriteRecordFile{image_record_offset(next_), encode(next_)};
}

std::optional<SharedTurn::Op> SharedTurn::applier_op() {
  if (applier_->step() == ApplyStep::kIdle) return std::nullopt;
  doing_ = Doing::kApplier;
  switch (applier_->step()) {
    case ApplyStep::kWriteRecord:
      return DiskReplica::WriteJournal{applier_->journal_offset(), &applier_->start(), &applier_->batch().writes};
    case ApplyStep::kSyncJournal:
      return DiskReplica::SyncJournal{};
    case ApplyStep::kApply:
      return DiskReplica::WriteImage{applier_->batch().writes};
    default:
      return DiskReplica::SyncImage{};
  }
}

void SharedTurn::on_taken(const ImageRecord& in_file, std::optional<JournalRecord> replay, JournalSequence last) {
  US_CHECK(doing_ == Doing::kTake);
  doing_ = Doing::kNothing;
  holds_ = true;
  const bool ours = in_file.image == record_.image && in_file.disk_bytes == record_.disk_bytes &&
                    in_file.shared_by == record_.shared_by && in_file.at.generation <= own_ &&
                    (in_file.state == ImageState::kConsistent || in_file.state == ImageState::kLive);
  lost_ = !ours;
  if (lost_) return;
  record_ = in_file;
  applier_.emplace(record_.image, layout_, std::max(last, record_.journal_base));
  is_held_ = false;
  // A record of a guest that runs on the image is not of an epoch, and void.
  if (replay && record_.state == ImageState::kConsistent) applier_->begin_replay(std::move(*replay));
}

void SharedTurn::on_op_done(HeldWrites& held) {
  const Doing done = std::exchange(doing_, Doing::kNothing);
  switch (done) {
    case Doing::kNothing:
    case Doing::kTake:
      US_CHECK(false);
      return;
    case Doing::kSync:
      synced_ = true;
      return;
    case Doing::kLetGo:
      holds_ = false;
      if (state_ == State::kGiving) state_ = State::kGiven;
      return;
    case Doing::kApplier:
      applier_->on_done();
      if (applier_->step() != ApplyStep::kIdle || !is_held_) return;
      held.batch_applied();
      is_held_ = false;
      ++batches_;
      return;
    case Doing::kRecord:
      record_ = next_;
      given_ = record_.state == ImageState::kConsistent;
      if (state_ != State::kReturning) return;
      // It may be the one that was to give the image away, and was under way when that was over.
      taken_ = record_.state == ImageState::kConsistent && record_.at == ImageEpoch{own_, 0, Epoch{}};
      if (record_.state != ImageState::kLive) return;
      US_CHECK(held.bytes() == 0);
      if (record_.at.generation == own_) state_ = State::kDirect;
      return;
  }
}

void SharedTurn::on_op_failed() {
  const Doing what = std::exchange(doing_, Doing::kNothing);
  US_CHECK(what != Doing::kNothing);
  if (what == Doing::kApplier) applier_->on_error();
  failed_ = true;
}

void SharedTurn::retry() {
  failed_ = false;
  if (applier_) applier_->retry();
}

}  // namespace us
