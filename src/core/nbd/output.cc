#include "core/nbd/output.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace us {
namespace {

constexpr std::array<uint8_t, 64 * 1024> kZeroes{};
// A header buffer is not joined to past this size.
constexpr size_t kHeaderBufferBytes = 4096;

}  // namespace

void NbdOutput::append(ByteSpan bytes) {
  if (bytes.empty()) return;
  header_bytes_ += bytes.size();
  const bool join = !segments_.empty() && segments_.back().is_header() &&
                    segments_.back().bytes.size() + bytes.size() <= kHeaderBufferBytes;
  if (!join) segments_.emplace_back();
  Bytes& to = segments_.back().bytes;
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void NbdOutput::append(AlignedBuffer data) {
  if (data.empty()) return;
  segments_.emplace_back().data = std::move(data);
}

void NbdOutput::append_zeroes(uint32_t length) {
  if (length > 0) segments_.emplace_back().zeroes = length;
}

void NbdOutput::gather(std::vector<ByteSpan>& into, size_t pieces_max) const {
  into.clear();
  size_t skip = front_sent_;
  for (const Segment& s : segments_) {
    size_t left = s.size() - skip;
    if (s.zeroes == 0) {
      if (into.size() == pieces_max) return;
      into.push_back((s.is_header() ? ByteSpan(s.bytes) : s.data.span()).subspan(skip));
      left = 0;
    }
    for (; left > 0; left -= into.back().size()) {
      if (into.size() == pieces_max) return;
      into.push_back(ByteSpan(kZeroes).first(std::min(left, kZeroes.size())));
    }
    skip = 0;
  }
}

uint64_t NbdOutput::sent(size_t size) {
  uint64_t data = 0;
  size += front_sent_;
  front_sent_ = 0;
  while (size > 0) {
    US_CHECK(!segments_.empty());
    const Segment& front = segments_.front();
    if (size < front.size()) {
      front_sent_ = size;
      break;
    }
    size -= front.size();
    if (front.is_header())
      header_bytes_ -= front.size();
    else
      data += front.size();
    segments_.pop_front();
  }
  return data;
}

void NbdOutput::clear() {
  segments_.clear();
  front_sent_ = 0;
  header_bytes_ = 0;
}

}  // namespace us
