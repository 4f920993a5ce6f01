#include "core/tcp/handshake.h"

#include <algorithm>

#include "core/tcp/receiver.h"

namespace us {
namespace {

constexpr uint16_t kDefaultMss = 536;     // RFC 9293 section 3.7.1, IPv4
constexpr uint16_t kDefaultMss6 = 1220;   // and IPv6
constexpr uint32_t kTimestampBytes = 12;  // of every segment, padded
constexpr uint16_t kSynFlags = tcp_flag::kSyn | tcp_flag::kAck | tcp_flag::kRst;

uint32_t mss_of(const TcpOptions& options, IpVersion version, bool timestamps) {
  const uint32_t mss = options.mss.value_or(version == IpVersion::kV4 ? kDefaultMss : kDefaultMss6);
  const uint32_t taken = timestamps ? kTimestampBytes : 0;
  return std::max<uint32_t>(mss > taken ? mss - taken : 0, SenderState::kMssMin);
}

}  // namespace

size_t FlowKeyHash::operator()(const FlowKey& key) const noexcept {
  uint64_t h = secret;
  const auto mix = [&](uint64_t v) {
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
  };
  mix(std::hash<IpAddress>{}(key.guest.address));
  mix(std::hash<IpAddress>{}(key.peer.address));
  mix(uint64_t{key.vlan_ids} << 32 | uint64_t{key.guest.port} << 16 | key.peer.port);
  return h;
}

std::optional<HandshakeTracker::Completed> HandshakeTracker::on_frame(const FlowKey& key, const FrameView& frame,
                                                                      bool from_guest, Instant now) {
  const Segment& segment = frame.segment;
  const uint16_t kind = segment.flags & kSynFlags;
  if (kind == tcp_flag::kSyn) {
    on_syn(key, frame, from_guest);
    return std::nullopt;
  }
  const auto found = entries_.find(key);
  if (found == entries_.end()) return std::nullopt;
  Entry& entry = found->second;
  if (segment.has(tcp_flag::kRst)) {
    entries_.erase(found);
    return std::nullopt;
  }
  const bool from_opener = from_guest == entry.guest_opened;
  if (kind == (tcp_flag::kSyn | tcp_flag::kAck)) {
    if (from_opener || segment.ack != entry.opener.isn + 1) return std::nullopt;
    entry.responder = side_of(frame);
    if (entry.obstacle == RelayObstacle::kNone) entry.obstacle = relay_obstacle(frame);
    return std::nullopt;
  }
  if (!segment.has(tcp_flag::kAck)) return std::nullopt;
  if (!entry.responder.seen || !from_opener) {
    // It belongs to a handshake that was completed unseen (an old SYN came late, say): there is no relay from its
    // middle.
    if (from_opener || from_guest) entries_.erase(found);
    return std::nullopt;
  }
  // Any acceptable segment completes the handshake, also one that has overtaken others: the responder will take it.
  if (segment.ack != entry.responder.isn + 1 ||
      !segment.seq.in_range(entry.opener.isn + 1, entry.opener.isn + 1 + entry.responder.window))
    return std::nullopt;
  Completed completed{entry.obstacle, {}};
  if (completed.obstacle == RelayObstacle::kNone) completed.obstacle = relay_obstacle(frame);
  if (completed.obstacle == RelayObstacle::kNone) completed.state = state_of(entry, frame, now);
  entries_.erase(found);
  return completed;
}

void HandshakeTracker::on_syn(const FlowKey& key, const FrameView& frame, bool from_guest) {
  // Repeated: what answered the first one still counts.
  const auto known = entries_.find(key);
  if (known != entries_.end() && known->second.responder.seen && known->second.guest_opened == from_guest &&
      known->second.opener.isn == frame.segment.seq)
    return;
  make_room();
  Entry& entry = entries_[key];
  entry = Entry{};
  entry.guest_opened = from_guest;
  entry.obstacle = relay_obstacle(frame);
  entry.opener = side_of(frame);
  entry.serial = next_serial_++;
  order_.emplace_back(key, entry.serial);
}

void HandshakeTracker::make_room() {
  // The order also holds connections that completed, or began again: at most as many as would fit.
  while (!order_.empty() && (entries_.size() >= limits_.entries_max || order_.size() >= 2 * limits_.entries_max)) {
    const auto found = entries_.find(order_.front().first);
    if (found != entries_.end() && found->second.serial == order_.front().second) {
      entries_.erase(found);
      ++forgotten_;
    }
    order_.pop_front();
  }
}

HandshakeTracker::Side HandshakeTracker::side_of(const FrameView& frame) {
  const Segment& segment = frame.segment;
  return {true, segment.seq, segment.window, segment.flags, segment.options, FrameTemplate::from_frame(frame)};
}

FlowState HandshakeTracker::state_of(const Entry& entry, const FrameView& last, Instant now) const {
  const Side& guest = entry.guest_opened ? entry.opener : entry.responder;
  const Side& peer = entry.guest_opened ? entry.responder : entry.opener;
  const auto both = [&](bool a, bool b) { return a && b; };
  const bool timestamps = both(guest.options.timestamps.has_value(), peer.options.timestamps.has_value());
  const bool sack = both(guest.options.sack_permitted, peer.options.sack_permitted);
  const bool scaled = both(guest.options.window_scale.has_value(), peer.options.window_scale.has_value());
  const uint8_t guest_shift = scaled ? *guest.options.window_scale : 0;
  const uint8_t peer_shift = scaled ? *peer.options.window_scale : 0;
  // RFC 3168 section 6.1.1: ECE and CWR in the SYN, ECE alone in the SYN-ACK.
  const uint16_t ecn_bits = tcp_flag::kEce | tcp_flag::kCwr;
  const bool ecn = (entry.opener.flags & ecn_bits) == ecn_bits && (entry.responder.flags & ecn_bits) == tcp_flag::kEce;

  FlowState state;
  state.guest_opened = entry.guest_opened;
  state.timestamps = timestamps;
  state.as_guest = guest.frame;
  state.as_peer = peer.frame;
  state.egress_capacity = limits_.egress_capacity;
  state.ingress_capacity = limits_.ingress_capacity;

  // The window that each side has offered last; only the last ACK's is scaled.
  const auto window_of = [&](const Side& side, bool is_opener, uint8_t shift) {
    return is_opener ? uint32_t{last.segment.window} << shift : uint32_t{side.window};
  };
  const uint32_t guest_window = window_of(guest, entry.guest_opened, guest_shift);
  const uint32_t peer_window = window_of(peer, !entry.guest_opened, peer_shift);
  // The last ACK is taken by the relay: the other side knows what the SYN or SYN-ACK has offered, which is not taken
  // back.
  const uint32_t guest_offered = std::max<uint32_t>(guest_window, guest.window);
  const uint32_t peer_offered = std::max<uint32_t>(peer_window, peer.window);
  const SeqNum guest_first = guest.isn + 1, peer_first = peer.isn + 1;

  const auto sender = [&](SeqNum una, SeqNum seq, uint32_t mss, uint8_t shift, uint32_t window) {
    SenderState s;
    s.una = s.committed = una;
    s.sack = sack;
    s.ecn = ecn;
    s.mss = mss;
    s.peer = PeerWindow{shift, window, window, seq, una};
    return s;
  };
  const IpVersion version = last.ip_version;
  // The guest's own MSS says what its link carries, which lies on our way to the peer: it would send no more either.
  const uint32_t peer_mss =
      std::min(mss_of(peer.options, version, timestamps), mss_of(guest.options, version, timestamps));
  state.to_peer = sender(guest_first, peer.isn, peer_mss, peer_shift, peer_window);
  state.to_guest = sender(peer_first, guest.isn, mss_of(guest.options, version, timestamps), guest_shift, guest_window);

  ReceiverConfig config;
  config.sack = sack;
  config.timestamps = timestamps;
  config.ecn = ecn;
  const auto last_timestamp = [&](const Side& side, bool is_opener) {
    if (!timestamps) return uint32_t{0};
    // RFC 7323 section 4.3: not of one that has overtaken others.
    const bool in_order = last.segment.seq == side.isn + 1;
    return is_opener && in_order && last.segment.options.timestamps ? last.segment.options.timestamps->value
                                                                    : side.options.timestamps->value;
  };
  const uint32_t guest_ts = last_timestamp(guest, entry.guest_opened);
  const uint32_t peer_ts = last_timestamp(peer, !entry.guest_opened);
  ReceiverConfig toward_peer = config;
  toward_peer.window_shift = guest_shift;
  toward_peer.segment_bytes_max = static_cast<uint16_t>(std::min<uint32_t>(state.to_guest.mss, 65535));
  state.from_peer = Receiver(toward_peer, peer_first, peer_first + guest_offered, peer_ts, now).snapshot(now);
  ReceiverConfig toward_guest = config;
  toward_guest.window_shift = peer_shift;
  toward_guest.segment_bytes_max = static_cast<uint16_t>(std::min<uint32_t>(state.to_peer.mss, 65535));
  toward_guest.fin_ack_waits = true;
  toward_guest.answers_keep_alive = false;
  state.from_guest = Receiver(toward_guest, guest_first, guest_first + peer_offered, guest_ts, now).snapshot(now);
  state.peer_clock = TimestampClock(guest_ts, now).snapshot(now);
  state.guest_clock = TimestampClock(peer_ts, now).snapshot(now);
  return state;
}

}  // namespace us
