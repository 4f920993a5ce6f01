// The same segments for our relay and for Linux: what must agree, agrees.
//
// Linux listens; a scripted client connects.  The very same frames go into a Relay in solo, which has seen the kernel's
// own SYN-ACK as its guest's, so that all numbers are the same on both sides.  After each line of a script the answers
// are compared: whether there is one, its flags, the ACK number, the SACK blocks in their order, the timestamp that is
// echoed, how far data goes.  Windows and the moment of delayed ACKs may differ.
//
//   in SEG              both answer alike
//   maybe SEG           whether they answer may differ from one kernel to another; answers are alike
//   differ SEG          documented: the kernel's answer is the next line `kernel SEG|none`, ours `ours SEG|none`
//   bare SEG            the same without the timestamps that were agreed on
//   write N, shutdown   the server's application writes, or closes its direction
//   delivered N         both have passed on exactly the client's first N bytes
//   reset               both have ended the connection with a reset
//
// Sources for the kernel's side: net/ipv4/tcp_input.c.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <sstream>

#include "core/tcp/relay_script.h"
#include "kernel_host.h"

namespace us {
namespace {

constexpr KernelHost::Address kKernel{198, 51, 100, 2};
constexpr KernelHost::Address kOurs{192, 0, 2, 1};

constexpr Duration kAckDelayMax = Duration::millis(250);

struct Answer {
  bool any = false;
  ScriptSegment last;
  uint32_t data_end = 0;
  bool fin = false;
  bool rst = false;
};

std::string show(const Answer& a) { return a.any ? to_string(a.last) : "none"; }

class Pair {
 public:
  Pair(KernelHost& kernel, const RigSetup& setup) : kernel_(kernel), rig_(setup) {
    listener_ = kernel_.listen(RelayRig::kGuestPort);
    connect();
  }

  std::string run(const std::string& script) {
    std::istringstream lines(script);
    std::string line;
    while (std::getline(lines, line)) {
      line = line.substr(0, line.find('#'));
      const size_t first = line.find_first_not_of(" \t");
      if (first == std::string::npos) continue;
      const std::string failure = step(line.substr(first));
      if (!failure.empty()) return "`" + line.substr(first) + "`: " + failure;
      if (!rig_.violation().empty()) return "`" + line.substr(first) + "`: " + rig_.violation();
    }
    return "";
  }

 private:
  void connect() {
    RigSide& client = rig_.setup().peer;
    ScriptSegment syn = *parse_script_segment("S 0:0(0)");
    syn.window = client.syn_window;
    syn.mss = client.mss;
    syn.sack_permitted = client.sack;
    if (client.scale) syn.window_scale = client.scale;
    if (client.timestamps) syn.timestamps = {client.clock, 0};
    both(rig_.slow_frame(false, syn).bytes());
    for (const Bytes& frame : kernel_.settle()) take_syn_ack(frame);
    rig_.peer(". 1:1(0) ack 1");
    kernel_.put(rig_.slow_frame(false, completed(*parse_script_segment(". 1:1(0) ack 1"))).bytes());
    kernel_.settle();
    rig_.forget_sent();
    socket_ = kernel_.accept(listener_.get());
  }
  void take_syn_ack(const Bytes& frame) {
    const FrameView view = read(frame);
    RigSide& server = rig_.setup().guest;
    server.isn = view.segment.seq.value();
    server.scale.reset();
    if (view.segment.options.window_scale) server.scale = *view.segment.options.window_scale;
    server.timestamps = view.segment.options.timestamps.has_value();
    if (server.timestamps) server.clock = view.segment.options.timestamps->value;
    server.sack = view.segment.options.sack_permitted;
    server.syn_window = view.segment.window;
    rig_.put(true, frame);
  }
  static FrameView read(const Bytes& frame) {
    FrameView view;
    US_CHECK(parse_frame(frame, static_cast<uint32_t>(frame.size()), {}, view) == FrameStatus::kTcp);
    return view;
  }

  void both(const Bytes& frame) {
    rig_.put(false, frame);
    kernel_.put(frame);
  }
  ScriptSegment completed(ScriptSegment s) {
    rig_.complete(false, s);
    return s;
  }

  std::string step(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    const std::string rest = line.substr(verb.size());
    uint32_t number = 0;
    if (verb == "in" || verb == "maybe" || verb == "differ" || verb == "bare") return segment(verb, rest);
    if (verb == "kernel") return same_as(kernel_answer_, rest);
    if (verb == "ours") return same_as(our_answer_, rest);
    if (verb == "reset") return is_reset();
    if (verb == "shutdown") {
      ::shutdown(socket_.get(), SHUT_WR);
      rig_.guest("F.");
      return compare("in");
    }
    words >> number;
    if (verb == "write") {
      Bytes bytes;
      for (uint32_t i = 0; i < number; ++i) bytes.push_back(guest_byte(rig_.next(true) + i));
      US_CHECK(::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(number));
      rig_.send(true, number);
      return compare("in");
    }
    if (verb == "delivered") return delivered(number);
    return "unknown word";
  }

  std::string segment(const std::string& verb, const std::string& text) {
    const auto parsed = parse_script_segment(text);
    if (!parsed) return parsed.error().message;
    ScriptSegment s = completed(*parsed);
    if (verb == "bare") s.timestamps.reset();
    const Bytes frame = rig_.slow_frame(false, s).bytes();
    if (verb == "bare")
      rig_.put(false, frame);
    else
      rig_.say(false, s);
    kernel_.put(frame);
    return compare(verb);
  }

  std::string compare(const std::string& verb) {
    kernel_answer_ = our_answer_ = {};
    for (const Bytes& frame : kernel_.settle()) add(kernel_answer_, rig_.to_script(read(frame).segment, false));
    take_ours();
    // One of them may delay its ACK (RFC 9293 section 3.8.6.3).
    if (verb == "in" && our_answer_.any && !kernel_answer_.any)
      if (const auto frame = kernel_.next(kAckDelayMax))
        add(kernel_answer_, rig_.to_script(read(*frame).segment, false));
    if (verb == "in" && kernel_answer_.any && !our_answer_.any) {
      rig_.advance(kAckDelayMax);
      take_ours();
    }
    if (verb == "differ" || verb == "bare") return "";
    const Answer& k = kernel_answer_;
    const Answer& o = our_answer_;
    if (verb == "maybe" && k.any != o.any) return "";
    if (k.any != o.any || k.fin != o.fin || k.rst != o.rst || k.data_end != o.data_end || !alike(k.last, o.last))
      return "Linux answers " + show(k) + ", we " + show(o);
    return "";
  }
  void take_ours() {
    for (const RelayRig::Sent& sent : rig_.sent_to_peer) add(our_answer_, sent.segment);
    rig_.forget_sent();
  }
  static void add(Answer& answer, const ScriptSegment& s) {
    answer.any = true;
    answer.last = s;
    answer.fin = answer.fin || s.has('F');
    answer.rst = answer.rst || s.has('R');
    if (s.length > 0) answer.data_end = std::max(answer.data_end, *s.seq + s.length);
  }
  static bool alike(const ScriptSegment& a, const ScriptSegment& b) {
    const auto echo = [](const ScriptSegment& s) { return s.timestamps ? s.timestamps->second : 0; };
    return a.ack == b.ack && a.sack_blocks == b.sack_blocks && echo(a) == echo(b);
  }
  static std::string same_as(const Answer& answer, const std::string& text) {
    if (text.find("none") != std::string::npos && text.find("sack none") == std::string::npos)
      return answer.any ? "it answered " + show(answer) : "";
    const auto expected = parse_script_segment(text);
    if (!expected) return expected.error().message;
    if (!answer.any) return "no answer";
    const std::string what = difference(*expected, answer.last);
    return what.empty() ? "" : what + " differs, it answered " + show(answer);
  }

  std::string delivered(uint32_t number) {
    Bytes bytes(65536);
    for (;;) {
      const ssize_t got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
      if (got <= 0) break;
      for (ssize_t i = 0; i < got; ++i)
        if (bytes[static_cast<size_t>(i)] != peer_byte(1 + kernel_delivered_++)) return "Linux delivers a wrong byte";
    }
    if (kernel_delivered_ != number) return fmt::format("Linux has delivered {}", kernel_delivered_);
    const uint32_t ours = rig_.flow()->from_peer().next().value() - rig_.setup().peer.isn - 1 -
                          (rig_.flow()->from_peer().finished() ? 1 : 0);
    return ours == number ? "" : fmt::format("we have delivered {}", ours);
  }
  std::string is_reset() {
    uint8_t byte = 0;
    while (::recv(socket_.get(), &byte, 1, 0) > 0) {
    }
    if (errno != ECONNRESET && errno != EPIPE) return std::string("Linux's connection: ") + std::strerror(errno);
    return rig_.relay().size() == 0 ? "" : "ours is not";
  }

  KernelHost& kernel_;
  RelayRig rig_;
  UniqueFd listener_;
  UniqueFd socket_;
  Answer kernel_answer_;
  Answer our_answer_;
  uint32_t kernel_delivered_ = 0;
};

struct Script {
  const char* name;
  const char* text;
  bool timestamps = true;
  bool sack = true;
};

const Script kScripts[] = {
    {"DataInOrder", R"(
      in . 1:1001(1000)
      in . 1001:2001(1000)
      in . 2001:2002(1)
      delivered 2001
    )"},
    {"SackBlocksLatestFirst", R"(
      in . 1:1001(1000)
      in . 2001:3001(1000)
      in . 4001:5001(1000)
      in . 6001:7001(1000)
      in . 3001:3501(500)             # joins the first
      in . 8001:9001(1000)            # a fourth: three fit beside timestamps
      in . 1001:2001(1000)            # fills the first hole
      in . 3501:4001(500)
      in . 5001:6001(1000)
      in . 7001:8001(1000)
      delivered 9000
    )"},
    {"FourSackBlocksWithoutTimestamps", R"(
      in . 2001:3001(1000)
      in . 4001:5001(1000)
      in . 6001:7001(1000)
      in . 8001:9001(1000)
      in . 10001:11001(1000)
      in . 1:1001(1000)
      in . 1001:2001(1000)
    )",
     false},
    {"WithoutSack", R"(
      in . 1:1001(1000)
      in . 2001:3001(1000)
      in . 4001:5001(1000)
      in . 1:1001(1000)
      in . 1001:2001(1000)
      in . 3001:4001(1000)
      delivered 5000
    )",
     true, false},
    {"DuplicateSacks", R"(             # RFC 2883
      in . 1:1001(1000)
      in . 1:1001(1000)               # all old
      in . 501:1501(1000)             # half old
      in . 3001:4001(1000)
      in . 3001:4001(1000)            # again, ahead of the hole
      in . 1501:2001(500)
      in . 1:501(500)
      delivered 2000
    )"},
    {"OverlapsAheadOfAHole", R"(
      in . 2001:3001(1000)
      in . 4001:5001(1000)
      in . 2501:4501(2000)            # bridges both
      in . 1:2001(2000)
      delivered 5000
    )"},
    {"TimestampEchoAcrossAHole", R"(   # RFC 7323 section 4.3
      in . 1:1001(1000) <ts 2147483400 0>
      in . 2001:3001(1000) <ts 2147483410 0>      # the echo stays
      in . 3001:4001(1000) <ts 2147483420 0>
      in . 1001:2001(1000) <ts 2147483405 0>
      in . 4001:5001(1000) <ts 2147483430 0>
    )"},
    {"OldTimestamps", R"(              # PAWS, RFC 7323 section 5.3
      in . 1:1001(1000) <ts 2147483400 0>
      in . 1001:2001(1000) <ts 2147483000 0>
      in . 1001:2001(1000) <ts 2147483400 0>
      delivered 2000
    )"},
    {"OldAndFarSegments", R"(
      in . 1:1001(1000)
      in . 0:1(1)                     # a keep-alive with its byte
      in . 1000000000:1000000100(100) # far beyond the window
      in . 3000000000:3000000100(100) # far behind
      delivered 1000
    )"},
    {"KeepAliveWithoutData", R"(
      in . 1:101(100)
      in . 100:100(0)                 # the answer's rate is limited from here on
      in . 100:100(0)
    )"},
    {"ResetAtTheNextNumber", R"(       # RFC 5961 section 3.2
      in . 1:101(100)
      differ R 101:101(0)
      kernel none
      ours none
      reset
    )"},
    {"ResetInsideTheWindow", R"(
      in . 1:101(100)
      in R 102:102(0)                 # challenged
      in R 5000:5000(0)               # too soon for another one
      in R 100:100(0)
      in R 1000000000:1000000000(0)
      in . 101:201(100)
      delivered 200
    )"},
    {"SynInsideAConnection", R"(       # RFC 5961 section 4.2
      in . 1:101(100)
      in S 0:0(0)
      in S 150:150(0)
      in . 101:201(100)
      delivered 200
    )"},
    {"ResetAfterAChallenge", R"(
      in . 1:101(100)
      in S 5000:5000(0)
      differ R 101:101(0)
      kernel none
      ours none
      reset
    )"},
    {"AckThatIsTooOld", R"(            # RFC 5961 section 5.2
      in . 1:101(100)
      in . 101:201(100) ack 3000000000
      in . 101:201(100) ack 1
      delivered 200
    )"},
    {"AckForWhatWasNeverSent", R"(
      in . 1:101(100)
      # RFC 9293 section 3.10.7.4: "If the ACK acks something not yet sent, then send an ACK, drop the segment".  Older
      # kernels drop it and say nothing (tcp_ack(): SKB_DROP_REASON_TCP_ACK_UNSENT_DATA).
      maybe . 101:201(100) ack 5000
      ours . ack 101
      in . 101:201(100) ack 1
      delivered 200
    )"},
    {"WithoutAckFlag", R"(
      in . 1:101(100)
      in - 101:201(100)
      in . 101:201(100)
      delivered 200
    )"},
    {"WithoutItsTimestamp", R"(        # RFC 7323 section 3.2: "SHOULD silently drop the segment".  Linux takes it.
      in . 1:101(100)
      bare . 101:201(100) ack 1
      kernel . ack 201
      ours none
    )"},
    {"AResetNeedsNoTimestamp", R"(     # RFC 7323 section 3.2
      in . 1:101(100)
      bare R 101:101(0)
      reset
    )"},
    {"AResetAtTheEndOfTheSackedData", R"(
      in . 1:101(100)
      in . 201:301(100)
      # Linux takes the end of the highest SACK block for what the other side has sent (tcp_validate_incoming()); RFC 5961
      # section 3.2 knows RCV.NXT alone, and the challenge brings the right one.
      differ R 301:301(0)
      kernel none
      ours . ack 101 <sack 201:301>
    )"},
    {"FinInOrder", R"(
      in . 1:101(100)
      in F. 101:201(100)
      in F. 101:201(100)              # again: a duplicate
      in . 202:202(0)
      delivered 200
    )"},
    {"FinAheadOfAHole", R"(
      in F. 1001:2001(1000)
      in . 1:1001(1000)
      delivered 2000
    )"},
    {"HalfClose", R"(
      in F. 1:101(100)
      write 1000
      in . 102:102(0) ack 1001
      write 500
      in . 102:102(0) ack 1501
      shutdown
    )"},
    {"TheServerClosesFirst", R"(
      write 100
      in . 1:1(0) ack 101
      shutdown
      in . 1:101(100) ack 102
      in . 101:201(100) ack 102
      in F. 201:201(0) ack 102
    )"},
    {"BothClose", R"(
      shutdown
      in F. 1:1(0) ack 1
    )"},
    {"WindowUpdatesAndOldAcks", R"(
      write 1000
      in . 1:1(0) ack 501
      in . 1:1(0) ack 1               # older than una
      in . 1:1(0) ack 1001 win 100
      write 1000
    )"},
};

class SameAnswer : public testing::TestWithParam<Script> {};

TEST_P(SameAnswer, AsLinux) {
  auto kernel = KernelHost::create(kKernel, kOurs);
  if (!kernel) GTEST_SKIP() << kernel.error().message;
  RigSetup setup;
  setup.solo = true;
  setup.guest.window = 65535;
  setup.peer.timestamps = GetParam().timestamps;
  setup.peer.sack = GetParam().sack;
  Pair pair(*kernel, setup);
  EXPECT_EQ(pair.run(GetParam().text), "");
}

INSTANTIATE_TEST_SUITE_P(Scripts, SameAnswer, testing::ValuesIn(kScripts),
                         [](const auto& script) { return std::string(script.param.name); });

}  // namespace
}  // namespace us
