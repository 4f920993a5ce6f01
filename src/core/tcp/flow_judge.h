// FlowJudge: for tests.  Watches one relayed connection from outside, keeps its own account of what was said, committed
// and made durable, and finds the frame that breaks a rule (the rules: docs/tcp-relay.md, "How it is tested").
//
// All numbers count from the endpoints' SYNs, which are 0, so that the first byte of each side is 1.  Byte n of the
// guest's stream is guest_byte(n), of the peer's peer_byte(n).  What the judge does not know exactly it takes for the
// most that is allowed: the guest has said all it ever sent, the peer's bytes count whether they were valid or not.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "core/tcp/packet_script.h"

namespace us {

inline uint8_t guest_byte(uint32_t n) { return static_cast<uint8_t>((n * 2654435761u) >> 24); }
inline uint8_t peer_byte(uint32_t n) { return static_cast<uint8_t>((n * 2246822519u) >> 23); }

// Disjoint ranges of numbers, joined where they touch.
class NumberSet {
 public:
  void add(uint32_t first, uint32_t end) {
    if (first >= end) return;
    std::vector<std::pair<uint32_t, uint32_t>> out;
    for (const auto& [a, b] : ranges_) {
      if (b < first || a > end) {
        out.emplace_back(a, b);
      } else {
        first = std::min(first, a);
        end = std::max(end, b);
      }
    }
    out.emplace_back(first, end);
    std::sort(out.begin(), out.end());
    ranges_ = std::move(out);
  }
  bool covers(uint32_t first, uint32_t end) const {
    return std::any_of(ranges_.begin(), ranges_.end(),
                       [&](const auto& r) { return r.first <= first && end <= r.second; });
  }

 private:
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;
};

class FlowJudge {
 public:
  // What the handshake has said.
  struct Begin {
    uint8_t guest_scale = 0;
    uint8_t peer_scale = 0;
    uint32_t guest_edge = 0;  // right edge of the window that the guest has offered
    uint32_t peer_edge = 0;
    bool timestamps = false;
    uint32_t guest_ts = 0;
    uint32_t peer_ts = 0;
  };
  explicit FlowJudge(const Begin& begin)
      : begin_(begin),
        edge_(begin.guest_edge),
        peer_edge_(begin.peer_edge),
        guest_ts_(begin.guest_ts),
        peer_ts_(begin.peer_ts),
        to_peer_ts_(begin.guest_ts),
        to_guest_ts_(begin.peer_ts) {
    said_.end = committed_.end = 1;
    durable_.add(0, 1);
  }

  // ---- what happens ----

  // Any segment that the endpoints have sent to the relay; `end` with the number of a FIN.
  void guest_says(const ScriptSegment& s, uint32_t end, bool solo) {
    said_.end = std::max(said_.end, end);
    if (s.length > 0) said_by_guest_.add(*s.seq, *s.seq + s.length);
    if (s.has('F')) {
      said_.fin = true;
      fins_.add(end - 1, end);
    }
    if (s.has('R')) said_.reset = true;
    if (s.timestamps) guest_ts_ = later_ts(guest_ts_, s.timestamps->first);
    if (solo) committed_ = said_;
  }
  void peer_says(const ScriptSegment& s, uint32_t first, uint32_t end, bool solo) {
    said_by_peer_.add(first, end);
    if (s.ack) peer_acked_ = std::max(peer_acked_, std::min(*s.ack, said_.end));
    if (s.ack && s.window) peer_edge_ = std::max(peer_edge_, *s.ack + (uint64_t{*s.window} << begin_.peer_scale));
    if (s.timestamps) peer_ts_ = later_ts(peer_ts_, s.timestamps->first);
    if (solo) durable_ = with_first(said_by_peer_);
  }
  void on_cut(uint64_t epoch) { cuts_[epoch] = said_; }
  void on_commit(uint64_t epoch) {
    for (auto it = cuts_.begin(); it != cuts_.end() && it->first <= epoch; it = cuts_.erase(it))
      committed_ = it->second;
  }
  void on_durable(uint32_t first, uint32_t end) { durable_.add(first, end); }
  // No standby any more: all that was said is committed, all that came is durable.
  void on_solo() {
    cuts_.clear();
    committed_ = said_;
    durable_ = with_first(said_by_peer_);
  }
  // The guest goes on from the last epoch that the standby has committed, the relay with what the standby `has` of the
  // peer's numbers; alone.
  void on_takeover(const NumberSet& has) {
    cuts_.clear();
    said_ = committed_;
    said_by_peer_ = durable_ = with_first(has);
    to_guest_ack_ = 0;
    to_guest_ts_ = begin_.peer_ts;
  }

  // ---- what the relay sends: "" or the rule that it breaks ----

  std::string to_peer(const ScriptSegment& s, const Bytes& payload) {
    const uint32_t seq = s.seq.value_or(0);
    const uint32_t end = seq + s.length + (s.has('F') ? 1 : 0);
    if (end != seq && end > committed_.end)
      return fmt::format("rule 1: sends {} but {} is committed", end, committed_.end);
    if (s.has('F') && !committed_.fin) return "rule 1: sends a FIN that is not committed";
    if (s.has('R') && !(committed_.reset || resets_allowed_)) return "rule 5: sends a RST that is not committed";
    if (end != seq && end > peer_edge_ + 1)
      return fmt::format("rule 7: sends {} into a window that ends at {}", end, peer_edge_);
    if (const auto wrong = wrong_byte(payload, seq, guest_byte)) return fmt::format("byte {} is wrong", *wrong);
    if (!s.ack) return "no ACK";
    if (!durable_.covers(0, *s.ack)) return fmt::format("rule 1: acknowledges {}, which is not durable", *s.ack);
    for (const auto& [a, b] : s.sack_blocks.value_or(std::vector<std::pair<uint32_t, uint32_t>>{}))
      if (!durable_.covers(a, b)) return fmt::format("rule 1: SACKs {}:{}, which is not durable", a, b);
    if (*s.ack < ack_) return fmt::format("rule 2: takes back an ACK, {} after {}", *s.ack, ack_);
    ack_ = *s.ack;
    const uint64_t edge = ack_ + (uint64_t{s.window.value_or(0)} << begin_.guest_scale);
    if (edge + (1u << begin_.guest_scale) <= edge_)
      return fmt::format("rule 2: takes back a window, {} after {}", edge, edge_);
    edge_ = std::max(edge_, edge);
    return timestamps(s, to_peer_ts_, begin_.peer_ts, peer_ts_);
  }

  std::string to_guest(const ScriptSegment& s, const Bytes& payload) {
    const uint32_t seq = s.seq.value_or(0);
    if (s.length > 0 && !said_by_peer_.covers(seq, seq + s.length)) return "the guest gets what the peer has not sent";
    if (const auto wrong = wrong_byte(payload, seq, peer_byte)) return fmt::format("byte {} is wrong", *wrong);
    if (!s.ack || *s.ack > said_.end) return "acknowledges what the guest has not sent";
    if (fins_.covers(*s.ack - 1, *s.ack) && !said_by_guest_.covers(*s.ack - 1, *s.ack) && peer_acked_ < *s.ack &&
        !s.has('R'))
      return "rule 5: acknowledges a FIN that the peer has not acknowledged";
    if (*s.ack < to_guest_ack_) return "rule 2: takes back an ACK toward the guest";
    to_guest_ack_ = *s.ack;
    return timestamps(s, to_guest_ts_, begin_.guest_ts, guest_ts_);
  }

  // What the guest has said so far, after a takeover in the epoch that it goes on from.
  uint32_t guest_end() const { return said_.end; }
  // The relay may give the connection up on its own: the guest takes nothing any more.
  void allow_resets() { resets_allowed_ = true; }

 private:
  struct Said {
    uint32_t end = 1;
    bool fin = false;
    bool reset = false;
  };

  static uint32_t later_ts(uint32_t a, uint32_t b) { return static_cast<int32_t>(b - a) > 0 ? b : a; }
  static NumberSet with_first(NumberSet set) {
    set.add(0, 1);
    return set;
  }
  template <typename Byte>
  static std::optional<uint32_t> wrong_byte(const Bytes& payload, uint32_t seq, Byte byte) {
    for (uint32_t i = 0; i < payload.size(); ++i)
      if (payload[i] != byte(seq + i)) return seq + i;
    return std::nullopt;
  }
  // Our values never go back; what is echoed is a value of the side that it is echoed to.
  std::string timestamps(const ScriptSegment& s, uint32_t& latest, uint32_t first_of_side, uint32_t last_of_side) {
    if (!begin_.timestamps) return s.timestamps ? "timestamps that were not agreed on" : "";
    if (!s.timestamps) return "no timestamps";
    const auto& [value, echo] = *s.timestamps;
    if (later_ts(value, latest) != value)
      return fmt::format("rule 2: takes back a timestamp, {} after {}", value, latest);
    latest = value;
    if (echo - first_of_side > last_of_side - first_of_side)
      return fmt::format("rule 3: echoes {}, of the other side", echo);
    return "";
  }

  Begin begin_;
  Said said_;
  Said committed_;
  std::map<uint64_t, Said> cuts_;
  NumberSet said_by_peer_;
  NumberSet said_by_guest_;
  NumberSet fins_;  // numbers of the guest's FINs
  NumberSet durable_;
  uint32_t peer_acked_ = 0;
  bool resets_allowed_ = false;
  uint32_t ack_ = 1;
  uint64_t edge_;
  uint64_t peer_edge_;
  uint32_t to_guest_ack_ = 0;
  uint32_t guest_ts_;
  uint32_t peer_ts_;
  uint32_t to_peer_ts_;
  uint32_t to_guest_ts_;
};

}  // namespace us
