// DiskAudit: are the two images of a disk that a standby follows equal?  Looked at granule by granule while the guest
// writes.
//
//     poll() ─► granule g: acquire its range (RangeLock), read it, put its checksum into the stream behind every write
//               that was done before, release;  on_read(g)
//            ─► the standby, when it comes to that place in the stream, reads its own: the image, and over it all that
//               is staged, committed or not; it answers:  on_answer(g, equal)
//
// So each granule is compared at one place of the stream, which both sides know, and the guest is never stopped.  What
// is compared is what the standby's disk would be if everything up to that place committed.
//
// Left out: what cannot be read here, and places where a write has failed here: what is there is anybody's guess until
// they are written again (the guest was told), and the dirty map keeps them for the next resynchronisation.
//
// Bounded: at most `answers_max` comparisons are open, and so many offsets are named.  Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/disk/dirty_map.h"

namespace us {

class DiskAudit {
 public:
  static constexpr size_t kNamedMax = 1024;
  explicit DiskAudit(const DirtyMapShape& shape, uint32_t answers_max = 8)
      : shape_(shape), answers_max_(answers_max), awaited_(shape.granules()) {}

  // The next one to read; nullopt: finished, or answers are awaited.  Under way until on_read() or on_read_failed().
  std::optional<uint64_t> poll(const DirtyMap& map);
  void on_read(uint64_t granule);
  void on_read_failed(uint64_t granule);
  // From the other host, untrusted: an answer nobody waits for is an error.
  Status on_answer(uint64_t granule, bool equal);

  bool finished() const { return next_ == shape_.granules() && reading_ + open_ == 0; }
  struct Result {
    uint64_t compared = 0;  // granules
    uint64_t left_out = 0;
    uint64_t differing = 0;
    std::vector<uint64_t> offsets;  // of the first that differ, in bytes
  };
  const Result& result() const { return result_; }

 private:
  DirtyMapShape shape_;
  uint32_t answers_max_;
  GranuleSet awaited_;
  uint64_t next_ = 0;
  uint32_t reading_ = 0, open_ = 0;
  Result result_;
};

}  // namespace us
