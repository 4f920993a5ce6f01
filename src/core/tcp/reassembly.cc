#include "core/tcp/reassembly.h"

#include <algorithm>

#include "base/check.h"

namespace us {

namespace {

// Stores `range` of the payload that begins at `first`; returns the end of what was stored.
SeqNum store_part(SeqNum first, Gather payload, SeqRange range, RelayBuffer& buffer) {
  size_t skip = first.distance_to(range.start);
  SeqNum at = range.start;
  for (ByteSpan piece : payload) {
    if (at == range.end) break;
    if (skip >= piece.size()) {
      skip -= piece.size();
      continue;
    }
    const size_t n = std::min<size_t>(piece.size() - skip, at.distance_to(range.end));
    const uint32_t stored = buffer.store(at, piece.subspan(skip, n));
    at += stored;
    if (stored != n) break;
    skip = 0;
  }
  return at;
}

}  // namespace

Taken Reassembly::take(SeqNum first, Gather payload, SeqRange wanted, RelayBuffer& buffer) {
  if (wanted.empty()) return {};
  if (!held_.empty() || wanted.start != next_) return take_ahead(first, payload, wanted, buffer);
  // What nearly every segment is: the next one, with no hole.
  const SeqNum stored = store_part(first, payload, wanted, buffer);
  buffer.advance_to(stored);
  next_ = stored;
  return {{wanted.start, stored}, {}, stored == wanted.end};
}

Taken Reassembly::take_ahead(SeqNum first, Gather payload, SeqRange wanted, RelayBuffer& buffer) {
  Taken out;
  SeqNum at = wanted.start;
  while (at != wanted.end) {
    const SeqRange gap = held_.first_gap({at, wanted.end});
    if (gap.start != at && out.duplicate.empty()) out.duplicate = {at, gap.start};
    if (gap.empty()) break;
    out.complete = held_.has_room_for(gap);
    const SeqNum stored = out.complete ? store_part(first, payload, gap, buffer) : gap.start;
    if (stored != gap.start) {
      held_.add({gap.start, stored});
      if (out.stored.empty()) out.stored.start = gap.start;
      out.stored.end = stored;
    }
    out.complete = stored == gap.end;
    if (!out.complete) break;
    at = gap.end;
  }
  advance(buffer);
  return out;
}

bool Reassembly::take_fin(SeqNum at) {
  if (fin_) return *fin_ == at;
  const std::span<const SeqRange> ranges = held_.ranges();
  if (at.before(next_) || (!ranges.empty() && ranges.back().end.after(at)) || !held_.has_room_for({at, at + 1}))
    return false;
  fin_ = at;
  if (at == next_) {
    next_ += 1;
  } else {
    held_.add({at, at + 1});
  }
  return true;
}

void Reassembly::advance(RelayBuffer& buffer) {
  next_ = held_.advance(next_);
  buffer.advance_to(finished() ? *fin_ : next_);
}

Result<Reassembly> Reassembly::restore(SeqNum next, std::optional<SeqNum> fin, std::span<const SeqRange> held,
                                       const RelayBuffer& buffer) {
  Reassembly out(next);
  out.fin_ = fin;
  // The buffer's capacity may have been lowered since; has_stored() knows what is there.
  const SeqNum limit = buffer.end() + RelayBuffer::kCapacityMax;
  if (fin && !fin->in_range(buffer.end(), limit))
    return fail(ErrorKind::kProtocol, "reassembly: FIN out of the window");
  if (buffer.end() != (out.finished() ? *fin : next))
    return fail(ErrorKind::kProtocol, "reassembly: buffer ends elsewhere");
  US_ASSIGN(out.held_, RangeSet::restore(held, next, fin ? *fin + 1 : limit, kRangesMax));
  for (SeqRange range : out.held_.ranges()) {
    if (fin && range.end == *fin + 1) range.end = *fin;
    if (!range.empty() && !buffer.has_stored(range)) return fail(ErrorKind::kProtocol, "reassembly: bytes are missing");
  }
  const bool fin_held = !held.empty() && fin && held.back().end == *fin + 1;
  if (fin && !out.finished() && !fin_held) return fail(ErrorKind::kProtocol, "reassembly: FIN is not held");
  return out;
}

}  // namespace us
