// Runs of dirty pages put in order: ascending, and no page in two of them.
#pragma once

#include <algorithm>
#include <vector>

#include "os/dirty_tracker.h"

namespace us {

inline void put_in_order(std::vector<DirtyRun>& runs) {
  const auto end_of = [](const DirtyRun& run) { return run.first.value() + run.count; };
  const auto meet = [&](const DirtyRun& a, const DirtyRun& b) { return b.first.value() < end_of(a); };
  if (std::adjacent_find(runs.begin(), runs.end(), meet) == runs.end()) return;
  std::sort(runs.begin(), runs.end(), [](const DirtyRun& a, const DirtyRun& b) { return a.first < b.first; });
  size_t last = 0;
  for (size_t i = 1; i < runs.size(); ++i) {
    if (runs[i].first.value() > end_of(runs[last]))
      runs[++last] = runs[i];
    else
      runs[last].count = std::max(end_of(runs[last]), end_of(runs[i])) - runs[last].first.value();
  }
  runs.resize(last + 1);
}

}  // namespace us
