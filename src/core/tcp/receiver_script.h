// ReceiverScript: for tests.  A Receiver with its buffer as the subject of packet scripts (packet_script.h).
//
// Sequence numbers in a script count from the first byte, which is 1; the other side's ACK numbers are as they come,
// and [0, 10000] is what may be acknowledged.  Byte n of the stream is script_byte(n), unless the segment says
// otherwise.  Commands:
//   ackable A:B, fin_ackable, request_ack, take_over     Receiver's inputs of these names
//   waits on|off     config.ack_waits                     trim N           the consumer has taken all before N
//   capacity N       of the buffer
// Checks:
//   next N           RCV.NXT                              verdict WORDS    of the last segment
//   stored A:B       the last segment's new numbers       ack valid|invalid  whether its ACK is for the sender half
//
// With `restores` every step goes through snapshot(), encode(), decode and restore(): the restore law.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "core/tcp/packet_script.h"
#include "core/tcp/receiver.h"

namespace us {

inline uint8_t script_byte(uint32_t n) { return static_cast<uint8_t>((n * 2654435761u) >> 24); }

class ReceiverScript : public ScriptSubject {
 public:
  struct Given {
    ReceiverConfig config;
    uint32_t offered = 65535;  // the window that was offered in the handshake
    uint32_t capacity = 65535;
    uint32_t recent_timestamp = 100;
    uint32_t first = 0xffffff00u;  // sequence number of byte 1 minus 1
    bool settled = true;           // the quick ACKs at the start of a connection are over
    bool restores = false;
  };

  explicit ReceiverScript(const Given& setup)
      : setup_(setup),
        buffer_(pool_, seq(1), setup.capacity),
        receiver_(setup.config, seq(1), seq(1) + setup.offered, setup.recent_timestamp, ScriptOptions().start) {
    if (setup.settled) {
      ReceiverState state = receiver_.snapshot(ScriptOptions().start);
      state.policy.quick_acks = 0;
      receiver_ = std::move(*Receiver::restore(state, buffer_, ScriptOptions().start));
    }
  }

  void on_segment(const ScriptSegment& in, Instant now) override {
    Bytes bytes(in.length);
    for (uint32_t i = 0; i < in.length; ++i) bytes[i] = script_byte(in.seq.value_or(next()) + i);
    const std::vector<ByteSpan> payload{ByteSpan(bytes).first(bytes.size() / 3),
                                        ByteSpan(bytes).subspan(bytes.size() / 3)};
    received_ = receiver_.on_segment(to_segment(in), payload, {SeqNum(0), SeqNum(10'000)}, buffer_, now);
    restore(now);
  }

  std::string on_command(const std::vector<std::string>& words, Instant now) override {
    const std::string failure = command(words, now);
    restore(now);
    return failure;
  }

  std::string on_check(const std::vector<std::string>& words) const override {
    std::string rest;
    for (size_t i = 1; i < words.size(); ++i) rest += (i > 1 ? " " : "") + words[i];
    std::string is;
    if (words[0] == "verdict")
      is = std::string(to_string(received_.verdict));
    else if (words[0] == "ack")
      is = received_.ack_valid ? "valid" : "invalid";
    else if (words[0] == "next")
      is = std::to_string(next());
    else if (words[0] == "stored")
      is = fmt::format("{}:{}", number(received_.stored.start), number(received_.stored.end));
    else
      return "unknown check";
    return is == rest ? "" : "is " + is;
  }

  std::optional<ScriptSegment> poll(Instant now) override {
    const auto ack = receiver_.poll_ack(buffer_, now);
    restore(now);
    if (!ack) return std::nullopt;
    Segment segment;
    ack->write_to(segment, 0);
    return to_script(segment);
  }

  std::optional<Instant> next_deadline() const override { return receiver_.next_deadline(); }
  void on_deadline(Instant) override {}

  // "" when the stream in the buffer is what script_byte() says.
  std::string stream_error() const {
    uint32_t n = seq(0).distance_to(buffer_.start());
    std::string error;
    buffer_.for_each(buffer_.start(), buffer_.end(), [&](ByteSpan span) {
      for (uint8_t byte : span)
        if (byte != script_byte(n++) && error.empty()) error = fmt::format("byte {} is wrong", n - 1);
    });
    return error;
  }
  Receiver& receiver() { return receiver_; }

 private:
  SeqNum seq(uint32_t n) const { return SeqNum(setup_.first + n); }
  uint32_t number(SeqNum s) const { return s.value() - setup_.first; }
  uint32_t next() const { return number(receiver_.next()); }

  Segment to_segment(const ScriptSegment& in) const {
    Segment s;
    s.seq = seq(in.seq.value_or(next()));
    s.payload_length = in.length;
    s.ack = SeqNum(in.ack.value_or(1));
    s.window = static_cast<uint16_t>(in.window.value_or(500));
    const std::string_view letters = "FSRP.UEW";
    for (size_t i = 0; i < letters.size(); ++i)
      if (in.has(letters[i])) s.flags |= static_cast<uint16_t>(1u << i);
    s.ecn = static_cast<Ecn>(in.ecn.value_or(0));
    s.gso_size = static_cast<uint16_t>(in.mss.value_or(0));  // <mss N> on a data segment: cut into segments of N
    if (in.timestamps) s.options.timestamps = Timestamps{in.timestamps->first, in.timestamps->second};
    return s;
  }

  ScriptSegment to_script(const Segment& s) const {
    ScriptSegment out;
    out.flags = s.has(tcp_flag::kEce) ? ".E" : ".";
    out.ack = number(s.ack);
    out.window = s.window;
    if (s.options.timestamps) out.timestamps = {s.options.timestamps->value, s.options.timestamps->echo};
    out.sack_blocks.emplace();
    for (const SeqRange& r : s.options.sack()) out.sack_blocks->emplace_back(number(r.start), number(r.end));
    return out;
  }

  std::string command(const std::vector<std::string>& words, Instant now) {
    const std::string& name = words.at(0);
    const std::string argument = words.size() > 1 ? words[1] : "";
    const size_t colon = argument.find(':');
    const auto value = [](const std::string& text) { return static_cast<uint32_t>(std::stoul(text)); };
    const auto range = [&] { return SeqRange{seq(value(argument)), seq(value(argument.substr(colon + 1)))}; };
    if (name == "ackable")
      receiver_.on_ackable(range(), now);
    else if (name == "fin_ackable")
      receiver_.on_fin_ackable(now);
    else if (name == "trim")
      buffer_.trim_to(seq(value(argument)));
    else if (name == "capacity")
      buffer_.set_capacity(value(argument));
    else if (name == "waits")
      receiver_.set_ack_waits(argument == "on", now);
    else if (name == "request_ack")
      receiver_.request_ack();
    else if (name == "take_over")
      receiver_.take_over(buffer_, now);
    else
      return "unknown command";
    return "";
  }

  void restore(Instant now) {
    if (!setup_.restores) return;
    Bytes bytes;
    ByteWriter w(bytes);
    encode(receiver_.snapshot(now), w);
    ByteReader r(bytes);
    auto state = decode_receiver_state(r);
    US_CHECK(state && r.done() && *state == receiver_.snapshot(now));
    auto restored = Receiver::restore(*state, buffer_, now);
    US_CHECK(restored && restored->snapshot(now) == *state);
    receiver_ = std::move(*restored);
  }

  Given setup_;
  ChunkPool pool_{64 << 20};
  RelayBuffer buffer_;
  Receiver receiver_;
  Received received_{ReceiveVerdict::kAccepted};
};

inline ReceiverScript::Given given(const ReceiverConfig& config) {
  ReceiverScript::Given out;
  out.config = config;
  return out;
}

// Runs the script as it is, and again with a snapshot and restore after every step.
inline std::string run_receiver_script(std::string_view script, ReceiverScript::Given setup = {}) {
  for (const bool restores : {false, true}) {
    setup.restores = restores;
    ReceiverScript subject(setup);
    std::string failure = run_script(subject, script);
    if (failure.empty()) failure = subject.stream_error();
    if (!failure.empty()) return (restores ? "with restores: " : "") + failure;
  }
  return "";
}

}  // namespace us
