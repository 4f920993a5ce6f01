#include "core/tcp/receiver.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/rng.h"
#include "core/tcp/receiver_script.h"
#include "core/tcp/segment_builder.h"

namespace us {
namespace {

using Given = ReceiverScript::Given;

const Given kSack = given({.sack = true});
const Given kTimestamps = given({.sack = true, .timestamps = true});
const Given kClientSide = given({.sack = true, .ack_waits = true});

// --- ACKs -------------------------------------------------------------------------------------------------------

TEST(Receiver, AcknowledgesEverySecondFullSegmentAndDelaysASingleOne) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms   in   . 1:1461(1460)
    1ms   in   . 1461:2921(1460)
    1ms   out  . ack 2921
    2ms   in   . 2921:4381(1460)
    41ms  none
    42ms  out  . ack 4381
    1s    none
  )"),
            "");
}

TEST(Receiver, AcknowledgesAtOnceAtTheStartOfAConnection) {
  Given setup;
  setup.settled = false;
  std::string script;
  for (uint32_t i = 0; i < AckPolicy::kQuickAcks; ++i)
    script += fmt::format("{}ms in . {}:{}(10)\n {}ms out . ack {}\n", i, 1 + 10 * i, 11 + 10 * i, i, 11 + 10 * i);
  script += "20ms in . 161:171(10)\n 59ms none\n 60ms out . ack 171\n";
  EXPECT_EQ(run_receiver_script(script, setup), "");
}

TEST(Receiver, ASuperSegmentCountsAsTheSegmentsItWasOnTheWire) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms   in   . 1:2897(2896) <mss 1448>
    0ms   out  . ack 2897
    1ms   in   . 2897:4345(1448)
    40ms  none
    41ms  out  . ack 4345
  )"),
            "");
}

TEST(Receiver, OutOfOrderDataIsAnsweredAtOnceAndSoIsTheFillOfTheHole) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms   in   . 1001:1101(100)
    0ms   out  . ack 1 <sack 1001:1101>
    1ms   in   . 2001:2101(100)
    1ms   out  . ack 1 <sack 2001:2101 1001:1101>
    2ms   in   . 1:1001(1000)
    2ms   out  . ack 1101 <sack 2001:2101>
    3ms   in   . 1101:1201(100)        # more of the hole's data, still a hole behind it
    3ms   out  . ack 1201 <sack 2001:2101>
    4ms   in   . 1201:2001(800)
    4ms   out  . ack 2101 <sack none>
    5ms   in   . 2101:2201(100)
    44ms  none
    45ms  out  . ack 2201
  )",
                                kSack),
            "");
}

TEST(Receiver, WithoutSackADuplicateAckSaysNoMore) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms   in   . 1001:1101(100)
    0ms   out  . ack 1 <sack none>
    1ms   in   . 1001:1101(100)
    1ms   out  . ack 1 <sack none>
  )"),
            "");
}

TEST(Receiver, ReportsDuplicatesAsRfc2883Asks) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms   in   . 1:501(500)
    40ms  out  . ack 501
    50ms  in   . 1:501(500)              # wholly old
    50ms  out  . ack 501 <sack 1:501>
    51ms  in   . 301:801(500)            # partly old
    51ms  out  . ack 801 <sack 301:501>
    52ms  in   . 1001:1501(500)
    52ms  out  . ack 801 <sack 1001:1501>
    53ms  in   . 1001:1301(300)          # old, above the hole: the block around it follows
    53ms  out  . ack 801 <sack 1001:1301 1001:1501>
    54ms  in   . 801:1501(700)           # fills the hole and repeats what is behind it
    54ms  out  . ack 1501 <sack 1001:1501>
  )",
                                kSack),
            "");
}

TEST(Receiver, OverlappingSegmentsDeliverEachByteOnce) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms  in  . 101:301(200)
    =    out . ack 1
    0ms  in  . 201:401(200)
    =    out . ack 1
    0ms  in  . 51:451(400)
    =    out . ack 1
    0ms  in  . 1:101(100)
    =    out . ack 451
    =    check next 451
  )",
                                kSack),
            "");
}

// --- What may be acknowledged ------------------------------------------------------------------------------------

TEST(Receiver, NeverAcknowledgesWhatIsNotDurable) {  // tcp.md, rule 1
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:1461(1460)
    =      check stored 1:1461
    =      in   . 1461:2921(1460)
    500ms  none
    500ms  do   ackable 1:1461
    500ms  do   ackable 1461:2921
    500ms  out  . ack 2921
  )",
                                kClientSide),
            "");
}

TEST(Receiver, SackBlocksTooWaitUntilTheyAreDurable) {  // tcp.md, rule 1
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1001:1101(100)
    0ms    in   . 1101:1201(100)
    0ms    in   . 1:101(100)
    100ms  none
    100ms  do   ackable 1001:1101
    =      out  . ack 1 <sack 1001:1101>
    101ms  in   . 1001:1101(100)             # a duplicate of what may be reported
    =      out  . ack 1 <sack 1001:1101 1001:1101>
    101ms  in   . 1101:1201(100)             # one of what may not
    110ms  do   ackable 1101:1201
    =      out  . ack 1 <sack 1001:1201>
    111ms  do   ackable 1:101
    =      out  . ack 101 <sack 1001:1201>
    112ms  in   . 101:1001(900)
    113ms  do   ackable 101:1001
    =      out  . ack 1201 <sack none>
  )",
                                kClientSide),
            "");
}

TEST(Receiver, TheDelayOfAnAckBeginsWhenItMayBeSent) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100)
    30ms   do   ackable 1:101
    69ms   none
    70ms   out  . ack 101
  )",
                                kClientSide),
            "");
}

TEST(Receiver, ADuplicateOfWhatStillWaitsIsAnsweredWithItsAck) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100)
    5ms    in   . 1:101(100)
    =      check verdict out of window
    6ms    none
    6ms    do   ackable 1:101
    6ms    out  . ack 101 <sack none>
  )",
                                kClientSide),
            "");
}

// A bunch that is interrupted by a takeover is reported by take_over(), so nothing is restored here between two ACKs.
TEST(Receiver, HolesThatMayBeReportedAtOnceAreAllReportedAtOnce) {
  ReceiverScript subject(kClientSide);
  EXPECT_EQ(run_script(subject, R"(
    0ms    in   . 1001:1101(100)
    0ms    in   . 2001:2101(100)
    0ms    in   . 3001:3101(100)
    0ms    in   . 4001:4101(100)
    0ms    in   . 5001:5101(100)
    10ms   do   waits off
    10ms   out  . ack 1 <sack 3001:3101 2001:2101 1001:1101>
    10ms   out  . ack 1 <sack 5001:5101 4001:4101 3001:3101 2001:2101>
    100ms  none
  )"),
            "");
}

TEST(Receiver, WithTheStandbyGoneWhatWaitedIsAcknowledged) {  // tcp.md, rule 11
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100)
    0ms    in   . 201:301(100)
    10ms   do   waits off
    10ms   out  . ack 101 <sack 201:301>
    20ms   in   . 101:201(100)
    20ms   out  . ack 301
    30ms   do   waits on
    30ms   in   . 301:401(100)
    500ms  none
  )",
                                kClientSide),
            "");
}

TEST(Receiver, AfterATakeoverAllThatWasLoggedIsAcknowledgedAtOnceAndNothingIsTakenBack) {  // rules 1 and 2
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100)
    0ms    in   . 201:301(100)
    10ms   do   take_over
    10ms   out  . ack 101 win 65435 <sack 201:301>
  )",
                                kClientSide),
            "");
}

// --- Whole streams --------------------------------------------------------------------------------------------------

// A stream cut, repeated and reordered at random, with ACK waits and restores in between.
RC_GTEST_PROP(Receiver, DeliversAnyStreamExactlyOnceInOrder, (uint32_t first, uint32_t seed)) {
  constexpr uint32_t kLength = 20'000;
  Rng rng(seed);
  Given setup = kTimestamps;
  setup.first = first;
  setup.config.ack_waits = rng.chance(0.5);
  setup.restores = rng.chance(0.3);
  ReceiverScript subject(setup);
  Receiver& receiver = subject.receiver();
  Instant now = ScriptOptions().start;
  SeqNum acked(first + 1);
  SeqNum edge(first + 1);
  SeqNum may_be_acked(first + 1);
  uint32_t sent = 1;
  const uint64_t steps = rng.below(200);
  for (uint64_t i = 0; !receiver.finished(); ++i) {
    RC_ASSERT(i < 1000);
    now += Duration::micros(rng.between(0, 20'000));
    // Mostly new data, sometimes far ahead, sometimes old; once the steps are over the missing part.
    const uint32_t next = receiver.next().value() - first;
    const uint32_t at = i >= steps ? next : 1 + static_cast<uint32_t>(rng.below(std::min(sent + 3000, kLength)));
    ScriptSegment in;
    in.seq = at;
    in.length = std::min(1 + static_cast<uint32_t>(rng.below(1460)), kLength + 1 - at);
    in.flags = at + in.length == kLength + 1 ? ".F" : ".";
    in.timestamps = {100 + static_cast<uint32_t>(now.to_nanos() / 1'000'000), 0};
    sent = std::max(sent, at + in.length);
    subject.on_segment(in, now);
    if (setup.config.ack_waits && rng.chance(0.5)) {
      may_be_acked = receiver.next();
      subject.on_command({"waits", "off"}, now);
      subject.on_command({"waits", "on"}, now);
    }
    while (const auto ack = subject.poll(now)) {
      const SeqNum number = SeqNum(first + *ack->ack);
      const SeqNum right = number + *ack->window;
      RC_ASSERT(acked.at_or_before(number));
      RC_ASSERT(edge.at_or_before(right));
      RC_ASSERT(number.at_or_before(setup.config.ack_waits ? may_be_acked : receiver.next()));
      for (const auto& [start, end] : *ack->sack_blocks) RC_ASSERT(start < end && end <= sent + 1);
      acked = number;
      edge = right;
    }
    RC_ASSERT(subject.stream_error().empty());
  }
  RC_ASSERT(receiver.next() == SeqNum(first + kLength + 2));
}

// However greedy the first ones are, something is left for the last.
TEST(Receiver, ConnectionsShareTheMemoryWhoeverCameFirst) {
  constexpr uint32_t kPool = 4u << 20, kConnections = 8;
  ChunkPool pool(kPool);
  const Instant now = Instant::from_nanos(5'000'000'000);
  const Bytes bytes(8192, 1);
  const ByteSpan payload(bytes);
  std::vector<std::unique_ptr<RelayBuffer>> buffers;
  for (uint32_t i = 0; i < kConnections; ++i) {
    RelayBuffer& buffer = *buffers.emplace_back(std::make_unique<RelayBuffer>(pool, SeqNum(1), 1u << 20));
    Receiver receiver({.window_shift = 7}, SeqNum(1), SeqNum(1), 0, now);
    // Its sender fills every window, and nobody takes the bytes.
    for (int turns = 0; turns < 1000; ++turns) {
      const AckOut ack = receiver.take_ack(buffer, now);
      const uint32_t window = std::min(uint32_t{ack.window} << 7, static_cast<uint32_t>(bytes.size()));
      if (window == 0) break;
      Segment segment;
      segment.flags = tcp_flag::kAck;
      segment.seq = receiver.next();
      segment.payload_length = window;
      const ByteSpan part = payload.first(window);
      receiver.on_segment(segment, {&part, 1}, {SeqNum(0), SeqNum(1)}, buffer, now);
    }
  }
  // Each took a fifth of what it found: the first of everything, the last of a fifth of it.
  EXPECT_LE(buffers.front()->size(), kPool / 4);
  EXPECT_GT(buffers.back()->size(), 100'000u);
  EXPECT_GT(buffers.back()->bytes_free_in_pool(), 0u);
}

TEST(Receiver, RefusesToRestoreMarksThatCannotBe) {
  ChunkPool pool(1 << 20);
  RelayBuffer buffer(pool, SeqNum(1), 10'000);
  const Bytes bytes(100, 1);
  const ByteSpan payload(bytes);
  const Instant now = Instant::from_nanos(5'000'000'000);
  Receiver receiver({.sack = true, .ack_waits = true}, SeqNum(1), SeqNum(10'001), 0, now);
  Segment segment;
  segment.flags = tcp_flag::kAck;
  segment.payload_length = 100;
  for (const uint32_t seq : {1u, 201u}) {
    segment.seq = SeqNum(seq);
    receiver.on_segment(segment, {&payload, 1}, {SeqNum(0), SeqNum(1)}, buffer, now);
  }
  const ReceiverState good = receiver.snapshot(now);
  const auto refused = [&](auto change) {
    ReceiverState bad = good;
    change(bad);
    return !Receiver::restore(bad, buffer, now).has_value();
  };
  EXPECT_FALSE(refused([](ReceiverState&) {}));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.config.window_shift = 15; }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.config.segment_bytes_max = 0; }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.segment_bytes = 1461; }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.next = SeqNum(102); }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.ackable = SeqNum(102); }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.last_ack_sent = SeqNum(2); }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.right_edge = SeqNum(100); }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.held = {{SeqNum(201), SeqNum(302)}}; }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.ahead = {{SeqNum(201), SeqNum(302)}}; }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.ahead = {{SeqNum(151), SeqNum(161)}}; }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.fin = SeqNum(50); }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.answer_wait = Duration::seconds(2); }));
  EXPECT_TRUE(refused([](ReceiverState& s) { s.echo.waiting_count = 200; }));
}

TEST(ReceiverState, IsReadBackAndRefusedWhenTruncatedAnywhere) {
  ReceiverState state;
  state.config = {.window_shift = 7, .sack = true, .ecn = true, .segment_bytes_max = 1448, .ack_waits = true};
  state.fin = SeqNum(77);
  state.policy = {3, true, true, Duration::millis(5)};
  state.echo.waiting_count = 2;
  state.echo.waiting[1] = {SeqNum(5), 6};
  state.sack.recent_count = 3;
  state.sack.duplicate = {SeqNum(1), SeqNum(2)};
  state.held = {{SeqNum(80), SeqNum(90)}, {SeqNum(100), SeqNum(110)}};
  state.ahead = {{SeqNum(80), SeqNum(85)}};
  Bytes bytes;
  ByteWriter w(bytes);
  encode(state, w);
  for (size_t n = 0; n <= bytes.size(); ++n) {
    ByteReader r(ByteSpan(bytes).first(n));
    const auto back = decode_receiver_state(r);
    ASSERT_EQ(back.has_value(), n == bytes.size()) << n;
    EXPECT_TRUE(!back || *back == state);
  }
  Bytes flags = bytes;
  flags[1] |= 0x40;
  ByteReader r(flags);
  EXPECT_FALSE(decode_receiver_state(r));
}

TEST(Receiver, AnIdleConnectionIsSmall) {
  EXPECT_LE(sizeof(Receiver), 320u);
  EXPECT_LE(sizeof(RelayBuffer), 72u);
  EXPECT_LE(sizeof(SegmentBuilder), 96u);
  const ReceiverState idle = Receiver({}, SeqNum(1), SeqNum(1), 0, Instant()).snapshot(Instant());
  Bytes bytes;
  ByteWriter w(bytes);
  encode(idle, w);
  EXPECT_LE(bytes.size(), 80u);
}

}  // namespace
}  // namespace us
