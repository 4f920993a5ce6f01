// One message of every type, with every field set to something of its own: for tests, golden files and fuzz seeds.
#pragma once

#include <array>
#include <vector>

#include "core/replica/wire.h"
#include "core/replica/wire_heartbeat.h"

namespace us::wire_samples {

inline constexpr std::array<uint8_t, 5> kBytes = {0x01, 0x80, 0xff, 0x00, 0x7e};

inline Hello hello() {
  Hello m;
  m.version_min = 1;
  m.version_max = 3;
  m.session = SessionId{0x0123456789abcdef};
  m.generation = Generation{7};
  m.vm_name = "web";
  m.node = "host-a";
  m.qemu_version = "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)";
  m.machine = "pc-q35-7.2";
  m.definition_hash = 0xfedcba9876543210;
  m.definition = "name = web\nmemory = 536870912\n";
  m.ram_bytes = 512u << 20;
  m.epoch_length = Duration::millis(25);
  m.heartbeat_interval = Duration::millis(10);
  m.detection_time = Duration::millis(100);
  m.heartbeat_port = 7401;
  return m;
}

inline HelloReply hello_reply() {
  HelloReply m;
  m.verdict = HelloVerdict::kOtherRamSize;
  m.version = 1;
  m.session = SessionId{0x0123456789abcdef};
  m.generation = Generation{8};
  m.node = "host-b";
  m.reason = "memory is \"536870912\" on the primary and \"1073741824\" on the standby";
  m.heartbeat_port = 7402;
  return m;
}

inline std::vector<Message> messages() {
  return {
      hello(),
      hello_reply(),
      Bye{ByeReason::kNoRoom, "epoch: needs more than the 134217728 bytes there are to stage it"},
      SyncBegin{131072},
      SyncRoundEnd{SyncRound{3}, 5000, 1200},
      SyncAck{SyncRound{3}, 5000},
      EpochBegin{Epoch{41}, EpochSize{1200, 78000, 512}, true, false},
      PageChunk{PageScope::kSync, 3, kBytes},
      DeviceStateChunk{Epoch{41}, kBytes},
      SideStateChunk{Epoch{41}, SideKind::kDiskBarrier, kBytes},
      EpochEnd{Epoch{41}, 1200, 9, 0x1122334455667788},
      Ack{Epoch{41}},
      Applied{Epoch{40}},
      GuestEnded{GuestEnd::kPanic, "Kernel panic - not syncing"},
      GuestEndedAck{},
      HandoverRequest{"operator on host-a"},
      HandoverReady{Epoch{42}},
      HandoverGo{Epoch{42}, Generation{8}},
      HandoverDone{Generation{8}},
      HandoverAbort{"its QEMU did not start"},
      StaleGeneration{Generation{9}, "host-b"},
      Resigned{Generation{7}, "QEMU exited with status 1"},
      RelayLogChunk{LogPosition{1000001}, 2, kBytes},
      RelayLogAck{LogPosition{1000002}},
      AuditDigests{Epoch{41}, 256, 3, kBytes},
      AuditRegion{Epoch{41}, 17, kBytes},
      AuditEnd{Epoch{41}, 131072, 1, Duration::micros(87654)},
      CopyWrong{Epoch{41}, "page 4711 differs"},
      CopyDropped{},
      DiskOffer{
          DiskIndex{2}, {0xa0, 0xa1, 0xa2, 0xa3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, 3u << 30, 65536, Epoch{42}},
      DiskAnswer{DiskIndex{2}, DiskVerdict::kRefused, 17, "its image belongs to another disk"},
      DiskMarks{DiskIndex{2}, 32768, kBytes},
      DiskRecords{DiskIndex{2}, kBytes},
      DiskSums{DiskIndex{2}, kBytes},
      DiskSumAnswers{DiskIndex{2}, kBytes},
      DiskProgress{DiskIndex{2}, 1234, Epoch{42}},
      DiskTrouble{DiskIndex{2}, "write to /srv/vm.img: No space left on device"},
      DisksEnd{Epoch{43}, kBytes},
      DisksEnded{Epoch{43}},
  };
}

inline Heartbeat heartbeat() {
  Heartbeat h;
  h.role = HeartbeatRole::kStandby;
  h.session = SessionId{0x0123456789abcdef};
  h.generation = Generation{7};
  h.sequence = 1001;
  h.echo_sequence = 998;
  h.sent_at = 0x1111222233334444;
  h.echo_sent_at = 0x5555666677778888;
  h.epoch = Epoch{41};
  h.committed = Epoch{40};
  h.health = kHealthProtected | kHealthTrouble;
  return h;
}

}  // namespace us::wire_samples
