#include "sim/relay/judge.h"

#include <fmt/format.h>

#include "sim/relay/network.h"
#include "sim/relay/primary.h"
#include "sim/relay/standby.h"

namespace us::sim::relay {

Judge::Judge(Lab& lab) : lab_(lab), wires_(lab.connections()), compared_(lab.connections()) {}

const Guest& Judge::truth() const {
  const Primary& primary = *lab_.primary;
  if (!primary.session()) return primary.guest();
  if (lab_.standby && lab_.standby->committed()) return *lab_.standby->committed();
  return *primary.first_cut();
}

// What arrived while this host was alone may be acknowledged: no takeover is possible before the first commit, which
// has it all.
void Judge::on_session(const Relay& relay) {
  for (Wire& wire : wires_) wire.taken_alone = wire.told.ack;
  relay.for_each_flow([&](const FlowKey& key, const FlowSlot& slot) {
    if (slot.awake() == nullptr) return;
    const size_t i = number_of(static_cast<uint8_t>(key.peer.port - kClientPort));
    const TcpEnd& client = lab_.network->client(i);
    const auto offset = [&](SeqNum at) {
      return static_cast<uint64_t>(TcpEnd::unwrap(at.value(), client.config().isn, client.sent_max()));
    };
    const Receiver& from_peer = slot.awake()->from_peer();
    wires_[i].taken_alone = offset(from_peer.ackable());
    for (const SeqRange& range : from_peer.held().ranges())
      wires_[i].sacked.add(offset(range.start), offset(range.end));
  });
}

// ---- to the client ----

void Judge::on_release(const Packet& p, bool of_relay) {
  ++lab_.counts.frames;
  lab_.counts.bytes += p.payload.size();
  const size_t i = number_of(p.conn);
  if (i >= lab_.connections()) throw Violation("a packet of no connection");
  const TcpEnd& guest = truth().ends[i];
  const TcpEnd& client = lab_.network->client(i);
  Wire& wire = wires_[i];
  if (p.has(flag::kSyn)) {
    if (guest.phase() == Phase::kClosed || guest.phase() == Phase::kListen)
      throw Violation("a SYN on the wire that no committed guest has sent");
    return;
  }
  if (p.has(flag::kRst)) {
    const Phase phase = guest.phase();
    const bool gone = phase == Phase::kClosed || phase == Phase::kListen || phase == Phase::kTimeWait || guest.over();
    if (!gone) throw Violation("a RST on the wire that no committed guest has sent");
    return;
  }
  if (!p.has(flag::kAck)) throw Violation("a segment without ACK");
  check_data(p, guest, client);
  check_ack(p, guest, client, wire);
  check_sacks(p, guest, client, wire);
  for (const Sack& s : p.sacks) {
    const int64_t start = TcpEnd::unwrap(s.start, client.config().isn, client.sent_max());
    const int64_t end = TcpEnd::unwrap(s.end, client.config().isn, client.sent_max());
    wire.sacked.add(static_cast<uint64_t>(start), static_cast<uint64_t>(end));
  }
  // The guest speaks for itself again, with its own clock and window, when its relay has done its work.
  if (wire.ended && !of_relay) return;
  const int64_t ack = TcpEnd::unwrap(p.ack, client.config().isn, client.sent_max());
  check_told(p, wire.told, static_cast<uint64_t>(ack), client.peer_scale(), client.uses_timestamps(), "the client");
}

void Judge::check_data(const Packet& p, const TcpEnd& guest, const TcpEnd& client) const {
  const int64_t seq = TcpEnd::unwrap(p.seq, guest.config().isn, guest.sent_max());
  const int64_t end = seq + static_cast<int64_t>(p.payload.size());
  const auto written_end = static_cast<int64_t>(1 + guest.written());
  if (!p.payload.empty() && (seq < 1 || end > written_end))
    throw Violation(fmt::format("bytes {}-{} on the wire, committed are {}", seq, end, written_end));
  const int64_t wrong = p.payload.empty() ? -1 : guest.stream().difference(static_cast<uint64_t>(seq - 1), p.payload);
  if (wrong >= 0) throw Violation(fmt::format("byte {} on the wire is of no committed history", wrong));
  if (p.has(flag::kFin) && (!guest.closed() || end != written_end))
    throw Violation(fmt::format("a FIN at {} on the wire that is not committed", end));
  // One byte beyond is a window probe.
  if (!p.payload.empty() && !client.over() && client.established() &&
      end > static_cast<int64_t>(client.offered_edge()) + 1)
    throw Violation(
        fmt::format("bytes up to {} beyond the client's window, which ends at {}", end, client.offered_edge()));
}

void Judge::check_ack(const Packet& p, const TcpEnd& guest, const TcpEnd& client, Wire& wire) {
  const int64_t ack = TcpEnd::unwrap(p.ack, client.config().isn, client.sent_max());
  if (ack < 0 || ack > static_cast<int64_t>(client.sent_max()))
    throw Violation(fmt::format("an ACK {} of what the client has not sent, which is {}", ack, client.sent_max()));
  const auto to = static_cast<uint64_t>(ack);
  if (to <= wire.told.ack || !lab_.primary->session()) return;
  uint64_t durable = std::max(guest.rcv_next(), wire.taken_alone);
  if (lab_.standby) durable = lab_.standby->durable(number_of(p.conn), durable);
  if (to > durable) throw Violation(fmt::format("an ACK {} to the client, durable is {}", to, durable));
}

void Judge::check_sacks(const Packet& p, const TcpEnd& guest, const TcpEnd& client, Wire& wire) const {
  for (const Sack& s : p.sacks) {
    const int64_t start = TcpEnd::unwrap(s.start, client.config().isn, client.sent_max());
    const int64_t end = TcpEnd::unwrap(s.end, client.config().isn, client.sent_max());
    if (start < 0 || start >= end || end > static_cast<int64_t>(client.sent_max()))
      throw Violation(fmt::format("a SACK block {}-{} of what the client has not sent", start, end));
    if (!lab_.primary->session()) continue;
    const auto from = static_cast<uint64_t>(start), to = static_cast<uint64_t>(end);
    Spans known = wire.sacked;
    known.add(0, std::max({guest.rcv_next(), wire.told.ack, wire.taken_alone}));
    guest.add_ahead(known);
    if (lab_.standby) lab_.standby->add_durable(number_of(p.conn), known);
    if (!known.contains(from, to)) throw Violation(fmt::format("a SACK block {}-{} that is not durable", from, to));
  }
}

void Judge::check_told(const Packet& p, Told& told, uint64_t ack, uint8_t scale, bool timestamps, const char* to) {
  if (ack < told.ack) throw Violation(fmt::format("the ACK to {} goes back from {} to {}", to, told.ack, ack));
  told.ack = ack;
  const uint64_t edge = ack + (uint64_t{p.window} << scale);
  // RFC 7323 section 2.4: rounding may take back less than one step.
  if (edge + (uint64_t{1} << scale) - 1 < told.edge)
    throw Violation(fmt::format("the right edge to {} goes back from {} to {}", to, told.edge, edge));
  told.edge = std::max(told.edge, edge);
  if (!timestamps) return;
  if (!p.has_timestamps) throw Violation(fmt::format("a segment to {} without timestamps", to));
  if (told.timestamp && static_cast<int32_t>(p.tsval - *told.timestamp) < 0)
    throw Violation(fmt::format("TSval to {} goes back from {} to {}", to, *told.timestamp, p.tsval));
  told.timestamp = p.tsval;
}

// ---- to the guest ----

void Judge::on_relay_to_guest(const Packet& p) {
  const size_t i = number_of(p.conn);
  if (i >= lab_.connections()) throw Violation("a packet of no connection");
  const TcpEnd& client = lab_.network->client(i);
  const TcpEnd& guest = lab_.primary->guest().ends[i];
  if (p.has(flag::kRst)) {
    if (!client.over()) throw Violation("a RST to the guest, but the client is well");
    return;
  }
  const int64_t seq = TcpEnd::unwrap(p.seq, client.config().isn, client.sent_max());
  const int64_t end = seq + p.length();
  if (end > static_cast<int64_t>(client.sent_max()))
    throw Violation(fmt::format("bytes to the guest up to {} that the client has not sent", end));
  if (p.has(flag::kFin) && !client.closed()) throw Violation("a FIN to the guest that the client has not sent");
  const int64_t ack = TcpEnd::unwrap(p.ack, guest.config().isn, guest.sent_max());
  if (ack < 0 || ack > static_cast<int64_t>(guest.sent_max()))
    throw Violation(fmt::format("an ACK {} of what the guest has not sent, which is {}", ack, guest.sent_max()));
  if (guest.closed() && ack > static_cast<int64_t>(guest.fin_offset()) && !client.got_fin())
    throw Violation("the guest's FIN is acknowledged, but the client does not have it");
  check_told(p, lab_.primary->told(i), static_cast<uint64_t>(ack), guest.peer_scale(), guest.uses_timestamps(),
             "the guest");
}

// ---- the applications ----

void Judge::on_client_received(size_t i) {
  const Bytes& received = lab_.network->received(i);
  if (received.size() == compared_[i] || !lab_.primary) return;
  const TcpEnd& guest = truth().ends[i];
  if (received.size() > guest.written())
    throw Violation(fmt::format("the client has {} bytes, the guest has written {}", received.size(), guest.written()));
  const int64_t wrong = guest.stream().difference(compared_[i], ByteSpan(received).subspan(compared_[i]));
  if (wrong >= 0) throw Violation(fmt::format("byte {} at the client is of no committed history", wrong));
  compared_[i] = received.size();
}

void Judge::on_takeover(const Guest& guest) {
  for (size_t i = 0; i < lab_.connections(); ++i) {
    const Bytes& received = lab_.network->received(i);
    const TcpEnd& end = guest.ends[i];
    if (received.size() > end.written() || end.stream().difference(0, received) >= 0)
      throw Violation(fmt::format("the client has {} bytes that the restored guest has not written", received.size()));
    if (lab_.network->client(i).got_fin() && !end.closed())
      throw Violation("the client has a FIN that the restored guest has not sent");
    wires_[i].relayed = false;
  }
}

void Judge::note_flows(const Relay& relay) {
  std::vector<bool> there(lab_.connections());
  relay.for_each_flow([&](const FlowKey& key, const auto&) {
    there[number_of(static_cast<uint8_t>(key.peer.port - kClientPort))] = true;
  });
  for (size_t i = 0; i < there.size(); ++i) {
    if (there[i] && !wires_[i].relayed) ++lab_.counts.flows;
    if (!there[i] && wires_[i].relayed) wires_[i].ended = true;
    if (there[i]) wires_[i].ended = false;
    wires_[i].relayed = there[i];
  }
}

void Judge::at_end() {
  for (size_t i = 0; i < lab_.connections(); ++i) {
    const TcpEnd& guest = lab_.primary->guest().ends[i];
    const TcpEnd& client = lab_.network->client(i);
    if (guest.aborted() || client.aborted()) continue;
    // A client whose last FIN was acknowledged in vain: it has everything, and so has the guest.
    const bool unheard = client.phase() == Phase::kGaveUp && client.got_fin() && guest.got_fin();
    if (unheard) ++lab_.counts.unheard;
    if (guest.phase() != Phase::kDone || (client.phase() != Phase::kDone && !unheard))
      throw Violation(fmt::format("connection {} ended badly: guest {}, client {}", i, to_string(guest.phase()),
                                  to_string(client.phase())));
    if (client.received() != guest.written() || guest.received() != client.written())
      throw Violation(fmt::format("connection {}: the client has {} of {} bytes, the guest {} of {}", i,
                                  client.received(), guest.written(), guest.received(), client.written()));
  }
  if (lab_.primary->relay().size() != 0)
    throw Violation(fmt::format("{} flows are left", lab_.primary->relay().size()));
  if (lab_.primary->relay().pool_bytes() != 0)
    throw Violation(fmt::format("{} bytes of buffers are left", lab_.primary->relay().pool_bytes()));
}

}  // namespace us::sim::relay
