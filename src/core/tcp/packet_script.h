// Packet scripts: tests of TCP written as "send at t, expect at t", in virtual time.
//
//     0ms   in   . 1:1001(1000) ack 1 win 500 <ts 100 50>      a segment goes into the subject
//     0ms   out  . ack 1001                                    the subject sends this, at this time
//     +10ms do   commit 5000                                   anything else: words for the subject
//     =     check next 1001                                    a question to the subject, before or after its output
//     50ms  none                                               nothing was sent until here
//
// A line is a time, a verb and the rest; `#` starts a comment.  Times: `12ms`, `1.5s`, `300us`, all since the start;
// `+10ms` counts from the line before; `=` is the same time as the line before.
// A segment is  FLAGS [first:end(length)] [ack N] [win N] [ect0|ect1|ce] [<option, option …>]  with FLAGS from
// S F R P E W U and `.` (ACK), or `-` for none, and the options  mss N, wscale N, sackok, ts VAL ECR,
// sack A:B C:D … (or `sack none`).  Sequence numbers are what the subject makes of them: usually relative to the
// first byte, which is 1, so that a script reads like tcpdump.
//
// In an `out` line only what is written is compared; of the flags, `P` only when written, the others always.
// Everything that the subject sends must be expected by a line, in order; `none` and the end of the script check
// that nothing is left over.
//
// For tests alone, but free of any test framework: run_script() returns the first failure as text, "" if there is
// none.  Use:  EXPECT_EQ(run_script(subject, R"( … )"), "");
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace us {

// A segment as a script writes it: what is absent was not written, and is not compared.
struct ScriptSegment {
  std::string flags;  // sorted letters out of ".EFPRSUW"
  std::optional<uint32_t> seq;
  uint32_t length = 0;
  std::optional<uint32_t> ack;
  std::optional<uint32_t> window;
  std::optional<uint8_t> ecn;  // 1 ect1, 2 ect0, 3 ce, as in the IP header
  std::optional<uint32_t> mss;
  std::optional<uint32_t> window_scale;
  std::optional<bool> sack_permitted;
  std::optional<std::pair<uint32_t, uint32_t>> timestamps;                // value, echo
  std::optional<std::vector<std::pair<uint32_t, uint32_t>>> sack_blocks;  // first, end

  bool has(char flag) const { return flags.find(flag) != std::string::npos; }
};

Result<ScriptSegment> parse_script_segment(std::string_view text);
std::string to_string(const ScriptSegment&);
// Why `sent` is not what `expected` says; "" when it is.
std::string difference(const ScriptSegment& expected, const ScriptSegment& sent);

// What a script drives: an adapter around the core under test, written in the test.
class ScriptSubject {
 public:
  virtual ~ScriptSubject() = default;
  virtual void on_segment(const ScriptSegment& in, Instant now) = 0;
  // A `do` line.  Returns "" or what is wrong: an unknown word, or an expectation that failed.
  virtual std::string on_command(const std::vector<std::string>& words, Instant now) = 0;
  // A `check` line.  Returns "" or what is the case instead.
  virtual std::string on_check(const std::vector<std::string>&) const { return "this subject checks nothing"; }
  virtual std::optional<ScriptSegment> poll(Instant now) = 0;
  virtual std::optional<Instant> next_deadline() const = 0;
  virtual void on_deadline(Instant now) = 0;
};

struct ScriptOptions {
  Instant start = Instant::from_nanos(1'000'000'000);  // the script's time 0
  Duration tolerance;                                  // how far from its line an `out` may be
};

std::string run_script(ScriptSubject& subject, std::string_view script, const ScriptOptions& options = {});

}  // namespace us
