#include "core/tcp/relay_log.h"

#include <gtest/gtest.h>

#include "core/replica/frame_parser.h"
#include "core/replica/wire.h"
#include "core/tcp/relay_sample.h"

namespace us {
namespace {

// The records in frames, with their positions.  The bytes are those of the frames.
struct Sent {
  LogPosition position;
  RelayRecord record;
};

std::vector<Sent> records_in(const std::vector<Bytes>& frames) {
  std::vector<Sent> out;
  for (const Bytes& bytes : frames) {
    EXPECT_LE(bytes.size(), kFrameHeaderBytes + kStateFramePayloadMax);
    const Frame frame{FrameType::kRelayLogChunk, 0, ByteSpan(bytes).subspan(kFrameHeaderBytes)};
    EXPECT_EQ(load_le<uint64_t>(bytes.data() + 12), frame_checksum(bytes.data(), frame.payload));
    const Result<Message> message = decode(frame);
    if (!message) {
      ADD_FAILURE() << message.error().message;
      continue;
    }
    const auto& chunk = std::get<RelayLogChunk>(*message);
    ByteReader in(chunk.records);
    LogPosition at = chunk.first;
    for (uint32_t i = 0; i < chunk.count; ++i, ++at) out.push_back({at, *decode_relay_record(in)});
    EXPECT_TRUE(in.done());
  }
  return out;
}

Bytes pattern(size_t n) {
  Bytes bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 256);
  return bytes;
}

std::vector<uint64_t> acked(RelayLog& log, uint64_t position) {
  std::vector<uint64_t> out;
  EXPECT_TRUE(log.on_ack(LogPosition(position), [&](const DurableRecord& r) { out.push_back(r.position.value()); }));
  return out;
}

TEST(RelayLog, DoesNothingWithoutASession) {
  RelayLog log;
  const ByteSpan data(relay_sample::kData);
  EXPECT_EQ(log.append_open(0, relay_sample::new_flow(1)), LogPosition(0));
  EXPECT_EQ(log.append_ingress(0, FlowId(1), {SeqNum(0), SeqNum(5)}, false, Gather(&data, 1)), LogPosition(0));
  EXPECT_EQ(log.append_egress(0, FlowId(1), SeqNum(0), data), LogPosition(0));
  EXPECT_EQ(log.append_clock_bound(0, FlowId(1), 7), LogPosition(0));
  EXPECT_FALSE(log.has_frames());
  EXPECT_TRUE(log.take_frames().empty());
  EXPECT_EQ(log.backlog_bytes(), 0u);
  EXPECT_TRUE(log.on_ack(LogPosition(3), [](const DurableRecord&) { FAIL(); })) << "a late one is ignored";
}

TEST(RelayLog, SendsWhatWasAppendedInOrder) {
  RelayLog log;
  log.begin_session();
  const ByteSpan data(relay_sample::kData);
  EXPECT_EQ(log.append_open(1, relay_sample::busy_flow()), LogPosition(1));
  const ByteSpan pieces[] = {data.first(2), data.subspan(2, 0), data.subspan(2)};
  EXPECT_EQ(log.append_ingress(1, FlowId(77), {SeqNum(0xfffffffe), SeqNum(4)}, true, pieces), LogPosition(2));
  EXPECT_TRUE(log.has_frames());
  std::vector<Bytes> frames = log.take_frames();
  EXPECT_EQ(frames.size(), 1u);
  EXPECT_FALSE(log.has_frames());
  EXPECT_EQ(log.append_egress(2, FlowId(78), SeqNum(100), data), LogPosition(3));
  EXPECT_EQ(log.append_clock_bound(3, FlowId(79), 0xabcd), LogPosition(4));
  for (Bytes& frame : log.take_frames()) frames.push_back(std::move(frame));

  const std::vector<Sent> sent = records_in(frames);
  ASSERT_EQ(sent.size(), 4u);
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(sent[i].position, LogPosition(i + 1));
  EXPECT_EQ(std::get<OpenRecord>(sent[0].record), (OpenRecord{1, relay_sample::busy_flow()}));
  const auto& ingress = std::get<IngressRecord>(sent[1].record);
  EXPECT_EQ(ingress.stored, (SeqRange{SeqNum(0xfffffffe), SeqNum(4)}));
  EXPECT_TRUE(ingress.fin);
  EXPECT_TRUE(std::equal(ingress.bytes.begin(), ingress.bytes.end(), data.begin(), data.end()));
  const auto& egress = std::get<EgressRecord>(sent[2].record);
  EXPECT_EQ(egress.flow, FlowId(78));
  EXPECT_EQ(egress.start, SeqNum(100));
  EXPECT_TRUE(std::equal(egress.bytes.begin(), egress.bytes.end(), data.begin(), data.end()));
  const auto& bound = std::get<ClockBoundRecord>(sent[3].record);
  EXPECT_EQ(bound.nic, 3);
  EXPECT_EQ(bound.bound, 0xabcdu);
}

TEST(RelayLog, SplitsWhatIsTooLongForARecordAndKeepsTheFinForTheLast) {
  RelayLog log;
  log.begin_session();
  const Bytes bytes = pattern(3 * kRelayRecordBytesMax);
  const ByteSpan all(bytes);
  const ByteSpan pieces[] = {all.first(100'000), all.subspan(100'000)};
  const SeqNum start(0xffff0000);
  const SeqNum end = start + static_cast<uint32_t>(bytes.size());
  EXPECT_EQ(log.append_ingress(0, FlowId(1), {start, end + 1}, true, pieces), LogPosition(3));
  EXPECT_EQ(log.append_egress(0, FlowId(1), start, pieces), LogPosition(6));
  EXPECT_EQ(log.append_ingress(0, FlowId(1), {end, end + 1}, true, {}), LogPosition(7)) << "a FIN alone";

  const std::vector<Bytes> frames = log.take_frames();
  const std::vector<Sent> sent = records_in(frames);
  ASSERT_EQ(sent.size(), 7u);
  Bytes ingress, egress;
  for (size_t i = 0; i < 3; ++i) {
    const auto& in = std::get<IngressRecord>(sent[i].record);
    EXPECT_EQ(in.stored.start, start + static_cast<uint32_t>(ingress.size()));
    EXPECT_EQ(in.fin, i == 2);
    ingress.insert(ingress.end(), in.bytes.begin(), in.bytes.end());
    const auto& out = std::get<EgressRecord>(sent[3 + i].record);
    EXPECT_EQ(out.start, start + static_cast<uint32_t>(egress.size()));
    egress.insert(egress.end(), out.bytes.begin(), out.bytes.end());
  }
  EXPECT_EQ(std::get<IngressRecord>(sent[2].record).stored.end, end + 1);
  EXPECT_EQ(ingress, bytes);
  EXPECT_EQ(egress, bytes);
  // The ranges that become durable are the same ones.
  std::vector<DurableRecord> durable;
  ASSERT_TRUE(log.on_ack(LogPosition(7), [&](const DurableRecord& r) { durable.push_back(r); }));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(durable[i].range, std::get<IngressRecord>(sent[i].record).stored);
    EXPECT_EQ(durable[i].fin, i == 2);
    EXPECT_EQ(durable[3 + i].range.start, std::get<EgressRecord>(sent[3 + i].record).start);
  }
}

TEST(RelayLog, FramesHoldNoMoreThanTheirLimit) {
  RelayLog log;
  log.begin_session();
  const Bytes bytes = pattern(kRelayRecordBytesMax);
  for (uint32_t i = 0; i < 20; ++i)
    log.append_egress(0, FlowId(1), SeqNum(i * kRelayRecordBytesMax), ByteSpan(bytes).first(kRelayRecordBytesMax - i));
  const std::vector<Bytes> frames = log.take_frames();
  EXPECT_GE(frames.size(), 5u);
  EXPECT_LE(frames.size(), 8u);
  EXPECT_EQ(records_in(frames).size(), 20u);
}

TEST(RelayLog, TellsWhatBecameDurableOnceAndInOrder) {
  RelayLog log;
  log.begin_session();
  for (uint32_t i = 0; i < 5; ++i) log.append_clock_bound(0, FlowId(i + 1), i);
  log.take_frames();
  EXPECT_EQ(acked(log, 2), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(log.durable(), LogPosition(2));
  EXPECT_EQ(acked(log, 2), std::vector<uint64_t>{});
  std::vector<uint32_t> bounds;
  ASSERT_TRUE(log.on_ack(LogPosition(5), [&](const DurableRecord& r) {
    EXPECT_EQ(r.kind, RelayRecordKind::kClockBound);
    EXPECT_EQ(r.flow.value(), r.bound + 1);
    bounds.push_back(r.bound);
  }));
  EXPECT_EQ(bounds, (std::vector<uint32_t>{2, 3, 4}));
  EXPECT_EQ(log.backlog_bytes(), 0u);
}

TEST(RelayLog, AnAcknowledgementOfWhatWasNotSentOrThatGoesBackIsRefused) {
  RelayLog log;
  log.begin_session();
  log.append_clock_bound(0, FlowId(1), 1);
  const auto never = [](const DurableRecord&) { FAIL(); };
  EXPECT_FALSE(log.on_ack(LogPosition(1), never)) << "not in a frame that was taken";
  log.take_frames();
  log.append_clock_bound(0, FlowId(1), 2);
  EXPECT_FALSE(log.on_ack(LogPosition(2), never));
  EXPECT_EQ(acked(log, 1), std::vector<uint64_t>{1});
  EXPECT_FALSE(log.on_ack(LogPosition(0), never));
  EXPECT_EQ(log.durable(), LogPosition(1));
}

TEST(RelayLog, MayBeAppendedToWhileItTellsWhatBecameDurable) {
  RelayLog log;
  log.begin_session();
  log.append_clock_bound(0, FlowId(1), 1);
  log.append_clock_bound(0, FlowId(1), 2);
  log.take_frames();
  int visits = 0;
  ASSERT_TRUE(log.on_ack(LogPosition(2), [&](const DurableRecord&) {
    ++visits;
    for (int i = 0; i < 1000; ++i) log.append_clock_bound(0, FlowId(1), 3);
  }));
  EXPECT_EQ(visits, 2);
  EXPECT_EQ(log.position(), LogPosition(2002));
  EXPECT_EQ(log.durable(), LogPosition(2));
}

TEST(RelayLog, WhatWaitsAtTheEndOfASessionIsDurable) {
  RelayLog log;
  log.begin_session();
  log.append_clock_bound(0, FlowId(1), 1);
  log.take_frames();
  log.append_clock_bound(0, FlowId(1), 2);
  log.append_clock_bound(0, FlowId(1), 3);
  EXPECT_EQ(acked(log, 1), std::vector<uint64_t>{1});
  std::vector<uint64_t> rest;
  log.end_session([&](const DurableRecord& r) {
    rest.push_back(r.position.value());
    EXPECT_EQ(log.append_clock_bound(0, FlowId(1), 4), LogPosition(0));
  });
  EXPECT_EQ(rest, (std::vector<uint64_t>{2, 3}));
  EXPECT_FALSE(log.enabled());
  EXPECT_FALSE(log.has_frames());
  EXPECT_EQ(log.backlog_bytes(), 0u);
  log.begin_session();
  EXPECT_EQ(log.append_clock_bound(0, FlowId(1), 5), LogPosition(1)) << "positions begin again";
  EXPECT_EQ(records_in(log.take_frames()).size(), 1u);
}

TEST(RelayLog, IsFullWhenTheStandbyLagsBehind) {
  RelayLog log(100'000);
  log.begin_session();
  const Bytes bytes = pattern(10'000);
  uint32_t appended = 0;
  for (; !log.full(); ++appended) {
    ASSERT_LT(appended, 11u);
    log.append_egress(0, FlowId(1), SeqNum(appended * 10'000), bytes);
    log.take_frames();
  }
  EXPECT_EQ(appended, 10u);
  EXPECT_GE(log.backlog_bytes(), 100'000u);
  acked(log, 1);
  EXPECT_FALSE(log.full());
}

}  // namespace
}  // namespace us
