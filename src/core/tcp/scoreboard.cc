#include "core/tcp/scoreboard.h"

#include "base/check.h"

namespace us {
namespace {

constexpr size_t kKeepRuns = 4;  // storage that an idle flow may keep, so that request and response do not allocate

// Runs whose joining loses nothing.  The time of a run that is not in flight is not looked at any more.
bool joinable(const SentRun& a, const SentRun& b) {
  if (a.state != b.state) return false;
  if (a.state == RunState::kSacked) return true;
  if (a.retransmitted != b.retransmitted || a.blurred != b.blurred) return false;
  return a.state == RunState::kLost ? a.adopted == b.adopted : a.sent_at == b.sent_at;
}

}  // namespace

uint64_t& Scoreboard::bytes_of(RunState state) {
  switch (state) {
    case RunState::kInFlight:
      return in_flight_bytes_;
    case RunState::kSacked:
      return sacked_bytes_;
    case RunState::kLost:
      break;
  }
  return lost_bytes_;
}

void Scoreboard::set_state(SentRun& run, RunState state) {
  bytes_of(run.state) -= run.length;
  run.state = state;
  bytes_of(state) += run.length;
}

void Scoreboard::on_sent(uint32_t length, Instant now, uint64_t delivered) {
  const SentRun run{.start = end_, .length = length, .sent_at = now, .delivered = delivered};
  end_ += length;
  in_flight_bytes_ += length;
  if (!empty()) {
    SentRun& last = runs_.back();
    const bool same = joinable(last, run);
    const bool blur = at_cap() && last.state == RunState::kInFlight && !last.retransmitted;
    if (same || blur) {
      last.length += length;
      last.sent_at = now;
      last.blurred = last.blurred || !same;
      return;
    }
  }
  runs_.push_back(run);
}

void Scoreboard::adopt(uint32_t length) {
  SentRun run{.start = end_, .length = length};
  run.state = RunState::kLost;
  run.retransmitted = true;
  run.adopted = true;
  end_ += length;
  lost_bytes_ += length;
  runs_.push_back(run);
}

void Scoreboard::on_retransmitted(SeqRange range, Instant now, uint64_t delivered) {
  size_t i = find(range.start);
  US_CHECK(i < runs_.size() && !range.end.after(end_));
  if (split(i, range.start, true)) ++i;
  const size_t first = i;
  for (; i < runs_.size() && runs_[i].start.before(range.end); ++i) {
    split(i, range.end, true);
    SentRun& run = runs_[i];
    US_CHECK(run.state != RunState::kSacked);
    set_state(run, RunState::kInFlight);
    run.sent_at = now;
    run.delivered = delivered;
    run.retransmitted = true;
    run.blurred = false;
    run.adopted = false;
  }
  while (i-- > first + 1) join_with_next(i - 1);
  if (first > head_) blur_into_previous(first);
}

// Retransmissions of one recovery, sent one by one, stay one run at the cap.
void Scoreboard::blur_into_previous(size_t index) {
  SentRun& before = runs_[index - 1];
  SentRun& run = runs_[index];
  if (at_cap() && before.state == RunState::kInFlight && before.retransmitted && before.sent_at != run.sent_at) {
    before.sent_at = run.sent_at;
    before.blurred = run.blurred = true;
  }
  join_with_next(index - 1);
}

void Scoreboard::pop_front(uint32_t length) {
  SentRun& run = runs_[head_];
  bytes_of(run.state) -= length;
  run.start += length;
  run.length -= length;
  if (run.length > 0) return;
  ++head_;
  // Each run is moved at most once per halving: constant cost per run.
  if (head_ >= 32 && head_ * 2 >= runs_.size()) {
    runs_.erase(runs_.begin(), runs_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
}

void Scoreboard::release() {
  head_ = 0;
  runs_.clear();
  if (runs_.capacity() > kKeepRuns) std::vector<SentRun>().swap(runs_);
}

// Index of the run that holds `seq`; size() when it is past the end.
size_t Scoreboard::find(SeqNum seq) const {
  if (empty() || seq.at_or_after(end_)) return runs_.size();
  const auto it = std::upper_bound(runs_.begin() + static_cast<std::ptrdiff_t>(head_), runs_.end(), seq,
                                   [](SeqNum s, const SentRun& run) { return s.before(run.start); });
  const size_t index = static_cast<size_t>(it - runs_.begin());
  return index > head_ ? index - 1 : head_;
}

// Cuts the run at `at`; true when there is now a boundary inside of what was one run.
bool Scoreboard::split(size_t index, SeqNum at, bool even_at_cap) {
  const SentRun run = runs_[index];
  if (at.at_or_before(run.start) || at.at_or_after(run.end())) return false;
  if (at_cap() && !even_at_cap) {
    ++sacks_unrecorded_;
    return false;
  }
  const uint32_t front = run.start.distance_to(at);
  runs_[index].length = front;
  SentRun rest = run;
  rest.start = at;
  rest.length = run.length - front;
  runs_.insert(runs_.begin() + static_cast<std::ptrdiff_t>(index) + 1, rest);
  return true;
}

// Makes boundaries at both ends of a SACK block, as far as the cap allows; returns the index of the first run to look
// at.
size_t Scoreboard::isolate(SeqNum start, SeqNum end) {
  size_t i = find(start);
  if (i == runs_.size()) return i;
  if (runs_[i].state != RunState::kSacked && split(i, start, false)) ++i;
  const size_t last = find(end - 1);
  if (last < runs_.size() && runs_[last].state != RunState::kSacked) split(last, end, false);
  return i;
}

bool Scoreboard::join_with_next(size_t index) {
  if (index + 1 >= runs_.size() || !joinable(runs_[index], runs_[index + 1])) return false;
  SentRun& a = runs_[index];
  const SentRun& b = runs_[index + 1];
  a.length += b.length;
  a.sent_at = std::max(a.sent_at, b.sent_at);
  a.retransmitted = a.retransmitted || b.retransmitted;
  a.blurred = a.blurred || b.blurred;
  runs_.erase(runs_.begin() + static_cast<std::ptrdiff_t>(index) + 1);
  return true;
}

void Scoreboard::join_around(SeqRange block) {
  size_t i = find(block.start);
  if (i > head_ && i < runs_.size()) --i;
  while (i + 1 < runs_.size() && runs_[i].start.at_or_before(block.end)) {
    if (!join_with_next(i)) ++i;
  }
}

// One pass, however many were marked.
void Scoreboard::join_all_lost() {
  size_t kept = head_;
  for (size_t i = head_ + 1; i < runs_.size(); ++i) {
    SentRun& last = runs_[kept];
    if (last.state == RunState::kLost && joinable(last, runs_[i])) {
      last.length += runs_[i].length;
      last.sent_at = std::max(last.sent_at, runs_[i].sent_at);
    } else {
      runs_[++kept] = runs_[i];
    }
  }
  runs_.resize(kept + 1);
}

uint64_t Scoreboard::mark_head_lost(uint32_t length) {
  if (empty() || runs_[head_].state != RunState::kInFlight) return 0;
  split(head_, runs_[head_].start + length, true);
  const uint64_t found = runs_[head_].length;
  set_state(runs_[head_], RunState::kLost);
  join_with_next(head_);
  return found;
}

void Scoreboard::mark_tail_lost(uint32_t length) {
  const size_t i = find(end_ - length);
  US_CHECK(i < runs_.size() && runs_[i].state == RunState::kInFlight);
  split(i, end_ - length, true);
  set_state(runs_.back(), RunState::kLost);
}

void Scoreboard::forget_losses() {
  for (size_t i = head_; i < runs_.size(); ++i) {
    if (runs_[i].state == RunState::kLost && !runs_[i].adopted) set_state(runs_[i], RunState::kInFlight);
  }
}

void Scoreboard::forget_sacks() {
  for (size_t i = head_; i < runs_.size(); ++i) {
    if (runs_[i].state == RunState::kSacked) set_state(runs_[i], RunState::kLost);
  }
  if (!empty()) join_all_lost();
}

SeqRange Scoreboard::first_lost() const {
  size_t i = head_;
  while (runs_[i].state != RunState::kLost) ++i;
  SeqRange lost{runs_[i].start, runs_[i].end()};
  while (++i < runs_.size() && runs_[i].state == RunState::kLost) lost.end = runs_[i].end();
  return lost;
}

bool Scoreboard::consistent() const {
  uint64_t bytes[3] = {};
  SeqNum at = empty() ? end_ : runs_[head_].start;
  for (size_t i = head_; i < runs_.size(); ++i) {
    if (runs_[i].start != at || runs_[i].length == 0) return false;
    bytes[static_cast<size_t>(runs_[i].state)] += runs_[i].length;
    at = runs_[i].end();
  }
  return at == end_ && bytes[0] == in_flight_bytes_ && bytes[1] == sacked_bytes_ && bytes[2] == lost_bytes_;
}

}  // namespace us
