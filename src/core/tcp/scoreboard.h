// Scoreboard: what has been sent and is not yet cumulatively acknowledged, as runs of bytes with a common fate.
//
//   una                                                        nxt
//    [ lost ][  in flight  ][ SACKed ][ in flight, sent again ][ in flight )
//
// A run is bytes sent by the same call at the same instant: a 64 KiB super-segment, or a whole burst, is one run, and
// is split only where a SACK block or a retransmission needs it.  Adjoining runs of the same fate join again.
// Runs are sorted, do not overlap and leave no gap.  FIN counts as one byte.  (RFC 2018, RFC 6675, and the per-segment
// state of RFC 8985 section 5.2.)
//
// Memory: 32 bytes a run; none to speak of when all is acknowledged.  At most about runs_max runs whatever the peer
// SACKs: at the cap, SACK blocks that would split a run are not recorded (SACK is advice; the cost is a spurious
// retransmission), and newly sent bytes join the last run, which then gives no RTT samples (`blurred`).
//
// The peer's input reaches this only after sender_ack.cc has checked it against una and nxt.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.h"
#include "core/tcp/seq_num.h"

namespace us {

enum class RunState : uint8_t {
  kInFlight,
  kSacked,
  kLost,  // believed lost and not sent again since
};

struct SentRun {
  SeqNum start{};
  uint32_t length = 0;
  Instant sent_at{};       // latest transmission
  uint64_t delivered = 0;  // the sender's count of delivered bytes at that time
  RunState state = RunState::kInFlight;
  bool retransmitted = false;  // sent more than once: Karn's ambiguity
  bool blurred = false;        // joined from transmissions at different times; sent_at is the last
  bool adopted = false;        // sent by another host before a takeover, if at all, and not yet by this one: no sent_at

  SeqNum end() const { return start + length; }
};

class Scoreboard {
 public:
  explicit Scoreboard(SeqNum start, size_t runs_max) : end_(start), runs_max_(runs_max) {}

  // New bytes [end(), end() + length) were sent.
  void on_sent(uint32_t length, Instant now, uint64_t delivered);
  // `length` bytes that another host may have sent (a takeover): they count as lost, and as sent before.
  void adopt(uint32_t length);
  // `range` was sent again.  Nothing of it may be SACKed.
  void on_retransmitted(SeqRange range, Instant now, uint64_t delivered);

  // Removes everything before `una` and calls visit(const SentRun&) on each part, in order, as it was before.
  template <typename Visit>
  void ack_to(SeqNum una, Visit visit) {
    while (!empty() && runs_[head_].start.before(una)) {
      SentRun part = runs_[head_];
      part.length = std::min(part.length, part.start.distance_to(una));
      visit(part);
      pop_front(part.length);
    }
    if (empty()) release();
  }
  // Marks `block` (inside [una, end())) as SACKed, and calls visit(const SentRun&) on each part that was not yet, as it
  // was before.
  template <typename Visit>
  void sack(SeqRange block, Visit visit) {
    for (size_t i = isolate(block.start, block.end); i < runs_.size() && runs_[i].start.before(block.end); ++i) {
      SentRun& run = runs_[i];
      if (run.state == RunState::kSacked || run.start.before(block.start) || run.end().after(block.end)) continue;
      visit(static_cast<const SentRun&>(run));
      set_state(run, RunState::kSacked);
      sacked_end_ = sacked_bytes_ == run.length ? run.end() : later(sacked_end_, run.end());
    }
    join_around(block);
  }

  enum class Judgement : uint8_t { kKeep, kLost, kStop };
  // Calls judge(const SentRun&) on the runs in flight, in order, until it says kStop; returns the bytes found lost.
  template <typename Judge>
  uint64_t mark_lost(Judge judge) {
    uint64_t found = 0;
    for (size_t i = head_; i < runs_.size(); ++i) {
      if (runs_[i].state != RunState::kInFlight) continue;
      const Judgement j = judge(static_cast<const SentRun&>(runs_[i]));
      if (j == Judgement::kStop) break;
      if (j == Judgement::kKeep) continue;
      set_state(runs_[i], RunState::kLost);
      found += runs_[i].length;
    }
    if (found > 0) join_all_lost();
    return found;
  }
  // The first `length` bytes, unless they are SACKed or lost already; returns the bytes found lost.
  uint64_t mark_head_lost(uint32_t length);
  // The last `length` bytes, which the call before has sent.
  void mark_tail_lost(uint32_t length);
  // Everything lost is in flight after all (an undone recovery), but for what was adopted and never sent from here.
  void forget_losses();
  // What was SACKed is now lost: the peer has reneged (RFC 2018 section 8).
  void forget_sacks();

  bool empty() const { return head_ == runs_.size(); }
  SeqNum end() const { return end_; }  // SND.NXT
  uint32_t outstanding_bytes() const { return empty() ? 0 : runs_[head_].start.distance_to(end_); }
  uint64_t in_flight_bytes() const { return in_flight_bytes_; }  // `pipe` of RFC 6675
  uint64_t sacked_bytes() const { return sacked_bytes_; }
  uint64_t lost_bytes() const { return lost_bytes_; }
  bool head_is_sacked() const { return !empty() && runs_[head_].state == RunState::kSacked; }
  SeqNum sacked_end() const { return sacked_end_; }     // only when sacked_bytes() > 0
  const SentRun& head() const { return runs_[head_]; }  // only when not empty
  const SentRun& tail() const { return runs_.back(); }  // only when not empty
  // The lowest lost bytes, as far as they are contiguous; lost_bytes() > 0.
  SeqRange first_lost() const;

  size_t run_count() const { return runs_.size() - head_; }
  size_t memory_bytes() const { return runs_.capacity() * sizeof(SentRun); }
  uint64_t sacks_unrecorded() const { return sacks_unrecorded_; }
  // For tests: sums, order and joins are as they must be.
  bool consistent() const;

 private:
  uint64_t& bytes_of(RunState state);
  void set_state(SentRun& run, RunState state);
  void pop_front(uint32_t length);
  void release();
  size_t find(SeqNum seq) const;
  bool split(size_t index, SeqNum at, bool even_at_cap);
  size_t isolate(SeqNum start, SeqNum end);
  bool join_with_next(size_t index);
  void join_around(SeqRange block);
  void join_all_lost();
  void blur_into_previous(size_t index);
  bool at_cap() const { return run_count() >= runs_max_; }

  std::vector<SentRun> runs_;  // [head_, size()) are valid
  size_t head_ = 0;
  SeqNum end_;
  SeqNum sacked_end_;
  size_t runs_max_;
  uint64_t in_flight_bytes_ = 0;
  uint64_t sacked_bytes_ = 0;
  uint64_t lost_bytes_ = 0;
  uint64_t sacks_unrecorded_ = 0;
};

}  // namespace us
