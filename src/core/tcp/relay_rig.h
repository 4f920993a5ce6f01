// RelayRig: for tests and fuzzing.  A whole Relay with its log and a standby's replica, between a guest and a peer that
// do what they are told; a FlowJudge watches every frame.  Virtual time.
//
//   guest("…") ──► Relay ──► sent to the peer     cut() ──► commit()          epochs
//   sent to the guest ◄── Relay ◄── peer("…")     durable()                   the log reaches the standby and is ACKed
//                                                 take_over()                 the primary dies, the standby goes on
//
// Segments are written as in packet_script.h; numbers count from the SYNs (first byte: 1), windows are not scaled. What
// is not written: the next number of that side, the latest ACK it would send (all that it got), window 500, timestamps
// of that side's clock.  Frames are made with SlowFrame and read with parse_frame().
#pragma once

#include <fmt/format.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "core/replica/wire.h"
#include "core/tcp/flow_judge.h"
#include "core/tcp/packet_script.h"
#include "core/tcp/relay.h"
#include "core/tcp/relay_cut.h"
#include "core/tcp/relay_log.h"
#include "core/tcp/relay_replica.h"
#include "core/tcp/slow_frame.h"

namespace us {

struct RigSide {
  uint32_t isn = 0;
  std::optional<uint32_t> mss = 1460;
  bool sack = true;
  bool timestamps = true;
  std::optional<uint32_t> scale = 7;
  uint16_t syn_window = 64240;
  uint16_t window = 500;  // of segments that do not say
  uint32_t clock = 0;     // TSval at time 0; one a millisecond
};

struct RigSetup {
  RigSide guest{.isn = 0xfffffff0, .clock = 0xffffff00};
  RigSide peer{.isn = 0x7ffffff0, .clock = 0x7fffff00};
  bool guest_opens = false;
  bool solo = false;
  bool ecn = false;
  bool v6 = false;
  std::vector<uint32_t> vlans;
  uint8_t dscp = 0;  // traffic class without the ECN bits
  RelayOptions options{.offload = false};
  RelayLimits limits;
};

// The bytes of a script segment's options, padded; SACK blocks relative to `base`.
inline Bytes slow_options(const ScriptSegment& s, uint32_t base) {
  Bytes out;
  ByteWriter w(out);
  const auto kind = [&](uint8_t k, size_t length) {
    w.be(k);
    w.be(static_cast<uint8_t>(length));
  };
  if (s.mss) {
    kind(2, 4);
    w.be(static_cast<uint16_t>(*s.mss));
  }
  if (s.window_scale) {
    kind(3, 3);
    w.be(static_cast<uint8_t>(*s.window_scale));
  }
  if (s.sack_permitted.value_or(false)) kind(4, 2);
  if (s.timestamps) {
    kind(8, 10);
    w.be(s.timestamps->first);
    w.be(s.timestamps->second);
  }
  if (s.sack_blocks && !s.sack_blocks->empty()) {
    kind(5, 2 + 8 * s.sack_blocks->size());
    for (const auto& [first, end] : *s.sack_blocks) {
      w.be(base + first);
      w.be(base + end);
    }
  }
  while (out.size() % 4 != 0) w.be(uint8_t{1});
  return out;
}

class RelayRig {
 public:
  static constexpr uint16_t kGuestPort = 80;
  static constexpr uint16_t kPeerPort = 4000;
  struct Sent {
    Instant at;
    ScriptSegment segment;
    Bytes payload;
    Bytes frame;
    uint16_t gso_size = 0;
  };

  explicit RelayRig(const RigSetup& setup) : setup_(setup), solo_(setup.solo) {
    start_relay();
    relay_->set_options(setup.options, now_);
    if (!setup.solo) {
      cut();
      commit();
    }
  }
  RelayRig(const RelayRig&) = delete;
  RelayRig& operator=(const RelayRig&) = delete;

  // ---- the endpoints ----

  // Both SYNs and the last ACK.  The greetings of the relay are in sent_to_guest and, unless the guest has opened the
  // connection and that waits for a commit, in sent_to_peer.
  void connect() {
    const bool guest = setup_.guest_opens;
    syn(guest, "S");
    syn(!guest, "S.");
    say(guest, ".");
    durable();
  }
  // The SYN or SYN-ACK of a side, with its options and `more` of them, raw.
  Relay::Disposition syn(bool from_guest, const std::string& flags, const Bytes& more = {}, uint32_t length = 0) {
    RigSide& side = from_guest ? setup_.guest : setup_.peer;
    ScriptSegment s;
    s.flags = setup_.ecn ? (flags == "S" ? "ESW" : ".ES") : flags == "S" ? "S" : ".S";
    s.seq = 0;
    s.length = length;
    if (flags != "S") s.ack = 1;
    s.window = side.syn_window;
    s.mss = side.mss;
    s.sack_permitted = side.sack;
    if (side.scale) s.window_scale = side.scale;
    const bool answers = flags != "S";
    if (side.timestamps && (!answers || other(from_guest).timestamps))
      s.timestamps = {clock(side), answers ? clock(other(from_guest)) : 0};
    SlowFrame frame = slow_frame(from_guest, s);
    frame.options.insert(frame.options.end(), more.begin(), more.end());
    return put(from_guest, frame.bytes());
  }
  Relay::Disposition guest(std::string_view text) { return say(true, text); }
  Relay::Disposition peer(std::string_view text) { return say(false, text); }
  // Parses, fills in what is not written, tells the judge, sends.
  Relay::Disposition say(bool from_guest, std::string_view text) {
    auto parsed = parse_script_segment(text);
    US_CHECK(parsed.has_value());
    return say(from_guest, *parsed);
  }
  Relay::Disposition say(bool from_guest, ScriptSegment s) {
    begin_judging();
    complete(from_guest, s);
    const uint32_t end = *s.seq + s.length + (s.has('F') ? 1 : 0);
    next_[from_guest] = std::max(next_[from_guest], end);
    if (from_guest) {
      judge_->guest_says(s, end, solo_);
    } else {
      judge_->peer_says(s, *s.seq, end, solo_);
    }
    return put(from_guest, slow_frame(from_guest, s).bytes());
  }
  // The next `length` bytes of a side.
  Relay::Disposition send(bool from_guest, uint32_t length) {
    ScriptSegment s;
    s.flags = ".";
    s.length = length;
    return say(from_guest, s);
  }
  // The handshake is over; the setup says what was agreed.  say() does it.
  void begin_judging() {
    if (judge_) return;
    const auto scaled = setup_.guest.scale && setup_.peer.scale;
    judge_.emplace(
        FlowJudge::Begin{.guest_scale = static_cast<uint8_t>(scaled ? std::min(*setup_.guest.scale, 14u) : 0),
                         .peer_scale = static_cast<uint8_t>(scaled ? std::min(*setup_.peer.scale, 14u) : 0),
                         .guest_edge = uint32_t{1} + setup_.guest.syn_window,
                         .peer_edge = uint32_t{1} + setup_.peer.syn_window,
                         .timestamps = setup_.guest.timestamps && setup_.peer.timestamps,
                         .guest_ts = setup_.guest.clock,
                         .peer_ts = setup_.peer.clock});
    next_[0] = next_[1] = 1;
    got_[0] = got_[1] = 1;
  }

  // Fills in what is not written.
  void complete(bool from_guest, ScriptSegment& s) {
    const RigSide& side = from_guest ? setup_.guest : setup_.peer;
    if (!s.seq) s.seq = next_[from_guest];
    if (!s.ack && s.has('.')) s.ack = got_[from_guest];
    if (!s.window) s.window = side.window;
    if (!s.timestamps && setup_.guest.timestamps && setup_.peer.timestamps && side.timestamps)
      s.timestamps = {clock(side), echo_[from_guest].value_or(clock(other(from_guest)))};
  }

  // Any frame.
  Relay::Disposition put(bool from_guest, const Bytes& frame) {
    disposition_ = from_guest ? relay_->on_guest_frame({}, frame, now_) : relay_->on_uplink_frame({}, frame, now_);
    relay_->for_each_flow([&](const FlowKey& key, const FlowSlot& slot) {
      if (key.peer.port == kPeerPort) id_ = slot.id();
    });
    poll();
    return disposition_;
  }
  // What `s` looks like on the wire.
  SlowFrame slow_frame(bool from_guest, const ScriptSegment& s) const {
    SlowFrame f = setup_.v6 ? SlowFrame::ipv6() : SlowFrame();
    const RigSide& side = from_guest ? setup_.guest : setup_.peer;
    const RigSide& to = other(from_guest);
    f.vlans = setup_.vlans;
    f.source_port = kPeerPort;
    f.destination_port = kGuestPort;
    if (from_guest) {
      std::swap(f.source, f.destination);
      std::swap(f.source_mac, f.destination_mac);
      std::swap(f.source_port, f.destination_port);
    }
    f.traffic_class = static_cast<uint8_t>(setup_.dscp | s.ecn.value_or(0));
    f.seq = side.isn + s.seq.value_or(0);
    f.ack = s.has('.') ? to.isn + s.ack.value_or(0) : 0;
    f.flags = 0;
    const std::string_view letters = "FSRP.UEW";
    for (size_t i = 0; i < letters.size(); ++i)
      if (s.has(letters[i])) f.flags |= static_cast<uint16_t>(1u << i);
    f.window = static_cast<uint16_t>(s.window.value_or(side.window));
    f.options = slow_options(s, to.isn);
    for (uint32_t i = 0; i < s.length; ++i) {
      const uint32_t n = s.seq.value_or(0) + i;
      f.payload.push_back(from_guest ? guest_byte(n) : peer_byte(n));
    }
    return f;
  }

  // And what a segment of the wire looks like in scripts.
  ScriptSegment to_script(const Segment& s, bool to_guest) const {
    ScriptSegment out;
    const std::string_view letters = "FSRP.UEW";
    for (size_t i = 0; i < letters.size(); ++i)
      if (s.has(static_cast<uint16_t>(1u << i))) out.flags += letters[i];
    out.seq = relative(s.seq, !to_guest);
    out.length = s.payload_length;
    if (s.has(tcp_flag::kAck)) out.ack = relative(s.ack, to_guest);
    out.window = s.window;
    out.ecn = static_cast<uint8_t>(s.ecn);
    if (s.options.timestamps) out.timestamps = {s.options.timestamps->value, s.options.timestamps->echo};
    out.sack_blocks.emplace();
    for (const SeqRange& r : s.options.sack())
      out.sack_blocks->emplace_back(relative(r.start, to_guest), relative(r.end, to_guest));
    return out;
  }

  // ---- epochs, the standby, time ----

  void cut() {
    if (!log_->enabled()) {
      relay_->set_solo(false, now_);
      log_->begin_session();
      replica_->begin_session();
      relay_->begin_session(now_);
      solo_ = false;
    }
    const uint64_t epoch = ++epoch_;
    NicCut nic;
    relay_->on_cut(Epoch(epoch), now_, nic.changed, nic.ended);
    pending_.push_back({epoch, got_[true], encode(RelayCut{log_->position(), {nic}})});
    if (judge_) judge_->on_cut(epoch);
    poll();
  }
  // The oldest epoch that was cut becomes the standby's, and the primary hears of it if it still can.
  void commit(bool heard = true) {
    if (pending_.empty()) return;
    standby_reads();
    const Status staged = replica_->stage_cut(pending_.front().cut);
    if (!staged) violate("the standby refuses a cut: " + staged.error().message);
    replica_->commit();
    committed_ = true;
    const uint64_t epoch = pending_.front().epoch;
    guest_got_committed_ = pending_.front().guest_got;
    pending_.pop_front();
    if (judge_) judge_->on_commit(epoch);
    // The standby's guest has it.
    if (judge_ && guest_got_committed_ > 1) judge_->on_durable(1, guest_got_committed_);
    if (!heard) return;
    relay_->on_commit(Epoch(epoch), now_);
    poll();
  }
  // All of the log is on the standby; the primary hears of it if it still can.
  void durable(bool heard = true) {
    if (solo_) return;
    standby_reads();
    if (!heard) return;
    const Status status = log_->on_ack(replica_->applied(), [this](const DurableRecord& r) { settle(r); });
    if (!status) violate("the log refuses an ACK: " + status.error().message);
    poll();
  }
  // No standby any more; the arbiter has agreed, so the one of the session that ends will not take over.
  void go_solo() {
    pending_.clear();
    solo_ = true;
    committed_ = false;
    if (judge_) judge_->on_solo();
    log_->end_session([this](const DurableRecord& r) { settle(r); });
    relay_->set_solo(true, now_);
    poll();
  }
  // The primary dies; the standby goes on alone with what it has, `later` on its clock.
  void take_over(Duration later = Duration::millis(20)) {
    if (!committed_) return;
    now_ += later;
    const std::vector<RestoredFlow> flows = replica_->take_over();
    pending_.clear();
    forget_sent();
    solo_ = true;
    if (judge_) {
      judge_->on_takeover(numbers_of_peer(flows));
      next_[true] = judge_->guest_end();
      got_[true] = guest_got_committed_;
    }
    start_relay();
    relay_->set_options(setup_.options, now_);
    relay_->restore(flows, now_);
    replica_ = std::make_unique<RelayReplica>(ReplicaLimits{});
    committed_ = false;
    poll();
  }
  void advance(Duration by) {
    const Instant to = now_ + by;
    int at_once = 0;
    for (Instant next = relay_->next_deadline(); next <= to; next = relay_->next_deadline()) {
      at_once = next <= now_ ? at_once + 1 : 0;
      if (at_once > 1000) return violate("the same deadline fires again and again");
      now_ = std::max(now_, next);
      relay_->on_deadline(now_);
      poll();
    }
    now_ = to;
    poll();
  }

  // ---- what came of it ----

  std::deque<Sent> sent_to_guest;
  std::deque<Sent> sent_to_peer;
  // Frames of other connections than the judged one.
  uint64_t others_sent = 0;

  void forget_sent() {
    sent_to_guest.clear();
    sent_to_peer.clear();
  }
  Relay& relay() { return *relay_; }
  // Null also while it sleeps.
  const Flow* flow() const {
    const Flow* found = nullptr;
    relay_->for_each_flow([&](const FlowKey& key, const FlowSlot& slot) {
      if (key.peer.port == kPeerPort) found = slot.awake();
    });
    return found;
  }
  Relay::Disposition disposition() const { return disposition_; }
  FlowJudge& judge() { return *judge_; }
  const std::string& violation() const { return violation_; }
  Instant now() const { return now_; }
  bool solo() const { return solo_; }
  uint32_t next(bool guest) const { return next_[guest]; }
  // What a side has got in order.
  uint32_t got(bool guest) const { return got_[guest]; }
  RigSetup& setup() { return setup_; }

 private:
  struct Pending {
    uint64_t epoch;
    uint32_t guest_got;
    Bytes cut;
  };

  const RigSide& other(bool from_guest) const { return from_guest ? setup_.peer : setup_.guest; }
  uint32_t clock(const RigSide& side) const {
    return side.clock + static_cast<uint32_t>((now_ - ScriptOptions().start).to_millis());
  }

  void start_relay() {
    log_ = std::make_unique<RelayLog>();
    relay_ = std::make_unique<Relay>(uint8_t{0}, setup_.limits, 0x9e3779b97f4a7c15u, *log_);
  }

  void settle(const DurableRecord& r) {
    if (r.kind == RelayRecordKind::kOpen) relay_->on_open_durable(r.flow, now_);
    if (r.kind == RelayRecordKind::kIngress) relay_->on_ingress_durable(r.flow, r.range, now_);
    if (r.kind == RelayRecordKind::kClockBound) relay_->on_clock_bound_durable(r.flow, r.bound, now_);
  }

  void standby_reads() {
    for (const Bytes& frame : log_->take_frames()) {
      const auto message = decode({FrameType::kRelayLogChunk, 0, ByteSpan(frame).subspan(kFrameHeaderBytes)});
      const auto& chunk = std::get<RelayLogChunk>(*message);
      const auto applied = replica_->apply(chunk);
      if (!applied) return violate("the standby refuses the log: " + applied.error().message);
      tell_judge(chunk);
    }
  }

  uint32_t relative(SeqNum seq, bool of_guest) const {
    return seq.value() - (of_guest ? setup_.guest.isn : setup_.peer.isn);
  }

  void tell_judge(const RelayLogChunk& chunk) {
    ByteReader in(chunk.records);
    while (!in.done()) {
      const auto record = decode_relay_record(in);
      const auto* ingress = std::get_if<IngressRecord>(&*record);
      if (judge_ && ingress != nullptr && id_ == ingress->flow)
        judge_->on_durable(relative(ingress->stored.start, false), relative(ingress->stored.end, false));
    }
  }

  // What the standby has of the judged connection's peer.
  NumberSet numbers_of_peer(const std::vector<RestoredFlow>& flows) const {
    NumberSet has;
    for (const RestoredFlow& restored : flows) {
      if (restored.state.as_guest.destination.port != kPeerPort) continue;
      has.add(0, relative(restored.state.from_peer.next, false));
      const auto add = [&](SeqRange range) { has.add(relative(range.start, false), relative(range.end, false)); };
      for (const SeqRange& held : restored.state.from_peer.held) add(held);
      for (const LoggedIngress& later : restored.later) add(later.stored);
    }
    return has;
  }

  void poll() {
    for (int i = 0; i < 100'000; ++i) {
      const auto to_guest = relay_->poll_to_guest(now_);
      if (to_guest) take(true, *to_guest);
      const auto to_peer = relay_->poll_to_uplink(now_);
      if (to_peer) take(false, *to_peer);
      if (!to_guest && !to_peer) return;
    }
    violate("it never stops sending");
  }

  void take(bool to_guest, const FlowFrame& frame) {
    Sent sent;
    sent.at = now_;
    sent.frame.assign(frame.header.span().begin(), frame.header.span().end());
    for (const ByteSpan piece : frame.payload.pieces())
      sent.payload.insert(sent.payload.end(), piece.begin(), piece.end());
    sent.frame.insert(sent.frame.end(), sent.payload.begin(), sent.payload.end());
    FrameView view;
    const FrameStatus status =
        parse_frame(sent.frame, static_cast<uint32_t>(sent.frame.size()), frame.header.vnet, view);
    if (status != FrameStatus::kTcp) return violate("sends what is no segment");
    if ((to_guest ? view.segment.source_port : view.segment.destination_port) != kPeerPort) {
      ++others_sent;
      return;
    }
    sent.segment = to_script(view.segment, to_guest);
    sent.gso_size = view.segment.gso_size;
    note(to_guest, sent);
    (to_guest ? sent_to_guest : sent_to_peer).push_back(std::move(sent));
  }

  void note(bool to_guest, const Sent& sent) {
    const ScriptSegment& s = sent.segment;
    const uint32_t end = *s.seq + s.length + (s.has('F') ? 1 : 0);
    // The endpoint acknowledges what it got in order.
    uint32_t& got = got_[to_guest];
    if (end != *s.seq && *s.seq <= got) got = std::max(got, end);
    if (s.timestamps) echo_[to_guest] = s.timestamps->first;
    if (!judge_) return;
    const std::string broken = to_guest ? judge_->to_guest(s, sent.payload) : judge_->to_peer(s, sent.payload);
    if (!broken.empty()) violate(broken + ": " + to_string(s));
  }

  void violate(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }

  RigSetup setup_;
  bool solo_;
  Instant now_ = ScriptOptions().start;
  std::unique_ptr<RelayLog> log_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<RelayReplica> replica_ = std::make_unique<RelayReplica>(ReplicaLimits{});
  std::optional<FlowJudge> judge_;
  FlowId id_;  // of the judged connection
  std::deque<Pending> pending_;
  uint64_t epoch_ = 0;
  bool committed_ = false;
  Relay::Disposition disposition_ = Relay::Disposition::kPass;
  uint32_t next_[2] = {1, 1};  // of the peer, of the guest
  uint32_t got_[2] = {1, 1};   // by the peer, by the guest
  uint32_t guest_got_committed_ = 1;
  std::optional<uint32_t> echo_[2];
  std::string violation_;
};

}  // namespace us
