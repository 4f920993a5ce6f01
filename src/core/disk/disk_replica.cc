#include "core/disk/disk_replica.h"

#include <fmt/format.h>

#include <algorithm>

namespace us {
namespace {

// Of direct writes that become one Op.
constexpr uint64_t kDirectOpBytes = 4u << 20;
constexpr uint64_t kDirectOpWrites = 256;
// Written directly between two syncs, so that the last one, for which the first epoch waits, is short.
constexpr uint64_t kDirectSyncBytes = 64u << 20;
// An honest primary has fewer open (DiskAudit).
constexpr size_t kAuditsMax = 64;
// More than this share of the limit of what is staged does not wait for a larger batch.  Far below the primary's
// window, which must not be full of what waits here.
constexpr uint64_t kStagedShareThatWaits = 32;

tl::unexpected<Error> bad(std::string what) { return fail(ErrorKind::kProtocol, "disk: " + std::move(what)); }

uint64_t charge_of(uint64_t data) { return kWriteChargeBytes + data; }

}  // namespace

DiskReplica::DiskReplica(Image image, uint64_t staged_bytes_max, bool shared)
    : bytes_max_(staged_bytes_max),
      record_(std::move(image.record)),
      map_(std::move(image.map)),
      shared_(shared),
      last_(image.last),
      staged_(record_.disk_bytes, staged_bytes_max) {
  if (shared_) return;
  if (record_.state != ImageState::kConsistent) return;
  at_ = record_.at;
  if (!image.replay) return;
  at_.reset();
  applier_.emplace(record_.image, JournalLayout::for_staged(bytes_max_), last_);
  applier_->begin_replay(std::move(*image.replay));
}

// ---- a session ----

DiskReplica::Answer DiskReplica::begin_session(const Offer& offer) {
  const auto refuse = [](std::string why) { return Answer{true, false, std::move(why), std::nullopt}; };
  if (open_ || !settled()) return refuse("what came last is still being written; try again");
  if (broken_ && !lost_) return refuse("its image could not be synced; try again");
  if (offer.disk_bytes != record_.disk_bytes)
    return refuse(fmt::format("its image has {} bytes, the primary's {}", record_.disk_bytes, offer.disk_bytes));
  if (offer.granule_bytes != map_.shape().granule_bytes) return refuse("the two maps count in different granules");
  if (offer.first == Epoch{} || offer.session == 0) return refuse("the offer names no session");
  if (shared_) {
    begin(offer);
    return {false, false, {}, GranuleSet(map_.shape().granules())};
  }
  ImageRecord next = record_;
  if (next.state == ImageState::kLive) {
    Result<ImageRecord> stale = next.fall_behind(offer.generation);
    if (!stale) return refuse(stale.error().message);
    next = *stale;
    want_record(next);
  }
  const Result<ImageRecord> syncing = next.begin_sync(offer.image, offer.generation, last_sequence());
  if (!syncing) {
    wanted_records_.clear();
    return refuse(syncing.error().message);
  }
  want_record(*syncing);
  if (record_.image != offer.image) {  // it was new: it becomes the other one's copy
    DirtyMapShape shape = map_.shape();
    shape.image = offer.image;
    map_ = DirtyMap(shape, map_.keep_epochs());
    map_.mark_all();
    new_map_ = true;
  } else if (differs_) {  // where it was found is not the only place it may be: everything is compared
    map_.mark_all();
    new_map_ = true;
  }
  begin(offer);
  Answer answer;
  answer.compare_all = map_.marked().count() == map_.marked().granules();
  if (!answer.compare_all) answer.marks = map_.marked();
  return answer;
}

void DiskReplica::begin(const Offer& offer) {
  last_ = last_sequence();
  applier_.emplace(offer.image, JournalLayout::for_staged(bytes_max_), last_);
  staged_.begin_session(offer.generation, offer.session, offer.first);
  at_.reset();
  open_ = true;
  session_ = offer.session;
  generation_ = offer.generation;
  first_ = offer.first;
  committed_ = durable_ = Epoch{};
  direct_records_ = direct_data_ = copied_ = unsynced_ = 0;
  later_came_ = finishing_ = final_synced_ = ending_ = failed_ = broken_ = false;
  answers_.clear();
  audit_answers_.clear();
  told_.reset();
  offered_ = offer.image;
  given_up_ = lost_ = false;
}

void DiskReplica::end_session() {
  if (!open_) return;
  open_ = false;
  staged_.drop_uncommitted();
  answers_.clear();
  audit_answers_.clear();
  audits_.erase(audits_.begin() + (doing_ == Doing::kAudit ? 1 : 0), audits_.end());
  if (committed_ != Epoch{} || final_synced_) return;
  finishing_ = false;
  // What is being done stays at the front until it is done.
  direct_.erase(direct_.begin() + static_cast<ptrdiff_t>(doing_count_), direct_.end());
  direct_bytes_ = 0;
  for (const Direct& d : direct_) direct_bytes_ += charge_of(d.write ? d.write->data.size() : 0);
}

Status DiskReplica::judge_direct(DiskRange range) const {
  if (shared_) return bad("a copy to a shared image");
  if (committed_ != Epoch{} || later_came_) return bad("a copy after the first epoch");
  if (range.empty() || range.start > range.end || range.end > record_.disk_bytes)
    return bad("past the end of the disk");
  if (direct_bytes_ >= bytes_max_)
    return fail(ErrorKind::kRefused, fmt::format("disk: over {} bytes wait to be written", bytes_max_));
  return {};
}

Status DiskReplica::on_record(Epoch epoch, const DiskWrite& write) {
  if (!open_) return bad("a record without a session");
  if (epoch < first_) return bad("a record of an epoch before the session");
  if (epoch > first_) {
    later_came_ = true;
    return staged_.stage(epoch, write);
  }
  US_TRY(judge_direct(write.range));
  ++direct_records_;
  direct_data_ += write.data.size();
  direct_bytes_ += charge_of(write.data.size());
  direct_.push_back({write, 0, 0});
  return {};
}

Status DiskReplica::on_sum(uint64_t granule, uint64_t sum) {
  if (!open_) return bad("a comparison without a session");
  if (granule >= map_.shape().granules()) return bad("a comparison past the end of the disk");
  if (committed_ != Epoch{}) return queue_audit(granule, sum);
  US_TRY(judge_direct({0, 1}));
  direct_bytes_ += charge_of(0);
  direct_.push_back({std::nullopt, granule, sum});
  return {};
}

Status DiskReplica::queue_audit(uint64_t granule, uint64_t sum) {
  if (audits_.size() + audit_answers_.size() >= kAuditsMax)
    return fail(ErrorKind::kRefused, "disk: more is to be compared at once than was agreed");
  audits_.push_back({granule, sum, staged_.newest(range_of(granule))});
  return {};
}

Status DiskReplica::check(Epoch epoch, const DiskBarrier::Count& expected) const {
  if (!open_) return bad("an epoch without a session");
  if (committed_ != Epoch{}) return staged_.check(epoch, expected);
  if (epoch != first_) return bad("the first epoch is not the one that was announced");
  if (expected.records == direct_records_ && expected.bytes == direct_data_) return {};
  return bad(fmt::format("{} records of {} bytes were copied, the barrier says {} of {}", direct_records_, direct_data_,
                         expected.records, expected.bytes));
}

bool DiskReplica::ready(Epoch epoch) {
  US_CHECK(open_ && epoch >= first_);
  if (durable_ != Epoch{}) return true;
  finishing_ = true;
  return false;
}

void DiskReplica::commit(Epoch epoch) {
  US_CHECK(open_ && epoch > committed_ && durable_ != Epoch{});
  if (committed_ != Epoch{}) staged_.commit(epoch);
  committed_ = epoch;
}

Status DiskReplica::end(Epoch last, const DiskBarrier::Count& expected) {
  if (!open_ || committed_ == Epoch{} || ending_) return bad("the end of a guest that is not followed");
  if (last <= committed_) return bad(fmt::format("epoch {} cannot be the last one", last.value()));
  US_TRY(staged_.check(last, expected));
  commit(last);
  ending_ = true;
  return {};
}

std::optional<DiskReplica::Progress> DiskReplica::poll_progress() {
  const Progress now{copied_, durable_};
  if (!open_ || now == told_.value_or(Progress{})) return std::nullopt;
  told_ = now;
  return now;
}

// ---- what to do ----

std::optional<DiskReplica::Op> DiskReplica::next_op(bool eager) {
  US_CHECK(doing_ == Doing::kNothing);
  if (given_up_ || lost_) return drop_and_let_go();
  if (failed_ || broken_) return std::nullopt;
  return choose(eager || !open_ || ending_ || staged_.bytes() >= bytes_max_ / kStagedShareThatWaits);
}

// The record says so once nothing is missing on the image any more.
void DiskReplica::end_when_applied() {
  if (!ending_ || record_.state != ImageState::kConsistent || !wanted_records_.empty() || staged_.unapplied()) return;
  if (applier_->step() != ApplyStep::kIdle) return;
  const Result<ImageRecord> ended = record_.end(*at_, last_sequence());
  US_CHECK(ended && at_->epoch == committed_);
  want_record(*ended);
}

std::optional<DiskReplica::Op> DiskReplica::choose(bool eager) {
  end_when_applied();
  if (shared_ && !holds_ && (finishing_ || !wanted_records_.empty())) {
    doing_ = Doing::kTake;
    return TakeImage{};
  }
  if (new_map_) return map_op(Doing::kNewMap, {{{0, map_.initial_file()}}, true});
  if (!wanted_records_.empty()) {
    doing_ = Doing::kRecord;
    const ImageRecord& next = wanted_records_.front();
    return WriteRecordFile{image_record_offset(next), encode(next)};
  }
  if (unsynced_ >= kDirectSyncBytes) {
    doing_ = Doing::kEarlySync;
    return SyncImage{};
  }
  for (; doubtful_ && !direct_.empty() && !direct_.front().write; take_direct(1))
    if (open_) answers_.push_back({direct_.front().granule, false});
  if (!direct_.empty()) return direct_op();
  if (finishing_ && !final_synced_) {
    doing_ = Doing::kFinalSync;
    return SyncImage{};
  }
  if (auto op = applier_op()) return op;
  const bool batch = wants_batch();
  if (!batch || audits_.empty()) {
    answers_.insert(answers_.end(), audit_answers_.begin(), audit_answers_.end());
    audit_answers_.clear();
  }
  if (!audits_.empty()) {
    doing_ = Doing::kAudit;
    return ReadGranule{range_of(audits_.front().granule), audits_.front().over};
  }
  if (batch && eager) applier_->begin(std::move(*staged_.take_batch()));
  if (auto op = applier_op()) return op;
  if (auto update = map_.poll_update()) return map_op(Doing::kMap, std::move(*update));
  if (!holds_ || open_ || live_) return std::nullopt;
  doing_ = Doing::kLetGo;
  return LetGo{};
}

bool DiskReplica::wants_batch() const {
  return applier_ && record_.state == ImageState::kConsistent && staged_.has_batch();
}

DiskRange DiskReplica::range_of(uint64_t granule) const {
  const uint64_t start = granule * map_.shape().granule_bytes;
  return {start, std::min(start + map_.shape().granule_bytes, record_.disk_bytes)};
}

DiskReplica::Op DiskReplica::map_op(Doing what, DirtyMap::Update update) {
  doing_ = what;
  return WriteMap{std::move(update)};
}

DiskReplica::Op DiskReplica::direct_op() {
  if (!direct_.front().write) {
    doing_ = Doing::kRead;
    doing_count_ = 1;
    return ReadGranule{range_of(direct_.front().granule)};
  }
  doing_ = Doing::kDirect;
  doing_count_ = 0;
  ExtentMap extents;  // they may overlap
  uint64_t bytes = 0;
  for (const Direct& d : direct_) {
    if (!d.write || doing_count_ == kDirectOpWrites || bytes >= kDirectOpBytes) break;
    extents.put(*d.write);
    bytes += d.write->data.size();
    ++doing_count_;
  }
  return WriteImage{extents.plan()};
}

std::optional<DiskReplica::Op> DiskReplica::applier_op() {
  if (!applier_ || applier_->step() == ApplyStep::kIdle) return std::nullopt;
  doing_ = Doing::kApplier;
  switch (applier_->step()) {
    case ApplyStep::kWriteRecord:
      return WriteJournal{applier_->journal_offset(), &applier_->start(), &applier_->batch().writes};
    case ApplyStep::kSyncJournal:
      return SyncJournal{};
    case ApplyStep::kApply:
      return WriteImage{applier_->batch().writes};
    default:
      return SyncImage{};
  }
}

void DiskReplica::take_direct(uint64_t count) {
  for (; count > 0; --count, direct_.pop_front()) {
    const Direct& d = direct_.front();
    direct_bytes_ -= charge_of(d.write ? d.write->data.size() : 0);
    if (!d.write) continue;
    ++copied_;
    unsynced_ += d.write->data.size();
  }
  doing_count_ = 0;
}

void DiskReplica::on_op_done() {
  const Doing done = std::exchange(doing_, Doing::kNothing);
  switch (done) {
    case Doing::kNothing:
    case Doing::kRead:
    case Doing::kAudit:
    case Doing::kTake:
      US_CHECK(false);
      return;
    case Doing::kLetGo:
      holds_ = false;
      return;
    case Doing::kNewMap:
      new_map_ = false;
      return;
    case Doing::kMap:
      return map_.on_update_done();
    case Doing::kRecord:
      return on_record_done();
    case Doing::kDirect:
      return take_direct(doing_count_);
    case Doing::kEarlySync:
      unsynced_ = 0;
      return;
    case Doing::kFinalSync: {
      if (!finishing_) return;  // the session has ended meanwhile
      final_synced_ = true;
      const Result<ImageRecord> consistent = record_.finish_sync({generation_, session_, first_});
      US_CHECK(consistent);
      return want_record(*consistent);
    }
    case Doing::kApplier:
      return on_applier_done();
  }
}

void DiskReplica::on_record_done() {
  record_ = std::move(wanted_records_.front());
  wanted_records_.pop_front();
  live_ = record_.state == ImageState::kLive;
  if (record_.state != ImageState::kConsistent) return;
  finishing_ = false;
  doubtful_ = differs_ = false;
  at_ = record_.at;
  durable_ = first_;
  // Whatever was marked here has been copied.
  map_.end_session();
  static_cast<void>(map_.begin_resync());
  map_.on_resynchronised();
}

// ---- a shared image ----

void DiskReplica::on_taken(const ImageRecord& in_file) {
  US_CHECK(doing_ == Doing::kTake);
  doing_ = Doing::kNothing;
  holds_ = true;
  if (given_up_) return;
  if (!wanted_records_.empty()) {  // a takeover: nobody may have had it since this host let go of it
    if (in_file != record_) lose();
    return;
  }
  if (!finishing_) return;  // the session has ended meanwhile
  if (in_file.image != offered_ || in_file.state != ImageState::kConsistent ||
      in_file.at != ImageEpoch{generation_, session_, first_})
    return lose();
  record_ = in_file;
  last_ = record_.journal_base;
  applier_.emplace(record_.image, JournalLayout::for_staged(bytes_max_), last_);
  finishing_ = false;
  at_ = record_.at;
  durable_ = first_;
}

void DiskReplica::lose() {
  broken_ = lost_ = true;
  at_.reset();
}

void DiskReplica::give_up() { given_up_ = shared_ && !open_ && !live_; }

std::optional<DiskReplica::Op> DiskReplica::drop_and_let_go() {
  last_ = last_sequence();
  applier_.reset();
  staged_.drop_all();
  wanted_records_.clear();
  audits_.clear();
  at_.reset();
  finishing_ = failed_ = false;
  if (!holds_) return std::nullopt;
  doing_ = Doing::kLetGo;
  return LetGo{};
}

void DiskReplica::on_applier_done() {
  applier_->on_done();
  if (applier_->step() != ApplyStep::kIdle) return;
  at_ = applier_->applied();
  if (!staged_.unapplied()) return;  // a journal that was replayed
  staged_.batch_applied();
  durable_ = at_->epoch;
}

void DiskReplica::on_read(uint64_t sum) {
  if (doing_ == Doing::kAudit) return on_audited(sum == audits_.front().sum);
  US_CHECK(doing_ == Doing::kRead);
  doing_ = Doing::kNothing;
  const Direct& d = direct_.front();
  if (open_) answers_.push_back({d.granule, d.sum == sum});
  take_direct(1);
}

void DiskReplica::on_audited(bool equal) {
  doing_ = Doing::kNothing;
  if (open_) audit_answers_.push_back({audits_.front().granule, equal});
  differs_ = differs_ || !equal;
  audits_.pop_front();
}

void DiskReplica::on_op_failed() {
  if (doing_ == Doing::kAudit) return on_audited(false);  // what cannot be read is not equal
  const Doing what = std::exchange(doing_, Doing::kNothing);
  doing_count_ = what == Doing::kRead ? doing_count_ : 0;
  switch (what) {
    case Doing::kNothing:
    case Doing::kAudit:
      US_CHECK(false);
      return;
    case Doing::kRead:  // what cannot be read is to be written
      if (open_) answers_.push_back({direct_.front().granule, false});
      return take_direct(1);
    case Doing::kMap:
      map_.on_update_failed();
      break;
    case Doing::kApplier:
      applier_->on_error();
      break;
    case Doing::kEarlySync:
    case Doing::kFinalSync:
      broken_ = doubtful_ = true;
      break;
    default:
      break;
  }
  failed_ = true;
}

void DiskReplica::recover() {
  US_CHECK(!open_);
  broken_ = false;
  retry();
}

// ---- a takeover ----

bool DiskReplica::settled() const {
  return doing_ == Doing::kNothing && !new_map_ && wanted_records_.empty() && direct_.empty() && audits_.empty() &&
         !finishing_ && (!ending_ || ended()) && !staged_.unapplied() &&
         (!applier_ || applier_->step() == ApplyStep::kIdle) && (!holds_ || open_ || live_);
}

Status DiskReplica::may_take_over(const ImageEpoch& memory) const {
  US_CHECK(settled());
  if (lost_) return fail(ErrorKind::kRefused, "image: another host has written to it");
  if (!at_) return fail(ErrorKind::kRefused, fmt::format("image: it is {}", image_state_name(record_.state)));
  return may_take_over_with(record_, {record_.image, record_.disk_bytes, {}, false}, *at_, memory);
}

Status DiskReplica::go_live(Generation generation) {
  US_CHECK(settled());
  US_ASSIGN(ImageRecord live, record_.go_live(generation, last_sequence()));
  want_record(std::move(live));
  return {};
}

}  // namespace us
