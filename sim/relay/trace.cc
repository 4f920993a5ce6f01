#include "sim/relay/trace.h"

#include <fmt/format.h>

namespace us::sim::relay {

std::vector<std::string> Trace::lines() const {
  std::vector<std::string> out;
  for (const Line& line : lines_) {
    const double ms = static_cast<double>(line.when.to_nanos()) / 1e6;
    if (line.packet)
      out.push_back(fmt::format("{:12.3f} ms  {:<18} {} (payload {})", ms, line.what, describe(*line.packet),
                                line.payload_bytes));
    else
      out.push_back(fmt::format("{:12.3f} ms  {:<18} {} {}", ms, line.what, line.a, line.b));
  }
  return out;
}

}  // namespace us::sim::relay
