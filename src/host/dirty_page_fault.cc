#include "host/dirty_page_fault.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace us {

Result<DirtyPageFault> DirtyPageFault::parse(std::string_view text) {
  if (text.empty()) return DirtyPageFault();
  const size_t equals = std::min(text.find('='), text.size());
  const std::string_view name = text.substr(0, equals), number = text.substr(std::min(equals + 1, text.size()));
  uint64_t cut = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), cut);
  const bool is_reset = name == "reset-in-pause";
  if ((name != "drop-dirty-page" && !is_reset) || error != std::errc{} || end != number.data() + number.size() ||
      cut == 0)
    return fail(ErrorKind::kInput, "--inject " + std::string(text) +
                                       " is neither drop-dirty-page=N nor reset-in-pause=N with N from 1 on");
  DirtyPageFault fault;
  (is_reset ? fault.stops_left_ : fault.cuts_left_) = cut;
  return fault;
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
