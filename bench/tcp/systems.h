// Systems: the three machines that are compared, each with a guest, a client and a wire of its own, all running for the
// whole benchmark:
//
//   stock        QEMU alone (stock_vm.h)
//   solo         understudy without a standby: `unprotected`, the same data path without epochs
//   protected    understudy with a standby: every mode and epoch length, switched while it runs
//
// Those that are not being measured are idle; the protected one then cuts once a second.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "demo/cluster.h"
#include "tcp/client.h"
#include "tcp/options.h"
#include "tcp/plan.h"
#include "tcp/stock_vm.h"

namespace us::bench {

class Systems {
 public:
  // `say` tells a person what is being waited for.
  Systems(const Options& options, const std::atomic<bool>& interrupted, std::function<void(const std::string&)> say);

  // Starts the machines that these settings need, all at once.
  Status start(const std::vector<Setting>& settings);

  // Starts what the setting needs unless it runs already, lays the line and sets mode, epoch length and MTU.
  Status prepare(const Load& load, const Setting& setting, uint64_t seed);

  // Of the machine that was prepared last.
  const demo::Lab& lab() const { return *lab_; }
  // What its daemon says of itself; null for stock.
  Result<nlohmann::json> status() const;
  Result<nlohmann::json> flows() const;
  // Error: it is not in the state any more in which it was prepared.
  Status check() const;
  // The client of `load` beside it.
  Client client(const Load& load) const;

 private:
  // What of a machine differs from its first state.
  struct Line {
    bool wire = true;
    int mtu = 1500;
    std::string cc{};
  };

  Result<std::unique_ptr<demo::Cluster>> begin_cluster(const char* name);
  Status finish_cluster(demo::Cluster& cluster, bool with_standby);
  Status begin_stock();
  Status finish_stock();
  Status need(const Setting& setting);
  Status need_cluster(bool with_standby);
  Status lay(const Load& load, Line& line, uint64_t seed);
  Status rest();
  Status set(const std::string& assignment) const;

  const Options& options_;
  const std::atomic<bool>& interrupted_;
  const std::function<void(const std::string&)> say_;
  std::unique_ptr<demo::Cluster> solo_;
  std::unique_ptr<demo::Cluster> protected_;
  std::unique_ptr<StockVm> stock_;
  demo::Cluster* current_ = nullptr;  // of the last prepare(); null: stock
  const demo::Lab* lab_ = nullptr;
  Line solo_line_, protected_line_, stock_line_;
  bool resting_ = true;  // protected_
};

}  // namespace us::bench
