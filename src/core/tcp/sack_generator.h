// SackGenerator: which SACK blocks an ACK carries (RFC 2018 section 4, RFC 2883 for duplicates).
//
// The first block holds the data that arrived last, the next ones repeat what was reported before, latest first, so
// that each block is reported at least three times.  A duplicate (D-SACK) is reported once, before them.
//
// Section 4 supposes an ACK for each segment.  Ours come in bunches, when an epoch commits or a log becomes durable; so
// what one ACK cannot report waits for the next (unreported()), in the order of arrival, or a sender that lost a
// hundred segments in one burst would hear of three of them in each epoch.
// Only places are remembered here; the blocks are what the owner's RangeSet says when the ACK is made, so that a
// block never covers what may not be acknowledged.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/tcp/range_set.h"
#include "core/tcp/seq_num.h"
#include "core/tcp/tcp_options.h"

namespace us {

struct SackGeneratorState {
  std::array<SeqNum, TcpOptions::kSackBlocksMax> recent;  // one place in each of the latest blocks, latest first
  uint8_t recent_count = 0;
  SeqRange duplicate;
  bool operator==(const SackGeneratorState&) const = default;
};

class SackGenerator {
 public:
  // Data at `at`, ahead of a hole, may now be reported; `ranges` holds it already.
  void on_data_ahead(SeqNum at, const RangeSet& ranges);
  // A part of a segment had been received before (RFC 2883 section 4: the first such part).
  void on_duplicate(SeqRange range) { state_.duplicate = range; }
  // The blocks of an ACK for `ack`, into out.sack_blocks.  Forgets the duplicate.
  void fill(SeqNum ack, const RangeSet& ranges, TcpOptions& out);
  // There are blocks that no ACK has reported: another one is due at once.
  bool unreported() const { return !unreported_.empty(); }

  const SackGeneratorState& snapshot() const { return state_; }
  // Any state with recent_count in range is harmless: the blocks come from the RangeSet.
  static SackGenerator restore(const SackGeneratorState& untrusted);

 private:
  void forget_passed(const RangeSet& ranges);

  SackGeneratorState state_;
  // A place in each block that no ACK has reported, in the order of arrival; not more than there are blocks.  No part
  // of the state: after a takeover the owner reports all blocks anew.
  std::vector<SeqNum> unreported_;
};

}  // namespace us
