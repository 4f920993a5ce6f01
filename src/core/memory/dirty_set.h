// DirtySet: which pages of the guest's RAM file have been written since the last cut.
//
// One bit a page, lock-free: the data path marks pages while the engine drains the set.  A writer marks
// *after* it has written, so that a drain that runs in between leaves the page to the next drain instead of
// losing it; at a cut the writers are quiescent and nothing is in between.
//
// Limits: fixed page count.  mark() out of range is a bug of the caller, who has validated the address.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/strong.h"

namespace us {

class DirtySet {
 public:
  explicit DirtySet(uint64_t page_count) : page_count_(page_count), words_((page_count + 63) / 64) {}

  uint64_t page_count() const { return page_count_; }

  void mark(PageIndex page) {
    US_CHECK(page.value() < page_count_);
    // Always the locked or: a plain "is it set already?" load may overtake the writer's own store to the page
    // (store-load reordering), and a drain in between would then copy the page without that store.
    words_[page.value() / 64].fetch_or(uint64_t{1} << (page.value() % 64), std::memory_order_seq_cst);
  }

  // Marks every page that [offset, offset + size) of the RAM file touches.
  void mark_bytes(uint64_t offset, uint64_t size) {
    if (size == 0) return;
    for (uint64_t p = offset / kPageSize; p <= (offset + size - 1) / kPageSize; ++p) mark(PageIndex{p});
  }

  void mark_all() {
    for (uint64_t p = 0; p < page_count_; ++p) mark(PageIndex{p});
  }

  // Calls `each(PageIndex)` in ascending order for every marked page and clears it.
  template <typename F>
  void drain(F&& each) {
    for (size_t w = 0; w < words_.size(); ++w) {
      if (words_[w].load(std::memory_order_relaxed) == 0) continue;
      for (uint64_t bits = words_[w].exchange(0, std::memory_order_seq_cst); bits != 0; bits &= bits - 1)
        each(PageIndex{w * 64 + static_cast<uint64_t>(std::countr_zero(bits))});
    }
  }

 private:
  uint64_t page_count_;
  std::vector<std::atomic<uint64_t>> words_;
};

}  // namespace us
