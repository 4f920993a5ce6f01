// The restore law of relays: whatever a primary does and whenever it dies, what the standby restores is what the
// primary had at the last committed cut, and every byte of a peer that reached the standby after it.
//
// A model of a primary moves random flows, keeps its own account of them byte by byte, and feeds log and cuts into a
// stream that the standby reads at random.  At a random point the primary dies; the standby's flows are compared with
// the account, restored with the real Receiver and Sender, and become the primary of the next session.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <variant>

#include "base/rng.h"
#include "core/tcp/receiver.h"
#include "core/tcp/relay_log.h"
#include "core/tcp/relay_replica.h"
#include "core/tcp/relay_sample.h"
#include "core/tcp/sender.h"

namespace us {
namespace {

constexpr uint32_t kCapacity = 6000;

uint8_t guest_byte(uint64_t id, uint32_t offset) { return static_cast<uint8_t>(id * 31 + offset * 7 + offset / 251); }
uint8_t peer_byte(uint64_t id, uint32_t offset) { return static_cast<uint8_t>(id * 17 + offset * 13 + offset / 241); }

Bytes bytes_of(uint8_t (*byte)(uint64_t, uint32_t), uint64_t id, uint32_t from, uint32_t to) {
  Bytes out;
  for (uint32_t i = from; i < to; ++i) out.push_back(byte(id, i));
  return out;
}

Bytes flat(Gather pieces) {
  Bytes out;
  for (const ByteSpan piece : pieces) out.insert(out.end(), piece.begin(), piece.end());
  return out;
}

class Offsets {
 public:
  bool contains(uint32_t at) const { return at < there_.size() && there_[at]; }
  void insert(uint32_t at) {
    if (at >= there_.size()) there_.resize(at + 1);
    there_[at] = true;
  }
  uint32_t end() const { return static_cast<uint32_t>(there_.size()); }  // past the last one

 private:
  std::vector<bool> there_;
};

// One connection; offsets count bytes from the first one of each side.
struct Account {
  uint64_t id = 0;
  bool guest_opened = false;
  SeqNum guest_first, peer_first;
  uint32_t said = 0;        // by the guest
  uint32_t released = 0;    // of it, in an epoch that the primary knows to be committed
  uint32_t peer_acked = 0;  // of it, FIN included
  bool guest_fin = false;   // said
  bool fin_released = false;
  Offsets heard;                // offsets of the peer's bytes that have come
  std::optional<uint32_t> fin;  // offset of the peer's FIN, if that has come
  uint32_t guest_acked = 0;     // of the peer's bytes, FIN included
  uint32_t guest_acked_committed = 0;
  uint32_t bound = 0;  // logged
  uint32_t bound_durable = 0;
  Offsets safe;          // offsets of the peer's bytes that are durable
  uint32_t durable = 0;  // of them, those without a hole: what may have been acknowledged to the peer
  LogPosition opened;
  bool changed = true;

  uint32_t stream() const {
    uint32_t n = guest_acked_committed;
    while (heard.contains(n)) ++n;
    return n;
  }
  // What the receiver would hold: runs of bytes ahead of the stream, and the FIN behind them.
  std::vector<SeqRange> held() const {
    std::vector<SeqRange> out;
    const uint32_t end = stream();
    const auto add = [&](uint32_t at) {
      if (out.empty() || out.back().end != peer_first + at) out.push_back({peer_first + at, peer_first + at});
      out.back().end += 1;
    };
    for (uint32_t at = end + 1; at < heard.end(); ++at)
      if (heard.contains(at)) add(at);
    if (fin && *fin > end) add(*fin);
    return out;
  }
  FlowState state(LogPosition position) const {
    FlowState s = relay_sample::new_flow(id, guest_first, peer_first, kCapacity);
    s.guest_opened = guest_opened;
    s.timestamps = true;
    s.position = position;
    s.to_peer.una = guest_first + peer_acked;
    s.to_peer.committed = guest_first + said;
    s.to_peer.fin = guest_fin;
    if (guest_fin) s.from_guest.fin = guest_first + said;
    s.from_guest.next = s.from_guest.ackable = guest_first + said + (guest_fin ? 1 : 0);
    s.from_guest.right_edge = s.from_guest.next + kCapacity;
    const uint32_t end = stream();
    const bool finished = fin == end;
    s.to_guest.una = peer_first + guest_acked;
    s.to_guest.committed = peer_first + end;
    s.to_guest.fin = finished;
    if (fin) s.from_peer.fin = peer_first + *fin;
    s.from_peer.next = peer_first + end + (finished ? 1 : 0);
    s.from_peer.ackable = s.from_peer.last_ack_sent = peer_first + durable;
    s.from_peer.right_edge = peer_first + guest_acked_committed + kCapacity + 1;
    s.from_peer.held = held();
    s.peer_clock = {bound_durable, bound_durable};
    return s;
  }
};

struct Logged {  // an ingress record, as the model wrote it
  LogPosition position;
  uint64_t id;
  uint32_t from, to;
  bool fin;
};

struct Cut {
  LogPosition position;
  Bytes encoded;
  std::map<uint64_t, Account> flows;
};

class World {
 public:
  explicit World(uint64_t seed) : rng_(seed) {}

  void run(int steps) {
    begin_session();
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      const uint64_t what = rng_.below(100);
      if (what < 6)
        open_flow();
      else if (what < 8)
        end_flow();
      else if (what < 70)
        move_flow();
      else if (what < 75)
        cut();
      else if (what < 80)
        end_epoch();
      else if (what < 88)
        standby_reads();
      else if (what < 99)
        primary_reads();
      else
        take_over();
    }
    take_over();
  }
  int takeovers = 0;
  int flows_compared = 0;
  int later_compared = 0;

 private:
  // ---- the primary ----

  void begin_session() {
    log_.begin_session();
    for (auto& [id, a] : flows_) log_everything(a);
    cut();
  }

  void log_everything(Account& a) {
    a.opened = log_.append_open(0, a.state(log_.position()));
    a.changed = true;
    const uint32_t from = std::min(a.peer_acked, a.said);
    log_.append_egress(0, FlowId(a.id), a.guest_first + from, bytes_of(guest_byte, a.id, from, a.said));
    const uint32_t end = a.stream();
    log_old_ingress(a, {a.peer_first + std::min(a.guest_acked, end), a.peer_first + end});
    for (SeqRange range : a.held()) {
      if (a.fin && range.end == a.peer_first + *a.fin + 1) range.end = a.peer_first + *a.fin;
      log_old_ingress(a, range);
    }
  }
  void log_old_ingress(const Account& a, SeqRange range) {
    if (range.empty()) return;
    log_ingress(a, a.peer_first.distance_to(range.start), a.peer_first.distance_to(range.end), false);
  }
  void log_ingress(const Account& a, uint32_t from, uint32_t to, bool fin) {
    const Bytes bytes = bytes_of(peer_byte, a.id, from, to);
    const ByteSpan all(bytes);
    const size_t half = bytes.size() / 2;
    const ByteSpan pieces[] = {all.first(half), all.subspan(half)};
    const SeqRange stored{a.peer_first + from, a.peer_first + to + (fin ? 1 : 0)};
    logged_.push_back({log_.append_ingress(0, FlowId(a.id), stored, fin, pieces), a.id, from, to, fin});
  }

  void open_flow() {
    if (flows_.size() >= 12) return;
    Account a;
    a.id = next_id_++;
    a.guest_opened = rng_.chance(0.3);
    a.guest_first = SeqNum(static_cast<uint32_t>(0xffffffff - rng_.below(8000)));
    a.peer_first = SeqNum(static_cast<uint32_t>(0xffffffff - rng_.below(8000)));
    a.bound = a.bound_durable = static_cast<uint32_t>(rng_.next());
    a.opened = log_.append_open(0, a.state(log_.position()));
    born_.emplace(a.id, a);
    flows_.emplace(a.id, std::move(a));
  }

  void end_flow() {
    if (flows_.empty()) return;
    const auto it = std::next(flows_.begin(), static_cast<ptrdiff_t>(rng_.below(flows_.size())));
    ended_.push_back(FlowId(it->first));
    flows_.erase(it);
  }

  void move_flow() {
    if (flows_.empty()) return;
    Account& a = std::next(flows_.begin(), static_cast<ptrdiff_t>(rng_.below(flows_.size())))->second;
    a.changed = true;
    switch (rng_.below(6)) {
      case 0:
        return guest_says(a);
      case 1:
        return peer_acks(a);
      case 2:
        return guest_acks(a);
      case 3:
        a.bound += static_cast<uint32_t>(rng_.below(10'000));
        log_.append_clock_bound(0, FlowId(a.id), a.bound);
        return;
      default:
        return peer_says(a);
    }
  }
  void guest_says(Account& a) {
    if (a.guest_fin) return;
    const uint32_t room = kCapacity - (a.said - std::min(a.peer_acked, a.said));
    const auto n = static_cast<uint32_t>(std::min<uint64_t>(room, rng_.below(2000)));
    log_.append_egress(0, FlowId(a.id), a.guest_first + a.said, bytes_of(guest_byte, a.id, a.said, a.said + n));
    a.said += n;
    a.guest_fin = rng_.chance(0.03);
  }
  void peer_acks(Account& a) {
    const uint32_t limit = a.released + (a.fin_released ? 1 : 0);
    a.peer_acked += static_cast<uint32_t>(rng_.below(limit - a.peer_acked + 1));
  }
  void guest_acks(Account& a) {
    const uint32_t end = a.stream();
    a.guest_acked += static_cast<uint32_t>(rng_.below(end + (a.fin == end ? 1 : 0) - a.guest_acked + 1));
  }
  // Some bytes of the peer: the next ones, or ahead of a hole, with or without parts that had come.
  void peer_says(Account& a) {
    const uint32_t next = a.stream();
    const uint32_t limit = std::min(a.fin.value_or(~0u), a.guest_acked_committed + kCapacity);
    uint32_t from = next + static_cast<uint32_t>(rng_.chance(0.6) ? 0 : rng_.below(1000));
    if (from > limit) return;
    uint32_t to = from + static_cast<uint32_t>(std::min<uint64_t>(limit - from, rng_.below(1000)));
    const bool fin = !a.fin && rng_.chance(0.05) && a.heard.end() <= to;
    // As on_segment() says it: from the first to the last byte that is new.
    while (from < to && a.heard.contains(from)) ++from;
    if (!fin)
      while (from < to && a.heard.contains(to - 1)) --to;
    if (from == to && !fin) return;
    for (uint32_t i = from; i < to; ++i) a.heard.insert(i);
    if (fin) a.fin = to;
    log_ingress(a, from, to, fin);
  }

  void cut() {
    Cut out;
    NicCut nic;
    out.position = log_.position();
    for (auto& [id, a] : flows_) {
      if (a.changed) nic.changed.push_back(a.state(out.position));
      a.changed = false;
      out.flows[id] = a;
    }
    nic.ended = std::exchange(ended_, {});
    out.encoded = encode(RelayCut{out.position, {nic}});
    capturing_.push_back(std::move(out));
  }
  // The pages of the oldest epoch are sent: records of meanwhile may be ahead of its end.
  void end_epoch() {
    if (capturing_.empty()) return;
    send_frames();
    stream_.push_back(std::move(capturing_.front()));
    capturing_.pop_front();
  }
  void send_frames() {
    for (Bytes& frame : log_.take_frames()) stream_.push_back(std::move(frame));
  }

  void primary_reads() {
    send_frames();
    if (answers_.empty()) return;
    const auto answer = std::move(answers_.front());
    answers_.pop_front();
    if (const auto* position = std::get_if<LogPosition>(&answer)) return on_durable(*position);
    for (const auto& [id, then] : std::get<Cut>(answer).flows) {
      const auto it = flows_.find(id);
      if (it == flows_.end()) continue;
      Account& a = it->second;
      a.released = then.said;
      a.fin_released = then.guest_fin;
      a.guest_acked_committed = std::min(then.guest_acked, then.stream());
      a.changed = true;
    }
  }
  void on_durable(LogPosition position) {
    ASSERT_TRUE(log_.on_ack(position, [this](const DurableRecord& record) {
      const auto it = flows_.find(record.flow.value());
      if (it == flows_.end()) return;
      Account& a = it->second;
      a.changed = true;
      if (record.kind == RelayRecordKind::kClockBound) a.bound_durable = record.bound;
      if (record.kind != RelayRecordKind::kIngress) return;
      const uint32_t from = a.peer_first.distance_to(record.range.start);
      const uint32_t to = a.peer_first.distance_to(record.range.end) - (record.fin ? 1 : 0);
      for (uint32_t i = from; i < to; ++i) a.safe.insert(i);
      while (a.safe.contains(a.durable)) ++a.durable;
    }));
  }

  // ---- the standby ----

  void standby_reads() {
    if (stream_.empty()) return;
    const auto item = std::move(stream_.front());
    stream_.pop_front();
    if (const auto* frame = std::get_if<Bytes>(&item)) {
      const auto message = decode({FrameType::kRelayLogChunk, 0, ByteSpan(*frame).subspan(kFrameHeaderBytes)});
      const auto applied = replica_.apply(std::get<RelayLogChunk>(*message));
      ASSERT_TRUE(applied) << applied.error().message;
      answers_.push_back(*applied);
      return;
    }
    const Cut& cut = std::get<Cut>(item);
    const Status staged = replica_.stage_cut(cut.encoded);
    ASSERT_TRUE(staged) << staged.error().message;
    replica_.commit();
    committed_ = cut;
    answers_.push_back(cut);
  }

  void take_over() {
    if (!committed_) return;
    ++takeovers;
    std::map<uint64_t, Account> expected = committed_->flows;
    for (const auto& [id, a] : opened_later()) expected.emplace(id, a);
    const std::vector<RestoredFlow> restored = replica_.take_over();
    EXPECT_EQ(restored.size(), expected.size());
    std::map<uint64_t, Account> next;
    for (const RestoredFlow& flow : restored) {
      const auto it = expected.find(flow.state.id.value());
      ASSERT_NE(it, expected.end()) << flow.state.id.value();
      compare(flow, it->second);
      if (testing::Test::HasFailure()) return;
      next.emplace(it->first, restore(flow, it->second));
    }
    become_primary(std::move(next));
  }

  // Flows of the log that the committed epoch does not know, of which something has reached the standby.
  std::map<uint64_t, Account> opened_later() const {
    std::map<uint64_t, Account> out;
    for (const auto& [id, a] : born_)
      if (!a.guest_opened && a.opened > committed_->position && a.opened <= replica_.applied()) out.emplace(id, a);
    return out;
  }

  void compare(const RestoredFlow& flow, const Account& then) {
    ++flows_compared;
    const bool old = committed_->flows.contains(then.id);
    const LogPosition since = old ? flow.state.position : then.opened;
    EXPECT_LE(since, old ? committed_->position : since);
    FlowState expected = then.state(since);
    expected.peer_clock = flow.state.peer_clock;  // compared with the live flow below
    uint32_t end = std::min(then.guest_acked, then.stream());
    const uint32_t start = end;
    size_t n = 0;
    for (const Logged& record : logged_) {
      if (record.id != then.id || record.position <= since || record.position > replica_.applied()) continue;
      ASSERT_LT(n, flow.later.size());
      const LoggedIngress& later = flow.later[n++];
      EXPECT_EQ(later.position, record.position);
      EXPECT_EQ(later.fin, record.fin);
      EXPECT_EQ(later.stored.start, then.peer_first + record.from);
      EXPECT_EQ(later.stored.end, then.peer_first + record.to + (record.fin ? 1 : 0));
      EXPECT_EQ(flat(later.gather()), bytes_of(peer_byte, then.id, record.from, record.to));
      end = std::max(end, record.to);
    }
    EXPECT_EQ(n, flow.later.size());
    later_compared += static_cast<int>(n);
    expected.ingress_capacity = std::max(kCapacity, end - start);
    EXPECT_TRUE(flow.state == expected) << "flow " << then.id;
    EXPECT_EQ(flat(flow.egress.gather()),
              bytes_of(guest_byte, then.id, std::min(then.peer_acked, then.said), then.said));
    EXPECT_EQ(flat(flow.ingress.gather()), bytes_of(peer_byte, then.id, start, then.stream()));
    for (const LoggedBytes& held : flow.held) {
      const uint32_t from = then.peer_first.distance_to(held.range.start);
      EXPECT_EQ(flat(held.gather()), bytes_of(peer_byte, then.id, from, from + held.range.length()));
    }
    const auto live = flows_.find(then.id);
    if (live == flows_.end()) return;
    // Rule 3: no TSval of the old primary is beyond the bound that is restored.
    EXPECT_LE(live->second.bound_durable - flow.state.peer_clock.value,
              flow.state.peer_clock.bound - flow.state.peer_clock.value);
  }

  // With the real halves; returns the flow as the new primary has it.
  Account restore(const RestoredFlow& flow, const Account& then) {
    Account a = then;
    const Instant now = Instant::from_nanos(1'000'000'000);
    ChunkPool pool(8 << 20);
    const FlowState& s = flow.state;
    const auto buffer = [&](const LoggedBytes& bytes, uint32_t capacity) {
      return RelayBuffer::restore({bytes.range.start, bytes.range.end, capacity}, bytes.gather(), pool, 1u << 30);
    };
    Result<RelayBuffer> egress = buffer(flow.egress, s.egress_capacity);
    Result<RelayBuffer> ingress = buffer(flow.ingress, s.ingress_capacity);
    EXPECT_TRUE(egress && ingress);
    for (const LoggedBytes& held : flow.held) {
      SeqNum at = held.range.start;
      for (const ByteSpan piece : held.pieces) at += ingress->store(at, piece);
    }
    EXPECT_TRUE(Receiver::restore(s.from_guest, *egress, now));
    const SenderConfig config;
    EXPECT_TRUE(Sender::restore(s.to_peer, config) && Sender::restore(s.to_guest, config));
    Result<Receiver> from_peer = Receiver::restore(s.from_peer, *ingress, now);
    EXPECT_TRUE(from_peer) << from_peer.error().message;
    for (const LoggedIngress& later : flow.later) {
      EXPECT_TRUE(from_peer->on_logged(later.stored, later.fin, later.gather(), *ingress));
      const uint32_t from = a.peer_first.distance_to(later.stored.start);
      const uint32_t to = from + static_cast<uint32_t>(total_size(later.gather()));
      for (uint32_t i = from; i < to; ++i) a.heard.insert(i);
      if (later.fin) a.fin = to;
    }
    from_peer->take_over(*ingress, now);
    a.guest_acked_committed = std::min(a.guest_acked, then.stream());
    const uint32_t end = a.stream();
    EXPECT_EQ(stream_end(from_peer->snapshot(now)), a.peer_first + end);
    EXPECT_EQ(ingress->end(), a.peer_first + end);
    if (const auto live = flows_.find(a.id); live != flows_.end()) {
      EXPECT_GE(end, live->second.durable) << "rule 1: what was acknowledged to the peer is not there";
    }
    Bytes all;
    ingress->for_each(ingress->start(), ingress->end(), [&](ByteSpan b) { all.insert(all.end(), b.begin(), b.end()); });
    EXPECT_EQ(all, bytes_of(peer_byte, a.id, a.guest_acked_committed, end));
    a.released = a.said;
    a.fin_released = a.guest_fin;
    a.bound = a.bound_durable = s.peer_clock.bound;
    return a;
  }

  void become_primary(std::map<uint64_t, Account> flows) {
    log_.end_session([](const DurableRecord&) {});
    flows_ = std::move(flows);
    for (auto& [id, a] : flows_) {
      a.safe = a.heard;
      a.durable = a.stream();
    }
    born_.clear();
    logged_.clear();
    ended_.clear();
    capturing_.clear();
    stream_.clear();
    answers_.clear();
    committed_.reset();
    replica_.begin_session();
    begin_session();
  }

  Rng rng_;
  uint64_t next_id_ = 1;
  RelayLog log_;
  std::map<uint64_t, Account> flows_;
  std::map<uint64_t, Account> born_;  // in this session, as they began, also those that have ended
  std::vector<FlowId> ended_;
  std::vector<Logged> logged_;
  std::deque<Cut> capturing_;  // cut, and not sent yet
  std::deque<std::variant<Bytes, Cut>> stream_;
  std::deque<std::variant<LogPosition, Cut>> answers_;
  RelayReplica replica_{{.flows_max = 1000, .capacity_max = 2 * kCapacity, .bytes_max = 64u << 20}};
  std::optional<Cut> committed_;
};

TEST(RelayRestore, WhateverAPrimaryDoesTheStandbyRestoresItExactly) {
  int takeovers = 0, flows = 0, later = 0;
  for (uint64_t seed = 1; seed <= 300 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    world.run(600);
    takeovers += world.takeovers;
    flows += world.flows_compared;
    later += world.later_compared;
  }
  EXPECT_GT(takeovers, 300);
  EXPECT_GT(flows, 1000);
  EXPECT_GT(later, 1000);
}

}  // namespace
}  // namespace us
