// Speed of the page codec and of the framing.  bytes_per_second counts raw page bytes; `ratio` is encoded to raw.
//
// Kinds of pages: zero; repeat (one word in four is random, so that LZ4 finds much); text (words of a small vocabulary,
// about what page cache and heap look like); random.
#include <benchmark/benchmark.h>

#include <array>
#include <string_view>

#include "base/check.h"
#include "base/rng.h"
#include "core/memory/page_codec.h"
#include "core/memory/staged_epoch.h"
#include "core/replica/frame_epoch.h"
#include "core/replica/frame_parser.h"

namespace us {
namespace {

enum Kind : int64_t { kZero, kRepeat, kText, kRandom };

constexpr size_t kPages = 4096;  // 16 MiB: more than the caches near the core hold

void fill_text(uint8_t* page, Rng& rng) {
  static constexpr std::string_view kWords[] = {"epoch ", "guest ",  "standby ", "commit\n", {"\0\0\0\0\0\0\0\0", 8},
                                                "0x7f",   "return ", "static",   "void ",    "struct{};\n",
                                                "page",   " = "};
  for (size_t at = 0; at < kPageSize;) {
    const std::string_view word = kWords[rng.below(std::size(kWords))];
    const size_t n = std::min(word.size(), kPageSize - at);
    std::copy_n(word.begin(), n, page + at);
    at += n;
    if (rng.chance(0.2) && at + 8 <= kPageSize) {
      store_le(page + at, rng.next());
      at += 8;
    }
  }
}

Bytes make_pages(Kind kind) {
  Bytes bytes(kPages * kPageSize);
  Rng rng(1);
  if (kind == kZero) return bytes;
  for (size_t p = 0; p < kPages; ++p) {
    uint8_t* page = bytes.data() + p * kPageSize;
    if (kind == kText) {
      fill_text(page, rng);
      continue;
    }
    const uint64_t word = rng.next();
    for (size_t at = 0; at < kPageSize; at += 8)
      store_le(page + at, kind == kRandom || at % 32 == 0 ? rng.next() : word);
  }
  return bytes;
}

PageSpan page_at(const Bytes& pages, size_t i) { return PageSpan(pages.data() + i * kPageSize, kPageSize); }

const char* name_of(Kind kind) { return std::array{"zero", "repeat", "text", "random"}[static_cast<size_t>(kind)]; }

void finish(benchmark::State& state, size_t encoded) {
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kPages * kPageSize));
  state.SetLabel(name_of(static_cast<Kind>(state.range(0))));
  state.counters["ratio"] = static_cast<double>(encoded) / (kPages * kPageSize);
}

// Pages to finished frames, checksum included: what the primary does.
void BM_EncodeFrames(benchmark::State& state) {
  const Bytes pages = make_pages(static_cast<Kind>(state.range(0)));
  size_t encoded = 0;
  PageFrameWriter writer(static_cast<PageMode>(state.range(1)), kPageChunkBytesDefault,
                         [&](Bytes frame, uint64_t) { encoded += frame.size(); });
  for (auto _ : state) {
    encoded = 0;
    writer.begin(PageScope::kEpoch, 1);
    for (size_t i = 0; i < kPages; ++i) writer.add(PageIndex{i}, page_at(pages, i));
    writer.finish();
  }
  finish(state, encoded);
}
BENCHMARK(BM_EncodeFrames)
    ->ArgNames({"kind", "mode"})
    ->ArgsProduct({{kZero, kRepeat, kText, kRandom},
                   {static_cast<int64_t>(PageMode::kAuto), static_cast<int64_t>(PageMode::kLz4),
                    static_cast<int64_t>(PageMode::kNone)}});

std::vector<Bytes> frames_of(Kind kind, PageMode mode) {
  const Bytes pages = make_pages(kind);
  std::vector<Bytes> frames;
  EpochFrameWriter writer(mode, kPageChunkBytesDefault,
                          [&](Bytes frame, uint64_t) { frames.push_back(std::move(frame)); });
  writer.begin(EpochBegin{Epoch{1}, {kPages, 0, 0}, false, false});
  for (size_t i = 0; i < kPages; ++i) writer.add_page(PageIndex{i}, page_at(pages, i));
  writer.end();
  return frames;
}

class CopySink : public PageSink {
 public:
  explicit CopySink(Bytes& ram) : ram_(ram) {}
  void apply(PageIndex page, PageSpan bytes) override {
    std::copy(bytes.begin(), bytes.end(), ram_.begin() + static_cast<ptrdiff_t>(page.value() * kPageSize));
  }
  void apply_zero(PageIndex first, uint64_t count) override {
    std::fill_n(ram_.begin() + static_cast<ptrdiff_t>(first.value() * kPageSize), count * kPageSize, uint8_t{0});
  }

 private:
  Bytes& ram_;
};

void receive(FrameParser& parser, StagedEpoch& staged, const std::vector<Bytes>& frames) {
  for (const Bytes& frame : frames) {
    const Status status = parse_frames(parser, frame, [&staged](const Frame& f) -> Status {
      US_ASSIGN(const Message message, decode(f));
      return stage_epoch_message(staged, message, f.checksum);
    });
    US_CHECK(status);
  }
  US_CHECK(staged.whole());
}

// Frames to a whole staged epoch: what the standby does before it acknowledges.
void BM_Stage(benchmark::State& state) {
  const std::vector<Bytes> frames = frames_of(static_cast<Kind>(state.range(0)), PageMode::kAuto);
  FrameParser parser;
  parser.establish(kProtocolVersionMax);
  StagedEpoch staged(kPages, 64 << 20);
  for (auto _ : state) {
    staged.clear();
    receive(parser, staged, frames);
  }
  size_t encoded = 0;
  for (const Bytes& frame : frames) encoded += frame.size();
  finish(state, encoded);
}
BENCHMARK(BM_Stage)->ArgName("kind")->DenseRange(kZero, kRandom);

// Staged epoch to RAM: what the standby does after it.
void BM_Apply(benchmark::State& state) {
  const std::vector<Bytes> frames = frames_of(static_cast<Kind>(state.range(0)), PageMode::kAuto);
  FrameParser parser;
  parser.establish(kProtocolVersionMax);
  StagedEpoch staged(kPages, 64 << 20);
  receive(parser, staged, frames);
  Bytes ram(kPages * kPageSize);
  CopySink sink(ram);
  for (auto _ : state) staged.apply_to(sink);
  finish(state, 0);
}
BENCHMARK(BM_Apply)->ArgName("kind")->DenseRange(kZero, kRandom);

void BM_ZeroTest(benchmark::State& state) {
  const Bytes pages = make_pages(static_cast<Kind>(state.range(0)));
  for (auto _ : state)
    for (size_t i = 0; i < kPages; ++i) benchmark::DoNotOptimize(is_zero_page(page_at(pages, i)));
  finish(state, 0);
}
BENCHMARK(BM_ZeroTest)->ArgName("kind")->Arg(kZero)->Arg(kRandom);

}  // namespace
}  // namespace us

BENCHMARK_MAIN();
