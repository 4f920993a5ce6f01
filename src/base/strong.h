// Strong integers: one wrapper, and the project's counters and addresses made from it.
// Two of different meaning cannot be mixed up or passed in the wrong order.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace us {

template <typename Tag, typename Rep = uint64_t>
class Strong {
 public:
  using rep = Rep;
  constexpr Strong() = default;
  explicit constexpr Strong(Rep value) : value_(value) {}
  constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const Strong&) const = default;
  constexpr Strong next() const { return Strong(static_cast<Rep>(value_ + 1)); }
  constexpr Strong& operator++() {
    ++value_;
    return *this;
  }

 private:
  Rep value_{};
};

using Epoch = Strong<struct EpochTag>;            // counts from 1 in each session; 0 is "none yet"
using Generation = Strong<struct GenerationTag>;  // which incarnation of the VM; grows at each takeover; 0 is "none"
using GuestPhysAddr = Strong<struct GuestPhysAddrTag>;  // byte address as the guest sees it
using PageIndex = Strong<struct PageIndexTag>;          // page number inside the RAM file, not guest-physical

inline constexpr size_t kPageSize = 4096;

}  // namespace us

template <typename Tag, typename Rep>
struct std::hash<us::Strong<Tag, Rep>> {
  size_t operator()(us::Strong<Tag, Rep> s) const noexcept { return std::hash<Rep>{}(s.value()); }
};
