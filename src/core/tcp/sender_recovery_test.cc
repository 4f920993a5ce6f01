// Scripts of losses that ACKs tell of: fast recovery, reordering, undo, peers without SACK.
#include <gtest/gtest.h>

#include "core/tcp/sender_script.h"

namespace us {
namespace {

ScriptSetup with_timestamps() {
  ScriptSetup setup = bursts();
  setup.timestamps = true;
  return setup;
}

// RFC 8985, RFC 9937.
TEST(SenderRecovery, AHoleBelowThreeSackedSegmentsIsSentAgainAtOnceAndTheWindowGoesDownEvenly) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 100000
    =      out . 1:10001(10000)
    20ms   in  . ack 1 <sack 1001:2001>        # limited transmit (RFC 3042): a SACKed byte makes room
    =      out . 10001:11001(1000)
    21ms   in  . ack 1 <sack 1001:3001>
    =      out . 11001:12001(1000)
    22ms   in  . ack 1 <sack 1001:4001>
    =      out . 1:1001(1000)                  # the fast retransmission
    =      do  is recoveries 1
    =      do  is ssthresh 7000
    23ms   in  . ack 1 <sack 1001:5001>        # two delivered, 1.4 segments earned, one sent
    24ms   in  . ack 1 <sack 1001:6001>        # 7000 are in flight: from here one for one
    25ms   in  . ack 1 <sack 1001:7001>
    =      out . 12001:13001(1000)
    26ms   in  . ack 1 <sack 1001:8001>
    =      out . 13001:14001(1000)
    42ms   in  . ack 12001
    =      out . 14001:19001(5000)
    =      do  is inflight 7000
    43ms   none
  )"),
            "");
}

TEST(SenderRecovery, SeveralHolesAreFilledInOneRecovery) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 10000
    =      out P. 1:10001(10000)
    20ms   in  . ack 2001 <sack 3001:4001>
    =      none
    21ms   in  . ack 2001 <sack 6001:8001 3001:4001>    # three SACKed: 2001, 4001 and 5001 are missing
    =      out . 2001:3001(1000)
    =      out . 4001:5001(1000)
    22ms   in  . ack 2001 <sack 6001:9001 3001:4001>
    =      out . 5001:6001(1000)
    23ms   in  . ack 2001 <sack 6001:10001 3001:4001>
    40ms   in  . ack 4001 <sack 6001:10001>
    41ms   in  . ack 5001 <sack 6001:10001>
    42ms   in  . ack 10001
    =      do  is recoveries 1
    =      do  is timeouts 0
    =      do  is spurious 0
    100s   none
  )"),
            "");
}

TEST(SenderRecovery, ALostRetransmissionIsFoundByWhatWasSentAfterIt) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 14000
    =      out . 1:10001(10000)
    20ms   in  . ack 1 <sack 1001:5001>
    =      out . 1:1001(1000)
    =      out . 10001:11001(1000)
    21ms   in  . ack 1 <sack 1001:8001>
    =      out P. 11001:14001(3000)
    =      do  is ssthresh 7000
    41ms   in  . ack 1 <sack 1001:12001>   # sent after the retransmission, and has arrived
    =      out . 1:1001(1000)
    =      do  is timeouts 0
    =      do  is recoveries 1
    =      do  is ssthresh 4900            # a second indication of congestion (RFC 5681 section 4.3)
  )"),
            "");
}

TEST(SenderRecovery, AReorderedSegmentIsWaitedFor) {
  EXPECT_EQ(run_sender_script(R"(
    0ms    do  write 2000
    =      out . 1:1001(1000)
    =      out P. 1001:2001(1000)
    20ms   in  . ack 1 <sack 1001:2001>
    23ms   in  . ack 2001                     # within a quarter of the round trip
    =      do  is recoveries 0
    100s   none
  )"),
            "");
  EXPECT_EQ(run_sender_script(R"(
    0ms    do  write 2000
    =      out . 1:1001(1000)
    =      out P. 1001:2001(1000)
    20ms   in  . ack 1 <sack 1001:2001>
    25ms   out . 1:1001(1000)                 # beyond it, the reordering timer takes it for lost
    =      do  is recoveries 1
  )"),
            "");
}

TEST(SenderRecovery, OnceReorderingWasSeenThreeSackedSegmentsAreNoLoss) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 100000
    =      out . 1:10001(10000)
    20ms   in  . ack 1 <sack 1001:2001>
    =      out . 10001:11001(1000)
    21ms   in  . ack 2001                     # reordering
    =      out . 11001:13001(2000)
    22ms   in  . ack 2001 <sack 3001:9001>
    =      out . 13001:19001(6000)
    23ms   in  . ack 9001
    =      out . 19001:21001(2000)
    =      do  is recoveries 0
    =      do  is resent 0
  )"),
            "");
}

TEST(SenderRecovery, SackBlocksAreTakenInOrderWhateverTheirOrderInTheOption) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 10000
    =      out P. 1:10001(10000)
    20ms   in  . ack 1 <sack 7001:8001 5001:6001 3001:4001>    # the ACKs before were lost; nothing was reordered
    =      out . 1:3001(3000)
  )"),
            "")
      << "had reordering been seen, nothing would be lost yet";
}

TEST(SenderRecovery, AReductionForAMarkIsNotUndoneByDsacksOfTheRecoveryBefore) {
  ScriptSetup setup = bursts();
  setup.state.ecn = true;
  EXPECT_EQ(run_sender_script(setup, R"(
    0ms    do  write 10000
    =      out P. 1:10001(10000) ect0
    20ms   in  . ack 1 <sack 1001:5001>
    =      out . 1:1001(1000)
    21ms   in  . ack 10001
    =      do  write 1000
    =      out P. 10001:11001(1000) ect0
    39ms   in  E. ack 10001
    =      do  is ecn 1
    40ms   in  . ack 10001 <sack 1:1001>
    =      do  is spurious 0
  )"),
            "");
}

// RFC 3522, RFC 4015: the echo of the original's timestamp.
TEST(SenderRecovery, AnEchoOfTheOriginalUndoesAFalseRecovery) {
  EXPECT_EQ(run_sender_script(with_timestamps(), R"(
    0ms    do  write 100000
    =      out . 1:10001(10000) <ts 0 0>
    20ms   in  . ack 1 <sack 1001:5001, ts 0 0>
    =      out . 1:1001(1000) <ts 20 0>
    =      out . 10001:11001(1000) <ts 20 0>
    =      do  is ssthresh 7000
    21ms   in  . ack 5001 <ts 0 0>            # the original came late
    =      out . 11001:16001(5000)
    =      do  is spurious 1
    =      do  is ssthresh 1073741824
    =      do  is cwnd 11000
  )"),
            "");
}

TEST(SenderRecovery, AnEchoOfTheRetransmissionConfirmsTheRecovery) {
  EXPECT_EQ(run_sender_script(with_timestamps(), R"(
    0ms    do  write 10000
    =      out P. 1:10001(10000)
    20ms   in  . ack 1 <sack 1001:5001, ts 0 0>
    =      out . 1:1001(1000) <ts 20 0>
    40ms   in  . ack 10001 <ts 0 20>
    =      do  is spurious 0
  )"),
            "");
}

// RFC 3708.
TEST(SenderRecovery, ADsackForEveryRetransmissionUndoesTheReduction) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 10000
    =      out P. 1:10001(10000)
    20ms   in  . ack 1 <sack 2001:8001>
    =      out . 1:2001(2000)
    21ms   in  . ack 10001                    # both originals came late
    =      do  is recoveries 1
    =      do  is spurious 0
    40ms   in  . ack 10001 <sack 1:1001>
    =      do  is spurious 0
    41ms   in  . ack 10001 <sack 1001:2001>
    =      do  is spurious 1
    =      do  is cwnd 10000..20000
  )"),
            "");
}

// RFC 6582.
TEST(SenderRecovery, WithoutSackThreeDuplicatesStartItAndEachPartialAckSendsTheNextHole) {
  EXPECT_EQ(run_sender_script(without_sack(), R"(
    0ms    do  write 100000
    =      out . 1:10001(10000)
    20ms   in  . ack 1001
    =      out . 10001:12001(2000)
    21ms   in  . ack 1001
    =      out . 12001:13001(1000)
    22ms   in  . ack 1001
    =      out . 13001:14001(1000)
    23ms   in  . ack 1001
    =      out . 1001:2001(1000)
    =      do  is recoveries 1
    24ms   in  . ack 1001
    25ms   in  . ack 1001
    =      out . 14001:15001(1000)
    26ms   in  . ack 1001
    27ms   in  . ack 1001
    43ms   in  . ack 4001                     # partial: 4001 is missing as well
    =      out . 4001:5001(1000)
    =      out . 15001:16001(1000)
    63ms   in  . ack 16001
    =      out . 16001:24001(8000)
    =      do  is recoveries 1
    =      do  is timeouts 0
  )"),
            "");
}

TEST(SenderRecovery, WithoutSackAWindowUpdateOrDataIsNoDuplicate) {
  EXPECT_EQ(run_sender_script(without_sack(), R"(
    0ms    do  write 10000
    =      out P. 1:10001(10000)
    20ms   in  . 5:105(100) ack 1
    21ms   in  . 105:205(100) ack 1
    22ms   in  . 205:305(100) ack 1
    23ms   in  . 305:305(0) ack 1 win 60000
    24ms   in  . 305:305(0) ack 1 win 61000
    25ms   in  . 305:305(0) ack 1 win 62000
    =      do  is recoveries 0
  )"),
            "");
}

TEST(SenderRecovery, ForgedSackBlocksDoNothing) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 10000
    =      out P. 1:10001(10000)
    20ms   in  . ack 1 <sack 5001:12001 3001:2001 4001:4001 2000000000:3000000000>
    =      do  is inflight 10000
    21ms   in  . ack 1 <sack 2147483000:100>
    =      do  is inflight 10000
    =      do  is recoveries 0
  )"),
            "");
}

TEST(SenderRecovery, AStaleAckStillBringsItsSackBlocks) {
  EXPECT_EQ(run_sender_script(bursts(), R"(
    0ms    do  write 10000
    =      out P. 1:10001(10000)
    20ms   in  . ack 2001
    21ms   in  . ack 1001 <sack 5001:7001>
    =      do  is inflight 6000
    =      do  is una 2001
  )"),
            "");
}

}  // namespace
}  // namespace us
