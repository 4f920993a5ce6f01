#include "host/disk_io.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>
#include <thread>
#include <vector>

#include "os/event_fd.h"
#include "os/thread.h"

namespace us {
namespace {

constexpr size_t kAtOnceBytes = 256 * 1024;

class ThreadDiskIo final : public DiskIo {
 public:
  ThreadDiskIo(EventFd event, size_t threads) : event_(std::move(event)) {
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
  }
  ~ThreadDiskIo() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void read(const BlockFile& file, uint64_t offset, std::span<uint8_t> into, Done done) override {
    if (!file.direct() && into.size() <= kAtOnceBytes && file.read_cached(offset, into))
      return finish(std::move(done), 0);
    enqueue([&file, offset, into] { return file.read(offset, into); }, std::move(done));
  }
  void write(const BlockFile& file, uint64_t offset, ByteSpan data, Done done) override {
    if (!file.direct() && data.size() <= kAtOnceBytes) return finish(std::move(done), file.write(offset, data));
    enqueue([&file, offset, data] { return file.write(offset, data); }, std::move(done));
  }
  void call(Call, std::function<int()> work, Done done) override { enqueue(std::move(work), std::move(done)); }

  void at_once(Done done) override { finish(std::move(done), 0); }

  int event_fd() const override { return event_.fd(); }
  void reap() override {
    std::vector<Finished> finished = std::exchange(at_once_, {});
    if (event_.drain()) {
      const std::lock_guard lock(mutex_);
      std::ranges::move(finished_, std::back_inserter(finished));
      finished_.clear();
    }
    for (Finished& one : finished) {
      --in_flight_;
      one.done(one.error);
    }
  }
  bool ready() const override { return !at_once_.empty(); }
  size_t in_flight() const override { return in_flight_; }

 private:
  struct Work {
    std::function<int()> work;
    Done done;
  };
  struct Finished {
    Done done;
    int error;
  };

  void finish(Done done, int error) {
    ++in_flight_;
    at_once_.push_back({std::move(done), error});
  }
  void enqueue(std::function<int()> work, Done done) {
    ++in_flight_;
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back({std::move(work), std::move(done)});
    }
    wake_.notify_one();
  }
  void run() {
    name_this_thread("us-disk-io");
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (stop_) return;
      Work next = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      const int error = next.work();
      lock.lock();
      finished_.push_back({std::move(next.done), error});
      if (finished_.size() == 1) event_.signal();
    }
  }

  EventFd event_;
  size_t in_flight_ = 0;
  std::vector<Finished> at_once_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Work> queue_;
  std::vector<Finished> finished_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<DiskIo>> start_thread_disk_io(size_t threads) {
  US_ASSIGN(EventFd event, EventFd::create());
  return std::make_unique<ThreadDiskIo>(std::move(event), threads);
}

}  // namespace us
