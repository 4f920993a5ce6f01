// The messages that end a generation: the guest's end, the planned hand-over, resignation.  See wire.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/strong.h"
#include "core/replica/frame_header.h"

namespace us {

// ---- the end of the guest ----

enum class GuestEnd : uint8_t {
  kShutdown = 1,  // the guest powered itself off
  kReset = 2,     // the guest asked for a reset, and the VM is configured not to reboot
  kPanic = 3,
  kQuit = 4,  // by the operator
};
std::string_view guest_end_name(GuestEnd reason);

// primary -> standby: the VM has ended on purpose; it must not be resurrected.
struct GuestEnded {
  static constexpr FrameType kType = FrameType::kGuestEnded;
  GuestEnd reason = GuestEnd::kShutdown;
  std::string text;
  bool operator==(const GuestEnded&) const = default;
};

// standby -> primary.
struct GuestEndedAck {
  static constexpr FrameType kType = FrameType::kGuestEndedAck;
  bool operator==(const GuestEndedAck&) const = default;
};

// ---- planned handover ----

// Either way: asks for (standby), or announces (primary), a handover.
struct HandoverRequest {
  static constexpr FrameType kType = FrameType::kHandoverRequest;
  std::string requested_by;
  bool operator==(const HandoverRequest&) const = default;
};

// standby -> primary: holds the handover epoch and can run it at once.
struct HandoverReady {
  static constexpr FrameType kType = FrameType::kHandoverReady;
  Epoch epoch;
  bool operator==(const HandoverReady&) const = default;
};

// primary -> standby: the point of no return; the sender will never run or release this VM again under its old
// generation.
struct HandoverGo {
  static constexpr FrameType kType = FrameType::kHandoverGo;
  Epoch epoch;
  Generation generation;  // the standby's new one
  bool operator==(const HandoverGo&) const = default;
};

// standby -> primary: the guest runs here.
struct HandoverDone {
  static constexpr FrameType kType = FrameType::kHandoverDone;
  Generation generation;
  bool operator==(const HandoverDone&) const = default;
};

// Either way, before HandoverGo: as if nothing had been asked.
struct HandoverAbort {
  static constexpr FrameType kType = FrameType::kHandoverAbort;
  std::string reason;
  bool operator==(const HandoverAbort&) const = default;
};

// Either way: the receiver's generation is over; it must fence itself.
struct StaleGeneration {
  static constexpr FrameType kType = FrameType::kStaleGeneration;
  Generation generation;  // the valid one
  std::string holder;     // node that holds it
  bool operator==(const StaleGeneration&) const = default;
};

// primary -> standby: the sender can run the VM no longer (its QEMU died), has released nothing beyond what was
// acknowledged and never will: take over at once.
struct Resigned {
  static constexpr FrameType kType = FrameType::kResigned;
  Generation generation;  // the one given up
  std::string reason;
  bool operator==(const Resigned&) const = default;
};

}  // namespace us
