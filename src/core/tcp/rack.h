// Rack: loss detection by time.  A transmission is lost when one that was sent sufficiently later has been delivered.
// Source: RFC 8985 section 6; step numbers in rack.cc are those of section 6.2.
//
// The reordering window, that is what "sufficiently" means, starts at a quarter of the minimum RTT and grows with each
// round that brings a DSACK.  Needs SACK; without it the sender counts duplicate ACKs (dupack_counter.h).
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"
#include "core/tcp/scoreboard.h"
#include "core/tcp/seq_num.h"

namespace us {

// When the segment was sent whose TSval an ACK echoes (RFC 7323).  A timestamp clock is coarse, so this is an interval:
// not before `earliest` and not after `latest`.  The owner of the timestamp clock makes it from TSecr.
struct EchoTime {
  Instant earliest;
  Instant latest;
};

class Rack {
 public:
  struct Path {
    std::optional<Duration> min_rtt{};
    Duration srtt{};  // zero when unknown
    uint32_t mss = 1;
    bool in_recovery = false;  // fast or timeout recovery
  };

  // Steps 2 and 3, for each run that an ACK newly delivered, in sequence order.
  void on_delivered(const SentRun& run, Instant now, const std::optional<EchoTime>& echo, const Path& path);
  // Step 4: the ACK carried a DSACK; una and nxt are those after it.
  void on_dsack(SeqNum una, SeqNum nxt);
  // Every ACK that moved una, before the others: markers must not outlive the sequence space.
  void on_una(SeqNum una) { dsack_round_open_ = dsack_round_open_ && una.before(dsack_round_); }
  void on_recovery_end();
  // A retransmission turned out not to have been needed.
  void on_reordering() { reordering_seen_ = true; }

  // Step 5.  Calls on_lost(const SentRun&) for each run that is lost now, which then counts as lost in the scoreboard.
  // Sets deadline() to when to look again.
  template <typename OnLost>
  uint64_t detect(Scoreboard& scoreboard, const Path& path, Instant now, OnLost on_lost) {
    deadline_.reset();
    if (!has_delivered_) return 0;
    const Duration patience = rtt_ + reordering_window(scoreboard, path);
    Instant again = now;
    const uint64_t lost = scoreboard.mark_lost([&](const SentRun& run) {
      // Later first transmissions were sent later still, and so was everything sent again among them.
      if (!sent_before_delivered(run)) {
        return run.retransmitted ? Scoreboard::Judgement::kKeep : Scoreboard::Judgement::kStop;
      }
      const Instant due = run.sent_at + patience;
      if (due <= now) {
        on_lost(run);
        return Scoreboard::Judgement::kLost;
      }
      again = std::max(again, due);
      return Scoreboard::Judgement::kKeep;
    });
    if (again > now) deadline_ = again;
    return lost;
  }
  // Section 6.3, when the retransmission timer has expired: the first run, and all that are old enough.
  uint64_t mark_on_timeout(Scoreboard& scoreboard, const Path& path, Instant now);

  std::optional<Instant> deadline() const { return deadline_; }  // the reordering timer
  void clear_deadline() { deadline_.reset(); }
  bool reordering_seen() const { return reordering_seen_; }
  Duration reordering_window(const Scoreboard& scoreboard, const Path& path) const;

 private:
  bool sent_before_delivered(const SentRun& run) const;

  bool has_delivered_ = false;
  bool reordering_seen_ = false;
  bool fack_valid_ = false;
  bool dsack_round_open_ = false;
  uint8_t window_persist_ = 0;    // recoveries without DSACK until the window shrinks back
  uint32_t window_multiple_ = 1;  // of a quarter of the minimum RTT
  SeqNum end_;                    // RACK.end_seq
  SeqNum fack_;                   // highest sequence number delivered
  SeqNum dsack_round_;
  Instant sent_at_;  // RACK.xmit_ts: of the most recently sent transmission that was delivered
  Duration rtt_;
  std::optional<Instant> deadline_;
};

}  // namespace us
