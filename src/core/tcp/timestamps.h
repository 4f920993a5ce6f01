// Timestamps (RFC 7323) end at the relay: each side gets values of the relay's own, and each side's values are
// echoed to that side alone (tcp.md, rule 3).
//
// TimestampClock: our TSval toward one side.  It continues from the last value seen there in the handshake, ticks
// once a millisecond and never goes back, also not across a takeover: the value is leased ahead.  It never passes
// `bound`, which the standby knows, and a new primary starts one above it.  At first the bound is where the clock
// starts, so until a bound has become durable (solo: at once) the value stands still.
//
//   ----|=========|-----------------|------------------------> TSval
//     first     value()           bound     the new primary's values
//
// While a larger bound is on its way to the standby the value may reach the bound and stand still, which RFC 7323
// allows (section 5.4 asks for a tick a second at least, but only so that PAWS has something to compare).
//
// TimestampEcho: what we echo to one side (TS.Recent) and the PAWS test of what comes from there.  The clock of a
// relay differs from RFC 7323 in one point: where an ACK waits until its bytes are durable, a segment counts as
// arrived when it may be acknowledged, since otherwise section 4.3's "SEG.SEQ <= Last.ACK.sent" would never hold.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "base/time.h"
#include "core/tcp/seq_num.h"

namespace us {

struct TimestampClockState {
  uint32_t value = 0;
  uint32_t bound = 0;
  bool operator==(const TimestampClockState&) const = default;
};

class TimestampClock {
 public:
  static constexpr uint32_t kLeaseTicks = 10'000;  // 10 s ahead; a takeover jumps by at most this
  static constexpr uint32_t kLeaseTicksMax = 1u << 24;

  // `last_seen`: the latest TSval that this side has got, from the endpoint we stand for.
  TimestampClock(uint32_t last_seen, Instant now);
  static Result<TimestampClock> restore(const TimestampClockState& untrusted, Instant now);
  TimestampClockState snapshot(Instant now) const { return {value(now), bound_}; }

  // TSval of a segment sent now.
  uint32_t value(Instant now) const;
  // The bound that the standby has to learn, once less than half of the lease is left.  To be asked when something
  // is sent: an idle connection needs no lease.
  std::optional<uint32_t> wanted_bound(Instant now) const;
  // The standby knows `bound`.  Bounds never go back; an older one is ignored.
  void on_bound_durable(uint32_t bound, Instant now);
  uint32_t bound() const { return bound_; }
  // This is the new primary: the old one may have used any value up to the bound.
  void take_over(Instant now);
  // Whether `echo` (TSecr) can be an answer to a value that this host has sent, since its start or takeover.
  bool is_own(uint32_t echo, Instant now) const;
  // How long ago that value was sent, to the tick.  Only for is_own() echoes.
  Duration age(uint32_t echo, Instant now) const;

 private:
  void rebase(Instant now);

  Instant own_from_;  // since when this host has sent values
  Instant start_;
  uint32_t first_;  // value at start_; both move on with the bound, so that the distances never wrap
  uint32_t bound_;
};

struct TimestampEchoState {
  static constexpr size_t kWaitingMax = 6;
  struct Waiting {
    SeqNum seq;
    uint32_t value = 0;
    bool operator==(const Waiting&) const = default;
  };
  uint32_t recent = 0;
  Duration age;  // of recent
  uint8_t waiting_count = 0;
  std::array<Waiting, kWaitingMax> waiting;  // oldest first
  bool operator==(const TimestampEchoState&) const = default;
};

class TimestampEcho {
 public:
  // RFC 7323 section 5.5: after this long without a new value TS.Recent says nothing any more.
  static constexpr Duration kRecentValid = Duration::seconds(24 * 24 * 3600);

  TimestampEcho(uint32_t recent, Instant now) : recent_(recent), recent_at_(now) {}
  static Result<TimestampEcho> restore(const TimestampEchoState& untrusted, Instant now);
  TimestampEchoState snapshot(Instant now) const;

  // PAWS, RFC 7323 section 5.3 (R1): false for a value older than TS.Recent.
  bool acceptable(uint32_t value, Instant now) const;
  // A segment that begins at `seq`, at or before RCV.NXT, has passed all tests (section 4.3).  `waits`: it has data
  // that may not be acknowledged yet.
  void on_segment(SeqNum seq, uint32_t value, SeqNum last_ack_sent, bool waits, Instant now);
  // All before `to` may be acknowledged.
  void on_ackable(SeqNum to, SeqNum last_ack_sent, Instant now);

  uint32_t recent() const { return recent_; }  // TSecr of the next ACK

 private:
  using Waiting = TimestampEchoState::Waiting;
  void take(uint32_t value, Instant now);

  uint32_t recent_;
  uint8_t waiting_count_ = 0;
  Instant recent_at_;
  // When full, later ones are not kept: an older value is echoed then, which makes a round trip look longer.
  std::array<Waiting, TimestampEchoState::kWaitingMax> waiting_;
};

}  // namespace us
