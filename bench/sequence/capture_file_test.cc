#include "sequence/capture_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/tcp/segment_builder.h"

namespace us::bench {
namespace {

constexpr uint16_t kServer = 80, kClient = 40000;
constexpr uint32_t kClientFirst = 0xfffffff0, kServerFirst = 1000;

// A capture file in this machine's byte order, nanoseconds.
class FileMaker {
 public:
  FileMaker() {
    for (const uint32_t word : {0xa1b23c4du, 0x00040002u, 0u, 0u, 128u, 1u}) put(word);
  }
  void frame(uint32_t seconds, uint32_t nanos, ByteSpan bytes, size_t kept) {
    put(seconds), put(nanos), put(static_cast<uint32_t>(std::min(kept, bytes.size())));
    put(static_cast<uint32_t>(bytes.size()));
    out.insert(out.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(std::min(kept, bytes.size())));
  }
  Bytes out;

 private:
  void put(uint32_t word) {
    for (int i = 0; i < 4; ++i) out.push_back(static_cast<uint8_t>(word >> (8 * i)));
  }
};

Bytes tcp_frame(bool from_server, uint16_t flags, uint32_t seq, uint32_t ack, uint32_t payload) {
  const Endpoint server{IpAddress::v4(10, 50, 0, 10), kServer}, client{IpAddress::v4(10, 50, 0, 1), kClient};
  FrameTemplate t;
  t.source = from_server ? server : client;
  t.destination = from_server ? client : server;
  Segment s;
  s.flags = flags;
  s.seq = SeqNum(seq);
  s.ack = SeqNum(ack);
  s.window = 500;
  s.payload_length = payload;
  if ((flags & tcp_flag::kSyn) != 0) s.options.window_scale = 7;
  const Bytes data(payload, 0x5a);
  const ByteSpan span(data);
  const BuiltHeader header = SegmentBuilder(t).build(s, Gather(&span, 1), ChecksumMode::kFull);
  Bytes bytes(header.bytes.begin(), header.bytes.begin() + header.length);
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

Bytes short_connection() {
  FileMaker file;
  const uint16_t syn = tcp_flag::kSyn, ack = tcp_flag::kAck;
  file.frame(5, 100, tcp_frame(false, syn, kClientFirst, 0, 0), 128);
  file.frame(5, 200, tcp_frame(true, syn | ack, kServerFirst, kClientFirst + 1, 0), 128);
  file.frame(5, 300, tcp_frame(false, ack, kClientFirst + 1, kServerFirst + 1, 20), 128);
  file.frame(5, 400, tcp_frame(true, ack, kServerFirst + 1, kClientFirst + 21, 1000), 128);
  return std::move(file.out);
}

TEST(CaptureFile, CountsFromEachSidesSynAcrossTheWrapOfSequenceNumbers) {
  const auto read = read_capture(short_connection(), kServer);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 4u);
  EXPECT_EQ((*read)[0].flags, "S");
  EXPECT_EQ((*read)[1].flags, "SA");
  const CapturedSegment& request = (*read)[2];
  EXPECT_EQ(request.at_ns, 5'000'000'300);
  EXPECT_EQ(request.client_port, kClient);
  EXPECT_FALSE(request.from_server);
  EXPECT_EQ(request.sequence, 1);
  EXPECT_EQ(request.bytes, 20u);
  EXPECT_EQ(request.acknowledged, 1);
  const CapturedSegment& answer = (*read)[3];
  EXPECT_TRUE(answer.from_server);
  EXPECT_EQ(answer.sequence, 1);
  EXPECT_EQ(answer.bytes, 1000u);  // though only 128 bytes of the frame were kept
  EXPECT_EQ(answer.acknowledged, 21);
  EXPECT_EQ(answer.window, 500u << 7);
}

TEST(CaptureFile, AFileThatEndsInTheMiddleOfAFrameIsReadUpToThere) {
  Bytes file = short_connection();
  file.resize(file.size() - 30);
  const auto read = read_capture(file, kServer);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->size(), 3u);
}

TEST(CaptureFile, AConnectionWithoutItsSynsIsLeftOut) {
  FileMaker file;
  file.frame(5, 400, tcp_frame(true, tcp_flag::kAck, 77, 88, 1000), 128);
  const auto read = read_capture(file.out, kServer);
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->empty());
}

TEST(CaptureFile, OtherPortsAreLeftOut) {
  const auto read = read_capture(short_connection(), 443);
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->empty());
}

TEST(CaptureFile, WhatIsNoCaptureIsRefused) {
  EXPECT_FALSE(read_capture(Bytes(10, 0), kServer));
  EXPECT_FALSE(read_capture(Bytes(100, 0x41), kServer));
}

}  // namespace
}  // namespace us::bench
