#include "core/replica/frame_epoch.h"

#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"
#include "core/replica/frame_parser.h"

namespace us {
namespace {

using Page = std::array<uint8_t, kPageSize>;

Page page_of(uint64_t seed) {
  Page page{};
  Rng rng(seed);
  for (size_t at = 0; at < kPageSize; at += 8) store_le(page.data() + at, rng.next());
  return page;
}

class Ram : public PageSink {
 public:
  void apply(PageIndex page, PageSpan bytes) override {
    std::copy(bytes.begin(), bytes.end(), pages[page.value()].begin());
  }
  void apply_zero(PageIndex first, uint64_t count) override {
    for (uint64_t i = 0; i < count; ++i) pages[first.value() + i] = Page{};
  }
  std::map<uint64_t, Page> pages;
};

constexpr uint64_t kRamPages = 1000;

struct Sent {
  Ram ram;
  Bytes device = Bytes(600'000, 0xdd);
  Bytes side = Bytes(300'000, 0x55);
  std::vector<Bytes> frames;
};

// 500 pages, every fifth of them zero, with much device and side state.
Sent send_epoch(uint64_t epoch) {
  Sent sent;
  for (uint64_t i = 0; i < 500; ++i) sent.ram.pages[i * 2] = i % 5 == 0 ? Page{} : page_of(i + epoch);
  EpochFrameWriter writer(PageMode::kAuto, kPageChunkBytesMin,
                          [&](Bytes frame, uint64_t) { sent.frames.push_back(std::move(frame)); });
  EpochBegin begin;
  begin.epoch = Epoch{epoch};
  begin.size = {500, static_cast<uint32_t>(sent.device.size()), static_cast<uint32_t>(sent.side.size())};
  writer.begin(begin);
  writer.add_side_state(SideKind::kRelay, sent.side);
  for (const auto& [index, page] : sent.ram.pages) writer.add_page(PageIndex{index}, page);
  writer.add_device_state(sent.device);
  writer.end();
  return sent;
}

Status receive(StagedEpoch& staged, const std::vector<Bytes>& frames) {
  FrameParser parser;
  parser.establish(kProtocolVersionMax);
  for (const Bytes& frame : frames) {
    US_TRY(parse_frames(parser, frame, [&staged](const Frame& f) -> Status {
      US_ASSIGN(const Message message, decode(f));
      return stage_epoch_message(staged, message, f.checksum);
    }));
  }
  return {};
}

TEST(FrameEpoch, ArrivesWholeAndExact) {
  const Sent sent = send_epoch(7);
  ASSERT_GT(sent.frames.size(), 15u);
  StagedEpoch staged(kRamPages, 8 << 20);
  const Status received = receive(staged, sent.frames);
  ASSERT_TRUE(received) << received.error().message;
  ASSERT_TRUE(staged.whole());
  EXPECT_EQ(staged.epoch(), Epoch{7});
  Ram ram;
  staged.apply_to(ram);
  EXPECT_TRUE(ram.pages == sent.ram.pages);
  EXPECT_TRUE(std::ranges::equal(staged.device_state(), sent.device));
  EXPECT_TRUE(std::ranges::equal(staged.side_state(SideKind::kRelay), sent.side));
  EXPECT_TRUE(staged.side_state(SideKind::kDiskBarrier).empty());
}

TEST(FrameEpoch, WithAnyFrameLostIsNotWhole) {
  const Sent sent = send_epoch(7);
  for (size_t lost = 0; lost < sent.frames.size(); ++lost) {
    std::vector<Bytes> frames = sent.frames;
    frames.erase(frames.begin() + static_cast<ptrdiff_t>(lost));
    StagedEpoch staged(kRamPages, 8 << 20);
    const Status received = receive(staged, frames);
    EXPECT_FALSE(staged.whole()) << "lost frame " << lost;
    EXPECT_EQ(received.has_value(), lost == sent.frames.size() - 1);
  }
}

TEST(FrameEpoch, WithTwoChunksSwappedIsNotWhole) {
  const Sent sent = send_epoch(7);
  for (size_t at = 1; at + 2 < sent.frames.size(); ++at) {
    std::vector<Bytes> frames = sent.frames;
    if (frames[at] == frames[at + 1]) continue;
    std::swap(frames[at], frames[at + 1]);
    StagedEpoch staged(kRamPages, 8 << 20);
    EXPECT_FALSE(receive(staged, frames));
    EXPECT_FALSE(staged.whole()) << "swapped " << at;
  }
}

TEST(FrameEpoch, WithAChunkOfAnotherEpochIsRefused) {
  const Sent seven = send_epoch(7);
  const Sent eight = send_epoch(8);
  for (size_t at = 1; at < seven.frames.size(); ++at) {
    std::vector<Bytes> frames = seven.frames;
    frames[at] = eight.frames[at];
    StagedEpoch staged(kRamPages, 8 << 20);
    const Status received = receive(staged, frames);
    ASSERT_FALSE(received) << at;
    EXPECT_TRUE(received.error().message.ends_with(" of epoch 8 inside epoch 7")) << received.error().message;
    EXPECT_FALSE(staged.whole());
  }
}

TEST(FrameEpoch, ASecondBeginningIsRefused) {
  const Sent sent = send_epoch(7);
  StagedEpoch staged(kRamPages, 8 << 20);
  EXPECT_FALSE(receive(staged, {sent.frames[0], sent.frames[0]}));

  staged.clear();
  ASSERT_TRUE(receive(staged, sent.frames));
  EXPECT_FALSE(receive(staged, {sent.frames[0]}));
  EXPECT_TRUE(staged.whole()) << "what is whole stays whole";
}

TEST(FrameEpoch, MessagesThatAreNoPartOfAnEpochAreRefused) {
  StagedEpoch staged(kRamPages, 8 << 20);
  EXPECT_FALSE(stage_epoch_message(staged, Ack{}, 0));
  ASSERT_TRUE(staged.begin(Epoch{1}, {}));
  EXPECT_FALSE(stage_epoch_message(staged, Hello{}, 0));
  const Bytes no_pages(16);
  EXPECT_FALSE(stage_epoch_message(staged, PageChunk{PageScope::kSync, 1, no_pages}, 0));
  EXPECT_TRUE(stage_epoch_message(staged, PageChunk{PageScope::kEpoch, 1, no_pages}, 0));
}

TEST(FrameEpoch, AnEmptyEpochIsAnEpoch) {
  std::vector<Bytes> frames;
  EpochFrameWriter writer(PageMode::kAuto, kPageChunkBytesDefault,
                          [&](Bytes frame, uint64_t) { frames.push_back(std::move(frame)); });
  writer.begin(EpochBegin{Epoch{1}, {}, false, false});
  writer.end();
  EXPECT_EQ(frames.size(), 2u);
  StagedEpoch staged(kRamPages, 8 << 20);
  ASSERT_TRUE(receive(staged, frames));
  EXPECT_TRUE(staged.whole());
}

TEST(FrameEpoch, SynchronisationRoundsUseTheSameChunks) {
  std::vector<Bytes> frames;
  PageFrameWriter writer(PageMode::kLz4, kPageChunkBytesMin,
                         [&](Bytes frame, uint64_t) { frames.push_back(std::move(frame)); });
  writer.begin(PageScope::kSync, 3);
  for (uint64_t i = 0; i < 100; ++i) writer.add(PageIndex{i}, page_of(i));
  EXPECT_EQ(writer.pages(), 100u);
  writer.finish();
  Ram ram;
  PageDecoder decoder(kRamPages);
  FrameParser parser;
  parser.establish(kProtocolVersionMax);
  uint64_t pages = 0;
  for (const Bytes& frame : frames) {
    ASSERT_TRUE(parse_frames(parser, frame, [&](const Frame& f) -> Status {
      US_ASSIGN(const Message message, decode(f));
      const PageChunk& chunk = std::get<PageChunk>(message);
      EXPECT_EQ(chunk.scope, PageScope::kSync);
      EXPECT_EQ(chunk.number, 3u);
      US_ASSIGN(const uint64_t n, decoder.decode(chunk.encoded, ram));
      pages += n;
      return {};
    }));
  }
  EXPECT_EQ(pages, 100u);
  for (uint64_t i = 0; i < 100; ++i) EXPECT_TRUE(ram.pages[i] == page_of(i));
}

}  // namespace
}  // namespace us
