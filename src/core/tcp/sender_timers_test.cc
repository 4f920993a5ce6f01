// Scripts of silence: tail loss probes, timeouts and back-off, spurious timeouts, window probes, path MTU, dead peers.
#include <gtest/gtest.h>

#include "core/tcp/sender_script.h"

namespace us {
namespace {

// RFC 8985 section 7.
TEST(SenderTimers, ALostTailIsProbedAfterTwoRoundTripsAndFoundByTheAnswer) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 5000
    =      out P. 1:5001(5000)
    20ms   in  . ack 2001                      # 2001 to 5001 were lost
    60ms   out P. 4001:5001(1000)
    =      do  is tailprobes 1
    80ms   in  . ack 2001 <sack 4001:5001>
    =      out . 2001:3001(1000)               # long enough ago not to be reordered
    =      do  is recoveries 1
    100ms  in  . ack 3001 <sack 4001:5001>
    =      out . 3001:4001(1000)
    120ms  in  . ack 5001
    =      do  is timeouts 0
    100s   none
  )"),
            "");
}

TEST(SenderTimers, AProbeSendsNewDataWhenThereIsSome) {
  ScriptSetup setup = bursts();
  setup.config.initial_window_segments = 4;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms    do  write 20000
    =      out . 1:4001(4000)
    20ms   in  . ack 1001
    =      out . 4001:6001(2000)
    60ms   out . 6001:7001(1000)
    =      do  is inflight 6000
    80ms   in  . ack 7001
    =      out . 7001:18001(11000)
    =      do  is timeouts 0
  )"),
            "");
}

TEST(SenderTimers, AProbeThatRepairedALossUnnoticedReducesTheWindow) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 3000
    =      out P. 1:3001(3000)
    20ms   in  . ack 2001
    =      none
    220ms  none
    240ms  out P. 2001:3001(1000)              # one segment: its ACK might have been delayed
    260ms  in  . ack 3001
    300ms  do  write 1000
    =      out P. 3001:4001(1000)
    320ms  in  . ack 4001
    =      do  is ssthresh 7000..9000
    =      do  is timeouts 0
  )"),
            "");
}

TEST(SenderTimers, AProbeThatWasADuplicateReducesNothing) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 3000
    =      out P. 1:3001(3000)
    20ms   in  . ack 1001
    60ms   out P. 2001:3001(1000)
    70ms   in  . ack 3001                      # only late
    80ms   in  . ack 3001 <sack 2001:3001>
    100ms  do  write 1000
    =      out P. 3001:4001(1000)
    120ms  in  . ack 4001
    =      do  is ssthresh 1073741824
  )"),
            "");
}

// RFC 6298 section 5.
TEST(SenderTimers, TheTimeoutSendsTheOldestSegmentAndBacksOff) {
  EXPECT_EQ(run_sender_script(without_sack(), R"(
    0ms      do  write 10000
    =        out P. 1:10001(10000)
    1000ms   out . 1:1001(1000)                # no sample yet: one second
    =        do  is timeouts 1
    =        do  is cwnd 1000
    =        do  is ssthresh 5000..7000
    3000ms   out . 1:1001(1000)
    =        do  is ssthresh 5000..7000        # once for the same data (RFC 5681 section 3.1)
    3020ms   in  . ack 1001
    =        out . 1001:3001(2000)             # slow start
    3040ms   in  . ack 3001
    =        out . 3001:7001(4000)
  )"),
            "");
}

TEST(SenderTimers, TheOldestSegmentGoesOutAtATimeoutThoughNewerOnesFillTheWindow) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms      do  write 2000
    =        out P. 1:2001(2000)
    20ms     in  . ack 1001
    240ms    out P. 1001:2001(1000)            # the tail loss probe
    450ms    do  write 3000
    =        out P. 2001:5001(3000)
    460ms    out . 1001:2001(1000)             # the timeout; the window is one segment
    =        do  is timeouts 1
    =        do  is cwnd 1000
    =        do  is inflight 4000
  )"),
            "");
}

TEST(SenderTimers, KarnTheBackOffStaysUntilASampleIsUnambiguous) {
  EXPECT_EQ(run_sender_script(without_sack(), R"(
    0ms      do  write 2000
    =        out P. 1:2001(2000)
    1000ms   out . 1:1001(1000)
    1020ms   in  . ack 1001
    =        out P. 1001:2001(1000)
    3020ms   out P. 1001:2001(1000)            # two seconds: the sample of 1020 ms was ambiguous
    3040ms   in  . ack 2001
    =        do  is srtt 0
    3050ms   do  write 1000
    =        out P. 2001:3001(1000)
    3070ms   in  . ack 3001
    =        do  is srtt 20
    3080ms   do  write 1000
    =        out P. 3001:4001(1000)
    3300ms   out P. 3001:4001(1000)            # 20 + max(200, 4 * 10) ms
  )"),
            "");
}

TEST(SenderTimers, WithTimestampsARetransmissionGivesASample) {
  ScriptSetup setup = without_sack();
  setup.timestamps = true;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms      do  write 1000
    =        out P. 1:1001(1000)
    1000ms   out P. 1:1001(1000)
    1030ms   in  . ack 1001 <ts 0 1000>
    =        do  is srtt 30
  )"),
            "");
}

// RFC 5682: without timestamps, the flight was only late.
TEST(SenderTimers, FRtoFindsASpuriousTimeoutAndUndoesIt) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms      do  write 50000
    =        out . 1:10001(10000)
    1000ms   out . 10001:11001(1000)           # the tail loss probe
    2000ms   out . 1:1001(1000)                # the timeout
    =        do  is cwnd 1000
    2100ms   in  . ack 1001                    # step 2: new data, and see
    =        out . 11001:12001(1000)
    =        out . 12001:13001(1000)
    2101ms   in  . ack 3001                    # step 3b: never sent again, and yet acknowledged
    =        out . 13001:15001(2000)
    =        do  is spurious 1
    =        do  is ssthresh 1073741824
    =        do  is resent 1000
  )"),
            "");
}

TEST(SenderTimers, WithoutSackFRtoWaitsForTheSecondAck) {
  EXPECT_EQ(run_sender_script(without_sack(), R"(
    0ms      do  write 50000
    =        out . 1:10001(10000)
    1000ms   out . 1:1001(1000)
    1100ms   in  . ack 3001                    # the retransmission may have filled the only hole
    =        out . 10001:11001(1000)
    =        out . 11001:12001(1000)
    =        do  is spurious 0
    1101ms   in  . ack 5001
    =        out . 12001:17001(5000)
    =        do  is spurious 1
    =        do  is resent 1000
  )"),
            "");
}

TEST(SenderTimers, ARealTimeoutIsNotUndone) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms      do  write 50000
    =        out . 1:10001(10000)
    1000ms   out . 10001:11001(1000)
    2000ms   out . 1:1001(1000)
    2020ms   in  . ack 1001
    =        out . 11001:12001(1000)
    =        out . 12001:13001(1000)
    2040ms   in  . ack 1001 <sack 11001:12001>   # step 3a
    =        out . 1001:2001(1000)
    2041ms   in  . ack 1001 <sack 11001:13001>
    =        out . 2001:3001(1000)
    =        do  is spurious 0
    =        do  is timeouts 1
  )"),
            "");
}

// RFC 3522.
TEST(SenderTimers, AnEchoOlderThanTheRetransmissionUndoesATimeout) {
  ScriptSetup setup = without_sack();
  setup.timestamps = true;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms      do  write 10000
    =        out P. 1:10001(10000)
    1000ms   out . 1:1001(1000)
    1010ms   in  . ack 10001 <ts 0 0>
    =        do  is spurious 1
    =        do  is cwnd 10000..18000
  )"),
            "");
}

// RFC 2018 section 8.
TEST(SenderTimers, APeerThatRenegesGetsItAllAgain) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms      do  write 10000
    =        out P. 1:10001(10000)
    20ms     in  . ack 1 <sack 1001:10001>
    =        out . 1:1001(1000)
    40ms     in  . ack 1001                      # and forgets the rest
    =        do  is inflight 0
    260ms    out . 1001:2001(1000)
    =        do  is renegings 1
    300ms    in  . ack 2001
    =        out . 2001:4001(2000)
    320ms    in  . ack 4001
    =        out . 4001:8001(4000)
    340ms    in  . ack 8001
    =        out P. 8001:10001(2000)
    360ms    in  . ack 10001
    100s     none
  )"),
            "");
}

// tcp.md, rule 7; RFC 9293 section 3.8.6.1.
TEST(SenderTimers, AZeroWindowIsProbedWithOneByteAtDoublingIntervals) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms      do  write 3000
    =        out P. 1:3001(3000)
    20ms     in  . ack 3001 win 0
    30ms     do  write 5000
    250ms    out . 3001:3002(1)
    270ms    in  . ack 3001 win 0
    690ms    out . 3001:3002(1)
    700ms    in  . ack 3001 win 0
    1570ms   out . 3001:3002(1)
    1600ms   in  . ack 3001 win 0
    =        do  is timeouts 0
    =        do  is windowprobes 3
    1700ms   in  . ack 3001 win 65535
    =        out . 3001:3002(1)
    =        out P. 3002:8001(4999)
    1720ms   in  . ack 8001
    =        do  is srtt 20..22
    100s     none
  )"),
            "");
}

TEST(SenderTimers, AProbeThatThePeerTakesIsProgress) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms      do  write 1000
    =        out P. 1:1001(1000)
    20ms     in  . ack 1001 win 0
    30ms     do  write 2000
    250ms    out . 1001:1002(1)
    270ms    in  . ack 1002 win 10000
    =        out P. 1002:3001(1999)
    290ms    in  . ack 3001
    100s     none
  )"),
            "");
}

TEST(SenderTimers, AFinIsProbedLikeAByte) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms      do  write 1000
    =        out P. 1:1001(1000)
    20ms     in  . ack 1001 win 0
    30ms     do  fin
    250ms    out F. 1001:1001(0)
    270ms    in  . ack 1002 win 0
    =        do  is finacked 1
    100s     none
  )"),
            "");
}

// A stalled reader may stall for ever.
TEST(SenderTimers, APeerThatAnswersWindowProbesIsNeverGivenUp) {
  ScriptSetup setup = bursts();
  setup.config.retries_max = 3;
  setup.config.rtt.rto_max = Duration::seconds(1);
  std::string script = R"(
    0ms      do  write 1000
    =        out P. 1:1001(1000)
    20ms     in  . ack 1001 win 0
    30ms     do  write 1000
    250ms    out . 1001:1002(1)
    260ms    in  . ack 1001 win 0
    690ms    out . 1001:1002(1)
    700ms    in  . ack 1001 win 0
    1570ms   out . 1001:1002(1)
    1580ms   in  . ack 1001 win 0
)";
  for (int i = 0; i < 20; ++i) script += "+990ms out . 1001:1002(1)\n+10ms in . ack 1001 win 0\n";
  script += "= do alive\n";
  EXPECT_EQ(run_sender_script(setup, script), "");
}

TEST(SenderTimers, APeerThatIsSilentUnderWindowProbesIsDead) {
  ScriptSetup setup = bursts();
  setup.config.retries_max = 2;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms      do  write 1000
    =        out P. 1:1001(1000)
    20ms     in  . ack 1001 win 0
    30ms     do  write 1000
    250ms    out . 1001:1002(1)
    690ms    out . 1001:1002(1)
    1570ms   none
    1580ms   do dead
    100s     none
  )"),
            "");
}

TEST(SenderTimers, AWindowShrunkBelowTheFlightIsProbedAndNotTakenForCongestion) {
  ScriptSetup setup = bursts();
  setup.config.probe_min = Duration::seconds(100);
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms      do  write 5000
    =        out P. 1:5001(5000)
    20ms     in  . ack 1001 win 0                # four segments sent into a window that is gone
    240ms    none                                # its timeout
    460ms    out . 1001:1002(1)
    480ms    in  . ack 1001 win 0
    900ms    out . 1001:1002(1)
    920ms    in  . ack 1001 win 8000
    =        out P. 1001:5001(4000)
    =        do  is timeouts 0
    =        do  is ssthresh 1073741824
    940ms    in  . ack 5001
    100s     none
  )"),
            "");
}

// tcp.md, rule 6.
TEST(SenderTimers, APeerThatNeverAnswersIsDeadAfterItsRetries) {
  ScriptSetup setup = without_sack();
  setup.config.retries_max = 3;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms      do  write 500
    =        out P. 1:501(500)
    1s       out P. 1:501(500)
    3s       out P. 1:501(500)
    7s       out P. 1:501(500)
    14999ms  do  alive
    15s      none
    =        do  dead
    =        do  write 1000
    1000s    none
  )"),
            "");
}

TEST(SenderTimers, AnyProgressGrantsTheFullRetriesAgain) {
  ScriptSetup setup = without_sack();
  setup.config.retries_max = 2;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms      do  write 2000
    =        out P. 1:2001(2000)
    1s       out . 1:1001(1000)
    3s       out . 1:1001(1000)
    3500ms   in  . ack 1001
    =        out P. 1001:2001(1000)
    7500ms   out P. 1001:2001(1000)
    15500ms  out P. 1001:2001(1000)
    =        do  alive
  )"),
            "");
}

// tcp.md, rule 9.
TEST(SenderTimers, AnIcmpReportSendsAgainInSmallerSegmentsWithoutReducingTheWindow) {
  EXPECT_EQ(run_sender_script(R"(
    0ms      do  write 3000
    =        out . 1:1001(1000)
    =        out . 1001:2001(1000)
    =        out P. 2001:3001(1000)
    1ms      do  toobig 600 1001
    =        out . 1:601(600)
    =        out . 601:1201(600)
    =        out . 1201:1801(600)
    =        out . 1801:2401(600)
    =        out P. 2401:3001(600)
    =        do  is mss 600
    =        do  is ssthresh 1073741824
    20ms     in  . ack 3001
    30ms     do  write 1000
    =        out . 3001:3601(600)
    =        out P. 3601:4001(400)
  )"),
            "");
}

TEST(SenderTimers, AForgedIcmpReportIsIgnoredOrStopsAtTheFloor) {
  EXPECT_EQ(run_sender_script(R"(
    0ms      do  write 1000
    =        out P. 1:1001(1000)
    1ms      do  toobig 600 1001
    =        do  toobig 600 0
    =        do  toobig 600 2000000000
    =        do  is mss 1000
    =        do  toobig 1 1
    =        out . 1:525(524)
    =        out P. 525:1001(476)
    =        do  is mss 524
  )"),
            "");
}

TEST(SenderTimers, FullSegmentsThatVanishAreTriedSmaller) {
  ScriptSetup setup;
  setup.state.mss = 1448;
  setup.state.sack = false;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms      do  write 2896
    =        out . 1:1449(1448)
    =        out P. 1449:2897(1448)
    1s       out . 1:1449(1448)
    3s       out . 1:1449(1448)
    7s       out . 1:1209(1208)
    =        do  is mss 1208
    7020ms   in  . ack 1209                      # it may have been an outage: the full size again
    =        out . 1209:2657(1448)
    =        out P. 2657:2897(240)
    15020ms  out . 1209:2657(1448)
  )"),
            "");
}

}  // namespace
}  // namespace us
