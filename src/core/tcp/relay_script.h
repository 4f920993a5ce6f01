// Relay scripts: tests of a whole relayed connection as a list of what happens and what must come of it.  For tests.
//
//     guest  . 1:1001(1000)           the guest sends (packet_script.h; numbers count from the SYNs)
//     >guest . ack 1001               the next frame that the guest gets
//     cut  commit                     several words of one line are done in order
//     >peer  . 1:1001(1000) ack 1
//     +40ms                           time passes, timers fire
//
// Words: cut, commit, commit-unheard, durable, durable-unheard (relay_rig.h); solo; takeover; lose (what was sent is
// lost on the way).  `passed` and `taken`: what became of the latest frame.  `flows N`: relayed connections.  `+T`: ms
// or s. Every frame must be expected, for each side in order, before the next thing happens.
//
// run_relay_script() runs it with the wrap-around of sequence numbers and timestamps at different places, begins with
// the connection established and both greeted, and returns the first failure, a broken rule among them, or "".
#pragma once

#include <fmt/format.h>

#include <sstream>
#include <string>
#include <string_view>

#include "core/tcp/relay_rig.h"

namespace us {

class RelayScript {
 public:
  explicit RelayScript(RelayRig& rig) : rig_(rig) {}

  std::string run(const std::string& script) {
    std::istringstream lines(script);
    std::string line;
    for (int n = 1; std::getline(lines, line); ++n) {
      line = line.substr(0, line.find('#'));
      const size_t first = line.find_first_not_of(" \t");
      if (first == std::string::npos) continue;
      const std::string failure = step(line.substr(first));
      if (!failure.empty()) return fmt::format("line {}: `{}`: {}", n, line.substr(first), failure);
      if (!rig_.violation().empty()) return fmt::format("line {}: `{}`: {}", n, line.substr(first), rig_.violation());
    }
    return left_over();
  }

 private:
  std::string step(const std::string& line) {
    const size_t end = std::min(line.find_first_of(" \t"), line.size());
    const std::string verb = line.substr(0, end);
    const std::string rest = line.substr(end);
    if (verb == ">guest") return expect(rig_.sent_to_guest, rest);
    if (verb == ">peer") return expect(rig_.sent_to_peer, rest);
    if (verb == "guest" || verb == "peer") {
      if (std::string extra = left_over(); !extra.empty()) return extra;
      const auto segment = parse_script_segment(rest);
      if (!segment) return segment.error().message;
      rig_.say(verb == "guest", *segment);
      return "";
    }
    std::istringstream words(line);
    std::string failure;
    for (std::string word; failure.empty() && words >> word;) failure = word == "flows" ? flows(words) : act(word);
    return failure;
  }

  std::string flows(std::istringstream& words) {
    size_t n = 0;
    words >> n;
    return rig_.relay().size() == n ? "" : fmt::format("there are {}", rig_.relay().size());
  }

  std::string act(const std::string& word) {
    if (word == "lose") {
      rig_.forget_sent();
      return "";
    }
    if (word == "passed" || word == "taken") {
      const bool taken = rig_.disposition() == Relay::Disposition::kTaken;
      return taken == (word == "taken") ? "" : taken ? "it was taken" : "it was passed";
    }
    if (std::string extra = left_over(); !extra.empty()) return extra;
    if (word == "cut")
      rig_.cut();
    else if (word == "commit")
      rig_.commit();
    else if (word == "commit-unheard")
      rig_.commit(false);
    else if (word == "durable")
      rig_.durable();
    else if (word == "durable-unheard")
      rig_.durable(false);
    else if (word == "solo")
      rig_.go_solo();
    else if (word == "takeover")
      rig_.take_over();
    else if (word[0] == '+')
      return pass_time(word.substr(1));
    else
      return "unknown word " + word;
    return "";
  }

  std::string pass_time(const std::string& length) {
    size_t at = 0;
    const double value = std::stod(length, &at);
    const double millis = length.substr(at) == "s" ? value * 1000 : value;
    rig_.advance(Duration::micros(static_cast<int64_t>(millis * 1000)));
    return "";
  }

  static std::string expect(std::deque<RelayRig::Sent>& sent, const std::string& text) {
    const auto expected = parse_script_segment(text);
    if (!expected) return expected.error().message;
    if (sent.empty()) return "nothing was sent";
    const RelayRig::Sent got = std::move(sent.front());
    sent.pop_front();
    const std::string what = difference(*expected, got.segment);
    return what.empty() ? "" : fmt::format("{} differs, sent was {}", what, to_string(got.segment));
  }

  std::string left_over() const {
    if (!rig_.sent_to_guest.empty()) return "not expected: >guest " + to_string(rig_.sent_to_guest.front().segment);
    if (!rig_.sent_to_peer.empty()) return "not expected: >peer " + to_string(rig_.sent_to_peer.front().segment);
    return rig_.violation();
  }

  RelayRig& rig_;
};

inline std::string run_relay_script(const RigSetup& setup, const std::string& script) {
  // At the first byte, inside of the script's bytes, far away.
  const uint32_t isns[][2] = {{0xffffffff, 0xfffffff0}, {0xfffffc00, 0x7ffffe00}, {1000, 2000}};
  for (const auto& isn : isns) {
    RigSetup at = setup;
    at.guest.isn = isn[0];
    at.peer.isn = isn[1];
    at.guest.clock = isn[1] + 0x100;
    at.peer.clock = isn[0] - 0x10000000;
    RelayRig rig(at);
    rig.connect();
    if (setup.guest_opens && !setup.solo) {
      rig.cut();
      rig.commit();
    }
    rig.durable();
    rig.forget_sent();
    const std::string failure = RelayScript(rig).run(script);
    if (!failure.empty()) return fmt::format("guest's ISN {:#x}: {}", isn[0], failure);
  }
  return "";
}
inline std::string run_relay_script(const std::string& script) { return run_relay_script(RigSetup(), script); }

// The set-ups that many scripts ask for.
inline RigSetup solo() {
  RigSetup setup;
  setup.solo = true;
  return setup;
}

inline RigSetup guest_opens() {
  RigSetup setup;
  setup.guest_opens = true;
  return setup;
}

}  // namespace us
