// ResyncPlan: what to copy to the other host's image so that the two are equal, while the guest goes on writing.
//
// Work is in granules, in the order of offsets: first the known differences (both dirty maps), or every granule
// compared by checksum where there is no map to trust.
//
//     poll() ─► copy g:    acquire its range (RangeLock), read it, put it into the stream, release;  on_copied(g)
//            ─► compare g: acquire, read, put its checksum into the stream, release;  on_compared(g)
//                          the standby reads its own g when it comes to that place in the stream, and answers:
//                          on_answer(g, equal)
//
// The guest's writes meanwhile: must_send(range) says whether a write has to go into the stream too.  It need not where
// a granule is still to be read in whole; anywhere else it must, and it comes after what was read, because the lock
// kept the write out while the granule was read.  So the standby, doing things in the order of the stream, ends up with
// this image.
//
//     finished(): everything was read and every answer is in.  The image is consistent at the cut after that (the
//     standby says so when it has applied and synced all up to there), not before.
//
// Pure.  The owner bounds what is read and not sent; at most `answers_max` comparisons are open.
#pragma once

#include <cstdint>
#include <optional>

#include "core/disk/dirty_map.h"

namespace us {

class ResyncPlan {
 public:
  enum class Mode : uint8_t {
    kMarked,   // copy the granules in `what`
    kCompare,  // compare the granules in `what`, copy those that differ
  };
  ResyncPlan(const DirtyMapShape& shape, GranuleSet what, Mode mode, uint32_t answers_max = 256);

  enum class Action : uint8_t { kCopy, kCompare };
  struct Step {
    Action action;
    uint64_t granule;
    DiskRange range;  // the last granule may be short
  };
  // nullopt: finished, or answers are awaited.  The step is under way until on_copied() or on_compared().
  std::optional<Step> poll();
  void on_copied(uint64_t granule);    // it is in the stream
  void on_compared(uint64_t granule);  // its checksum is in the stream
  // From the other host, untrusted: an answer nobody waits for is an error.
  Status on_answer(uint64_t granule, bool equal);
  // Reading failed: the granule is tried again later.
  void on_read_failed(const Step& step);

  // A write of the guest, done locally.
  bool must_send(DiskRange range) const;

  bool finished() const { return to_compare_left_ + to_copy_left_ + reading_ + awaited_ == 0; }
  struct Progress {
    uint64_t granules_total = 0;  // to be copied or compared when it began
    uint64_t granules_done = 0;   // known to be equal
    uint64_t bytes_copied = 0;
  };
  Progress progress() const;

 private:
  DiskRange range_of(uint64_t granule) const;
  std::optional<uint64_t> take(GranuleSet& from, uint64_t& cursor, uint64_t& left);

  DirtyMapShape shape_;
  uint32_t answers_max_;
  GranuleSet to_compare_, to_copy_;  // not read yet
  GranuleSet waiting_;               // compared, and the answer is awaited
  uint64_t compare_cursor_ = 0, copy_cursor_ = 0;
  uint64_t to_compare_left_ = 0, to_copy_left_ = 0, reading_ = 0, awaited_ = 0;
  uint64_t total_ = 0, bytes_copied_ = 0;
};

}  // namespace us
