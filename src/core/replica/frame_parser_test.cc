#include "core/replica/frame_parser.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "core/replica/wire.h"
#include "core/replica/wire_samples.h"

namespace us {
namespace {

FrameParser established() {
  FrameParser parser;
  parser.establish(kProtocolVersionMax);
  return parser;
}

Bytes all_samples() {
  Bytes stream;
  for (const Message& message : wire_samples::messages()) encode_to(stream, message);
  return stream;
}

// The frames that come out of `stream` in slices of `slice` bytes, joined together again.
Bytes frames_of(FrameParser& parser, ByteSpan stream, size_t slice, Status* status = nullptr) {
  Bytes out;
  const auto collect = [&out](const Frame& frame) -> Status {
    US_ASSIGN(const Message message, decode(frame));
    encode_to(out, message);
    return {};
  };
  while (!stream.empty()) {
    const size_t n = std::min(slice, stream.size());
    const Status fed = parse_frames(parser, stream.first(n), collect);
    if (status != nullptr) *status = fed;
    if (!fed) break;
    stream = stream.subspan(n);
  }
  return out;
}

std::string error_of(ByteSpan stream) {
  FrameParser parser = established();
  Status status;
  frames_of(parser, stream, stream.size(), &status);
  return status ? std::string() : status.error().message;
}

TEST(FrameParser, YieldsTheSameFramesWhateverTheSlices) {
  const Bytes stream = all_samples();
  for (const size_t slice :
       {size_t{1}, size_t{2}, size_t{7}, size_t{19}, size_t{20}, size_t{21}, size_t{1000}, stream.size()}) {
    FrameParser parser = established();
    EXPECT_EQ(frames_of(parser, stream, slice), stream) << slice;
    EXPECT_EQ(parser.pending_bytes(), 0u);
  }
}

TEST(FrameParser, AStreamCutAnywhereYieldsOnlyItsWholeFrames) {
  const Bytes ack = encode(Ack{Epoch{1}});
  for (const Message& message : wire_samples::messages()) {
    const Bytes bytes = encode(message);
    for (size_t n = 0; n < bytes.size(); ++n) {
      Bytes stream = ack;
      stream.insert(stream.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
      FrameParser parser = established();
      Status status;
      EXPECT_EQ(frames_of(parser, stream, stream.size(), &status), ack);
      EXPECT_TRUE(status);
      EXPECT_EQ(parser.pending_bytes(), n);
    }
  }
}

TEST(FrameParser, AFlippedBitAnywhereYieldsNoFrame) {
  for (const Message& message : wire_samples::messages()) {
    Bytes bytes = encode(message);
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
      FrameParser parser = established();
      EXPECT_TRUE(frames_of(parser, bytes, bytes.size()).empty()) << "bit " << bit;
      bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    }
  }
}

TEST(FrameParser, SaysWhatIsWrong) {
  Bytes bytes = encode(Ack{Epoch{1}});
  bytes[0] = 'X';
  EXPECT_EQ(error_of(bytes), "replication stream: a frame starts with 0x50525358, not with the magic 0x50525355");

  bytes = encode(Ack{Epoch{1}}, 9);
  EXPECT_EQ(error_of(bytes),
            "replication stream: Ack of protocol version 9, expected " + std::to_string(kProtocolVersionMax));

  bytes = encode(Ack{Epoch{1}});
  store_le<uint16_t>(bytes.data() + 6, 0x72);
  EXPECT_EQ(error_of(bytes), "replication stream: unknown frame type 0x0072");

  bytes = encode(Ack{Epoch{1}});
  store_le<uint32_t>(bytes.data() + 8, kControlPayloadMax + 1);
  EXPECT_EQ(error_of(bytes), "replication stream: Ack of 65537 bytes, more than the limit of 65536");

  bytes = encode(Ack{Epoch{1}});
  bytes.back() ^= 1;
  EXPECT_NE(error_of(bytes).find("Ack of 8 bytes has checksum"), std::string::npos) << error_of(bytes);
}

TEST(FrameParser, TheFirstErrorIsFinal) {
  FrameParser parser = established();
  Bytes bytes = encode(Ack{Epoch{1}});
  bytes[0] = 'X';
  parser.feed(bytes);
  const auto first = parser.next();
  ASSERT_FALSE(first);
  parser.feed(encode(Ack{Epoch{1}}));
  const auto second = parser.next();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message, first.error().message);
}

TEST(FrameParser, ABadHeaderIsRefusedBeforeItsPayloadComes) {
  Bytes bytes = encode(Ack{Epoch{1}});
  store_le<uint32_t>(bytes.data() + 8, 0xffffffff);
  bytes.resize(kFrameHeaderBytes);
  EXPECT_NE(error_of(bytes), "");
}

TEST(FrameParser, BeforeTheHelloIsAgreedOnlyTheHandshakeIsAccepted) {
  for (const Message& message : wire_samples::messages()) {
    FrameParser parser;
    const Bytes bytes = encode(message);
    const bool accepted = !frames_of(parser, bytes, bytes.size()).empty();
    EXPECT_EQ(accepted, is_handshake_type(message_type(message))) << frame_type_name(message_type(message));
    if (accepted) continue;
    EXPECT_NE(parser.next().error().message.find(" before the Hello was agreed"), std::string::npos);
    parser.establish(kProtocolVersionMax);
    EXPECT_FALSE(parser.next()) << "too late: the first error is final";
  }
}

TEST(FrameParser, ATypeThatTheAgreedVersionDoesNotHaveIsRefused) {
  const Bytes bytes = encode(CopyDropped{}, 1);
  FrameParser parser;
  parser.establish(1);
  ASSERT_EQ(parser.feed(bytes), bytes.size());
  const auto frame = parser.next();
  ASSERT_FALSE(frame);
  EXPECT_NE(frame.error().message.find("CopyDropped, which protocol version 1 does not have"), std::string::npos);
}

TEST(FrameParser, AcceptsWhatFollowsTheHelloInTheSameSlice) {
  Bytes stream = encode(wire_samples::hello());
  encode_to(stream, SyncBegin{5});
  FrameParser parser;
  ASSERT_EQ(parser.feed(stream), stream.size());
  auto hello = parser.next();
  ASSERT_TRUE(hello && *hello);
  EXPECT_EQ((*hello)->type, FrameType::kHello);
  parser.establish(kProtocolVersionMax);
  auto sync = parser.next();
  ASSERT_TRUE(sync && *sync);
  EXPECT_EQ((*sync)->type, FrameType::kSyncBegin);
}

TEST(FrameParser, MemoryIsBoundedWhateverThePeerAnnounces) {
  FrameParser stranger;
  Bytes header = encode(wire_samples::hello());
  store_le<uint32_t>(header.data() + 8, kControlPayloadMax);
  header.resize(kFrameHeaderBytes);
  const Bytes flood(8 << 20);
  stranger.feed(header);
  EXPECT_LT(stranger.feed(flood), 80'000u);
  EXPECT_LT(stranger.capacity(), 80'000u);

  FrameParser peer = established();
  const Bytes pages(kPageChunkBytesMax);
  Bytes frame = encode(PageChunk{PageScope::kEpoch, 1, pages});
  peer.feed(ByteSpan(frame).first(100));
  peer.feed(flood);
  EXPECT_LT(peer.capacity(), 1'400'000u);
}

TEST(FrameParser, FramesInTheBufferAreHandedOutWithoutACopy) {
  FrameParser parser = established();
  const Bytes stream = all_samples();
  const std::span<uint8_t> room = parser.room();
  std::copy(stream.begin(), stream.end(), room.begin());
  parser.filled(stream.size());
  std::vector<ByteSpan> payloads;
  for (;;) {
    auto frame = parser.next();
    ASSERT_TRUE(frame);
    if (!*frame) break;
    payloads.push_back((*frame)->payload);
  }
  ASSERT_EQ(payloads.size(), wire_samples::messages().size());
  EXPECT_EQ(payloads.front().data(), room.data() + kFrameHeaderBytes);
  for (const ByteSpan payload : payloads) {
    EXPECT_GE(payload.data(), room.data());
    EXPECT_LE(payload.data() + payload.size(), room.data() + stream.size());
  }
}

TEST(FrameParser, LongStreamsOfLargeFramesInRandomSlicesComeThroughWhole) {
  Rng rng(1);
  std::vector<Bytes> sent;
  Bytes stream;
  for (int i = 0; i < 40; ++i) {
    Bytes data(rng.below(rng.chance(0.3) ? kPageChunkBytesMax + 1 : 3000));
    for (size_t k = 0; k + 8 <= data.size(); k += 8) store_le(data.data() + k, rng.next());
    encode_to(stream, PageChunk{PageScope::kEpoch, static_cast<uint64_t>(i), data});
    sent.push_back(std::move(data));
  }
  FrameParser parser = established();
  size_t got = 0;
  for (size_t at = 0; at < stream.size();) {
    const std::span<uint8_t> room = parser.room();
    ASSERT_FALSE(room.empty());
    const size_t n = std::min({room.size(), stream.size() - at, static_cast<size_t>(1 + rng.below(700'000))});
    std::copy_n(stream.begin() + static_cast<ptrdiff_t>(at), n, room.begin());
    parser.filled(n);
    at += n;
    for (;;) {
      auto frame = parser.next();
      ASSERT_TRUE(frame) << frame.error().message;
      if (!*frame) break;
      auto message = decode(**frame);
      ASSERT_TRUE(message);
      const PageChunk& chunk = std::get<PageChunk>(*message);
      ASSERT_EQ(chunk.number, got);
      ASSERT_TRUE(std::equal(chunk.encoded.begin(), chunk.encoded.end(), sent[got].begin(), sent[got].end()));
      ++got;
    }
  }
  EXPECT_EQ(got, sent.size());
}

}  // namespace
}  // namespace us
