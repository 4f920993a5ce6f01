#include "core/tcp/sack_generator.h"

#include <algorithm>
#include <optional>

namespace us {

namespace {

// Beside timestamps three blocks find room, a D-SACK among them.
constexpr size_t kBlocksOfAck = 3;

}  // namespace

void SackGenerator::on_data_ahead(SeqNum at, const RangeSet& ranges) {
  const std::optional<SeqRange> block = ranges.containing(at);
  // The block now stands for every place in it.
  std::array<SeqNum, TcpOptions::kSackBlocksMax> updated{at};
  uint8_t count = 1;
  for (uint8_t i = 0; i < state_.recent_count && count < updated.size(); ++i)
    if (!block || !block->contains(state_.recent[i])) updated[count++] = state_.recent[i];
  state_.recent = updated;
  state_.recent_count = count;
  std::erase_if(unreported_, [&](SeqNum place) { return block && block->contains(place); });
  unreported_.push_back(at);
  if (unreported_.size() > ranges.ranges().size()) forget_passed(ranges);
}

void SackGenerator::forget_passed(const RangeSet& ranges) {
  std::erase_if(unreported_, [&](SeqNum place) { return !ranges.containing(place); });
}

SackGenerator SackGenerator::restore(const SackGeneratorState& untrusted) {
  SackGenerator out;
  out.state_ = untrusted;
  out.state_.recent_count = std::min<uint8_t>(untrusted.recent_count, TcpOptions::kSackBlocksMax);
  return out;
}

void SackGenerator::fill(SeqNum ack, const RangeSet& ranges, TcpOptions& out) {
  out.sack_count = 0;
  if (!state_.duplicate.empty()) {
    // RFC 2883 section 4: above the cumulative ACK, the block that contains the duplicate has to follow.
    const std::optional<SeqRange> around = ranges.containing(state_.duplicate.start);
    if (state_.duplicate.end.at_or_before(ack)) {
      out.add_sack(state_.duplicate);
    } else if (around && state_.duplicate.end.at_or_before(around->end)) {
      out.add_sack(state_.duplicate);
      on_data_ahead(state_.duplicate.start, ranges);
    }
    state_.duplicate = {};
  }
  forget_passed(ranges);
  const size_t room = kBlocksOfAck - out.sack_count;
  if (unreported_.size() > room) {
    for (size_t i = room; i-- > 0;) out.add_sack(*ranges.containing(unreported_[i]));
    unreported_.erase(unreported_.begin(), unreported_.begin() + static_cast<std::ptrdiff_t>(room));
    return;
  }
  unreported_.clear();
  uint8_t kept = 0;
  for (uint8_t i = 0; i < state_.recent_count; ++i) {
    const std::optional<SeqRange> block = ranges.containing(state_.recent[i]);
    if (!block) continue;  // passed by the cumulative ACK
    state_.recent[kept++] = state_.recent[i];
    out.add_sack(*block);
  }
  state_.recent_count = kept;
  std::fill(state_.recent.begin() + kept, state_.recent.end(), SeqNum());  // equal states are equal bytes
}

}  // namespace us
