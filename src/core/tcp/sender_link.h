// SenderLink: one Sender against an ideal receiver over a modelled link, in virtual time, from a seed.  For tests and
// benchmarks alone.
//
//   committed bytes -> Sender -> [queue, rate] -> loss, reordering -> delay -> receiver -> delay -> ACKs
//
// The receiver keeps everything, SACKs up to three blocks, and acknowledges each second segment (at most 40 ms late),
// a segment out of order at once.  The sender's owner wakes for ACKs, and for deadlines on a tick.  Checked at every
// step: nothing beyond what is committed, nothing beyond the peer's window, no gap and no foreign byte at the receiver.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <queue>
#include <string>
#include <vector>

#include "base/rng.h"
#include "core/tcp/sender.h"

namespace us {

struct LinkSetup {
  double bits_per_second = 200e6;
  Duration rtt = Duration::millis(20);
  double queue_bdp = 1.0;  // in bandwidth-delay products, at least 64 KiB
  double loss = 0;         // of data segments
  double ack_loss = 0;
  double reordering = 0;  // of data segments: these come late by up to a quarter of the RTT
  uint64_t seed = 1;
  uint32_t mss = 1448;
  uint32_t buffer_bytes = 8u << 20;  // how far `committed` runs ahead of una; also the peer's window
  std::optional<Duration> epoch;     // bytes are committed in one go at each end of an epoch, else at once
  Duration tick = Duration::millis(1);
  bool sack = true;
  bool timestamps = false;
  SeqNum first{0xfff00000};
  SenderConfig config;
  Duration takeover_every;  // snapshot and restore that often; zero: never
};

struct LinkResult {
  uint64_t bytes = 0;  // delivered in order
  Duration time;
  uint64_t segments = 0;
  uint64_t drops_queue = 0;
  uint64_t drops_random = 0;
  uint64_t takeovers = 0;
  SenderStats stats;
  Duration srtt;
  std::string violation;  // "" when every check held
  double megabits() const { return static_cast<double>(bytes) * 8e-6 / time.to_seconds(); }
};

class SenderLink {
 public:
  explicit SenderLink(const LinkSetup& setup)
      : setup_(setup), rng_(setup.seed), received_(setup.first), last_acked_(setup.first) {
    SenderState state;
    state.una = state.committed = state.peer.update_ack = setup.first;
    state.mss = setup.mss;
    state.sack = setup.sack;
    state.peer.scale = kScale;
    state.peer.size = state.peer.largest = (setup_.buffer_bytes >> kScale) << kScale;
    sender_.emplace(Sender::create(state, setup_.config).value());
    const double bdp = setup.bits_per_second / 8 * setup.rtt.to_seconds();
    queue_limit_ = std::max(bdp * setup.queue_bdp, 65536.0);
  }

  // Runs for `time`, or until `total` bytes and a FIN are acknowledged.
  LinkResult run(Duration time, std::optional<uint64_t> total = std::nullopt) {
    total_ = total;
    const Instant end = now_ + time;
    commit();
    flush();
    while (now_ < end && result_.violation.empty() && !finished()) {
      const Instant next = next_event();
      if (next > end) break;
      now_ = next;
      step();
      flush();
    }
    if (!finished()) now_ = end;
    result_.time = now_ - kStart;
    result_.bytes = delivered_;
    add_stats();
    result_.srtt = sender_->rtt().srtt();
    return result_;
  }
  const Sender& sender() const { return *sender_; }
  bool finished() const { return total_ && delivered_ == *total_ && sender_->fin_acked(); }

 private:
  static constexpr Instant kStart = Instant::from_nanos(1'000'000'000);
  static constexpr uint8_t kScale = 10;
  struct Packet {
    Instant at;
    uint64_t order = 0;
    bool is_ack = false;
    SeqRange range{};
    bool fin = false;
    AckInfo ack{};
    SeqRange blocks[3]{};
    size_t block_count = 0;
    Instant sent;
    bool operator<(const Packet& o) const { return at != o.at ? at > o.at : order > o.order; }
  };

  Instant on_tick(Instant t) const {
    const int64_t tick = setup_.tick.to_nanos();
    return tick == 0 ? t : Instant::from_nanos((t.to_nanos() + tick - 1) / tick * tick);
  }
  Instant next_event() const {
    Instant next = Instant::far_future();
    if (!wire_.empty()) next = wire_.top().at;
    if (const auto deadline = sender_->next_deadline()) next = std::min(next, std::max(on_tick(*deadline), now_));
    if (delayed_ack_) next = std::min(next, *delayed_ack_);
    if (setup_.epoch) next = std::min(next, next_commit_);
    if (setup_.takeover_every > Duration()) next = std::min(next, next_takeover_);
    return next;
  }

  void step() {
    while (!wire_.empty() && wire_.top().at <= now_) {
      const Packet packet = wire_.top();
      wire_.pop();
      if (packet.is_ack) {
        deliver_ack(packet);
      } else {
        receive(packet);
      }
    }
    if (delayed_ack_ && *delayed_ack_ <= now_) send_ack();
    if (const auto deadline = sender_->next_deadline(); deadline && *deadline <= now_) sender_->on_deadline(now_);
    if (setup_.epoch && next_commit_ <= now_) {
      commit();
      next_commit_ = now_ + *setup_.epoch;
    }
    if (!setup_.epoch) commit();
    if (setup_.takeover_every > Duration() && next_takeover_ <= now_) take_over();
  }

  void commit() {
    if (sender_->fin_committed()) return;
    uint64_t room = setup_.buffer_bytes - sender_->una().distance_to(sender_->committed());
    if (total_) room = std::min(room, *total_ - committed_bytes_);
    committed_bytes_ += room;
    sender_->on_committed(sender_->committed() + static_cast<uint32_t>(room));
    if (total_ && committed_bytes_ == *total_) sender_->on_fin();
  }

  void take_over() {
    next_takeover_ = now_ + setup_.takeover_every;
    add_stats();
    ++result_.takeovers;
    Sender restored = Sender::restore(sender_->snapshot(), setup_.config).value();
    sender_.emplace(std::move(restored));
  }
  void add_stats() {
    const SenderStats& s = sender_->stats();
    result_.stats.bytes_sent += s.bytes_sent;
    result_.stats.bytes_retransmitted += s.bytes_retransmitted;
    result_.stats.recoveries += s.recoveries;
    result_.stats.timeouts += s.timeouts;
    result_.stats.tail_probes += s.tail_probes;
    result_.stats.spurious += s.spurious;
    result_.stats.window_probes += s.window_probes;
  }

  void flush() {
    while (const auto segment = sender_->poll_segment(now_)) {
      const SeqNum end = segment->seq + segment->length + (segment->fin ? 1 : 0);
      const SeqNum limit = sender_->committed() + (sender_->fin_committed() ? 1 : 0);
      if (end.after(limit)) violate("sent beyond what is committed");
      if (end.after(sender_->peer_window().edge())) violate("sent beyond the peer's window");
      if (sender_->inflight_bytes() > sender_->peer_window().largest) violate("more in flight than the window");
      put_on_wire(*segment);
    }
  }

  void put_on_wire(const SegmentOut& segment) {
    const double byte_ns = 8e9 / setup_.bits_per_second;
    uint32_t offset = 0;
    do {
      const uint32_t length = std::min(segment.mss, segment.length - offset);
      const SeqNum start = segment.seq + offset;
      offset += length;
      const bool fin = segment.fin && offset == segment.length;
      ++result_.segments;
      busy_until_ = std::max(busy_until_, now_);
      const double queued = static_cast<double>((busy_until_ - now_).to_nanos()) / byte_ns;
      if (queued > queue_limit_) {
        ++result_.drops_queue;
        continue;
      }
      busy_until_ += Duration::nanos(static_cast<int64_t>((length + 66) * byte_ns));
      if (rng_.chance(setup_.loss)) {
        ++result_.drops_random;
        continue;
      }
      Packet packet;
      packet.at = busy_until_ + setup_.rtt / 2;
      if (rng_.chance(setup_.reordering)) packet.at += Duration::nanos(rng_.between(0, setup_.rtt.to_nanos() / 4));
      packet.order = order_++;
      packet.range = {start, start + length + (fin ? 1 : 0)};
      packet.fin = fin;
      packet.sent = now_;
      wire_.push(packet);
    } while (offset < segment.length);
  }

  void receive(const Packet& packet) {
    const bool in_order = packet.range.start.at_or_before(received_) && ahead_.empty();
    if (packet.range.start.at_or_before(received_)) echo_ = packet.sent;
    if (packet.fin) fin_at_ = packet.range.end;
    duplicate_.reset();
    if (packet.range.end.at_or_before(received_)) {
      duplicate_ = packet.range;
    } else {
      store(packet.range);
    }
    if (!in_order || duplicate_ || ++unacked_ >= 2 || packet.fin) {
      send_ack();
    } else if (!delayed_ack_) {
      delayed_ack_ = now_ + Duration::millis(40);
    }
  }
  void store(SeqRange range) {
    latest_ = range.start;
    ahead_.push_back(range);
    std::sort(ahead_.begin(), ahead_.end(), [this](const SeqRange& a, const SeqRange& b) {
      return received_.signed_distance_to(a.start) < received_.signed_distance_to(b.start);
    });
    std::vector<SeqRange> joined;
    for (const SeqRange& r : ahead_) {
      if (!joined.empty() && r.start.at_or_before(joined.back().end)) {
        joined.back().end = later(joined.back().end, r.end);
      } else {
        joined.push_back(r);
      }
    }
    if (joined.front().start.at_or_before(received_)) {
      uint32_t bytes = received_.distance_to(joined.front().end);
      received_ = joined.front().end;
      if (fin_at_ && received_ == *fin_at_) --bytes;
      delivered_ += bytes;
      joined.erase(joined.begin());
    }
    ahead_ = std::move(joined);
  }

  void send_ack() {
    unacked_ = 0;
    delayed_ack_.reset();
    Packet packet;
    packet.is_ack = true;
    packet.at = now_ + setup_.rtt / 2;
    packet.order = order_++;
    packet.ack.ack = received_;
    packet.ack.window = static_cast<uint16_t>(setup_.buffer_bytes >> kScale);
    if (setup_.timestamps) {
      const int64_t ms = echo_.to_nanos() / 1'000'000 * 1'000'000;
      packet.ack.echo = EchoTime{Instant::from_nanos(ms), Instant::from_nanos(ms + 999'999)};
    }
    if (setup_.sack) {
      if (duplicate_) packet.blocks[packet.block_count++] = *duplicate_;
      for (const SeqRange& r : ahead_) {  // the block of the latest segment first (RFC 2018 section 4)
        if (packet.block_count < 3 && r.contains(latest_)) packet.blocks[packet.block_count++] = r;
      }
      for (size_t i = ahead_.size(); i-- > 0;) {
        if (packet.block_count < 3 && !ahead_[i].contains(latest_)) packet.blocks[packet.block_count++] = ahead_[i];
      }
    }
    duplicate_.reset();
    if (!rng_.chance(setup_.ack_loss)) wire_.push(packet);
  }
  void deliver_ack(const Packet& packet) {
    AckInfo info = packet.ack;
    info.sack = {packet.blocks, packet.block_count};
    if (sender_->on_ack(info, now_) == AckVerdict::kUnacceptable) violate("a valid ACK was refused");
    if (sender_->una().after(received_)) violate("una is ahead of the receiver");
  }
  void violate(const char* what) {
    if (result_.violation.empty()) result_.violation = what;
  }

  LinkSetup setup_;
  Rng rng_;
  std::optional<Sender> sender_;
  std::priority_queue<Packet> wire_;
  Instant now_ = kStart;
  Instant busy_until_ = kStart;
  Instant next_commit_ = kStart;
  Instant next_takeover_ = kStart + setup_.takeover_every;
  double queue_limit_ = 0;
  uint64_t order_ = 0;
  std::optional<uint64_t> total_;
  uint64_t committed_bytes_ = 0;
  // Receiver.
  SeqNum received_;
  SeqNum last_acked_;
  SeqNum latest_;
  std::vector<SeqRange> ahead_;
  std::optional<SeqRange> duplicate_;
  std::optional<SeqNum> fin_at_;
  std::optional<Instant> delayed_ack_;
  Instant echo_;
  int unacked_ = 0;
  uint64_t delivered_ = 0;
  LinkResult result_;
};

}  // namespace us
