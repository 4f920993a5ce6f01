// DirtyMap: which parts of an image may differ from the other host's, and keeps that true through a crash.
//
// The promise: wherever the two images differ, the place is marked in the map of one host or the other, on disk.  So a
// resynchronisation copies the union of both maps and nothing else.  It is kept by writing ahead: a mark is durable
// before the write it covers is begun.
//
//     prepare(range, epoch) ─► kReady: write
//                           └► kMarkFirst: poll_update() ─► write the blocks, sync ─► on_update_done() ─► prepare()
//                           again
//
// A mark is taken back when both images are known to hold the last epoch that wrote there, for good: the other host has
// applied and synced it, and this image has been synced since as well.  (Without the second, a power loss here could
// undo a write that the other host has kept.)  And only after the place has been idle for `keep_epochs`: one that is
// written again and again costs one sync, not one each time.  Taking back needs no sync: a mark too many copies a place
// too many.
//
// Lasting marks are taken back by a resynchronisation only: what was written without a standby, what was found in the
// file, what failed to be written.
//
// The map is in granules; in the file they are bits in checksummed blocks.  A block that is damaged (torn by a power
// loss) marks everything it covers.  A map that does not fit (another image, size, version) says nothing: compare
// everything.  Pure.  Memory: five bits per granule, and some 50 bytes for each that a standby has yet to confirm
// (kTrackedGranulesMax).
// Layout: docs/wire/disk.md.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/strong.h"
#include "core/disk/apply_journal.h"
#include "core/disk/disk_write.h"

namespace us {

inline constexpr size_t kDirtyBlockBytes = 4096;
inline constexpr size_t kDirtyBlockHeadBytes = 32;
// Marks that a standby's confirmation can take back; what is written beyond that many places is marked lastingly.
inline constexpr size_t kTrackedGranulesMax = 256 * 1024;
inline constexpr uint64_t kGranulesPerBlock = (kDirtyBlockBytes - kDirtyBlockHeadBytes) * 8;

struct DirtyMapShape {
  ImageId image{};
  uint64_t disk_bytes = 0;
  uint32_t granule_bytes = 64 * 1024;  // a power of two
  uint64_t granules() const { return (disk_bytes + granule_bytes - 1) / granule_bytes; }
  uint64_t blocks() const { return (granules() + kGranulesPerBlock - 1) / kGranulesPerBlock; }
  uint64_t file_bytes() const { return (1 + blocks()) * kDirtyBlockBytes; }  // a header block comes first
  bool operator==(const DirtyMapShape&) const = default;
};

// One bit per granule.
class GranuleSet {
 public:
  explicit GranuleSet(uint64_t granules) : granules_(granules), words_((granules + 63) / 64) {}
  uint64_t granules() const { return granules_; }
  bool test(uint64_t g) const { return (words_[g / 64] >> (g % 64) & 1) != 0; }
  void set(uint64_t g) { words_[g / 64] |= uint64_t{1} << (g % 64); }
  void reset(uint64_t g) { words_[g / 64] &= ~(uint64_t{1} << (g % 64)); }
  void set_all();
  uint64_t count() const;
  // The first set one at or after `from`; granules() if there is none.
  uint64_t next(uint64_t from) const;
  GranuleSet& operator|=(const GranuleSet& other);
  bool operator==(const GranuleSet&) const = default;

 private:
  uint64_t granules_;
  std::vector<uint64_t> words_;
};

class DirtyMap {
 public:
  // Nothing is marked; write initial_file() and sync it before the first prepare().
  explicit DirtyMap(const DirtyMapShape& shape, uint64_t keep_epochs = 64);
  // From a file's bytes.  Errors (ErrorKind::kInput): it is no map of this shape, and everything must be compared.
  static Result<DirtyMap> load(const DirtyMapShape& shape, ByteSpan file, uint64_t keep_epochs = 64);
  Bytes initial_file() const;

  enum class Ready : uint8_t { kReady, kMarkFirst };
  // Before a write to `range` in `epoch` is begun.  kSolo: there is no standby, the mark is a lasting one.
  static constexpr Epoch kSolo{UINT64_MAX};
  Ready prepare(DiskRange range, Epoch epoch);
  // A write has failed: the place needs a resynchronisation that begins from now on.
  void on_write_failed(DiskRange range);
  // Nothing is known about the other host's image.
  void mark_all();
  // A session ends: all marks are lasting from now on, because epochs start again from 1.
  void end_session();

  // Every epoch up to `applied` is on the other host's image for good, and up to `synced` on this one (a sync that was
  // begun after the end of that epoch has succeeded); `running` is the epoch that runs.
  void clear_applied(Epoch applied, Epoch synced, Epoch running);
  // What a resynchronisation that begins now has to copy, together with the other host's marks.
  const GranuleSet& begin_resync();
  // It is complete, and durable on both hosts.  Places written meanwhile stay marked as their epochs want it.
  void on_resynchronised();

  // Blocks of the file that must be written; nullopt: none, or an update is under way.  `must_sync`: somebody waits for
  // a mark.
  struct Update {
    struct Block {
      uint64_t offset = 0;  // in the file
      Bytes bytes;
    };
    std::vector<Block> blocks;
    bool must_sync = false;
  };
  std::optional<Update> poll_update();
  // The update's blocks have been written, and synced if `must_sync` was set.
  void on_update_done();
  // They may or may not have been written.
  void on_update_failed();

  // Something has been written in this session, and its mark is not taken back.
  bool awaits_confirmation() const { return !written_.empty(); }
  const GranuleSet& marked() const { return marked_; }
  // Only a resynchronisation takes that mark back.
  bool is_lasting(uint64_t granule) const { return lasting_.test(granule); }
  uint64_t keep_epochs() const { return keep_epochs_; }
  const DirtyMapShape& shape() const { return shape_; }

 private:
  Bytes encode_block(uint64_t block) const;
  void unmark(uint64_t granule);
  DiskRange granules_of(DiskRange range) const;

  DirtyMapShape shape_;
  uint64_t keep_epochs_;
  GranuleSet marked_;     // what is to be on disk
  GranuleSet durable_;    // marks that are certainly on disk, whatever write is under way
  GranuleSet lasting_;    // part of marked_
  GranuleSet resyncing_;  // part of lasting_: what the resynchronisation under way takes back
  // The last epoch of this session that wrote to a granule.  What is marked is here or lasting, or both.
  std::unordered_map<uint64_t, Epoch> written_;
  Epoch next_look_;                // clear_applied() need not look at all of them before
  std::vector<bool> block_dirty_;  // differs from what was last written
  bool wanted_ = false;            // a mark is waited for
  struct InFlight {
    GranuleSet marks;
    bool synced;
    std::vector<uint64_t> blocks;
  };
  std::optional<InFlight> in_flight_;
};

}  // namespace us
