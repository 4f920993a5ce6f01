// States of relayed connections for the tests of the relay log, its replica, and the fuzz seeds.
#pragma once

#include "core/tcp/flow_state.h"
#include "core/tcp/relay_cut.h"
#include "core/tcp/relay_record.h"

namespace us::relay_sample {

inline FrameTemplate frame(Endpoint source, Endpoint destination) {
  FrameTemplate f;
  f.source_mac = {2, 0, 0, 0, 0, 1};
  f.destination_mac = {2, 0, 0, 0, 0, 2};
  f.source = source;
  f.destination = destination;
  return f;
}

// A connection right after its handshake, with nothing sent.
inline FlowState new_flow(uint64_t id, SeqNum guest_first = SeqNum(1000), SeqNum peer_first = SeqNum(5000),
                          uint32_t capacity = 1u << 20) {
  const Endpoint guest{IpAddress::v4(10, 0, 0, 2), 80};
  const Endpoint peer{IpAddress::v4(192, 0, 2, 1), static_cast<uint16_t>(1024 + id % 60000)};
  FlowState s;
  s.id = FlowId(id);
  s.as_guest = frame(guest, peer);
  s.as_peer = frame(peer, guest);
  const auto sender = [](SeqNum first) {
    SenderState out;
    out.una = out.committed = first;
    out.mss = 1448;
    out.peer = PeerWindow{7, 65536, 65536, SeqNum(0), first};
    return out;
  };
  s.to_peer = sender(guest_first);
  s.to_guest = sender(peer_first);
  const auto receiver = [capacity](SeqNum first) {
    ReceiverState out;
    out.config.segment_bytes_max = 1448;
    out.segment_bytes = 536;
    out.next = out.ackable = out.last_ack_sent = first;
    out.right_edge = first + capacity;
    return out;
  };
  s.from_guest = receiver(guest_first);
  s.from_peer = receiver(peer_first);
  s.egress_capacity = s.ingress_capacity = capacity;
  return s;
}

// Every field with a value of its own, over IPv6, with a hole in what the peer sent, and FINs.
inline FlowState busy_flow() {
  FlowState s = new_flow(77, SeqNum(0xffffff00), SeqNum(0xfffffff0));
  s.position = LogPosition(4711);
  s.guest_opened = s.timestamps = s.guest_reset = s.keep_alive = true;
  const uint8_t address[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
  const Endpoint guest{IpAddress::from_v6_bytes(address), 443};
  const Endpoint peer{IpAddress::from_v6_bytes(address), 50000};
  s.as_guest = frame(guest, peer);
  s.as_peer = frame(peer, guest);
  s.as_guest.vlan_tags = 2;
  s.as_guest.vlan = {VlanTag{0x88a8, 7}, VlanTag{0x8100, 0x2005}};
  s.as_guest.traffic_class = 0x48;
  s.as_guest.hop_limit = 63;
  s.as_guest.flow_label = 0x54321;
  s.as_guest.dont_fragment = false;
  s.as_guest.ip_id = 0x1234;
  // The guest has sent 0x180 bytes and its FIN; the peer has 0x80 of them.
  s.from_guest.fin = SeqNum(0x80);
  s.from_guest.next = s.from_guest.right_edge = SeqNum(0x81);
  s.to_peer.una = SeqNum(0xffffff80);
  s.to_peer.committed = SeqNum(0x80);
  s.to_peer.fin = s.to_peer.sack = s.to_peer.ecn = true;
  s.to_peer.peer.update_ack = s.to_peer.una;
  // The peer has sent 0x20 bytes, and some after a hole, the FIN among them.
  s.from_peer.next = s.to_guest.committed = SeqNum(0x10);
  s.from_peer.held = {{SeqNum(0x20), SeqNum(0x30)}, {SeqNum(0x40), SeqNum(0x51)}};
  s.from_peer.ahead = {{SeqNum(0x20), SeqNum(0x30)}};
  s.from_peer.fin = SeqNum(0x50);
  s.to_guest.una = SeqNum(0xfffffff8);
  s.peer_clock = {10, 20};
  s.guest_clock = {30, 40};
  s.egress_capacity = 1u << 16;
  s.ingress_capacity = 1u << 17;
  return s;
}

inline RelayCut cut() {
  FlowState other = new_flow(3);
  other.position = LogPosition(4700);
  return {LogPosition(4711), {{0, {busy_flow(), other}, {FlowId(5), FlowId(9)}}, {2, {}, {FlowId(1)}}}};
}

inline constexpr uint8_t kData[] = {0x00, 0xff, 0x10, 0x80, 0x7f};

inline std::vector<RelayRecord> records() {
  return {
      OpenRecord{1, busy_flow()},
      IngressRecord{1, FlowId(77), {SeqNum(0xfffffffd), SeqNum(3)}, true, kData},
      IngressRecord{1, FlowId(78), {SeqNum(9), SeqNum(14)}, false, kData},
      EgressRecord{2, FlowId(79), SeqNum(100), kData},
      ClockBoundRecord{3, FlowId(80), 0x01020304},
  };
}

}  // namespace us::relay_sample
