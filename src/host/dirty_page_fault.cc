#include "host/dirty_page_fault.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string>
#include <utility>

namespace us {

namespace {

constexpr std::pair<std::string_view, PauseEvent> kPauseEvents[] = {{"reset-in-pause", PauseEvent::kReset},
                                                                    {"power-off-in-pause", PauseEvent::kPowerOff},
                                                                    {"panic-in-pause", PauseEvent::kPanic}};

}  // namespace

Result<DirtyPageFault> DirtyPageFault::parse(std::string_view text) {
  if (text.empty()) return DirtyPageFault();
  const size_t equals = std::min(text.find('='), text.size());
  const std::string_view name = text.substr(0, equals), number = text.substr(std::min(equals + 1, text.size()));
  uint64_t cut = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), cut);
  const auto* const event = std::ranges::find(kPauseEvents, name, &std::pair<std::string_view, PauseEvent>::first);
  const bool in_pause = event != std::end(kPauseEvents);
  if ((name != "drop-dirty-page" && !in_pause) || error != std::errc{} || end != number.data() + number.size() ||
      cut == 0)
    return fail(ErrorKind::kInput, "--inject " + std::string(text) +
                                       " is none of drop-dirty-page=N, reset-in-pause=N, power-off-in-pause=N and "
                                       "panic-in-pause=N with N from 1 on");
  DirtyPageFault fault;
  (in_pause ? fault.stops_left_ : fault.cuts_left_) = cut;
  if (in_pause) fault.pause_event_ = event->second;
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
