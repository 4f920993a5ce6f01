// Page chunks against hostile bytes.  Seeds: test/golden/page_codec.
//
// The two ways of decoding, straight into a sink and through a StagedEpoch, must agree on what is valid and on what it
// says.  And whatever pages are made of the input must come back from the encoder.
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>

#include "base/check.h"
#include "core/memory/page_codec.h"
#include "core/memory/staged_epoch.h"

using namespace us;

namespace {

constexpr uint64_t kRamPages = 512;
using Page = std::array<uint8_t, kPageSize>;

class Ram : public PageSink {
 public:
  void apply(PageIndex page, PageSpan bytes) override {
    US_CHECK(page.value() < kRamPages);
    std::copy(bytes.begin(), bytes.end(), pages[page.value()].begin());
  }
  void apply_zero(PageIndex first, uint64_t count) override {
    US_CHECK(count > 0 && first.value() + count <= kRamPages);
    for (uint64_t i = 0; i < count; ++i) pages[first.value() + i] = Page{};
  }
  std::map<uint64_t, Page> pages;
};

void decode_both_ways(ByteSpan chunk) {
  Ram direct;
  PageDecoder decoder(kRamPages);
  const Result<uint64_t> decoded = decoder.decode(chunk, direct);

  StagedEpoch staged(kRamPages, 8 << 20);
  US_CHECK(staged.begin(Epoch{1}, {decoded ? *decoded : kRamPages, 0, 0}));
  const bool accepted = staged.add_pages(chunk, 1).has_value();
  US_CHECK(accepted == decoded.has_value());
  if (!accepted) return;
  ChunkDigest digest;
  digest.add(1);
  US_CHECK(staged.end(*decoded, 1, digest.value()));
  Ram late;
  staged.apply_to(late);
  US_CHECK(direct.pages == late.pages);
  US_CHECK(direct.pages.size() == *decoded);
}

// Two bytes make a page: how far from the last one, and what it is filled with.
void round_trip(ByteSpan in, PageMode mode) {
  std::map<uint64_t, Page> pages;
  uint64_t index = 0;
  for (size_t at = 0; at + 1 < in.size() && pages.size() < 150; at += 2) {
    index += 1 + in[at] % 3;  // at most 450: inside RAM
    Page& page = pages[index];
    for (size_t i = 0; i < kPageSize; ++i)
      page[i] = in[at + 1] == 0 ? uint8_t{0} : static_cast<uint8_t>(in[(at + i * in[at + 1]) % in.size()] ^ (i >> 4));
  }
  PageEncoder encoder(mode, kPageChunkBytesMin);
  PageDecoder decoder(kRamPages);
  Ram ram;
  Bytes chunk;
  encoder.begin(chunk);
  for (const auto& [number, page] : pages) {
    if (encoder.add(PageIndex{number}, page)) continue;
    encoder.finish();
    US_CHECK(decoder.decode(chunk, ram));
    chunk.clear();
    encoder.begin(chunk);
    US_CHECK(encoder.add(PageIndex{number}, page));
  }
  encoder.finish();
  US_CHECK(decoder.decode(chunk, ram));
  US_CHECK(ram.pages == pages);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteSpan in(data, size);
  decode_both_ways(in);
  if (size > 0 && size < 1000) round_trip(in, static_cast<PageMode>(data[0] % 3));
  return 0;
}
