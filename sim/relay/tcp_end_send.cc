// What a TcpEnd sends and when; its timers; its application.
#include <algorithm>

#include "sim/relay/tcp_end.h"

namespace us::sim::relay {

// ---- segments ----

uint16_t TcpEnd::window() {
  const uint64_t free = config_.receive_bytes > unread_ ? config_.receive_bytes - unread_ : 0;
  const uint64_t wanted = rcv_next_ + free;
  // RFC 9293 section 3.8.6.2.2: no small steps.
  uint64_t edge = std::max(offered_, rcv_next_);
  if (wanted >= edge + std::min<uint64_t>(config_.mss, config_.receive_bytes / 2)) edge = wanted;
  const uint64_t step = uint64_t{1} << scale();
  const uint64_t offer = edge - rcv_next_;
  // Never less than before, for all the rounding.
  uint64_t raw = offer / step;
  if (rcv_next_ + raw * step < offered_) ++raw;
  raw = std::min<uint64_t>(raw, 65535);
  offered_ = std::max(offered_, rcv_next_ + raw * step);
  return static_cast<uint16_t>(raw);
}

void TcpEnd::add_sacks(Packet& p) {
  if (!sack_) return;
  const auto wire = [&](uint64_t offset) { return irs_ + static_cast<uint32_t>(offset); };
  const size_t most = timestamps_ ? 3 : 4;
  if (duplicate_) p.sacks.push_back({wire(duplicate_->first), wire(duplicate_->second)});
  duplicate_.reset();
  std::vector<std::pair<uint64_t, uint64_t>> blocks;
  for (const auto& [start, bytes] : ahead_) {
    const uint64_t end = start + bytes.size();
    if (!blocks.empty() && blocks.back().second >= start)
      blocks.back().second = std::max(blocks.back().second, end);
    else
      blocks.emplace_back(start, end);
  }
  // RFC 2018 section 4: the newest first.
  for (size_t i = 1; i < blocks.size(); ++i)
    if (blocks[i].first <= newest_ahead_ && newest_ahead_ < blocks[i].second) std::swap(blocks[0], blocks[i]);
  for (const auto& [start, end] : blocks)
    if (p.sacks.size() < most && end > rcv_next_) p.sacks.push_back({wire(std::max(start, rcv_next_)), wire(end)});
}

void TcpEnd::fill(Packet& p, Instant now) {
  p.conn = config_.conn;
  if (rcv_next_ > 0) {
    p.flags |= flag::kAck;
    p.ack = irs_ + static_cast<uint32_t>(rcv_next_);
    p.window = window();
    last_ack_ = rcv_next_;
    unacked_ = 0;
    ack_now_ = false;
    ack_at_ = Instant::far_future();
  }
  if (timestamps_) {
    p.has_timestamps = true;
    p.tsval = latest_timestamp(now);
    p.tsecr = recent_;
  }
}

void TcpEnd::send_syn(Instant now) {
  Packet p;
  p.seq = config_.isn;
  p.flags = flag::kSyn;
  p.mss = config_.mss;
  const bool answer = rcv_next_ > 0;
  if (answer) {
    fill(p, now);
    p.window = static_cast<uint16_t>(std::min<uint32_t>(config_.receive_bytes, 65535));
    offered_ = std::max<uint64_t>(offered_, 1 + p.window);
    if (scaled_) p.scale = config_.scale;
    p.sack_permitted = sack_;
  } else {
    p.conn = config_.conn;
    p.window = static_cast<uint16_t>(std::min<uint32_t>(config_.receive_bytes, 65535));
    p.scale = config_.scale;
    p.sack_permitted = config_.sack;
    p.has_timestamps = config_.timestamps;
    p.tsval = latest_timestamp(now);
  }
  arm_retransmit(now);
  out_.push_back(std::move(p));
}

void TcpEnd::send_ack(Instant now) {
  Packet p;
  p.seq = config_.isn + static_cast<uint32_t>(max_);
  fill(p, now);
  add_sacks(p);
  out_.push_back(std::move(p));
}

void TcpEnd::send_reset(Instant now) {
  Packet p;
  p.seq = config_.isn + static_cast<uint32_t>(max_);
  fill(p, now);
  p.flags |= flag::kRst;
  out_.push_back(std::move(p));
  phase_ = Phase::kReset;
  aborted_ = true;
}

void TcpEnd::send_data(uint64_t at, uint64_t n, bool fin, Instant now) {
  Packet p;
  p.seq = config_.isn + static_cast<uint32_t>(at);
  fill(p, now);
  p.payload = stream_.slice(at - 1, n);
  p.segment_bytes = static_cast<uint16_t>(peer_mss_);
  if (at + n == 1 + written_) p.flags |= flag::kPsh;
  if (fin) {
    p.flags |= flag::kFin;
    if (at + n + 1 > max_ && !fin_taken_) fin_was_first_ = true;
  }
  const uint64_t end = at + n + (fin ? 1 : 0);
  if (timed_ == 0 && end > max_ && at >= max_) {
    timed_ = end;
    timed_at_ = now;
  } else if (at < max_) {
    timed_ = 0;  // Karn
  }
  max_ = std::max(max_, end);
  next_ = std::max(next_, end);
  arm_retransmit(now);
  out_.push_back(std::move(p));
}

bool TcpEnd::send_next(Instant now) {
  const uint64_t data_end = 1 + written_;
  if (next_ < max_) next_ = sacked_.reach(next_);  // after a timeout: not what has arrived
  uint64_t edge = std::min(edge_, una_ + cwnd_);
  const uint64_t burst = uint64_t{peer_mss_} * config_.burst_segments;
  uint64_t n = std::min(data_end, edge) > next_ ? std::min(data_end, edge) - next_ : 0;
  n = std::min(n, burst);
  if (next_ < max_ && sacked_.next_start(next_) < next_ + n) n = sacked_.next_start(next_) - next_;
  const bool fin = closed_ && next_ + n == data_end && data_end + 1 <= edge_ && next_ <= data_end;
  if (n == 0 && !fin) return false;
  // RFC 9293 section 3.8.6.2.1: no small segments while more is there and the window will open.
  if (n < peer_mss_ && !fin && next_ + n < data_end && una_ < max_ && next_ + n == edge) return false;
  send_data(next_, n, fin, now);
  return true;
}

void TcpEnd::output(Instant now) {
  if (phase_ != Phase::kOpen && phase_ != Phase::kTimeWait && phase_ != Phase::kSynReceived) return;
  if (phase_ == Phase::kOpen) {
    for (int budget = 64; budget > 0 && send_next(now); --budget) {
    }
    const bool pending = next_ < 1 + written_ || (closed_ && max_ <= 1 + written_);
    if (una_ == max_ && pending && persist_at_ == Instant::far_future()) persist_at_ = now + rto();
    if (una_ < max_ || !pending) persist_at_ = Instant::far_future();
  }
  // A window that was closed and has opened is news.
  if (phase_ == Phase::kOpen && offered_ <= rcv_next_ + config_.mss / 2 && config_.receive_bytes > unread_ &&
      config_.receive_bytes - unread_ >= std::min<uint32_t>(config_.mss, config_.receive_bytes / 2))
    ack_now_ = true;
  if (ack_now_) send_ack(now);
}

void TcpEnd::retransmit_hole(Instant now) {
  uint64_t at = std::max(hole_next_, una_);
  if (sack_) at = sacked_.reach(at);
  // Only below something that has arrived, or what three duplicates speak of.
  const bool known_lost = at == una_ || (!sacked_.empty() && at < sacked_.all().rbegin()->first);
  if (at >= recover_ || !known_lost) return;
  const uint64_t data_end = 1 + written_;
  if (at >= data_end) {
    if (closed_ && at == data_end) send_data(at, 0, true, now);
    hole_next_ = at + 1;
    return;
  }
  const uint64_t n = std::min({uint64_t{peer_mss_}, data_end - at, recover_ - at, sacked_.next_start(at) - at});
  send_data(at, n, closed_ && at + n == data_end && max_ > data_end, now);
  hole_next_ = at + n;
}

// ---- timers ----

Duration TcpEnd::rto() const {
  Duration base = srtt_ == Duration() ? Duration::millis(500) : srtt_ + rttvar_ * 4;
  base = std::max(base, config_.rto_min);
  for (int i = 0; i < retries_ + probes_ && base < kRtoMax; ++i) base = base * 2;
  return std::min(base, kRtoMax);
}

void TcpEnd::arm_retransmit(Instant now) {
  if (retransmit_at_ == Instant::far_future()) retransmit_at_ = now + rto();
}

void TcpEnd::give_up() { phase_ = Phase::kGaveUp; }

void TcpEnd::on_retransmit_timer(Instant now) {
  retransmit_at_ = Instant::far_future();
  if (phase_ == Phase::kSynSent || phase_ == Phase::kSynReceived) {
    if (++retries_ > kRetriesMax) return give_up();
    return send_syn(now);
  }
  if (una_ >= max_) return;
  if (++retries_ > kRetriesMax) return give_up();
  ssthresh_ = std::max<uint64_t>((max_ - una_) / 2, 2 * peer_mss_);
  cwnd_ = peer_mss_;
  recovering_ = false;
  duplicates_ = 0;
  if (retries_ > 2) sacked_.clear();
  next_ = una_;
  timed_ = 0;
  // The first one goes out whatever the window says: it may be a probe beyond it.
  const uint64_t data_end = 1 + written_;
  const uint64_t room = edge_ > una_ ? edge_ - una_ : 1;
  const uint64_t n = una_ < data_end ? std::min({uint64_t{peer_mss_}, data_end - una_, room}) : 0;
  send_data(una_, n, closed_ && una_ + n == data_end && max_ > data_end, now);
  next_ = una_ + n;
}

void TcpEnd::on_persist_timer(Instant now) {
  persist_at_ = Instant::far_future();
  if (probes_ < 5) ++probes_;
  if (una_ != max_) return;
  const uint64_t data_end = 1 + written_;
  if (config_.probes_with_data) {
    if (next_ < data_end)
      send_data(next_, 1, false, now);
    else if (closed_ && max_ == data_end)
      send_data(next_, 0, true, now);
  } else {
    Packet p;
    p.seq = config_.isn + static_cast<uint32_t>(una_ - 1);
    fill(p, now);
    out_.push_back(std::move(p));
    persist_at_ = now + rto();
  }
}

void TcpEnd::calm(Instant now) {
  calm_ = true;
  config_.keep_alive = std::min(config_.keep_alive, Duration::seconds(3));
  keep_alive_at_ = now + config_.keep_alive;
}

void TcpEnd::on_keep_alive(Instant now) {
  keep_alive_at_ = now + config_.keep_alive;
  if (una_ < max_) return;
  if (++keep_alives_ > kRetriesMax) return give_up();
  Packet p;
  p.seq = config_.isn + static_cast<uint32_t>(max_ - 1);
  fill(p, now);
  out_.push_back(std::move(p));
}

Instant TcpEnd::next_time() const {
  switch (phase_) {
    case Phase::kSynSent:
    case Phase::kSynReceived:
      return retransmit_at_;
    case Phase::kTimeWait:
      return std::min({time_wait_until_, ack_at_, read_at_});
    case Phase::kOpen:
      return std::min({retransmit_at_, persist_at_, keep_alive_at_, ack_at_, write_at_, read_at_});
    default:
      return Instant::far_future();
  }
}

void TcpEnd::on_time(Instant now) {
  if (now >= time_wait_until_ && phase_ == Phase::kTimeWait) phase_ = Phase::kDone;
  if (now < next_time()) return;
  if (now >= retransmit_at_) on_retransmit_timer(now);
  if (phase_ == Phase::kOpen) {
    if (now >= persist_at_) on_persist_timer(now);
    if (now >= keep_alive_at_) on_keep_alive(now);
  }
  if (now >= ack_at_) ack_now_ = true;
  run_app(now);
  output(now);
  check_done(now);
}

// ---- the application ----

Duration TcpEnd::jitter(Duration mean) {
  return Duration::nanos(1000 + static_cast<int64_t>(rng_.below(static_cast<uint64_t>(mean.to_nanos()) * 2 + 1)));
}

void TcpEnd::run_app(Instant now) {
  if (phase_ != Phase::kOpen && phase_ != Phase::kTimeWait) return;
  if (now >= read_at_) {
    unread_ -= std::min<uint64_t>(unread_, calm_ ? unread_ : 1 + rng_.below(plan_.read_max));
    read_at_ = Instant::far_future();
  }
  if (unread_ > 0 && read_at_ == Instant::far_future()) {
    const bool stall = !calm_ && rng_.chance(plan_.stall);
    read_at_ = now + jitter(stall ? plan_.stall_for : plan_.read_gap);
  }
  if (phase_ != Phase::kOpen) return;
  if (now >= write_at_ && !closed_) {
    const uint64_t held = written_ + 1 - std::min(una_, written_ + 1);
    const uint64_t room = config_.send_bytes > held ? config_.send_bytes - held : 0;
    written_ += std::min({plan_.write_bytes - written_, 1 + rng_.below(plan_.write_max), room});
    write_at_ = written_ < plan_.write_bytes ? now + jitter(plan_.write_gap) : Instant::far_future();
  }
  const bool waits = plan_.close_after_peer && !(fin_taken_ && unread_ == 0);
  if (written_ == plan_.write_bytes && !waits) closed_ = true;
  if (plan_.abort_after && !calm_ && std::max(written_, received_) >= *plan_.abort_after) send_reset(now);
}

}  // namespace us::sim::relay
