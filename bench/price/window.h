// Window: what a machine spent and did between two moments: processors of both hosts, traffic, epochs, and the guest's
// clock.  Figures of a primary are differences of its counters; histograms come from its list of latest epochs
// (`epochs`, docs/status.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "demo/cluster.h"

namespace us::bench {

struct Figure {
  std::string name;
  double value;
  std::string unit;
};

class Window {
 public:
  static Result<Window> begin(demo::Cluster& cluster);
  struct Spent {
    std::vector<Figure> figures;
    std::vector<double> pauses_ms;   // one for each epoch
    std::vector<double> commits_ms;  // from the cut until the standby had it
    double replicated_bytes = 0;
  };
  // `guest_memory`: also what both hosts' processes hold, which takes a moment.
  Result<Spent> end(demo::Cluster& cluster, bool guest_memory) const;

 private:
  struct Moment {
    Instant at;
    nlohmann::json status;
    double daemon_s, qemu_s, standby_daemon_s, standby_qemu_s;
    double guest_uptime_s;
    Instant guest_asked;
  };
  static Result<Moment> look(demo::Cluster& cluster);
  explicit Window(Moment begin) : begin_(std::move(begin)) {}
  void add_epochs(demo::Cluster& cluster, Instant until, Spent& out) const;

  Moment begin_;
};

// The mean of what a histogram of a status (`n`, `mean`) has got between two looks; 0 when nothing.
double mean_between(const nlohmann::json& before, const nlohmann::json& after);
// The value that the given share (0 to 1) does not exceed; 0 without any.
double nearest_rank(std::vector<double> values, double share);

}  // namespace us::bench
