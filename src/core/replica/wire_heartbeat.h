// Heartbeat: one small UDP datagram each way per heartbeat interval, so that the bulk stream cannot delay it.
//
// The layout is fixed (kHeartbeatBytes) and ends in an XXH3-64 of all bytes before it.  The receiver drops what does
// not decode and what carries another session; sequence numbers let it drop old and doubled ones.
//
// For the lease: `sent_at` is the sender's own clock, which nobody else interprets; the peer returns the latest in
// `echo_sent_at`. So the sender learns, on its own clock alone, a time at which the peer was still in contact: the
// moment it sent what came back.  A standby that gives no promise (it is about to claim) echoes 0.
#pragma once

#include <array>

#include "base/bytes.h"
#include "base/result.h"
#include "base/strong.h"
#include "core/replica/wire.h"

namespace us {

inline constexpr uint32_t kHeartbeatMagic = 0x42485355;  // "USHB" in memory order
inline constexpr size_t kHeartbeatBytes = 88;

enum class HeartbeatRole : uint8_t { kPrimary = 1, kStandby = 2 };

enum HeartbeatHealth : uint32_t {
  kHealthGuestRunning = 1u << 0,  // primary: the guest runs (it does not in a pause that lasts)
  kHealthProtected = 1u << 1,     // an epoch has been committed in this session
  kHealthSyncing = 1u << 2,       // the initial synchronisation is under way
  kHealthHandover = 1u << 3,      // a planned handover is under way
  kHealthTrouble = 1u << 4,       // the sender runs, but something is wrong with it; its log says what
};
inline constexpr uint32_t kHealthMask = (1u << 5) - 1;

struct Heartbeat {
  HeartbeatRole role = HeartbeatRole::kPrimary;
  SessionId session;
  Generation generation;
  uint64_t sequence = 0;       // counts from 1 in each session and direction
  uint64_t echo_sequence = 0;  // highest received from the peer; 0: none yet
  uint64_t sent_at = 0;        // opaque to the receiver
  uint64_t echo_sent_at = 0;   // `sent_at` of the heartbeat `echo_sequence`; 0: none, or no promise
  Epoch epoch;                 // primary: the epoch that runs; standby: the newest it has any part of
  Epoch committed;             // primary: newest acknowledged; standby: newest it holds whole
  uint32_t health = 0;         // HeartbeatHealth bits
  bool operator==(const Heartbeat&) const = default;
};

std::array<uint8_t, kHeartbeatBytes> encode_heartbeat(const Heartbeat& heartbeat,
                                                      uint16_t version = kProtocolVersionMax);
// Refuses any other size, magic, version, role, unknown health bit or checksum.
Result<Heartbeat> decode_heartbeat(ByteSpan datagram, uint16_t version = kProtocolVersionMax);

}  // namespace us
