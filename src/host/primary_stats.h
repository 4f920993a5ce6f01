// PrimaryStats: what a primary measures of itself.  Written by the engine, read by the control interface.
#pragma once

#include <mutex>

#include "base/histogram.h"
#include "host/capture.h"

namespace us {

class PrimaryStats {
 public:
  void on_epoch(const PauseParts& parts, uint64_t pages, size_t device_state_bytes, Duration ran) {
    const std::lock_guard lock(mutex_);
    ++now_.epochs;
    now_.pages += pages;
    now_.pages_last = pages;
    now_.pages_max = std::max(now_.pages_max, pages);
    now_.device_state_bytes = device_state_bytes;
    now_.stop.record(parts.stop);
    now_.scan.record(parts.scan);
    now_.copy.record(parts.copy);
    now_.save.record(parts.save);
    now_.resume.record(parts.resume);
    now_.pause.record(parts.total);
    now_.audit_pause += parts.audit;
    now_.run.record(ran);
  }

  struct Values {
    uint64_t epochs = 0;
    uint64_t pages = 0;
    uint64_t pages_last = 0;
    uint64_t pages_max = 0;
    size_t device_state_bytes = 0;
    Histogram stop, scan, copy, save, resume, pause, run;  // without what audits add
    Duration audit_pause;                                  // sum of that
  };
  Values values() const {
    const std::lock_guard lock(mutex_);
    return now_;
  }

 private:
  mutable std::mutex mutex_;
  Values now_;
};

}  // namespace us
