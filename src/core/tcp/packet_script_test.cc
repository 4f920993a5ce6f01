#include "core/tcp/packet_script.h"

#include <gtest/gtest.h>

namespace us {
namespace {

// Acknowledges each segment 5 ms after it came.
class DelayedEcho : public ScriptSubject {
 public:
  void on_segment(const ScriptSegment& in, Instant now) override {
    ack_ = in.seq.value_or(0) + in.length;
    due_ = now + Duration::millis(5);
  }
  std::string on_command(const std::vector<std::string>& words, Instant) override {
    if (words != std::vector<std::string>{"flush", "now"}) return "unknown command";
    ready_ = true;
    return "";
  }
  std::string on_check(const std::vector<std::string>& words) const override {
    return words == std::vector<std::string>{"ready"} && ready_ ? "" : "is not";
  }
  std::optional<ScriptSegment> poll(Instant) override {
    if (!ready_) return std::nullopt;
    ready_ = false;
    due_.reset();
    ScriptSegment out;
    out.flags = ".";
    out.ack = ack_;
    out.window = 100;
    return out;
  }
  std::optional<Instant> next_deadline() const override { return due_; }
  void on_deadline(Instant) override {
    ready_ = true;
    due_.reset();
  }

 private:
  uint32_t ack_ = 0;
  bool ready_ = false;
  std::optional<Instant> due_;
};

std::string run(std::string_view script) {
  DelayedEcho subject;
  return run_script(subject, script);
}

TEST(PacketScript, PassesWhenEveryExpectationIsMetInTime) {
  EXPECT_EQ(run(R"(
    0ms   in   P. 1:101(100) ack 1   # a comment
    4ms   none
    5ms   out  . ack 101
    +1ms  in   . 101:201(100) ack 1
    +2ms  do   flush now
    =     out  . ack 201 win 100
    1s    none
  )"),
            "");
}

TEST(PacketScript, FailsOnAWrongFieldAWrongTimeAMissingAndAnUnexpectedSegment) {
  EXPECT_NE(run("0ms in . 1:101(100)\n 5ms out . ack 102").find("ack differs"), std::string::npos);
  EXPECT_NE(run("0ms in . 1:101(100)\n 6ms out . ack 101").find("time differs"), std::string::npos);
  EXPECT_NE(run("0ms in . 1:101(100)\n 4ms out . ack 101").find("nothing was sent"), std::string::npos);
  EXPECT_NE(run("0ms in . 1:101(100)\n 6ms none").find("not expected"), std::string::npos);
  EXPECT_NE(run("0ms in . 1:101(100)\n 5ms out S. ack 101").find("flag S"), std::string::npos);
  EXPECT_NE(run("0ms in . 1:101(100)\n 0ms do flush now").find("not expected"), std::string::npos);
}

TEST(PacketScript, NamesTheLineThatCannotBeRead) {
  for (const char* line : {"0ms in . 1:101(99)", "0ms in 1:101(100)", "0xs in .", "0ms fly .", "0ms", "0ms do fly",
                           "0ms in . <sack 1>", "0ms in . <speed 1>", "0ms in . <mss", "0ms in . ack"})
    EXPECT_NE(run(line).find("line 1"), std::string::npos) << line;
  EXPECT_NE(run("2ms none\n1ms none").find("line 2"), std::string::npos);
}

TEST(PacketScript, ReadsEveryOptionAndWritesItBack) {
  const auto segment =
      parse_script_segment(" S. 1:11(10) ack 7 win 9 ce <mss 1460, wscale 7, sackok, ts 5 6, sack 1:2 3:4>");
  ASSERT_TRUE(segment) << segment.error().message;
  EXPECT_EQ(to_string(*segment), ".S 1:11(10) ack 7 win 9 ce <mss 1460, wscale 7, sackok, ts 5 6, sack 1:2 3:4>");
  ScriptSegment without = *segment;
  without.sack_blocks.reset();
  EXPECT_EQ(difference(*segment, without), "SACK blocks");
  EXPECT_EQ(difference(without, *segment), "");
}

}  // namespace
}  // namespace us
