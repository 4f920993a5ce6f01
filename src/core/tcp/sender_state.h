// SenderState: what of a sender must survive a takeover, as plain data, with its codec and its judgement.
// SenderConfig: policy and limits, which do not: each host has its own.
//
// Congestion window, RTT and the scoreboard are not carried on purpose (tcp.md, rule 4): they describe what the old
// host had in flight, and it is not known what of that was sent.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/result.h"
#include "core/tcp/congestion_control.h"
#include "core/tcp/peer_window.h"
#include "core/tcp/rtt_estimator.h"
#include "core/tcp/seq_num.h"

namespace us {

struct SenderState {
  static constexpr uint32_t kSpanMax = 1u << 30;  // of [una, committed): RFC 7323 section 2.3
  static constexpr uint32_t kMssMin = 36;         // what is left of 48 after timestamps; less is an attack
  static constexpr uint32_t kMssMax = 65535;
  static constexpr size_t kBytes = 32;  // encoded

  SeqNum una{};        // oldest byte that the peer has not acknowledged; committed + 1 when it has the FIN
  SeqNum committed{};  // bytes before this may be sent
  bool fin = false;    // the stream ends at `committed` with a FIN, which is committed as well
  bool sack = false;   // both sides agreed on SACK
  bool ecn = false;    // both sides agreed on ECN (RFC 3168)
  uint32_t mss = 536;  // payload bytes of a full segment: the options sent with each segment are taken off
  PeerWindow peer{};

  SeqNum limit() const { return fin ? committed + 1 : committed; }  // end of what may be sent, FIN included
  bool operator==(const SenderState&) const = default;
};

// A state from another host or of a new connection: every number in its range.
Status check_sender_state(const SenderState& untrusted);

void encode(const SenderState& state, ByteWriter& out);
Result<SenderState> decode_sender_state(ByteReader& in);  // checked

struct SenderConfig {
  CongestionKind congestion = CongestionKind::kCubic;
  bool pacing = true;
  uint32_t initial_window_segments = 10;
  uint32_t burst_bytes_max = 65160;  // of one super-segment; less than two MSS: no segmentation offload
  uint32_t mss_floor = 524;          // no ICMP report gets below: 576 - 40 - 12; 1208 for IPv6
  RttConfig rtt;
  uint32_t retries_max = 15;                  // timeouts without progress until the peer counts as dead
  Duration probe_min = Duration::millis(10);  // no tail loss probe sooner: timers are coarse, hosts pause
  size_t runs_max = 2048;                     // scoreboard: 64 KiB

  // The guest's side: memory, not a network.
  static SenderConfig for_guest() {
    SenderConfig config;
    config.congestion = CongestionKind::kNone;
    config.pacing = false;
    config.probe_min = Duration::millis(50);  // longer than a pause and than Linux's delayed ACK
    return config;
  }
};

}  // namespace us
