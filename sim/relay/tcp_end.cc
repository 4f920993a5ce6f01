// What arrives at a TcpEnd, in the order of RFC 9293 section 3.10.7.
#include "sim/relay/tcp_end.h"

#include <fmt/format.h>

#include <algorithm>

namespace us::sim::relay {

const char* to_string(Phase phase) {
  constexpr const char* kNames[] = {"closed",    "listen", "syn-sent", "syn-received", "open",
                                    "time-wait", "done",   "reset",    "gave-up"};
  return kNames[static_cast<size_t>(phase)];
}

TcpEnd::TcpEnd(const EndConfig& config, const AppPlan& plan, ByteStream stream, uint64_t seed)
    : config_(config), plan_(plan), stream_(std::move(stream)), rng_(seed) {}

void TcpEnd::diverge(uint64_t salt) {
  stream_.branch(written_, salt);
  rng_ = Rng(salt);
}

std::string TcpEnd::describe() const {
  return fmt::format("{} una {} next {} max {} written {}{} edge {} | rcv {} read {} offered {}{} ahead {} retries {}",
                     to_string(phase_), una_, next_, max_, written_, closed_ ? " closed" : "", edge_, rcv_next_,
                     received_ - unread_, offered_, fin_taken_ ? " fin" : "", ahead_.size(), retries_);
}

void TcpEnd::on_packet(const Packet& p, Instant now) {
  switch (phase_) {
    case Phase::kClosed:
    case Phase::kDone:
    case Phase::kReset:
    case Phase::kGaveUp:
      return reply_reset(p);
    case Phase::kListen:
      if (p.has(flag::kRst)) return;
      if (p.has(flag::kAck) || !p.has(flag::kSyn)) return reply_reset(p);
      return on_syn(p, now);
    case Phase::kSynSent:
      return on_syn_sent(p, now);
    default:
      break;
  }
  const int64_t seq = unwrap(p.seq, irs_, rcv_next_);
  if (timestamps_ && !p.has(flag::kRst)) {
    if (!p.has_timestamps) return;  // RFC 7323 section 3.2
    if (static_cast<int32_t>(p.tsval - recent_) < 0) {
      ack_now_ = ack_now_ || !p.payload.empty();
      return output(now);
    }
  }
  if (p.has(flag::kSyn)) {
    if (phase_ == Phase::kSynReceived && seq == 0 && !p.has(flag::kAck)) return send_syn(now);
    return challenge(now);
  }
  if (!acceptable(seq, p.length())) {
    if (p.has(flag::kRst)) return;
    if (seq == static_cast<int64_t>(rcv_next_) && p.has(flag::kAck)) on_ack(p, seq, now);
    if (config_.dsack && !p.payload.empty() && seq > 0 && seq + p.length() <= static_cast<int64_t>(rcv_next_))
      duplicate_ = {static_cast<uint64_t>(seq), static_cast<uint64_t>(seq) + p.payload.size()};
    if (p.length() > 0 && seq + p.length() <= static_cast<int64_t>(rcv_next_))
      ack_now_ = true;
    else if (!ack_now_)
      challenge(now);
    return output(now);
  }
  if (p.has(flag::kRst)) {
    if (seq != static_cast<int64_t>(rcv_next_)) return challenge(now);
    // CLOSING, LAST-ACK and TIME-WAIT end well (RFC 9293 section 3.10.7.4).
    phase_ = fin_taken_ && closed_ ? Phase::kDone : Phase::kReset;
    return;
  }
  if (!p.has(flag::kAck)) return;
  on_ack(p, seq, now);
  if (phase_ != Phase::kOpen && phase_ != Phase::kTimeWait) return;
  if (timestamps_ && seq <= static_cast<int64_t>(last_ack_) && static_cast<int32_t>(p.tsval - recent_) > 0)
    recent_ = p.tsval;
  if (p.length() > 0) take_data(p, seq, now);
  keep_alives_ = 0;
  if (config_.keep_alive != Duration::infinite()) keep_alive_at_ = now + config_.keep_alive;
  run_app(now);
  output(now);
  check_done(now);
}

// A port that nobody listens at (RFC 9293 section 3.10.7.1).
void TcpEnd::reply_reset(const Packet& p) {
  if (p.has(flag::kRst)) return;
  Packet r;
  r.conn = config_.conn;
  r.flags = flag::kRst;
  if (p.has(flag::kAck)) {
    r.seq = p.ack;
  } else {
    r.flags |= flag::kAck;
    r.ack = p.seq + p.length();
  }
  out_.push_back(r);
}

void TcpEnd::agree(const Packet& p) {
  peer_mss_ = p.mss.value_or(536);
  sack_ = config_.sack && p.sack_permitted;
  scaled_ = config_.scale && p.scale;
  peer_scale_ = scaled_ ? std::min<uint8_t>(*p.scale, 14) : 0;
  timestamps_ = config_.timestamps && p.has_timestamps;
  if (timestamps_) recent_ = p.tsval;
  irs_ = p.seq;
  rcv_next_ = last_ack_ = 1;
  offered_ = 1 + std::min<uint64_t>(config_.receive_bytes, 65535);
  edge_ = 1 + p.window;
  window_ = p.window;
  window_seq_ = 0;
  window_ack_ = p.has(flag::kAck) ? 1 : 0;
  const uint64_t mss = std::min<uint32_t>(peer_mss_, config_.mss);
  peer_mss_ = static_cast<uint32_t>(mss - (timestamps_ ? 12 : 0));
  cwnd_ = 10 * mss;
}

void TcpEnd::on_syn(const Packet& p, Instant now) {
  agree(p);
  phase_ = Phase::kSynReceived;
  next_ = max_ = 1;
  send_syn(now);
}

void TcpEnd::connect(Instant now) {
  opener_ = true;
  phase_ = Phase::kSynSent;
  next_ = max_ = 1;
  send_syn(now);
}

void TcpEnd::on_syn_sent(const Packet& p, Instant now) {
  if (p.has(flag::kAck) && p.ack != config_.isn + 1) return reply_reset(p);
  if (p.has(flag::kRst)) {
    if (p.has(flag::kAck)) phase_ = Phase::kReset;
    return;
  }
  if (!p.has(flag::kSyn) || !p.has(flag::kAck)) return;
  agree(p);
  una_ = 1;
  retries_ = 0;
  retransmit_at_ = Instant::far_future();
  phase_ = Phase::kOpen;
  ack_now_ = true;
  write_at_ = read_at_ = now;
  run_app(now);
  output(now);
}

bool TcpEnd::acceptable(int64_t seq, uint32_t length) const {
  const auto next = static_cast<int64_t>(rcv_next_), edge = static_cast<int64_t>(std::max(offered_, rcv_next_));
  if (length == 0) return seq >= next && seq <= edge;
  return seq + static_cast<int64_t>(length) > next && (seq < edge || seq == next);
}

void TcpEnd::challenge(Instant now) {
  if (now < challenge_at_) return;
  challenge_at_ = now + Duration::millis(5);
  send_ack(now);
}

void TcpEnd::on_ack(const Packet& p, int64_t seq, Instant now) {
  const int64_t ack = unwrap(p.ack, config_.isn, una_);
  if (ack > static_cast<int64_t>(max_))
    throw Violation(fmt::format("an ACK of bytes that were never sent: {} of {}", ack, max_));
  if (phase_ == Phase::kSynReceived) {
    if (ack != 1) return reply_reset(p);
    phase_ = Phase::kOpen;
    write_at_ = read_at_ = now;
  }
  if (ack < 0) return;
  take_sacks(p);
  const auto una_before = static_cast<int64_t>(una_);
  if (ack > una_before) on_new_ack(static_cast<uint64_t>(ack), now);
  const uint64_t window = uint64_t{p.window} << peer_scale_;
  const bool same_window = window == window_;
  if (ack >= una_before && (seq > window_seq_ || (seq == window_seq_ && ack >= window_ack_))) {
    window_ = window;
    window_seq_ = seq;
    window_ack_ = ack;
    if (static_cast<uint64_t>(ack) + window > edge_) {
      edge_ = static_cast<uint64_t>(ack) + window;
      persist_at_ = Instant::far_future();
    }
  }
  probes_ = 0;
  if (ack != una_before || una_ == max_ || p.length() != 0 || (!same_window && p.sacks.empty())) return;
  retries_ = std::min(retries_, 6);  // it lives
  ++duplicates_;
  if (!recovering_ && duplicates_ >= 3) {
    recovering_ = true;
    recover_ = max_;
    hole_next_ = una_;
    cwnd_ = ssthresh_ = std::max<uint64_t>((max_ - una_) / 2, 2 * peer_mss_);
    retransmit_hole(now);
  } else if (recovering_ && sack_) {
    retransmit_hole(now);
  } else if (recovering_) {
    cwnd_ += peer_mss_;
  }
}

void TcpEnd::take_sacks(const Packet& p) {
  if (!p.sacks.empty() && !sack_) throw Violation("SACK blocks, though SACK was not agreed upon");
  for (const Sack& s : p.sacks) {
    const int64_t start = unwrap(s.start, config_.isn, una_), end = unwrap(s.end, config_.isn, una_);
    if (start >= end || start < 0) throw Violation(fmt::format("an impossible SACK block {}-{}", start, end));
    if (end > static_cast<int64_t>(max_))
      throw Violation(fmt::format("a SACK block of bytes that were never sent: {}-{} of {}", start, end, max_));
    if (start > static_cast<int64_t>(una_)) sacked_.add(static_cast<uint64_t>(start), static_cast<uint64_t>(end));
  }
}

void TcpEnd::on_new_ack(uint64_t ack, Instant now) {
  if (timed_ != 0 && ack >= timed_) {
    const Duration rtt = now - timed_at_;
    const Duration error = rtt > srtt_ ? rtt - srtt_ : srtt_ - rtt;
    rttvar_ = srtt_ == Duration() ? rtt / 2 : (rttvar_ * 3 + error) / 4;
    srtt_ = srtt_ == Duration() ? rtt : (srtt_ * 7 + rtt) / 8;
    timed_ = 0;
  }
  cwnd_ += cwnd_ < ssthresh_ ? std::min<uint64_t>(ack - una_, 2 * peer_mss_) : peer_mss_ * peer_mss_ / cwnd_ + 1;
  una_ = ack;
  next_ = std::max(next_, una_);
  sacked_.erase_below(una_);
  duplicates_ = 0;
  retries_ = 0;
  retransmit_at_ = Instant::far_future();
  if (una_ < max_) arm_retransmit(now);
  if (!recovering_) return;
  if (una_ >= recover_) {
    recovering_ = false;
    cwnd_ = std::max<uint64_t>(ssthresh_, 2 * peer_mss_);
  } else {
    hole_next_ = std::max(hole_next_, una_);
    if (!sack_) hole_next_ = una_;
    retransmit_hole(now);
  }
}

void TcpEnd::take_data(const Packet& p, int64_t seq, Instant now) {
  const uint64_t end = static_cast<uint64_t>(seq + static_cast<int64_t>(p.payload.size()));
  if (p.has(flag::kFin)) {
    if (fin_at_ && *fin_at_ != end) throw Violation(fmt::format("a FIN at {} after one at {}", end, *fin_at_));
    fin_at_ = end;
  }
  const auto from = static_cast<uint64_t>(std::max<int64_t>(seq, 1));
  const bool in_order = from <= rcv_next_;
  const bool filled = !ahead_.empty();
  if (!p.payload.empty()) {
    const Bytes bytes(p.payload.begin() + static_cast<ptrdiff_t>(static_cast<int64_t>(from) - seq), p.payload.end());
    const int64_t wrong = peer_stream_ ? peer_stream_->difference(from - 1, bytes) : -1;
    if (wrong >= 0) throw Violation(fmt::format("byte {} is not what the other application has written", wrong));
    if (in_order && end > rcv_next_)
      take_in_order(ByteSpan(bytes).subspan(rcv_next_ - from));
    else if (!in_order) {
      if (ahead_.contains(from) && ahead_[from].size() >= bytes.size() && config_.dsack) duplicate_ = {from, end};
      if (!ahead_.contains(from) || ahead_[from].size() < bytes.size()) ahead_[from] = bytes;
      newest_ahead_ = from;
    }
  }
  while (!ahead_.empty() && ahead_.begin()->first <= rcv_next_) {
    const auto [start, bytes] = *ahead_.begin();
    ahead_.erase(ahead_.begin());
    if (start + bytes.size() > rcv_next_) take_in_order(ByteSpan(bytes).subspan(rcv_next_ - start));
  }
  if (fin_at_ && *fin_at_ == rcv_next_ && !fin_taken_) {
    fin_taken_ = true;
    ++rcv_next_;
    ack_now_ = true;
  }
  if (!in_order || filled || p.has(flag::kFin)) ack_now_ = true;
  unacked_ += p.payload.size();
  if (unacked_ >= 2 * std::min<uint32_t>(config_.mss, 1400)) ack_now_ = true;
  if (ack_at_ == Instant::far_future()) ack_at_ = now + config_.delayed_ack;
  if (phase_ == Phase::kTimeWait) time_wait_until_ = now + kTimeWait;
}

void TcpEnd::take_in_order(ByteSpan bytes) {
  if (fin_taken_) throw Violation("data after the FIN");
  rcv_next_ += bytes.size();
  received_ += bytes.size();
  unread_ += bytes.size();
  if (sink_ != nullptr) sink_->insert(sink_->end(), bytes.begin(), bytes.end());
}

void TcpEnd::check_done(Instant now) {
  if (phase_ != Phase::kOpen || !fin_taken_ || !sent_all()) return;
  if (fin_was_first_) {
    phase_ = Phase::kTimeWait;
    time_wait_until_ = now + kTimeWait;
    keep_alive_at_ = Instant::far_future();
  } else {
    phase_ = Phase::kDone;
  }
}

}  // namespace us::sim::relay
