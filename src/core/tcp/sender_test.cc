// Scripts of the ordinary: slow start, windows, FIN, what may be sent, takeover.  Losses and timers have files of their
// own.
#include "core/tcp/sender.h"

#include <gtest/gtest.h>

#include "core/tcp/sender_script.h"

namespace us {
namespace {

TEST(Sender, SlowStartSendsTenSegmentsAndTwoMoreForEachAcked) {
  EXPECT_EQ(run_sender_script(R"(
    0ms   do  write 100000
    =     out . 1:1001(1000)
    =     out . 1001:2001(1000)
    =     out . 2001:3001(1000)
    =     out . 3001:4001(1000)
    =     out . 4001:5001(1000)
    =     out . 5001:6001(1000)
    =     out . 6001:7001(1000)
    =     out . 7001:8001(1000)
    =     out . 8001:9001(1000)
    =     out . 9001:10001(1000)
    20ms  in  . ack 2001
    =     out . 10001:11001(1000)
    =     out . 11001:12001(1000)
    =     out . 12001:13001(1000)
    =     out . 13001:14001(1000)
    =     do  is cwnd 12000
    =     do  is srtt 20
    25ms  in  . ack 5001
    =     out . 14001:15001(1000)
    =     out . 15001:16001(1000)
    =     out . 16001:17001(1000)
    =     out . 17001:18001(1000)
    =     out . 18001:19001(1000)
    =     out . 19001:20001(1000)
    =     do  is cwnd 15000
    =     do  is inflight 15000
  )"),
            "");
}

// tcp.md, rule 1: nothing that is not committed.
TEST(Sender, SendsNothingBeyondWhatIsCommitted) {
  EXPECT_EQ(run_sender_script(R"(
    0ms   none
    1ms   do  write 1500
    =     out . 1:1001(1000)
    =     out P. 1001:1501(500)
    2ms   none
    3ms   do  write 10
    =     out P. 1501:1511(10)
    20ms  in  . ack 1511
    30s   none
  )"),
            "");
}

TEST(Sender, PushMarksTheEndOfWhatIsCommitted) {
  ScriptSetup setup;
  SenderScript subject(setup, 0);
  subject.on_command({"write", "1000"}, Instant::from_nanos(1));
  EXPECT_EQ(subject.poll(Instant::from_nanos(1))->flags, ".P");
  subject.on_command({"write", "1500"}, Instant::from_nanos(1));
  EXPECT_EQ(subject.poll(Instant::from_nanos(1))->flags, ".");
  EXPECT_EQ(subject.poll(Instant::from_nanos(1))->flags, ".P");
}

TEST(Sender, SuperSegmentsAreWholeSegmentsUpToTheirLimit) {
  ScriptSetup setup;
  setup.config.burst_bytes_max = 6500;
  setup.config.initial_window_segments = 14;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms   do  write 9500
    =     out . 1:6001(6000)
    =     out P. 6001:9501(3500)
    1ms   do  write 20000
    =     out . 9501:13501(4000)   # what the window takes, in whole segments
  )"),
            "");
}

TEST(Sender, AFinGoesWithTheLastBytesAndCountsAsOne) {
  EXPECT_EQ(run_sender_script(R"(
    0ms   do  write 1500
    =     out . 1:1001(1000)
    =     out P. 1001:1501(500)
    1ms   do  write 1200
    =     out . 1501:2501(1000)
    =     out P. 2501:2701(200)
    2ms   do  fin
    =     out FP. 2701:2701(0)
    20ms  in  . ack 2701
    =     do  is finacked 0
    21ms  in  . ack 2702
    =     do  is finacked 1
    30s   none
  )"),
            "");
  EXPECT_EQ(run_sender_script(R"(
    0ms   do  write 10200
    =     out . 1:1001(1000)
    =     out . 1001:2001(1000)
    =     out . 2001:3001(1000)
    =     out . 3001:4001(1000)
    =     out . 4001:5001(1000)
    =     out . 5001:6001(1000)
    =     out . 6001:7001(1000)
    =     out . 7001:8001(1000)
    =     out . 8001:9001(1000)
    =     out . 9001:10001(1000)
    1ms   do  fin
    20ms  in  . ack 10001
    =     out FP. 10001:10201(200)
  )"),
            "");
}

TEST(Sender, NeverSendsBeyondThePeersWindow) {
  ScriptSetup setup;
  setup.state.peer.size = setup.state.peer.largest = 4000;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms   do  write 20000
    =     out . 1:1001(1000)
    =     out . 1001:2001(1000)
    =     out . 2001:3001(1000)
    =     out . 3001:4001(1000)
    10ms  in  . ack 2001 win 2000       # nothing new: the right edge stays
    20ms  in  . ack 2001 win 3000
    =     out . 4001:5001(1000)
    30ms  in  . ack 5001 win 2500       # two whole segments, no silly third
    =     out . 5001:6001(1000)
    =     out . 6001:7001(1000)
    31ms  none
  )"),
            "");
}

TEST(Sender, AWindowScaleIsApplied) {
  ScriptSetup setup;
  setup.state.peer.scale = 4;
  setup.state.peer.size = setup.state.peer.largest = 1000;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms   do  write 20000
    =     out . 1:1001(1000)
    10ms  in  . ack 1001 win 125
    =     out . 1001:2001(1000)
    =     out . 2001:3001(1000)
  )"),
            "");
}

// RFC 9293 section 3.8.6.2.1.
TEST(Sender, WaitsForAWholeSegmentOrHalfOfTheLargestWindowThenTheOverrideTimerSendsWhatFits) {
  ScriptSetup setup;
  setup.state.peer.size = setup.state.peer.largest = 3000;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms   do  write 20000
    =     out . 1:1001(1000)
    =     out . 1001:2001(1000)
    =     out . 2001:3001(1000)
    20ms  in  . ack 3001 win 300
    21ms  none
    240ms out . 3001:3301(300)          # the timeout is SRTT + 4 * RTTVAR, at least SRTT + 200 ms
  )"),
            "");
  setup.state.peer.size = setup.state.peer.largest = 1200;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms   do  write 20000
    =     out . 1:1001(1000)
    20ms  in  . ack 1001 win 700        # less than a segment, but more than half of all it ever offered
    =     out . 1001:1701(700)
  )"),
            "");
}

// RFC 5961 section 5.2.
TEST(Sender, RefusesAcksForWhatWasNeverSentAndTooOldOnes) {
  ScriptSetup setup;
  setup.state.peer.size = setup.state.peer.largest = 5000;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms   do  write 2000
    =     out . 1:1001(1000)
    =     out P. 1001:2001(1000)
    1ms   do  unacceptable 2002
    =     do  unacceptable 1000000000
    =     do  unacceptable 3000000000
    20ms  in  . ack 2001 win 5000
    30ms  in  . ack 1001 win 0          # stale: its window does not count either
    40ms  do  write 1000
    =     out P. 2001:3001(1000)
    =     do  is una 2001
  )"),
            "");
}

// Not committed is not sent: an ACK for it is a forgery, even for bytes that the relay holds.
TEST(Sender, AnAckForCommittedButUnsentBytesIsRefused) {
  ScriptSetup setup;
  setup.state.peer.size = setup.state.peer.largest = 1000;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms   do  write 5000
    =     out . 1:1001(1000)
    1ms   do  unacceptable 1002
  )"),
            "");
}

// tcp.md, rule 4.
TEST(Sender, AfterATakeoverItSendsAgainFromTheOldestByteAtOnceUnderAFreshWindow) {
  EXPECT_EQ(run_sender_script(R"(
    0ms   do  write 14000
    =     out . 1:1001(1000)
    =     out . 1001:2001(1000)
    =     out . 2001:3001(1000)
    =     out . 3001:4001(1000)
    =     out . 4001:5001(1000)
    =     out . 5001:6001(1000)
    =     out . 6001:7001(1000)
    =     out . 7001:8001(1000)
    =     out . 8001:9001(1000)
    =     out . 9001:10001(1000)
    20ms  in  . ack 1001
    =     out . 10001:11001(1000)
    =     out . 11001:12001(1000)
    30ms  do  takeover
    =     out . 1001:2001(1000)
    =     out . 2001:3001(1000)
    =     out . 3001:4001(1000)
    =     out . 4001:5001(1000)
    =     out . 5001:6001(1000)
    =     out . 6001:7001(1000)
    =     out . 7001:8001(1000)
    =     out . 8001:9001(1000)
    =     out . 9001:10001(1000)
    =     out . 10001:11001(1000)
    50ms  in  . ack 14001               # the old host had sent all of it
    =     do  is inflight 0
    60ms  do  write 1000
    =     out P. 14001:15001(1000)
  )"),
            "");
}

TEST(Sender, AfterATakeoverSackBlocksSpareWhatThePeerHasAndDsacksDoNotHurt) {
  ScriptSetup setup;
  setup.config.burst_bytes_max = 65000;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms   do  write 40000
    =     out . 1:10001(10000)
    10ms  do  takeover
    =     out . 1:10001(10000)
    20ms  in  . ack 10001 <sack 1:1001>              # the peer had it: the first of ten duplicates
    =     out . 10001:28001(18000)
    21ms  in  . ack 10001 <sack 1001:2001>
    30ms  in  . ack 12001 <sack 15001:40001>         # and all of this the old host had sent
    =     do  is inflight 3000
    =     do  is recoveries 0
    40ms  in  . ack 40001
    10s   none
  )"),
            "");
}

TEST(Sender, WithoutSackTheDuplicateAcksThatATakeoverProvokesAreNoLoss) {
  ScriptSetup setup;
  setup.state.sack = false;
  setup.config.initial_window_segments = 4;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms   do  write 4000
    =     out . 1:1001(1000)
    =     out . 1001:2001(1000)
    =     out . 2001:3001(1000)
    =     out P. 3001:4001(1000)
    10ms  do  takeover
    =     out . 1:1001(1000)
    =     out . 1001:2001(1000)
    =     out . 2001:3001(1000)
    =     out P. 3001:4001(1000)
    20ms  in  . ack 3001
    30ms  in  . ack 3001
    31ms  in  . ack 3001
    32ms  in  . ack 3001
    =     do  is recoveries 0
  )"),
            "");
}

TEST(Sender, AfterATakeoverWithNothingToSayItIsQuiet) {
  EXPECT_EQ(run_sender_script(R"(
    0ms   do  write 1000
    =     out P. 1:1001(1000)
    20ms  in  . ack 1001
    30ms  do  takeover
    100s  none
  )"),
            "");
}

TEST(Sender, AFinThatMayHaveBeenSentIsSentAgainAfterATakeover) {
  EXPECT_EQ(run_sender_script(R"(
    0ms   do  write 500
    =     out P. 1:501(500)
    1ms   do  fin
    =     out FP. 501:501(0)
    10ms  do  takeover
    =     out FP. 1:501(500)
    20ms  in  . ack 502
    =     do  is finacked 1
    100s  none
  )"),
            "");
}

// RFC 7661, RFC 9438 section 5.8: request and response must not earn a window for a later burst.
TEST(Sender, AWindowThatTheApplicationDoesNotUseDoesNotGrow) {
  EXPECT_EQ(run_sender_script(R"(
    0ms    do  write 1000
    =      out P. 1:1001(1000)
    20ms   in  . ack 1001
    30ms   do  write 1000
    =      out P. 1001:2001(1000)
    50ms   in  . ack 2001
    60ms   do  write 1000
    =      out P. 2001:3001(1000)
    80ms   in  . ack 3001
    =      do  is cwnd 10000
  )"),
            "");
}

TEST(Sender, ALongSilenceBringsTheWindowBackToTheInitialOne) {
  ScriptSetup setup;
  setup.config.burst_bytes_max = 65000;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms    do  write 28000
    =      out . 1:10001(10000)
    20ms   in  . ack 10001
    =      out P. 10001:28001(18000)
    40ms   in  . ack 28001
    =      do  is cwnd 26000
    200ms  do  write 30000
    =      out . 28001:54001(26000)
    220ms  in  . ack 54001
    =      out P. 54001:58001(4000)
    240ms  in  . ack 58001
    5s     do  write 30000
    =      out . 58001:68001(10000)
  )"),
            "");
}

// RFC 3168 section 6.1.2.
TEST(Sender, AnEcnEchoReducesTheWindowOncePerRoundAndTellsThePeer) {
  ScriptSetup setup;
  setup.state.ecn = true;
  setup.config.burst_bytes_max = 65000;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms    do  write 100000
    =      out . 1:10001(10000) ect0
    20ms   in  E. ack 2001
    =      out W. 10001:11001(1000) ect0
    =      do  is ecn 1
    =      do  is ssthresh 7000
    21ms   in  E. ack 4001             # 7000 bytes in flight now
    22ms   in  E. ack 6001
    =      out . 11001:13001(2000) ect0
    23ms   in  E. ack 8001
    =      out . 13001:15001(2000) ect0
    24ms   in  E. ack 10001
    =      out . 15001:17001(2000) ect0
    =      do  is ecn 1
    =      do  is inflight 7000
    40ms   in  . ack 12001
    =      out . 17001:19001(2000) ect0
    50ms   in  E. ack 15001
    =      out W. 19001:20001(1000) ect0
    =      do  is ecn 2
  )"),
            "");
}

TEST(Sender, WithoutEcnAnEchoIsIgnoredAndNothingIsMarked) {
  EXPECT_EQ(run_sender_script(R"(
    0ms    do  write 1000
    =      out P. 1:1001(1000)
    20ms   in  E. ack 1001
    =      do  is ecn 0
  )"),
            "");
}

TEST(Sender, TheGuestsSideIsLimitedByTheGuestsWindowAlone) {
  ScriptSetup setup;
  setup.config = SenderConfig::for_guest();
  setup.config.burst_bytes_max = 65000;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms    do  write 200000
    =      out . 1:65001(65000)
    100us  in  . ack 65001 win 65535
    =      out . 65001:130001(65000)
    200us  in  . ack 65001 win 65535 <sack 80001:130001>   # the guest dropped some: sent again at full speed
    =      out . 65001:80001(15000)
    300us  in  . ack 130001 win 65535
    =      out . 130001:195001(65000)
  )"),
            "");
}

TEST(Sender, PacingSpreadsTheWindowOverTheRoundTrip) {
  ScriptSetup setup;
  setup.config.pacing = true;
  setup.config.burst_bytes_max = 65000;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms    do  write 100000
    =      out . 1:10001(10000)        # no round trip measured yet
    100ms  in  . ack 10001             # 20 segments in 100 ms, at twice that rate
    =      out . 10001:12001(2000)
    104ms  out . 12001:14001(2000)
    109ms  out . 14001:16001(2000)
    114ms  out . 16001:18001(2000)
  )"),
            "")
      << "a millisecond of lag is made good at the start";
}

}  // namespace
}  // namespace us
