#include "core/tcp/checksum.h"

#include <cstring>

namespace us {

namespace {

constexpr uint8_t kTcp = 6;

uint64_t fold_to_16(uint64_t sum) {
  sum = (sum & 0xffffffffu) + (sum >> 32);
  sum = (sum & 0xffffffffu) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

// Sum of little-endian 32-bit words, the last one padded with zeros.  Four accumulators, so that the additions do
// not wait for each other.
uint64_t sum_words(ByteSpan bytes) {
  uint64_t a = 0, b = 0, c = 0, d = 0;
  const uint8_t* p = bytes.data();
  size_t n = bytes.size();
  for (; n >= 32; p += 32, n -= 32) {
    const uint64_t w0 = load_le<uint64_t>(p), w1 = load_le<uint64_t>(p + 8);
    const uint64_t w2 = load_le<uint64_t>(p + 16), w3 = load_le<uint64_t>(p + 24);
    a += (w0 & 0xffffffffu) + (w0 >> 32);
    b += (w1 & 0xffffffffu) + (w1 >> 32);
    c += (w2 & 0xffffffffu) + (w2 >> 32);
    d += (w3 & 0xffffffffu) + (w3 >> 32);
  }
  for (; n >= 4; p += 4, n -= 4) a += load_le<uint32_t>(p);
  if (n > 0) {
    uint8_t tail[4] = {};
    std::memcpy(tail, p, n);
    a += load_le<uint32_t>(tail);
  }
  return a + b + c + d;
}

}  // namespace

void InternetSum::add(ByteSpan bytes) {
  const uint64_t folded = fold_to_16(sum_words(bytes));
  sum_ += odd_ ? byte_swap(static_cast<uint16_t>(folded)) : folded;
  odd_ ^= (bytes.size() & 1) != 0;
}

void InternetSum::add(Gather pieces) {
  for (ByteSpan piece : pieces) add(piece);
}

uint16_t InternetSum::folded() const { return byte_swap(static_cast<uint16_t>(fold_to_16(sum_))); }

InternetSum tcp_pseudo_header_sum(ByteSpan source, ByteSpan destination, uint32_t tcp_length) {
  InternetSum sum;
  sum.add(source);
  sum.add(destination);
  sum.add_u16(kTcp);
  sum.add_u32(tcp_length);
  return sum;
}

}  // namespace us
