// HandshakeTracker: watches three-way handshakes go by and, when one is complete, says how a relay has to begin.
//
// The handshake itself is not relayed: SYN and SYN-ACK pass as they are (the guest's through the plain gate).  What the
// relay must know of them, sequence numbers, windows and options of both sides, is kept here until the last ACK.
//
// Bounded: `entries_max` half-open connections; the oldest makes room for a new one, so a SYN flood costs no more than
// that, and what is forgotten goes on unrelayed.  A connection that the relay must not touch (tcp.md, rule 8) is kept
// with its reason until it is complete, to be listed.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

#include "base/time.h"
#include "core/tcp/flow_state.h"
#include "core/tcp/frame.h"
#include "core/tcp/segment.h"

namespace us {

// A connection seen from the guest.  The same addresses in another VLAN are another connection.
struct FlowKey {
  Endpoint guest;
  Endpoint peer;
  uint32_t vlan_ids = 0;  // IpPlace::vlan_ids
  bool operator==(const FlowKey&) const = default;
};
struct FlowKeyHash {
  uint64_t secret = 0;  // random: the network must not choose the buckets
  size_t operator()(const FlowKey& key) const noexcept;
};

struct HandshakeLimits {
  size_t entries_max = 4096;
  // What a guest can say, and a peer send, between two commits: at 1 Gbit/s 60 ms.
  uint32_t egress_capacity = 8u << 20;
  uint32_t ingress_capacity = 8u << 20;
};

class HandshakeTracker {
 public:
  HandshakeTracker(const HandshakeLimits& limits, uint64_t hash_secret)
      : limits_(limits), entries_(16, FlowKeyHash{hash_secret}) {}

  struct Completed {
    RelayObstacle obstacle = RelayObstacle::kNone;
    FlowState state;  // without an id; only if there is no obstacle
  };
  // Any TCP frame that belongs to no flow.  A value: this frame completed the handshake.
  std::optional<Completed> on_frame(const FlowKey& key, const FrameView& frame, bool from_guest, Instant now);

  // on_frame() would look at it: its checksum is to be verified first.
  bool concerns(const FlowKey& key, const FrameView& frame) const {
    return frame.segment.has(tcp_flag::kSyn) || entries_.contains(key);
  }
  // Nothing is watched for a while: what was half open is forgotten, because it would be completed unseen.
  void clear() {
    entries_.clear();
    order_.clear();
  }

  size_t size() const { return entries_.size(); }
  uint64_t forgotten() const { return forgotten_; }

 private:
  struct Side {
    bool seen = false;
    SeqNum isn;
    uint16_t window = 0;
    uint16_t flags = 0;
    TcpOptions options;
    FrameTemplate frame;
  };
  struct Entry {
    bool guest_opened = false;
    RelayObstacle obstacle = RelayObstacle::kNone;
    Side opener;
    Side responder;
    uint64_t serial = 0;
  };

  void on_syn(const FlowKey& key, const FrameView& frame, bool from_guest);
  static Side side_of(const FrameView& frame);
  FlowState state_of(const Entry& entry, const FrameView& last, Instant now) const;
  void make_room();

  HandshakeLimits limits_;
  std::unordered_map<FlowKey, Entry, FlowKeyHash> entries_;
  std::deque<std::pair<FlowKey, uint64_t>> order_;  // oldest first; entries that are gone are skipped
  uint64_t next_serial_ = 1;
  uint64_t forgotten_ = 0;
};

}  // namespace us
