// What QEMU counts of its disks (query-blockstats), as far as the engine needs it.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace us {

// By the name of the node that the guest's device is on: how often the guest has asked for a flush and been answered
// since QEMU was started.  QEMU's own flushes are not counted (block/accounting.h: the device models count).  What is
// not there, or not as expected, is left out.
using FlushCounts = std::map<std::string, uint64_t, std::less<>>;
FlushCounts parse_flush_counts(const nlohmann::json& answer);

}  // namespace us
