#include "host/dirty_page_fault.h"

#include <charconv>
#include <string>

namespace us {

Result<DirtyPageFault> DirtyPageFault::parse(std::string_view text) {
  constexpr std::string_view kName = "drop-dirty-page=";
  if (text.empty()) return DirtyPageFault();
  uint64_t cut = 0;
  const std::string_view number = text.starts_with(kName) ? text.substr(kName.size()) : std::string_view{};
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), cut);
  if (number.empty() || error != std::errc{} || end != number.data() + number.size() || cut == 0)
    return fail(ErrorKind::kInput, "--inject " + std::string(text) + " is not drop-dirty-page=N with N from 1 on");
  return DirtyPageFault(cut);
}

bool DirtyPageFault::on_scan(std::vector<DirtyRun>& runs, bool is_cut) {
  bool picked = false;
  if (!page_ && is_cut && cuts_left_ > 0 && !runs.empty() && --cuts_left_ == 0) {
    page_ = runs.front().first;
    picked = true;
  }
  if (page_) remove(*page_, runs);
  return picked;
}

void DirtyPageFault::remove(PageIndex page, std::vector<DirtyRun>& runs) {
  for (auto run = runs.begin(); run != runs.end(); ++run) {
    const uint64_t first = run->first.value(), end = first + run->count, at = page.value();
    if (at < first || at >= end) continue;
    const DirtyRun after{PageIndex{at + 1}, end - at - 1};
    run->count = at - first;
    if (after.count > 0) run = runs.insert(run + 1, after) - 1;
    if (run->count == 0) runs.erase(run);
    return;
  }
}

}  // namespace us
