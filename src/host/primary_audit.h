// PrimaryAudit: when a primary audits, and what came of it.
//
//     asked for, or due ──► hashes made in the pause of a cut ──► standby compares ──► result
//
// One that is asked for compares the disks as well, beside it and while the guest runs (core/disk/disk_audit.h); it is
// answered when both are done, or at the first that differs.
//
// One audit at a time.  Engine thread, except status().  The pure parts are core/memory/{ram_hashes,audit_judge}.h.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/histogram.h"
#include "core/memory/audit_judge.h"
#include "core/memory/page_history.h"
#include "core/replica/wire.h"
#include "host/command_queue.h"
#include "qemu/memory_map.h"

namespace us {

// An answer of the standby, kept beyond its frame.
struct AuditRegionAnswer {
  Epoch epoch;
  uint32_t region;
  Bytes hashes;
};
using AuditAnswer = std::variant<AuditRegionAnswer, AuditEnd>;

class PrimaryAudit {
 public:
  // Asked only when a difference is found.
  struct Knowledge {
    std::function<std::vector<MappedRam>()> memory_map;
    std::function<PageHistory::Last(PageIndex)> last_writer;
    // Begins to compare the disks; false: not yet, asked again.
    std::function<bool()> begin_disks;
    // What came of it, an object for each; nullopt: not known yet.
    std::function<std::optional<nlohmann::json>()> disks_result;
    std::function<uint64_t()> disk_bytes;
  };
  PrimaryAudit(Knowledge knowledge, std::vector<std::string> other_blocks)
      : knowledge_(std::move(knowledge)), other_blocks_(std::move(other_blocks)) {}

  // From settings: every so many epochs; 0: only when asked for.
  void set_every(uint64_t epochs) { every_ = epochs; }
  // Of an operator; answered when the audit is done.  `cannot`: why there can be none now.
  void request(Command command, const std::optional<std::string>& cannot);
  // The cut of this epoch is to be audited.
  bool due(Epoch epoch) const;

  // That cut was made.  `pause`: what the hashes added to it.  Returns what to send after the epoch, in this order.
  std::vector<Bytes> begin(Epoch epoch, std::unique_ptr<const RamHashes> hashes, Duration pause, uint16_t version,
                           Instant now);
  // Error: the answer makes no sense, so the link is of no use.
  Status on_answer(const AuditAnswer& answer, Instant now);
  // Looks whether the disks have been compared.
  void poll_disks();
  // The standby is gone, or nobody is protected any more.
  void abort(const std::string& why);
  // When an unfinished audit has taken too long.
  Instant deadline() const;
  bool running() const { return judge_ || ram_result_; }

  // Set when the audit that just ended found a difference: a sentence with the first page.
  std::optional<std::string> take_difference() { return std::exchange(difference_, std::nullopt); }
  Epoch last_epoch() const { return last_epoch_; }

  // Any thread.
  nlohmann::json status() const;

 private:
  void conclude(const AuditEnd& end, Instant now);
  void answer(nlohmann::json result);
  nlohmann::json describe_page(PageIndex page, const std::vector<MappedRam>& map) const;

  const Knowledge knowledge_;
  const std::vector<std::string> other_blocks_;
  std::optional<Command> asked_;
  bool for_asker_ = false;                    // the one that runs
  std::optional<nlohmann::json> ram_result_;  // waits for that of the disks
  bool disks_begun_ = false;
  Instant disks_deadline_;
  std::unique_ptr<AuditJudge> judge_;
  Duration pause_;
  Instant began_;
  Instant deadline_;
  Epoch last_epoch_;
  std::optional<std::string> difference_;

  mutable std::mutex mutex_;  // for status()
  uint64_t every_ = 0;
  uint64_t done_ = 0;
  uint64_t failed_ = 0;  // had no verdict
  uint64_t differences_ = 0;
  Histogram pauses_;
  nlohmann::json last_;
};

}  // namespace us
