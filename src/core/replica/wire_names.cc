#include "core/replica/wire.h"

namespace us {

std::string_view hello_verdict_name(HelloVerdict verdict) {
  switch (verdict) {
    case HelloVerdict::kAccepted:
      return "accepted";
    case HelloVerdict::kOtherProtocol:
      return "other protocol version";
    case HelloVerdict::kOtherQemu:
      return "other QEMU version";
    case HelloVerdict::kOtherMachine:
      return "other machine type";
    case HelloVerdict::kOtherDefinition:
      return "other VM definition";
    case HelloVerdict::kOtherRamSize:
      return "other RAM size";
    case HelloVerdict::kStaleGeneration:
      return "stale generation";
    case HelloVerdict::kBusy:
      return "busy";
    case HelloVerdict::kNotStandby:
      return "not a standby";
    case HelloVerdict::kOtherVm:
      return "other VM";
    case HelloVerdict::kNotReady:
      return "not ready";
  }
  return "unknown";
}

std::string_view bye_reason_name(ByeReason reason) {
  switch (reason) {
    case ByeReason::kStopping:
      return "stopping";
    case ByeReason::kProtocolError:
      return "protocol error";
    case ByeReason::kNoRoom:
      return "no room";
    case ByeReason::kFailed:
      return "failed";
    case ByeReason::kSuperseded:
      return "superseded";
  }
  return "unknown";
}

std::string_view disk_verdict_name(DiskVerdict verdict) {
  switch (verdict) {
    case DiskVerdict::kMarks:
      return "marks";
    case DiskVerdict::kCompareAll:
      return "compare all";
    case DiskVerdict::kRefused:
      return "refused";
  }
  return "unknown";
}

std::string_view guest_end_name(GuestEnd reason) {
  switch (reason) {
    case GuestEnd::kShutdown:
      return "shutdown";
    case GuestEnd::kReset:
      return "reset";
    case GuestEnd::kPanic:
      return "panic";
    case GuestEnd::kQuit:
      return "quit";
  }
  return "unknown";
}

}  // namespace us
