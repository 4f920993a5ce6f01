// The messages with which two hosts meet and part.  See wire.h; their layout never changes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/strong.h"
#include "base/time.h"
#include "core/memory/page_codec.h"
#include "core/replica/frame_header.h"

namespace us {

using SessionId = Strong<struct SessionIdTag>;  // random; names one connection's worth of state in stream and datagrams

inline constexpr size_t kNameBytesMax = 256;     // vm name, node id, versions
inline constexpr size_t kReasonBytesMax = 4096;  // sentences for a person
inline constexpr size_t kDefinitionBytesMax = 16 * 1024;

// primary -> standby, the first frame.
struct Hello {
  static constexpr FrameType kType = FrameType::kHello;
  uint16_t version_min = kProtocolVersionMin;  // range of protocol versions the primary speaks
  uint16_t version_max = kProtocolVersionMax;
  SessionId session;
  Generation generation;
  std::string vm_name;
  std::string node;  // id of the sending host
  std::string qemu_version;
  std::string machine;           // QEMU machine type, with version
  uint64_t definition_hash = 0;  // of the whole canonical definition, even where its text was cut
  std::string definition;        // canonical text (wire_definition.h)
  uint64_t ram_bytes = 0;
  uint32_t page_bytes = kPageSize;
  Duration epoch_length;  // durations travel in whole microseconds, up to 71 minutes
  Duration heartbeat_interval;
  Duration detection_time;
  uint16_t heartbeat_port = 0;  // UDP port on which the sender wants heartbeats
  bool operator==(const Hello&) const = default;
};

enum class HelloVerdict : uint16_t {
  kAccepted = 0,
  kOtherProtocol = 1,  // no common protocol version
  kOtherQemu = 2,
  kOtherMachine = 3,
  kOtherDefinition = 4,
  kOtherRamSize = 5,     // or page size
  kStaleGeneration = 6,  // the standby has seen a newer generation
  kBusy = 7,             // it already has a primary
  kNotStandby = 8,       // it is no standby (any more)
  kOtherVm = 9,          // it stands by for a VM of another name
  kNotReady = 10,        // temporary: try again
};
std::string_view hello_verdict_name(HelloVerdict verdict);

// standby -> primary, the answer.
struct HelloReply {
  static constexpr FrameType kType = FrameType::kHelloReply;
  HelloVerdict verdict = HelloVerdict::kAccepted;
  uint16_t version = 0;   // chosen; 0 when refused
  SessionId session;      // echo of the Hello
  Generation generation;  // the newest the standby knows; after kStaleGeneration: the one that supersedes the sender's
  std::string node;
  std::string reason;  // why it was refused: one or more sentences; empty when accepted
  uint16_t heartbeat_port = 0;
  bool operator==(const HelloReply&) const = default;
};

enum class ByeReason : uint16_t {
  kStopping = 1,       // the sender's program ends or lets go of the VM on purpose
  kProtocolError = 2,  // the receiver of this sent something that makes no sense
  kNoRoom = 3,         // an epoch is larger than the sender is prepared to stage
  kFailed = 4,         // the sender cannot go on (a system call failed); no leave to take over: that is Resigned
  kSuperseded = 5,     // another connection takes this one's place
};
std::string_view bye_reason_name(ByeReason reason);

// Either way: a tidy leave.  After it the sender closes; its silence is no host failure.
struct Bye {
  static constexpr FrameType kType = FrameType::kBye;
  ByeReason reason = ByeReason::kStopping;
  std::string text;
  bool operator==(const Bye&) const = default;
};

}  // namespace us
