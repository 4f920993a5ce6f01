#include "core/tcp/sack_generator.h"

#include <algorithm>
#include <optional>

namespace us {

void SackGenerator::on_data_ahead(SeqNum at, const RangeSet& ranges) {
  const std::optional<SeqRange> block = ranges.containing(at);
  // The block now stands for every place in it.
  std::array<SeqNum, TcpOptions::kSackBlocksMax> updated{at};
  uint8_t count = 1;
  for (uint8_t i = 0; i < recent_count_ && count < updated.size(); ++i)
    if (!block || !block->contains(recent_[i])) updated[count++] = recent_[i];
  recent_ = updated;
  recent_count_ = count;
}

void SackGenerator::fill(SeqNum ack, const RangeSet& ranges, TcpOptions& out) {
  out.sack_count = 0;
  if (!duplicate_.empty()) {
    // RFC 2883 section 4: above the cumulative ACK, the block that contains the duplicate has to follow.
    const std::optional<SeqRange> around = ranges.containing(duplicate_.start);
    if (duplicate_.end.at_or_before(ack)) {
      out.add_sack(duplicate_);
    } else if (around && duplicate_.end.at_or_before(around->end)) {
      out.add_sack(duplicate_);
      on_data_ahead(duplicate_.start, ranges);
    }
    duplicate_ = {};
  }
  uint8_t kept = 0;
  for (uint8_t i = 0; i < recent_count_; ++i) {
    const std::optional<SeqRange> block = ranges.containing(recent_[i]);
    if (!block) continue;  // passed by the cumulative ACK
    recent_[kept++] = recent_[i];
    out.add_sack(*block);
  }
  recent_count_ = kept;
}

}  // namespace us
