// How the Receiver judges segments: FIN, RST, SYN, ACK; the window; timestamps; ECN.
#include <gtest/gtest.h>

#include "core/tcp/receiver.h"
#include "core/tcp/receiver_script.h"

namespace us {
namespace {

using Given = ReceiverScript::Given;

const Given kSack = given({.sack = true});
const Given kTimestamps = given({.sack = true, .timestamps = true});
const Given kClientSide = given({.sack = true, .ack_waits = true});
const Given kGuestSide = given({.sack = true, .fin_ack_waits = true, .answers_keep_alive = false});

// --- FIN, RST, SYN ------------------------------------------------------------------------------------------------

TEST(ReceiverJudges, AFinIsAcknowledgedAtOnceAndEndsTheStream) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   F. 1:101(100)
    0ms    out  . ack 102
    =      check stored 1:102
    =      check next 102
    1ms    in   . 102:202(100)        # nothing comes after a FIN
    =      check next 102
    =      out  . ack 102
    2ms    in   F. 1:101(100)         # repeated
    2ms    out  . ack 102
  )"),
            "");
}

TEST(ReceiverJudges, AFinAheadOfAHoleCountsWhenTheHoleIsFilled) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   F. 101:201(100)
    0ms    out  . ack 1 <sack 101:202>
    1ms    in   . 201:301(100)        # data beyond it is not taken
    1ms    out  . ack 1 <sack 101:202>
    2ms    in   . 1:101(100)
    2ms    out  . ack 202 <sack none>
  )",
                                kSack),
            "");
}

TEST(ReceiverJudges, AFinOfTheGuestIsAcknowledgedOnlyWhenTheClientHasAcknowledgedIt) {  // tcp.md, rule 5
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   F. 1:101(100)
    40ms   out  . ack 101
    200ms  in   F. 101:101(0)         # repeated: silence
    1s     none
    1s     do   fin_ackable
    1s     out  . ack 102
  )",
                                kGuestSide),
            "");
}

TEST(ReceiverJudges, ADurableFinIsPartOfWhatIsLogged) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   F. 1:1(0)
    =      check stored 1:2
    500ms  none
    500ms  do   ackable 1:2
    500ms  out  . ack 2
  )",
                                kClientSide),
            "");
}

TEST(ReceiverJudges, AResetMustNameTheNextSequenceNumber) {  // RFC 5961 section 3.2
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100)
    40ms   out  . ack 101
    50ms   in   R 102:102(0)          # in the window: a challenge
    =      check verdict blind reset
    =      out  . ack 101
    51ms   in   R 5000:5000(0)        # at most one challenge per interval
    551ms  in   R 5000:5000(0)
    =      out  . ack 101
    2s     in   R 80000:80000(0)      # outside: nothing
    =      check verdict blind reset
    3s     in   R 100:100(0)
    =      check verdict blind reset
    4s     in   R 101:101(0)
    =      check verdict reset
  )"),
            "");
}

TEST(ReceiverJudges, AResetMayAlsoNameTheLastAckThatWasSent) {  // a reply to one of our segments takes that number
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100)
    1ms    in   R 1:1(0)
    =      check verdict reset
    2ms    in   R 101:101(0)
    =      check verdict reset
    3ms    in   R 51:51(0)
    =      check verdict blind reset
    =      out  . ack 1
  )",
                                kClientSide),
            "");
}

TEST(ReceiverJudges, ASynIsChallengedWhateverItsNumber) {  // RFC 5961 section 4.2
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   S 1:1(0)
    =      check verdict unexpected SYN
    =      out  . ack 1
    1s     in   S 900000:900000(0)
    =      check verdict unexpected SYN
    =      out  . ack 1
    1100ms in   S. 1:1(0)
    2s     none
  )"),
            "");
}

TEST(ReceiverJudges, AnAckOfWhatWasNeverSentIsChallenged) {  // RFC 5961 section 5.2; acceptable are 0 … 10000
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100) ack 10001
    =      check verdict bad ACK
    =      out  . ack 1
    1s     in   . 1:101(100) ack 4294967295
    =      check verdict bad ACK
    =      out  . ack 1
    1100ms in   . 1:101(100) ack 10001
    =      check verdict bad ACK
    2s     in   - 1:101(100)
    =      check verdict no ACK
    3s     in   . 1:101(100) ack 10000
    =      check verdict accepted
    3040ms out  . ack 101
  )"),
            "");
}

TEST(ReceiverJudges, UrgentDataIsReportedAndNotTaken) {  // tcp.md, rule 8
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   U. 1:101(100)
    =      check verdict urgent
    =      check next 1
    1s     none
  )"),
            "");
}

// --- Window ---------------------------------------------------------------------------------------------------------

TEST(ReceiverJudges, SegmentsOutsideOfTheWindowAreAnsweredAndDropped) {  // RFC 9293 section 3.10.7.4
  Given setup;
  setup.offered = setup.capacity = 1000;
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1001:1101(100)      # just beyond
    =      check verdict out of window
    =      out  . ack 1 win 1000
    1ms    in   . 901:1101(200)       # only the part inside is taken
    =      check stored 901:1001
    =      out  . ack 1
    1s     in   . 4294967290:4294967290(0)
    =      check verdict out of window
    =      out  . ack 1
    2s     in   . 1001:1001(0)        # a bare ACK stands at the edge of a window that is used up
    =      check verdict accepted
    3s     in   . 1002:1002(0)
    =      check verdict out of window
    =      out  . ack 1
  )",
                                setup),
            "");
}

TEST(ReceiverJudges, DataBeyondWhatWasOfferedIsNotTakenThoughThereIsRoom) {
  Given setup;
  setup.offered = 1000;
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 901:1101(200)
    =      check stored 901:1001
    =      out  . ack 1
  )",
                                setup),
            "");
}

TEST(ReceiverJudges, AFinNeedsNoRoom) {
  Given setup;
  setup.offered = setup.capacity = 1000;
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:1001(1000)
    40ms   out  . ack 1001 win 0
    50ms   in   F. 1001:1001(0)
    50ms   out  . ack 1002 win 0
    60ms   in   . 1002:1002(0)        # it does not stand beyond the window now
    =      check verdict accepted
    1s     none
  )",
                                setup),
            "");
}

TEST(ReceiverJudges, AFullBufferClosesTheWindowAndProbesAreAnswered) {  // tcp.md, rule 7
  Given setup = kGuestSide;
  setup.offered = setup.capacity = 4000;
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:4001(4000) <mss 1460>
    0ms    out  . ack 4001 win 0
    1s     in   . 4000:4000(0)        # a window probe, as Linux sends it
    =      check verdict out of window
    =      check ack invalid
    =      out  . ack 4001 win 0
    2s     in   . 4001:4002(1) ack 7  # and as RFC 9293 section 3.8.6.1 describes it: its ACK counts
    =      check verdict out of window
    =      check ack valid
    =      out  . ack 4001 win 0
    2500ms in   . 4001:4002(1) ack 10001
    =      check ack invalid
    =      out  . ack 4001 win 0
    3s     do   trim 1000             # less than a segment: no silly window
    3500ms none
    4s     do   trim 1501
    =      out  . ack 4001 win 1500
    5s     do   trim 2501             # not twice the window
    5500ms none
    6s     do   trim 3001
    =      out  . ack 4001 win 3000
  )",
                                setup),
            "");
}

TEST(ReceiverJudges, TheRightEdgeDoesNotMoveBackWhenTheBufferShrinks) {  // tcp.md, rule 2
  Given setup;
  setup.offered = setup.capacity = 20'000;
  EXPECT_EQ(run_receiver_script(R"(
    0ms    do   capacity 5000
    0ms    in   . 1:2921(2920) <mss 1460>
    =      out  . ack 2921 win 17080
    1ms    in   . 2921:5841(2920) <mss 1460>   # only part of it finds room
    =      check stored 2921:5001
    =      out  . ack 5001 win 15000
  )",
                                setup),
            "");
}

TEST(ReceiverJudges, TheWindowIsScaled) {
  Given setup;
  setup.config.window_shift = 7;
  setup.capacity = 1 << 20;
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:2921(2920) <mss 1460>
    =      out  . ack 2921 win 7145          # (1 MiB * 7/8 - 2920) / 128
  )",
                                setup),
            "");
  setup.config.window_shift = 14;
  setup.capacity = 1 << 30;
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:2921(2920) <mss 1460>
    =      out  . ack 2921 win 1023          # a quarter of the memory in the pool is 16 MiB
  )",
                                setup),
            "");
}

TEST(ReceiverJudges, AKeepAliveOfTheGuestIsReportedAndNotAnswered) {  // tcp.md, rule 6
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100)
    40ms   out  . ack 101
    10s    in   . 100:100(0)
    =      check verdict keep-alive
    20s    in   . 100:101(1)
    =      check verdict keep-alive
    30s    none
    30s    do   request_ack           # the client has answered it
    30s    out  . ack 101
  )",
                                kGuestSide),
            "");
}

TEST(ReceiverJudges, WhatLooksLikeAKeepAliveWhileAnAckIsDueIsARepetition) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:2(1)
    5ms    in   . 1:2(1)
    =      check verdict out of window
    5ms    out  . ack 2 <sack 1:2>
  )",
                                kGuestSide),
            "");
}

TEST(ReceiverJudges, AKeepAliveOfTheClientIsAnswered) {
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 0:0(0)
    =      check verdict out of window
    =      out  . ack 1
  )",
                                kClientSide),
            "");
}

// --- Timestamps -----------------------------------------------------------------------------------------------------

TEST(ReceiverJudges, EchoesTheTimestampOfTheEarliestSegmentThatIsNotAcknowledged) {  // RFC 7323 section 4.3
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100) <ts 110 0>
    10ms   in   . 101:201(100) <ts 120 0>
    40ms   out  . ack 201 <ts 0 110>
    50ms   in   . 301:401(100) <ts 130 0>      # ahead of a hole: the last one in order
    50ms   out  . ack 201 <ts 0 110, sack 301:401>
    60ms   in   . 201:301(100) <ts 140 0>      # fills it
    60ms   out  . ack 401 <ts 0 140, sack none>
  )",
                                kTimestamps),
            "");
}

TEST(ReceiverJudges, TimestampsThatWaitAreEchoedAsIfTheyHadJustCome) {
  Given setup = kTimestamps;
  setup.config.ack_waits = true;
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:1461(1460) <ts 110 0>
    1ms    in   . 1461:2921(1460) <ts 111 0>
    2ms    in   . 2921:4381(1460) <ts 112 0>
    3ms    in   . 4381:5841(1460) <ts 113 0>
    10ms   do   ackable 1:1461
    10ms   do   ackable 1461:2921
    =      out  . ack 2921 <ts 0 110>
    11ms   do   ackable 2921:4381
    11ms   do   ackable 4381:5841
    =      out  . ack 5841 <ts 0 112>
  )",
                                setup),
            "");
}

TEST(ReceiverJudges, DataAheadOfAHoleTakesNoPlaceAmongTheTimestampsThatWait) {
  Given setup = kTimestamps;
  setup.config.ack_waits = true;
  ReceiverScript subject(setup);
  EXPECT_EQ(run_script(subject,
                       "0ms in . 1001:1101(100) <ts 110 0>\n 0ms in . 1:101(100) <ts 111 0>\n"
                       "0ms in . 101:201(100) <ts 112 0>"),
            "");
  const TimestampEchoState echo = subject.receiver().snapshot(ScriptOptions().start).echo;
  EXPECT_EQ(echo.recent, 111u);
  EXPECT_EQ(echo.waiting_count, 1);
}

TEST(ReceiverJudges, AnOldTimestampIsAnOldDuplicate) {  // PAWS, RFC 7323 section 5.3
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100) <ts 110 0>
    40ms   out  . ack 101 <ts 0 110>
    50ms   in   . 101:201(100) <ts 109 0>
    =      check verdict old timestamp
    =      out  . ack 101 <ts 0 110>
    60ms   in   . 101:201(100)
    =      check verdict no timestamp
    61ms   in   R 101:101(0)                   # a RST needs none
    =      check verdict reset
    70ms   in   . 101:201(100) <ts 2147483757 0>  # 110 + 2^31 - 1
    =      check verdict accepted
    110ms  out  . ack 201 <ts 0 2147483757>
    120ms  in   . 201:301(100) <ts 5 0>        # the circle went round
    =      check verdict accepted
    160ms  out  . ack 301 <ts 0 5>
  )",
                                kTimestamps),
            "");
}

// --- ECN ------------------------------------------------------------------------------------------------------------

TEST(ReceiverJudges, EchoesACongestionMarkUntilTheSenderHasReducedItsWindow) {  // RFC 3168 section 6.1.3
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100) ce
    0ms    out  .E ack 101
    1ms    in   . 101:201(100) ect0
    41ms   out  .E ack 201
    50ms   in   W. 201:301(100) ect0
    90ms   out  . ack 301
    100ms  in   W. 301:401(100) ce             # reduced, and marked again
    =      out  .E ack 401
  )",
                                given({.ecn = true})),
            "");
  EXPECT_EQ(run_receiver_script(R"(
    0ms    in   . 1:101(100) ce
    40ms   out  . ack 101
  )"),
            "");
}

}  // namespace
}  // namespace us
