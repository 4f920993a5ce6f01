// The messages about `replicated` disks.  See wire.h; what they mean to a disk: core/disk/disk_source.h (primary) and
// core/disk/disk_replica.h (standby); frames from and to them: disk_frames.h.
//
//     primary                                         standby
//     DiskOffer, for each disk ─────────────────────►
//             ◄───────────────────────────────────── DiskAnswer, for each disk, and its DiskMarks
//     DiskRecords, DiskSums …  ─────────────────────► in the order in which things happened on the primary's image
//             ◄───────────────────────────────────── DiskSumAnswers, DiskProgress, DiskTrouble
//     GuestEnded, DisksEnd ─────────────────────────► the guest's last writes
//             ◄───────────────────────────────────── DisksEnded
//
// Of protocol version kDiskVersion, DisksEnd and DisksEnded of kDiskEndVersion.  The byte spans borrow the frame's
// payload.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/strong.h"
#include "core/disk/image_record.h"
#include "core/disk/write_record.h"
#include "core/replica/frame_header.h"

namespace us {

inline constexpr size_t kDiskFrameBytesMax = kStateFramePayloadMax - 64;  // records, sums or answers in one frame
inline constexpr size_t kDiskMarksBytesMax = 32 * 1024;
inline constexpr size_t kDiskTextBytesMax = 4096;
inline constexpr size_t kDiskBarrierBytesMax = 1024;

// primary -> standby, right after the HelloReply, for each disk in order: what it is about to copy and stream.
struct DiskOffer {
  static constexpr FrameType kType = FrameType::kDiskOffer;
  DiskIndex disk;
  ImageId image{};
  uint64_t disk_bytes = 0;
  uint32_t granule_bytes = 0;  // of the primary's dirty map
  Epoch first;                 // the first epoch of the session
  bool operator==(const DiskOffer&) const = default;
};

enum class DiskVerdict : uint8_t {
  kMarks = 1,       // the images are equal but for the marks of both hosts; this host's follow
  kCompareAll = 2,  // new, or nothing is known: compare everything
  kRefused = 3,     // see the reason; the session ends
};
std::string_view disk_verdict_name(DiskVerdict verdict);

// standby -> primary.
struct DiskAnswer {
  static constexpr FrameType kType = FrameType::kDiskAnswer;
  DiskIndex disk;
  DiskVerdict verdict = DiskVerdict::kMarks;
  uint64_t marked = 0;  // granules that the DiskMarks after this name
  std::string reason;   // for a person; empty unless refused
  bool operator==(const DiskAnswer&) const = default;
};

// standby -> primary: bit i of byte b says that granule first + 8 b + i may differ.
struct DiskMarks {
  static constexpr FrameType kType = FrameType::kDiskMarks;
  DiskIndex disk;
  uint64_t first = 0;
  ByteSpan bits;
};

// primary -> standby: write records (write_record.h): writes of the guest and copied granules.
struct DiskRecords {
  static constexpr FrameType kType = FrameType::kDiskRecords;
  DiskIndex disk;  // of all of them
  ByteSpan records;
};

// primary -> standby: compare these granules as they are at this place in the stream: to synchronise them before the
// first epoch, to audit them after it.
struct DiskSums {
  static constexpr FrameType kType = FrameType::kDiskSums;
  DiskIndex disk;
  ByteSpan sums;  // 16 bytes each: granule u64, XXH3-64 of its bytes u64
};

// standby -> primary.
struct DiskSumAnswers {
  static constexpr FrameType kType = FrameType::kDiskSumAnswers;
  DiskIndex disk;
  ByteSpan answers;  // 9 bytes each: granule u64, equal u8
};

// standby -> primary: how far this disk's image is.
struct DiskProgress {
  static constexpr FrameType kType = FrameType::kDiskProgress;
  DiskIndex disk;
  uint64_t copied = 0;  // records of before the first epoch's end that are on the image
  Epoch durable;        // every write up to this epoch is on the image for good; 0: none of this session
  bool operator==(const DiskProgress&) const = default;
};

// standby -> primary: its image cannot be written at present (text), or can again (empty).  Nothing is lost; the
// primary's window fills and the guest waits.
struct DiskTrouble {
  static constexpr FrameType kType = FrameType::kDiskTrouble;
  DiskIndex disk;
  std::string text;
  bool operator==(const DiskTrouble&) const = default;
};

// primary -> standby, after GuestEnded and after all records: the guest's last epoch, of which only the disks count.
struct DisksEnd {
  static constexpr FrameType kType = FrameType::kDisksEnd;
  Epoch epoch;
  ByteSpan barrier;  // of this epoch, write_record.h
};

// standby -> primary: its images are at that epoch for good, and say that the guest has ended there.
struct DisksEnded {
  static constexpr FrameType kType = FrameType::kDisksEnded;
  Epoch epoch;
  bool operator==(const DisksEnded&) const = default;
};

}  // namespace us
