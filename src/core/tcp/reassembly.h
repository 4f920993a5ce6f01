// Reassembly: turns the segments of one side, in whatever order and overlap, into a stream without holes.
//
//        stream       next()     hole        held
//   [================)- - - - - - - - -[==========)- - -[====)
//   bytes in the RelayBuffer           bytes stored ahead in the RelayBuffer
//
// The bytes lie in the RelayBuffer, at their place from the beginning; here is only which of them are there.  The first
// copy of a byte wins: a byte that was taken, delivered or not, is never replaced by a later segment, so nobody
// can see two contents for one sequence number.  FIN takes a sequence number but no byte; the first one counts,
// and nothing is taken at or beyond it.
//
// Limits: kRangesMax separate ranges ahead; beyond that only what continues one of them is taken.
#pragma once

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "core/tcp/range_set.h"
#include "core/tcp/relay_buffer.h"
#include "core/tcp/seq_num.h"

namespace us {

struct Taken {
  SeqRange stored;       // from the first to the last byte that was new; all in between is there now
  SeqRange duplicate;    // the first part that was there before; empty if none
  bool complete = true;  // false: some bytes found no room or memory, or were one range too many
};

class Reassembly {
 public:
  static constexpr size_t kRangesMax = 1024;

  explicit Reassembly(SeqNum next) : next_(next), held_(kRangesMax) {}
  // `held` as ranges() gave them; their bytes and the stream's must be in `buffer`.
  static Result<Reassembly> restore(SeqNum next, std::optional<SeqNum> fin, std::span<const SeqRange> held,
                                    const RelayBuffer& buffer);

  SeqNum next() const { return next_; }  // RCV.NXT: past the stream, and past the FIN once all before it is there
  const RangeSet& held() const { return held_; }
  std::optional<SeqNum> fin() const { return fin_; }  // its sequence number, also while a hole is before it
  bool finished() const { return fin_ && next_ == *fin_ + 1; }

  // Takes the part `wanted` of a payload that begins at `first`.  `wanted` must lie in the payload, in
  // [buffer.end(), buffer.limit()], and before a known FIN.  Moves next() and buffer.end() over what has no hole any
  // more.
  Taken take(SeqNum first, Gather payload, SeqRange wanted, RelayBuffer& buffer);
  // A FIN at `at`, at or after next().  False if it contradicts what was taken before.
  bool take_fin(SeqNum at);

 private:
  Taken take_ahead(SeqNum first, Gather payload, SeqRange wanted, RelayBuffer& buffer);
  void advance(RelayBuffer& buffer);

  SeqNum next_;
  RangeSet held_;
  std::optional<SeqNum> fin_;
};

}  // namespace us
