// The pieces of `understudy status --json`.  Durations are in milliseconds; docs/status.md is the manual.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "base/histogram.h"
#include "host/data_path.h"
#include "host/node_context.h"
#include "host/primary_stats.h"

namespace us {

nlohmann::json histogram_json(const Histogram& histogram);
nlohmann::json takeover_json(const TakeoverRecord& record);
// What came after the restore, of the latest takeover; nothing until the guest runs and is announced.
void add_end_of_takeover(nlohmann::json& out, const TakeoverRecord& record, Instant resumed,
                         const AnnouncementTimes& net);
nlohmann::json nics_json(const std::vector<NicStatus>& nics);
nlohmann::json pause_json(const PrimaryStats::Values& values);
nlohmann::json gate_json(const DataPathCounters& net);

}  // namespace us
