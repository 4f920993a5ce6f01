#include "core/disk/disk_source.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

namespace us {
namespace {

constexpr size_t kAnswerBytes = 9;

tl::unexpected<Error> bad(std::string what) { return fail(ErrorKind::kProtocol, "disk: " + std::move(what)); }

bool all_zero(ByteSpan bytes) {
  return std::ranges::all_of(bytes, [](uint8_t b) { return b == 0; });
}

}  // namespace

uint64_t granule_sum(ByteSpan bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

DiskSource::DiskSource(DiskIndex disk, uint64_t window_bytes, DirtyMap map, bool shared)
    : disk_(disk),
      window_bytes_(window_bytes),
      map_(std::move(map)),
      shared_(shared),
      held_(map_.shape().disk_bytes, window_bytes),
      log_(disk, window_bytes) {
  held_.begin_session(Generation{}, 0, Epoch{1});
}

Epoch DiskSource::write_epoch() const {
  if (state_ == State::kResyncing) return first_;
  return state_ == State::kFollowed ? log_.running() : DirtyMap::kSolo;
}

void DiskSource::hold(const DiskWrite& write) {
  US_CHECK(shared_);
  held_.write(write);
  if (state_ == State::kFollowed) log_.append(write);
}

void DiskSource::on_written(const DiskWrite& write) {
  if (shared_) return;  // on the one image
  if (state_ == State::kFollowed) return log_.append(write);
  if (state_ == State::kResyncing && plan_->must_send(write.range)) append_direct(write);
}

void DiskSource::append_direct(const DiskWrite& write) {
  for (DiskWrite& part : split_for_records(write)) {
    const uint64_t charge = kWriteChargeBytes + part.data.size();
    direct_charges_.push_back(charge);
    direct_bytes_open_ += charge;
    ++direct_records_;
    direct_data_ += part.data.size();
    direct_.push_back({false, {disk_, first_, std::move(part)}, {}});
  }
}

void DiskSource::on_local_sync(Epoch over) {
  if (over > over_ || over <= synced_) return;  // of an earlier session, or nothing new
  synced_ = over;
  confirm();
}

// ---- a session ----

void DiskSource::begin_session(Epoch first) {
  US_CHECK(state_ == State::kSolo && first > over_);
  state_ = State::kOffered;
  ++sessions_;
  first_ = first;
  synced_ = durable_ = Epoch{};
  marks_confirmed_ = false;
  direct_records_ = direct_data_ = direct_sent_ = direct_done_ = 0;
}

Status DiskSource::on_answer_marks(uint64_t marked) {
  if (state_ != State::kOffered || marks_) return bad("an answer to an offer that was not made");
  if (marked > (shared_ ? 0 : map_.shape().granules())) return bad("more marks than granules");
  marks_.emplace(map_.shape().granules());
  marks_left_ = marked;
  marks_next_ = 0;
  if (marked == 0) start_resync(ResyncPlan::Mode::kMarked);
  return {};
}

Status DiskSource::on_answer_compare_all() {
  if (state_ != State::kOffered || marks_) return bad("an answer to an offer that was not made");
  if (shared_) return bad("a shared disk is not compared");
  marks_.emplace(map_.shape().granules());
  marks_->set_all();
  start_resync(ResyncPlan::Mode::kCompare);
  return {};
}

Status DiskSource::on_marks(uint64_t first_granule, ByteSpan bits) {
  if (state_ != State::kOffered || !marks_) return bad("marks that nobody asked for");
  if (first_granule % 8 != 0 || first_granule < marks_next_ || bits.empty() || first_granule > marks_->granules() ||
      bits.size() > (marks_->granules() - first_granule + 7) / 8)
    return bad("marks out of order, or past the end");
  for (uint64_t i = 0; i < bits.size() * 8; ++i) {
    if ((bits[i / 8] >> (i % 8) & 1) == 0) continue;
    if (first_granule + i >= marks_->granules() || marks_left_ == 0) return bad("more marks than announced");
    marks_->set(first_granule + i);
    --marks_left_;
  }
  marks_next_ = first_granule + bits.size() * 8;
  if (marks_left_ == 0) start_resync(ResyncPlan::Mode::kMarked);
  return {};
}

void DiskSource::start_resync(ResyncPlan::Mode mode) {
  *marks_ |= map_.begin_resync();
  plan_.emplace(map_.shape(), std::move(*marks_), mode);
  marks_.reset();
  state_ = State::kResyncing;
}

Status DiskSource::on_sum_answers(ByteSpan answers) {
  if (state_ != State::kResyncing && !(state_ == State::kFollowed && audit_))
    return bad("answers to comparisons that nobody asked for");
  if (answers.empty() || answers.size() % kAnswerBytes != 0) return bad("answers of a wrong length");
  ByteReader in(answers);
  while (!in.done()) {
    const auto granule = in.le<uint64_t>();
    const auto equal = in.le<uint8_t>();
    if (equal > 1) return bad("an answer that is neither yes nor no");
    if (state_ == State::kResyncing) {
      US_TRY(plan_->on_answer(granule, equal == 1));
      continue;
    }
    US_TRY(audit_->on_answer(granule, equal == 1));
    const uint64_t start = granule * map_.shape().granule_bytes;
    if (equal == 0)
      map_.on_write_failed({start, std::min(start + map_.shape().granule_bytes, map_.shape().disk_bytes)});
  }
  return {};
}

Status DiskSource::on_progress(uint64_t copied, Epoch durable) {
  if (state_ != State::kResyncing && state_ != State::kFollowed) return bad("progress without a session");
  if (copied < direct_done_ || copied > direct_sent_) return bad("it has copied what it was not sent");
  if (durable < durable_ || durable > over_ || (durable != Epoch{} && durable < first_))
    return bad(fmt::format("epoch {} cannot be durable", durable.value()));
  if (durable != Epoch{} && copied != direct_records_) return bad("durable without all that was copied");
  for (; direct_done_ < copied; ++direct_done_) {
    direct_bytes_open_ -= direct_charges_.front();
    direct_charges_.pop_front();
  }
  if (durable == durable_) return {};
  durable_ = durable;
  if (durable > first_) log_.on_applied(durable);
  if (shared_) held_.let_go(durable);
  confirm();
  return {};
}

// Takes back the marks of what both images hold for good.
void DiskSource::confirm() {
  if (shared_ || state_ != State::kFollowed || durable_ < first_ || synced_ < first_) return;
  if (!marks_confirmed_) map_.on_resynchronised();
  marks_confirmed_ = true;
  map_.clear_applied(durable_, synced_, log_.running());
}

DiskBarrier::Count DiskSource::cut() {
  US_CHECK(resynchronised());
  if (state_ == State::kFollowed) {
    over_ = log_.running();
    if (shared_) held_.cut();
    return log_.cut();
  }
  over_ = first_;
  if (shared_) held_.begin_session(Generation{}, 0, first_.next());
  log_.begin_session(first_.next());
  state_ = State::kFollowed;
  return {disk_, direct_records_, direct_data_};
}

void DiskSource::end_session() {
  if (state_ == State::kSolo) return;
  state_ = State::kSolo;
  map_.end_session();
  marks_.reset();
  plan_.reset();
  direct_.clear();
  direct_charges_.clear();
  direct_bytes_open_ = 0;
  audit_.reset();
  audit_sums_.clear();
  log_.begin_session(Epoch{1});
}

// ---- resynchronisation ----

std::optional<DiskSource::Step> DiskSource::poll_step() {
  if (state_ == State::kFollowed) return poll_audit();
  // Half the window is kept for the guest.
  if (state_ != State::kResyncing || direct_bytes_open_ >= window_bytes_ / 2) return std::nullopt;
  const std::optional<ResyncPlan::Step> step = plan_->poll();
  if (!step) return std::nullopt;
  return Step{sessions_, *step};
}

void DiskSource::on_copied(const Step& step, DataSlice bytes) {
  if (!current(step)) return;
  if (all_zero(bytes.span()))
    append_direct({WriteKind::kDiscard, step.what.range, {}});
  else
    append_direct(DiskWrite::of_data(step.what.range.start, std::move(bytes)));
  plan_->on_copied(step.what.granule);
}

void DiskSource::on_compared(const Step& step, uint64_t sum) {
  if (!current(step)) return;
  if (state_ == State::kFollowed) {
    // A write there may have failed since this step was taken, while it waited for the range.
    if (map_.is_lasting(step.what.granule)) return audit_->on_read_failed(step.what.granule);
    audit_->on_read(step.what.granule);
    audit_sums_.push_back({log_.appended(), {step.what.granule, sum}});
    return;
  }
  direct_.push_back({true, {}, {step.what.granule, sum}});
  plan_->on_compared(step.what.granule);
}

void DiskSource::on_read_failed(const Step& step) {
  if (!current(step)) return;
  if (state_ == State::kFollowed) return audit_->on_read_failed(step.what.granule);
  plan_->on_read_failed(step.what);
}

// ---- audits ----

bool DiskSource::begin_audit() {
  if (state_ != State::kFollowed || durable_ == Epoch{} || (audit_ && !audit_->finished())) return false;
  audit_.emplace(map_.shape());
  return true;
}

std::optional<DiskSource::Step> DiskSource::poll_audit() {
  // What the resynchronisation before has marked is left out otherwise.
  if (!audit_ || !marks_confirmed_) return std::nullopt;
  const std::optional<uint64_t> granule = audit_->poll(map_);
  if (!granule) return std::nullopt;
  const uint64_t start = *granule * map_.shape().granule_bytes;
  const DiskRange range{start, std::min(start + map_.shape().granule_bytes, map_.shape().disk_bytes)};
  return Step{sessions_, {ResyncPlan::Action::kCompare, *granule, range}};
}

// ---- the stream ----

std::optional<DiskSource::StreamItem> DiskSource::poll_stream() {
  if (direct_.empty()) {
    if (!audit_sums_.empty() && audit_sums_.front().after <= log_.polled()) {
      const Sum sum = audit_sums_.front().sum;
      audit_sums_.pop_front();
      return StreamItem{true, {}, sum};
    }
    std::optional<WriteRecord> record = log_.poll();
    if (!record) return std::nullopt;
    return StreamItem{false, std::move(*record), {}};
  }
  StreamItem item = std::move(direct_.front());
  direct_.pop_front();
  if (!item.is_sum) ++direct_sent_;
  return item;
}

}  // namespace us
