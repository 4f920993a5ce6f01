#include "wire/link.h"

#include <utility>

namespace us {
namespace {

constexpr size_t kSpareMax = 4096;

}  // namespace

void Link::on_frame(ByteSpan frame, Instant now) {
  ++counters_.in;
  counters_.in_bytes += frame.size();
  const LinkModel::Verdict verdict = model_.on_frame(frame.size(), now);
  switch (verdict.fate) {
    case LinkModel::Fate::kLost:
      ++counters_.lost;
      return;
    case LinkModel::Fate::kQueueFull:
      ++counters_.queue_drops;
      return;
    case LinkModel::Fate::kDelivered:
      break;
  }
  put(frame, verdict.out);
  if (!verdict.duplicated) return;
  ++counters_.duplicated;
  put(frame, verdict.out);
}

void Link::put(ByteSpan frame, Instant due) {
  if (bytes_on_line_ + frame.size() > kBytesMax) {
    ++counters_.overruns;
    return;
  }
  Bytes copy;
  if (!spare_.empty()) {
    copy = std::move(spare_.back());
    spare_.pop_back();
  }
  copy.assign(frame.begin(), frame.end());
  bytes_on_line_ += frame.size();
  line_.push({due, next_number_++, std::move(copy)});
}

std::optional<ByteSpan> Link::poll(Instant now) {
  if (line_.empty() || line_.top().due > now) return std::nullopt;
  if (leaving_.capacity() > 0 && spare_.size() < kSpareMax) spare_.push_back(std::move(leaving_));
  // The top is const because changing its order would break the queue; its bytes have no part in that.
  leaving_ = std::move(const_cast<OnLine&>(line_.top()).frame);
  const uint64_t number = line_.top().number;
  line_.pop();
  bytes_on_line_ -= leaving_.size();
  ++counters_.out;
  counters_.out_bytes += leaving_.size();
  if (number < latest_out_)
    ++counters_.reordered;
  else
    latest_out_ = number;
  return ByteSpan(leaving_);
}

}  // namespace us
