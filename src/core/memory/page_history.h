// PageHistory: who last wrote each page of the RAM, as far as the engine was told, and in which epoch.
//
// It is for the report of an audit that finds a difference: a page that nobody is known to have written was missed
// from the start; one that the guest wrote in epoch 7 and that differs in epoch 9 was missed in 8 or 9, or spoilt on
// its way.  4 bytes a page.  Not thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "base/strong.h"

namespace us {

enum class PageWriter : uint8_t {
  kNobody = 0,    // no write seen since reset()
  kGuest = 1,     // found by the dirty tracker: the guest, or QEMU for one of its devices
  kDataPath = 2,  // this process: received packets, and the rings
  kBoth = 3,
};

class PageHistory {
 public:
  explicit PageHistory(uint64_t pages) : records_(pages) {}

  // Nothing is known from here on; epochs before `first` are not noted.
  void reset(Epoch first) {
    first_ = first;
    records_.assign(records_.size(), 0);
  }

  void note(PageIndex first, uint64_t count, PageWriter writer, Epoch epoch) {
    const uint32_t age = age_of(epoch);
    for (uint64_t page = first.value(); page < first.value() + count; ++page) {
      uint32_t& record = records_[page];
      const uint32_t same_epoch = record >> kWriterBits == age ? record & kWriterMask : 0;
      record = age << kWriterBits | same_epoch | static_cast<uint32_t>(writer);
    }
  }

  struct Last {
    PageWriter writer = PageWriter::kNobody;
    Epoch epoch;  // the one whose cut found it
  };
  Last last(PageIndex page) const {
    const uint32_t record = records_[page.value()];
    if ((record & kWriterMask) == 0) return {};
    return {static_cast<PageWriter>(record & kWriterMask), Epoch{first_.value() + (record >> kWriterBits)}};
  }

 private:
  static constexpr uint32_t kWriterBits = 2;
  static constexpr uint32_t kWriterMask = 3;
  // About 300 days of the usual epochs; a session that lasts longer reports the last of them.
  static constexpr uint64_t kAgeMax = (uint64_t{1} << (32 - kWriterBits)) - 1;

  uint32_t age_of(Epoch epoch) const {
    const uint64_t age = epoch.value() - first_.value();
    return static_cast<uint32_t>(age < kAgeMax ? age : kAgeMax);
  }

  Epoch first_;
  std::vector<uint32_t> records_;
};

constexpr const char* to_string(PageWriter writer) {
  switch (writer) {
    case PageWriter::kNobody:
      return "nobody";
    case PageWriter::kGuest:
      return "guest";
    case PageWriter::kDataPath:
      return "data path";
    case PageWriter::kBoth:
      return "guest and data path";
  }
  return "?";
}

}  // namespace us
