// AuditJudge: the primary's half of an audit, after the cut.  It holds the hashes made there until the standby has
// answered, and says which pages differ.
//
// The answers come from a peer: one that contradicts the hashes (a region "differs" that does not), comes twice or is
// out of range is an error (kProtocol), and the audit has no verdict.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/strong.h"
#include "core/memory/ram_hashes.h"

namespace us {

class AuditJudge {
 public:
  AuditJudge(Epoch epoch, std::unique_ptr<const RamHashes> ours) : epoch_(epoch), ours_(std::move(ours)) {}

  Status on_region(Epoch epoch, uint32_t region, ByteSpan hashes);
  Status on_end(Epoch epoch, uint64_t pages, uint32_t regions_differ);

  Epoch epoch() const { return epoch_; }
  uint64_t pages() const { return ours_->pages(); }
  bool done() const { return done_; }
  // Valid once done().  Differing pages, ascending, of the regions that the standby has sent.
  const std::vector<PageIndex>& differing() const { return differing_; }
  // Differing regions whose pages are not in differing(), because there were too many.
  uint32_t regions_unnamed() const { return regions_differ_ - regions_named_; }
  bool equal() const { return regions_differ_ == 0; }

 private:
  Epoch epoch_;
  std::unique_ptr<const RamHashes> ours_;
  uint32_t next_region_ = 0;
  uint32_t regions_named_ = 0;
  uint32_t regions_differ_ = 0;
  std::vector<PageIndex> differing_;
  bool done_ = false;
};

}  // namespace us
