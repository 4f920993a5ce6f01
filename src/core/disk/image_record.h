// ImageRecord: the small file beside an image that says what the image is, and the rules of what may be done with it.
//
//     kNew ──► kSyncing ──► kConsistent ──takeover──► kLive ──another takes over──► kStale
//      └────────┐  ▲ ▲            │  ▲                  ▲                             │
//               │  │ └────────────┘  └── (never)        └── first start               │
//               └──┼────────────────────────────────────┘                             │
//                  └──────────────────────────────────────────────────────────────────┘
//     kLive, kConsistent ──the guest ends──► kEnded ──next start──► kLive here, kSyncing on the other host
//
//   kNew         created or imported here; nobody else has it
//   kLive        the guest of `at.generation` writes to it (or did, when this host died): it is ahead of what has
//                committed
//   kConsistent  exactly the committed epoch `at`, once the journal has been recovered (apply_journal.h)
//   kStale       another generation has gone on elsewhere: wrong wherever the dirty map says, and perhaps only there
//   kSyncing     being copied to; partly old, partly new
//   kEnded       the guest of `at.generation` has ended, and this is all that it left: `at` is its last epoch
//
// The rule that matters: a kStale or kSyncing image is never served; only a finished resynchronisation makes it
// kConsistent.  A kEnded one may be started from as long as no generation has run since, wherever that one ran: what it
// says is true for ever, so it needs no word of the other host.  A change of state is durable before what it allows is
// done.
//
// In the file: two blocks, written in turn, so that a torn write leaves the one before.  Layout: docs/wire/disk.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "core/disk/apply_journal.h"

namespace us {

enum class ImageState : uint8_t { kNew = 1, kLive = 2, kConsistent = 3, kStale = 4, kSyncing = 5, kEnded = 6 };
std::string_view image_state_name(ImageState state);

struct ImageRecord {
  ImageId image{};
  uint64_t disk_bytes = 0;
  ImageState state = ImageState::kNew;
  // kLive: the generation.  kConsistent: the epoch, unless the journal has a later one.  kEnded: the epoch.  kStale,
  // kSyncing: the generation it has fallen behind of, or is copied from.
  ImageEpoch at;
  JournalSequence journal_base;  // records up to this one are void
  uint64_t counter = 0;          // of changes to this record; picks the block
  // The VM whose `shared` disk this is, at most kSharedByMax characters; empty: one host's image.
  std::string shared_by = {};
  bool operator==(const ImageRecord&) const = default;

  // ---- the changes; nullopt or an error where the table above has no arrow ----
  // The guest starts here in `generation`, which the caller has claimed.  From kConsistent: the journal has been
  // recovered up to `last`.
  Result<ImageRecord> go_live(Generation generation, JournalSequence last) const;
  // Generation `other` runs elsewhere.
  Result<ImageRecord> fall_behind(Generation other) const;
  Result<ImageRecord> begin_sync(const ImageId& source, Generation generation, JournalSequence last) const;
  Result<ImageRecord> finish_sync(const ImageEpoch& at) const;
  // The guest has ended in `last`, and everything up to it is on the image for good; the journal's records up to
  // `sequence` have been applied.
  Result<ImageRecord> end(const ImageEpoch& last, JournalSequence sequence) const;

  // ---- of a `shared` image: by the host whose turn it is to write (shared_turn.h) ----
  // From kLive: the standby writes from now on, and the image is exactly at `first`.
  Result<ImageRecord> give(const ImageEpoch& first) const;
  // It is taken back by the primary of generation `own`, with the journal recovered up to `last`; kConsistent until
  // what the primary has held is there too.
  Result<ImageRecord> take_back(Generation own, JournalSequence last) const;
  // From kConsistent, of the same generation or an older one.
  Result<ImageRecord> finish_taking_back(Generation own, JournalSequence last) const;
};
inline constexpr size_t kSharedByMax = 32;

inline constexpr size_t kImageRecordBytes = 4096;
inline constexpr size_t kImageRecordFileBytes = 2 * kImageRecordBytes;
constexpr uint64_t image_record_offset(const ImageRecord& r) { return (r.counter % 2) * kImageRecordBytes; }
Bytes encode(const ImageRecord& record);
// The newer of the two blocks that is intact.  Errors (ErrorKind::kInput): none is.
Result<ImageRecord> decode_image_record(ByteSpan file);

// What a host may do with its image.
struct ImageFacts {
  ImageId expected{};            // of the VM's disk
  uint64_t disk_bytes = 0;       // of the VM's disk
  Generation newest;             // the newest generation that the arbiter knows of; 0: none yet
  bool newest_was_here = false;  // it ran on this host
};
// To start the guest afresh, from the disk alone (both hosts were down).  Errors are ErrorKind::kRefused.
Status may_start_from(const ImageRecord& record, const ImageFacts& facts);
// The same for the `shared` disk of VM `vm`: there is one image, so where it was written last does not matter.
Status may_start_from_shared(const ImageRecord& record, Generation newest, const std::string& vm);
// To go on with memory of epoch `memory`, journal recovered or batch applied up to `applied`.
Status may_take_over_with(const ImageRecord& record, const ImageFacts& facts, const ImageEpoch& applied,
                          const ImageEpoch& memory);

}  // namespace us
