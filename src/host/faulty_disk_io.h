// FaultyDiskIo: a DiskIo for tests that fails or holds operations as it is told, from any thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "host/disk_io.h"

namespace us {

// Shared between the test and the DiskIo.
struct DiskFaults {
  std::atomic<int> write_error{0};  // of every write of data from now on
  std::atomic<int> read_error{0};
  std::atomic<int> sync_error{0};  // of the image
  std::atomic<int> map_error{0};
  std::atomic<bool> hold_syncs{false};  // of the image: they begin only when this is false again
  std::atomic<uint64_t> syncs{0};       // of the image, that have ended
};

class FaultyDiskIo final : public DiskIo {
 public:
  FaultyDiskIo(std::unique_ptr<DiskIo> under, std::shared_ptr<DiskFaults> faults)
      : under_(std::move(under)), faults_(std::move(faults)) {}
  ~FaultyDiskIo() override { faults_->hold_syncs = false; }

  void read(const BlockFile& file, uint64_t offset, std::span<uint8_t> into, Done done) override {
    under_->read(file, offset, into, spoiled(faults_->read_error, std::move(done)));
  }
  void write(const BlockFile& file, uint64_t offset, ByteSpan data, Done done) override {
    if (const int error = faults_->write_error; error != 0)
      return under_->call(
          Call::kZero, [error] { return error; }, std::move(done));
    under_->write(file, offset, data, std::move(done));
  }
  void call(Call what, std::function<int()> work, Done done) override {
    if (what == Call::kMap) return under_->call(what, std::move(work), spoiled(faults_->map_error, std::move(done)));
    if (what != Call::kSyncImage) return under_->call(what, std::move(work), std::move(done));
    under_->call(
        what,
        [faults = faults_, work = std::move(work)] {
          while (faults->hold_syncs) std::this_thread::sleep_for(std::chrono::milliseconds(1));
          const int error = faults->sync_error;
          const int result = error != 0 ? error : work();
          ++faults->syncs;
          return result;
        },
        std::move(done));
  }
  void at_once(Done done) override { under_->at_once(std::move(done)); }
  int event_fd() const override { return under_->event_fd(); }
  void reap() override { under_->reap(); }
  bool ready() const override { return under_->ready(); }
  size_t in_flight() const override { return under_->in_flight(); }

 private:
  static Done spoiled(const std::atomic<int>& error, Done done) {
    return [&error, done = std::move(done)](int result) { done(error != 0 ? error.load() : result); };
  }
  std::unique_ptr<DiskIo> under_;
  std::shared_ptr<DiskFaults> faults_;
};

}  // namespace us
