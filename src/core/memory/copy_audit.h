// CopyAudit: the standby's half of an audit.  It compares the copy, as it was when the audited epoch had been applied,
// with the digests that the primary made at that cut.
//
// The copy does not stand still for it: later epochs are acknowledged and applied meanwhile, so that an audit costs no
// commit any time.  Whoever changes a page calls before_write() first, which keeps the hash of a page that has not
// been looked at yet.
//
//     0            next_                                 pages
//     |── compared ──|── pages hashed early: early_ ... ───|
//
// The digests come from a peer: one that makes no sense is an error (kProtocol), and ends the audit.
// Memory: 8.1 bytes a page at most while an audit runs; nothing otherwise.  Single-threaded.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/strong.h"
#include "core/memory/ram_hashes.h"

namespace us {

// So many differing regions are reported page by page; the rest is only counted.
inline constexpr uint32_t kAuditRegionsNamedMax = 64;

class CopyAudit {
 public:
  // `ram` is the whole copy and outlives this object.
  CopyAudit(const uint8_t* ram, uint64_t pages) : ram_(ram), pages_(pages) {}

  // The next digests of the primary.  `applied` is the epoch that the copy holds now: an audit of another one, and
  // digests that do not follow the ones before, are refused.  The first digests of another audit end an unfinished one.
  Status on_digests(Epoch epoch, Epoch applied, uint32_t regions, uint32_t first, ByteSpan digests);

  // Call before the page is changed, whether or not an audit runs.
  void before_write(PageIndex page) {
    if (active_ && page.value() >= next_ && !is_early(page.value())) keep_hash(page.value());
  }

  // Compares about `pages` more.
  void step(uint64_t pages);
  void cancel();

  // There is work for step().
  bool busy() const { return active_ && next_ < pages_ && next_ / kAuditRegionPages < digests_.size(); }
  bool active() const { return active_; }
  Epoch epoch() const { return epoch_; }  // of the audit that runs

  struct Region {
    uint32_t region;
    Bytes hashes;  // of its pages, u64 each
  };
  // The next region that was found to differ.
  std::optional<Region> poll_region();

  struct Verdict {
    Epoch epoch;
    uint64_t pages;
    uint32_t regions_differ;
  };
  // Once, when every page is compared and every region was polled.
  std::optional<Verdict> poll_verdict();

 private:
  bool is_early(uint64_t page) const { return (early_[page / 64] >> (page % 64) & 1) != 0; }
  void keep_hash(uint64_t page);
  void begin(Epoch epoch);
  void compare_region(uint32_t region);

  const uint8_t* ram_;
  uint64_t pages_;
  bool active_ = false;
  Epoch epoch_;
  uint64_t next_ = 0;  // pages below are compared; a multiple of kAuditRegionPages, or pages_
  std::vector<uint64_t> digests_;
  std::vector<uint64_t> early_;  // one bit a page
  // Only where early_ says so; left uninitialised, so that untouched parts take no memory.
  std::unique_ptr<uint64_t[]> kept_;
  uint32_t regions_differ_ = 0;
  std::deque<Region> found_;
};

}  // namespace us
