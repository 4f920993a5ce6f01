// The file that the guest's HTTP server serves at /big and that the demo downloads.  It has any length and
// needs no storage: its bytes follow from a seed, so server and client know them without asking each other.
//
// One 64 KiB block of random bytes from the seed repeats for ever; the first 8 bytes of each 4 KiB page are
// replaced by the page's offset in the file (little endian).  A page that is lost, doubled, or out of place
// therefore changes the SHA-256 of the file, and producing it costs little more than a memory copy.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/rng.h"

namespace us::demo {

class BigFile {
 public:
  explicit BigFile(uint64_t seed) : block_(kBlock) {
    Rng rng(seed);
    for (size_t i = 0; i < kBlock; i += 8) store_le(&block_[i], rng.next());
  }

  // Fills `out` with the bytes of the file from `offset` on.
  void read(uint64_t offset, std::span<uint8_t> out) const {
    while (!out.empty()) {
      const size_t in_page = offset % kPage;
      const size_t n = std::min(out.size(), kPage - in_page);
      std::memcpy(out.data(), &block_[offset % kBlock], n);
      stamp(offset - in_page, in_page, out.first(n));
      out = out.subspan(n);
      offset += n;
    }
  }

 private:
  static constexpr size_t kBlock = 64 * 1024;
  static constexpr size_t kPage = 4096;
  static constexpr size_t kStamp = sizeof(uint64_t);

  // Overwrites what `out`, which starts `in_page` bytes into the page, has of the page's stamp.
  static void stamp(uint64_t page_offset, size_t in_page, std::span<uint8_t> out) {
    uint8_t raw[kStamp];
    store_le(raw, page_offset);
    for (size_t i = in_page; i < kStamp && i - in_page < out.size(); ++i) out[i - in_page] = raw[i];
  }

  std::vector<uint8_t> block_;
};

}  // namespace us::demo
