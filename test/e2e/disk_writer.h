// Writer: makes the guest write numbered records to its disk, one after the other, each synced, and counts those that
// it was told are there; from a thread of its own.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <string>
#include <thread>

#include "e2e.h"

namespace us::e2e {

inline constexpr uint64_t kSlotBytes = 4096;
inline constexpr uint64_t kSlots = 1024;

class Writer {
 public:
  explicit Writer(Cluster& cluster, std::string device = "/dev/vda")
      : cluster_(cluster), device_(std::move(device)), thread_([this] { run(); }) {}
  ~Writer() { stop(); }
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  uint64_t acknowledged() const { return acknowledged_; }

  // The record of number `n`: where it is, and what it says.
  static uint64_t slot(uint64_t n) { return n % kSlots; }

 private:
  void run() {
    while (!stop_) {
      const uint64_t n = acknowledged_ + 1;
      const auto answer = cluster_.run_in_guest(
          fmt::format("echo record {} | dd of={} bs={} seek={} conv=fsync,notrunc,sync 2>/dev/null && echo ok", n,
                      device_, kSlotBytes, slot(n)));
      // No answer: it may or may not have been written; it is written again.
      if (answer && answer->find("ok") != std::string::npos) acknowledged_ = n;
    }
  }
  Cluster& cluster_;
  const std::string device_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> acknowledged_ = 0;
  std::thread thread_;
};

}  // namespace us::e2e
