// SenderScript: a Sender as the subject of a packet script (packet_script.h).  For tests alone.
//
// Sequence numbers in scripts count from 1, the first byte.  run_sender_script() runs a script three times, with the
// wrap-around of the sequence space at different places.  An `in` line is an ACK, its window is in bytes (no scaling
// unless the set-up says so) and 65535 when not written.  With timestamps, TSval is the time of the script in ms, and
// `ts VAL ECR` of an ACK echoes one; `out` lines show them.
//
//   do write N             N more bytes are committed        do fin               a FIN behind them is
//   do toobig MSS SEQ      an ICMP report                    do takeover          snapshot, restore, go on
//   do is NAME VALUE       one of the numbers below; VALUE may be LOW..HIGH
//   do dead | alive        the verdict
//   do unacceptable N      an ACK for N must be refused (RFC 5961)
#pragma once

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tcp/packet_script.h"
#include "core/tcp/sender.h"

namespace us {

struct ScriptSetup {
  SenderConfig config;
  SenderState state;
  bool timestamps = false;

  // Segments of 1000 bytes, each one on its own, no pacing, SACK.
  ScriptSetup() {
    config.pacing = false;
    config.burst_bytes_max = 0;
    config.initial_window_segments = 10;
    state.mss = 1000;
    state.sack = true;
    state.peer.size = state.peer.largest = 65535;
  }
};

class SenderScript : public ScriptSubject {
 public:
  SenderScript(const ScriptSetup& setup, uint32_t base) : setup_(setup), base_(base) {
    SenderState state = setup.state;
    state.una = state.committed = state.peer.update_ack = at(1);
    sender_ = std::make_unique<Sender>(Sender::create(state, setup_.config).value());
  }

  void on_segment(const ScriptSegment& in, Instant now) override { sender_->on_ack(ack_info(in), now); }

  std::string on_command(const std::vector<std::string>& words, Instant) override {
    const auto number = [&](size_t i) { return static_cast<uint32_t>(std::stoul(words.at(i))); };
    if (words[0] == "write") {
      sender_->on_committed(sender_->committed() + number(1));
    } else if (words[0] == "fin") {
      sender_->on_fin();
    } else if (words[0] == "toobig") {
      sender_->on_packet_too_big(number(1), at(number(2)));
    } else if (words[0] == "takeover") {
      sender_ = std::make_unique<Sender>(Sender::restore(sender_->snapshot(), setup_.config).value());
    } else if (words[0] == "is") {
      return check(words.at(1), words.at(2));
    } else if (words[0] == "dead") {
      return sender_->verdict() == SenderVerdict::kPeerDead ? "" : "the peer is not dead";
    } else if (words[0] == "alive") {
      return sender_->verdict() == SenderVerdict::kAlive ? "" : "the peer is dead";
    } else if (words[0] == "unacceptable") {
      AckInfo info;
      info.ack = at(number(1));
      return sender_->on_ack(info, Instant::from_nanos(0)) == AckVerdict::kUnacceptable ? "" : "it was accepted";
    } else {
      return "unknown command";
    }
    return "";
  }

  std::optional<ScriptSegment> poll(Instant now) override {
    const auto segment = sender_->poll_segment(now);
    if (!segment) return std::nullopt;
    ScriptSegment out;
    out.flags = ".";
    if (segment->fin) out.flags += 'F';
    if (segment->push) out.flags += 'P';
    if (segment->cwr) out.flags += 'W';
    out.seq = relative(segment->seq);
    out.length = segment->length;
    if (segment->ect) out.ecn = 2;
    if (setup_.timestamps) out.timestamps = {{milliseconds(now), 0}};
    return out;
  }
  std::optional<Instant> next_deadline() const override { return sender_->next_deadline(); }
  void on_deadline(Instant now) override { sender_->on_deadline(now); }

 private:
  SeqNum at(uint32_t n) const { return SeqNum(base_) + n; }
  uint32_t relative(SeqNum seq) const { return SeqNum(base_).distance_to(seq); }
  static Instant start() { return ScriptOptions().start; }
  static uint32_t milliseconds(Instant now) { return static_cast<uint32_t>((now - start()).to_millis()); }

  AckInfo ack_info(const ScriptSegment& in) {
    AckInfo info;
    info.seq = SeqNum(in.seq.value_or(0));
    info.ack = at(in.ack.value_or(1));
    info.window = static_cast<uint16_t>(in.window.value_or(65535));
    info.pure = in.length == 0;
    info.ece = in.has('E');
    sack_.clear();
    if (in.sack_blocks) {
      for (const auto& [first, end] : *in.sack_blocks) sack_.push_back({at(first), at(end)});
    }
    info.sack = sack_;
    if (in.timestamps) {
      const Instant sent = start() + Duration::millis(in.timestamps->second);
      info.echo = EchoTime{sent, sent + Duration::millis(1) - Duration::nanos(1)};
    }
    return info;
  }

  std::string check(const std::string& name, const std::string& range) const {
    const SenderStats& s = sender_->stats();
    const std::pair<std::string_view, uint64_t> values[] = {{"cwnd", sender_->cwnd()},
                                                            {"ssthresh", sender_->ssthresh()},
                                                            {"inflight", sender_->inflight_bytes()},
                                                            {"una", relative(sender_->una())},
                                                            {"nxt", relative(sender_->nxt())},
                                                            {"mss", sender_->mss()},
                                                            {"finacked", sender_->fin_acked()},
                                                            {"srtt", sender_->rtt().srtt().to_millis()},
                                                            {"recoveries", s.recoveries},
                                                            {"timeouts", s.timeouts},
                                                            {"tailprobes", s.tail_probes},
                                                            {"windowprobes", s.window_probes},
                                                            {"spurious", s.spurious},
                                                            {"ecn", s.ecn_reductions},
                                                            {"renegings", s.renegings},
                                                            {"resent", s.bytes_retransmitted}};
    const size_t dots = range.find("..");
    const uint64_t low = std::stoull(range.substr(0, dots));
    const uint64_t high = dots == std::string::npos ? low : std::stoull(range.substr(dots + 2));
    for (const auto& [known, value] : values) {
      if (known != name) continue;
      return low <= value && value <= high ? "" : fmt::format("{} is {}", name, value);
    }
    return "unknown number";
  }

  ScriptSetup setup_;
  uint32_t base_;
  std::unique_ptr<Sender> sender_;
  std::vector<SeqRange> sack_;
};

inline std::string run_sender_script(const ScriptSetup& setup, std::string_view script) {
  for (const uint32_t base : {0u, 0xffffffffu - 3500u, 0xffffffffu - 12'500u, 0x7fffffffu - 5000u}) {
    SenderScript subject(setup, base);
    if (const std::string failure = run_script(subject, script); !failure.empty()) {
      return fmt::format("first byte at {:#x}: {}", base + 1, failure);
    }
  }
  return "";
}
inline std::string run_sender_script(std::string_view script) { return run_sender_script(ScriptSetup(), script); }

// The set-ups that many scripts ask for.
inline ScriptSetup bursts() {
  ScriptSetup setup;
  setup.config.burst_bytes_max = 65000;
  return setup;
}

inline ScriptSetup without_sack() {
  ScriptSetup setup = bursts();
  setup.state.sack = false;
  return setup;
}

}  // namespace us
