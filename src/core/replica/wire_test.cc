#include "core/replica/wire.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "core/replica/frame_parser.h"
#include "core/replica/wire_samples.h"
#include "core/replica/wire_text.h"

namespace us {
namespace {

Frame frame_of(FrameType type, ByteSpan payload) { return Frame{type, 0, payload}; }

ByteSpan payload_of(const Bytes& frame) { return ByteSpan(frame).subspan(kFrameHeaderBytes); }

FrameType type_of(const Bytes& frame) { return static_cast<FrameType>(load_le<uint16_t>(frame.data() + 6)); }

Result<Message> decode_bytes(const Bytes& frame) { return decode(frame_of(type_of(frame), payload_of(frame))); }

// Compares by encoding: two messages are equal if and only if their bytes are.
void expect_round_trip(const Message& message) {
  const Bytes bytes = encode(message);
  const Result<Message> back = decode_bytes(bytes);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(message_type(*back), message_type(message));
  EXPECT_EQ(encode(*back), bytes);
}

// What is left over when a chunk is cut is a shorter chunk; its own codec judges it.
bool ends_in_raw_bytes(FrameType type) {
  return type == FrameType::kPageChunk || type == FrameType::kDeviceStateChunk || type == FrameType::kSideStateChunk ||
         type == FrameType::kRelayLogChunk || type == FrameType::kAuditDigests || type == FrameType::kAuditRegion ||
         type == FrameType::kDiskMarks || type == FrameType::kDiskRecords || type == FrameType::kDiskSums ||
         type == FrameType::kDiskSumAnswers || type == FrameType::kDisksEnd;
}

TEST(Wire, EveryMessageComesBackAsItWasSent) {
  for (const Message& message : wire_samples::messages()) expect_round_trip(message);
}

TEST(Wire, ThereIsASampleOfEveryTypeAndEveryTypeHasItsOwnNumber) {
  std::set<FrameType> types;
  for (const Message& message : wire_samples::messages()) types.insert(message_type(message));
  EXPECT_EQ(types.size(), std::variant_size_v<Message>);
  for (const FrameType type : types) EXPECT_TRUE(is_frame_type(type));
}

TEST(Wire, HelloKeepsEveryField) {
  const Hello sent = wire_samples::hello();
  const Result<Message> back = decode_bytes(encode(sent));
  ASSERT_TRUE(back);
  EXPECT_EQ(std::get<Hello>(*back), sent);
}

TEST(Wire, HelloReplyKeepsEveryField) {
  const HelloReply sent = wire_samples::hello_reply();
  const Result<Message> back = decode_bytes(encode(sent));
  ASSERT_TRUE(back);
  EXPECT_EQ(std::get<HelloReply>(*back), sent);
}

TEST(Wire, ChunksBorrowThePayload) {
  const Bytes bytes = encode(PageChunk{PageScope::kEpoch, 5, wire_samples::kBytes});
  const Result<Message> back = decode_bytes(bytes);
  ASSERT_TRUE(back);
  const PageChunk& chunk = std::get<PageChunk>(*back);
  EXPECT_EQ(chunk.scope, PageScope::kEpoch);
  EXPECT_EQ(chunk.number, 5u);
  EXPECT_EQ(chunk.encoded.data() + chunk.encoded.size(), bytes.data() + bytes.size());
}

TEST(Wire, APayloadCutAtAnyOffsetIsRefused) {
  for (const Message& message : wire_samples::messages()) {
    const Bytes bytes = encode(message);
    const ByteSpan payload = payload_of(bytes);
    const size_t raw = ends_in_raw_bytes(type_of(bytes)) ? wire_samples::kBytes.size() : 0;
    for (size_t n = 0; n + raw < payload.size(); ++n) {
      const Result<Message> cut = decode(frame_of(type_of(bytes), payload.first(n)));
      ASSERT_FALSE(cut) << frame_type_name(type_of(bytes)) << " cut to " << n;
      EXPECT_EQ(cut.error().kind, ErrorKind::kProtocol);
      EXPECT_TRUE(cut.error().message.starts_with(frame_type_name(type_of(bytes)))) << cut.error().message;
    }
  }
}

TEST(Wire, BytesLeftOverAreRefused) {
  for (const Message& message : wire_samples::messages()) {
    Bytes bytes = encode(message);
    if (ends_in_raw_bytes(type_of(bytes))) continue;
    bytes.push_back(0);
    EXPECT_FALSE(decode_bytes(bytes)) << frame_type_name(type_of(bytes));
  }
}

TEST(Wire, AnUnknownTypeIsRefused) {
  for (const unsigned number : {0x0000, 0x0004, 0x0062, 0x0072, 0x008a, 0x0095, 0xffff}) {
    const auto type = static_cast<FrameType>(number);
    EXPECT_FALSE(is_frame_type(type));
    EXPECT_EQ(payload_bytes_max(type), 0u);
    EXPECT_FALSE(decode(frame_of(type, {})));
  }
}

// Sets the payload byte `at` to `value` and decodes.
Result<Message> decode_with(const Message& message, size_t at, uint8_t value) {
  Bytes bytes = encode(message);
  bytes[kFrameHeaderBytes + at] = value;
  return decode_bytes(bytes);
}

TEST(Wire, ValuesOutsideOfAnEnumerationAreRefused) {
  EXPECT_FALSE(decode_with(wire_samples::hello_reply(), 0, 11));
  EXPECT_FALSE(decode_with(Bye{}, 0, 0));
  EXPECT_FALSE(decode_with(Bye{}, 0, 6));
  EXPECT_FALSE(decode_with(GuestEnded{}, 0, 0));
  EXPECT_FALSE(decode_with(GuestEnded{}, 0, 5));
  EXPECT_FALSE(decode_with(PageChunk{}, 0, 0));
  EXPECT_FALSE(decode_with(PageChunk{}, 0, 3));
  EXPECT_FALSE(decode_with(SideStateChunk{}, 8, 0));
  EXPECT_FALSE(decode_with(SideStateChunk{}, 8, kSideKinds + 1));
  const Result<Message> flag = decode_with(EpochBegin{}, 24, 2);
  ASSERT_FALSE(flag);
  EXPECT_EQ(flag.error().message, "EpochBegin: full is 2, not 0 or 1");
}

TEST(Wire, TextOverItsLimitIsRefused) {
  Bytes payload;
  ByteWriter(payload).text(std::string(kNameBytesMax + 1, 'x'));
  const Result<Message> refused = decode(frame_of(FrameType::kHandoverRequest, payload));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "HandoverRequest: requested_by of 257 bytes, more than the limit of 256");

  payload.clear();
  ByteWriter(payload).text(std::string(kNameBytesMax, 'x'));
  EXPECT_TRUE(decode(frame_of(FrameType::kHandoverRequest, payload)));
}

TEST(Wire, TextThatCouldHarmATerminalIsRefused) {
  Bytes payload;
  ByteWriter(payload).text("\x1b[2Jgone");
  EXPECT_FALSE(decode(frame_of(FrameType::kHandoverRequest, payload)));
}

TEST(Wire, TextThatIsTooLongOrUncleanIsMendedWhenSent) {
  const Bytes bytes = encode(HandoverAbort{std::string(2 * kReasonBytesMax, 'x') + "\x01"});
  const Result<Message> back = decode_bytes(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(std::get<HandoverAbort>(*back).reason, std::string(kReasonBytesMax, 'x'));
}

TEST(Wire, DurationsThatDoNotFitAreClamped) {
  Hello hello;
  hello.epoch_length = Duration::seconds(10'000);
  hello.detection_time = Duration::seconds(-1);
  const Result<Message> back = decode_bytes(encode(hello));
  ASSERT_TRUE(back);
  EXPECT_EQ(std::get<Hello>(*back).epoch_length, Duration::micros(0xffffffff));
  EXPECT_EQ(std::get<Hello>(*back).detection_time, Duration{});
}

TEST(Wire, TheLargestMessagesFitTheirFrames) {
  Hello hello;
  for (std::string* s : {&hello.vm_name, &hello.node, &hello.qemu_version, &hello.machine}) *s = std::string(2000, 'x');
  hello.definition = std::string(100'000, 'x');
  expect_round_trip(hello);
  const Bytes pages(kPageChunkBytesMax);
  expect_round_trip(PageChunk{PageScope::kEpoch, 1, pages});
  const Bytes state(kStateChunkBytesMax);
  expect_round_trip(DeviceStateChunk{Epoch{1}, state});
  expect_round_trip(SideStateChunk{Epoch{1}, SideKind::kRelay, state});
  const Bytes records(kRelayLogRecordsBytesMax);
  expect_round_trip(RelayLogChunk{LogPosition{1}, 1, records});
  const Bytes digests(kAuditDigestBytesMax);
  expect_round_trip(AuditDigests{Epoch{1}, 7168, 0, digests});
  const Bytes hashes(kAuditRegionBytesMax);
  expect_round_trip(AuditRegion{Epoch{1}, 0, hashes});
}

TEST(Wire, ChunkDataOverTheLimitOfTheMessageIsRefusedEvenWhereTheFrameHasRoom) {
  Bytes payload(8 + kStateChunkBytesMax + 1);
  EXPECT_FALSE(decode(frame_of(FrameType::kDeviceStateChunk, payload)));
  payload.pop_back();
  EXPECT_TRUE(decode(frame_of(FrameType::kDeviceStateChunk, payload)));
}

TEST(Wire, TheHandshakeTravelsUnderItsOwnVersion) {
  const uint16_t other = 77;
  EXPECT_EQ(load_le<uint16_t>(encode(Hello{}, other).data() + 4), kHandshakeVersion);
  EXPECT_EQ(load_le<uint16_t>(encode(HelloReply{}, other).data() + 4), kHandshakeVersion);
  EXPECT_EQ(load_le<uint16_t>(encode(Bye{}, other).data() + 4), kHandshakeVersion);
  EXPECT_EQ(load_le<uint16_t>(encode(Ack{}, other).data() + 4), other);
}

TEST(Wire, VersionNegotiationTakesTheHighestCommonOne) {
  EXPECT_EQ(negotiate_version(1, 1), 1);
  EXPECT_EQ(negotiate_version(0, 9), kProtocolVersionMax);
  EXPECT_EQ(negotiate_version(kProtocolVersionMax + 1, kProtocolVersionMax + 2), std::nullopt);
  EXPECT_EQ(negotiate_version(0, 0), std::nullopt);
  EXPECT_EQ(negotiate_version(2, 1), std::nullopt);
}

// ---- random messages ----

std::string any_text() { return clean_text(*rc::gen::arbitrary<std::string>(), kNameBytesMax); }

uint32_t any_micros() { return *rc::gen::arbitrary<uint32_t>(); }

template <typename T>
T any() {
  return *rc::gen::arbitrary<T>();
}

RC_GTEST_PROP(WireProperty, AnyHelloComesBackAsItWasSent, ()) {
  Hello m;
  m.version_min = any<uint16_t>();
  m.version_max = any<uint16_t>();
  m.session = SessionId{any<uint64_t>()};
  m.generation = Generation{any<uint64_t>()};
  m.vm_name = any_text();
  m.node = any_text();
  m.qemu_version = any_text();
  m.machine = any_text();
  m.definition_hash = any<uint64_t>();
  m.definition = any_text();
  m.ram_bytes = any<uint64_t>();
  m.page_bytes = any<uint32_t>();
  m.epoch_length = Duration::micros(any_micros());
  m.heartbeat_interval = Duration::micros(any_micros());
  m.detection_time = Duration::micros(any_micros());
  m.heartbeat_port = any<uint16_t>();
  const Result<Message> back = decode_bytes(encode(m));
  RC_ASSERT(back.has_value());
  RC_ASSERT(std::get<Hello>(*back) == m);
}

RC_GTEST_PROP(WireProperty, AnyEpochBeginAndEndComeBackAsTheyWereSent, ()) {
  const EpochBegin begin{Epoch{any<uint64_t>()}, EpochSize{any<uint64_t>(), any<uint32_t>(), any<uint32_t>()},
                         any<bool>(), any<bool>()};
  const Result<Message> back = decode_bytes(encode(begin));
  RC_ASSERT(back.has_value());
  RC_ASSERT(std::get<EpochBegin>(*back) == begin);

  const EpochEnd end{Epoch{any<uint64_t>()}, any<uint64_t>(), any<uint32_t>(), any<uint64_t>()};
  const Result<Message> end_back = decode_bytes(encode(end));
  RC_ASSERT(end_back.has_value());
  RC_ASSERT(std::get<EpochEnd>(*end_back) == end);
}

RC_GTEST_PROP(WireProperty, AnyPayloadOfAnyTypeIsRefusedOrIsExactlyWhatItDecodesTo, ()) {
  const auto samples = wire_samples::messages();
  const Message& sample = samples[*rc::gen::inRange<size_t>(0, samples.size())];
  Bytes frame = encode(sample);
  const size_t payload = frame.size() - kFrameHeaderBytes;
  for (int i = *rc::gen::inRange(1, 4); i > 0 && payload > 0; --i)
    frame[kFrameHeaderBytes + *rc::gen::inRange<size_t>(0, payload)] = any<uint8_t>();
  const Result<Message> got = decode_bytes(frame);
  if (got) {
    const Bytes again = encode(*got);
    RC_ASSERT(Bytes(again.begin() + kFrameHeaderBytes, again.end()) ==
              Bytes(frame.begin() + kFrameHeaderBytes, frame.end()));
  }
}

}  // namespace
}  // namespace us
