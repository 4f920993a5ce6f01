#include "host/stream_sender.h"

#include <sys/socket.h>

#include <cerrno>

#include "os/clock.h"
#include "os/socket.h"
#include "os/thread.h"

namespace us {
namespace {

// How often a blocked send looks whether it should give up.
constexpr Duration kSendSlice = Duration::millis(100);

}  // namespace

StreamSender::StreamSender(int socket, uint16_t version, const GuestRam& ram, PageMode mode, Duration stall_timeout,
                           Hooks hooks)
    : socket_(socket),
      version_(version),
      ram_(ram),
      stall_timeout_(stall_timeout),
      hooks_(std::move(hooks)),
      epoch_writer_(mode, kPageChunkBytesDefault, emit_to_socket()),
      round_writer_(mode, kPageChunkBytesDefault, emit_to_socket()),
      thread_([this] { run(); }) {}

EmitFrame StreamSender::emit_to_socket() {
  return [this](const Bytes& frame, uint64_t) {
    if (emitted_) emitted_ = send_log();
    if (emitted_) emitted_ = send_bytes(frame);
  };
}

StreamSender::~StreamSender() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void StreamSender::send_message(const Message& message) { enqueue(encode(message, version_)); }
void StreamSender::send_frame(Bytes frame) { enqueue(std::move(frame)); }
void StreamSender::send_after_disks(const Message& message) { enqueue(AfterDisks{encode(message, version_)}); }
void StreamSender::send_epoch(std::unique_ptr<CapturedEpoch> epoch) { enqueue(std::move(epoch)); }
void StreamSender::send_round(SyncRound round, std::vector<DirtyRun> runs) { enqueue(Round{round, std::move(runs)}); }

bool StreamSender::drain(Duration timeout) {
  std::unique_lock lock(mutex_);
  return idle_wake_.wait_for(lock, std::chrono::nanoseconds(timeout.to_nanos()),
                             [this] { return jobs_.empty() && !busy_; });
}

void StreamSender::log_ready() {
  if (log_ready_.exchange(true)) return;
  // The lock pairs with the wait's check of the flag.
  { const std::lock_guard lock(mutex_); }
  wake_.notify_one();
}

Status StreamSender::send_log() {
  if (!log_ready_.exchange(false)) return {};
  for (const Bytes& frame : hooks_.take_log()) US_TRY(send_bytes(frame));
  const std::vector<Bytes> disks = hooks_.take_disks();
  for (const Bytes& frame : disks) US_TRY(send_bytes(frame));
  if (!disks.empty()) log_ready_ = true;  // there may be more
  return {};
}

void StreamSender::enqueue(Job job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void StreamSender::run() {
  name_this_thread("us-sender");
  for (;;) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return stop_ || !jobs_.empty() || log_ready_; });
    if (stop_) return;
    if (jobs_.empty()) {
      lock.unlock();
      if (const Status sent = send_log(); !sent) {
        if (!stop_) hooks_.failed(sent.error().message);
        return;
      }
      continue;
    }
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    lock.unlock();
    const Status sent = send_job(job);
    if (auto* epoch = std::get_if<std::unique_ptr<CapturedEpoch>>(&job)) hooks_.epoch_sent(std::move(*epoch));
    if (!sent) {
      if (!stop_) hooks_.failed(sent.error().message);
      return;
    }
    if (std::holds_alternative<Round>(job)) hooks_.round_sent();
    lock.lock();
    busy_ = false;
    idle_wake_.notify_all();
  }
}

Status StreamSender::send_job(Job& job) {
  if (auto* epoch = std::get_if<std::unique_ptr<CapturedEpoch>>(&job)) return send_captured(**epoch);
  if (auto* round = std::get_if<Round>(&job)) return send_live_round(*round);
  if (auto* after = std::get_if<AfterDisks>(&job)) {
    for (log_ready_ = true; log_ready_;) US_TRY(send_log());
    return send_bytes(after->frame);
  }
  return send_bytes(std::get<Bytes>(job));
}

Status StreamSender::send_captured(const CapturedEpoch& epoch) {
  const EpochSize size{
      epoch.pages, static_cast<uint32_t>(epoch.device_state.size()),
      static_cast<uint32_t>(epoch.nic_addresses.size() + epoch.relays.size() + epoch.disk_barrier.size())};
  epoch_writer_.begin({.epoch = epoch.epoch, .size = size, .handover = epoch.handover}, version_);
  const uint8_t* bytes = epoch.page_bytes();
  for (const DirtyRun& run : epoch.runs) {
    for (uint64_t i = 0; i < run.count && emitted_; ++i, bytes += kPageSize)
      epoch_writer_.add_page(PageIndex{run.first.value() + i}, PageSpan(bytes, kPageSize));
  }
  if (!emitted_) return emitted_;
  epoch_writer_.add_device_state(epoch.device_state);
  if (!epoch.nic_addresses.empty()) epoch_writer_.add_side_state(SideKind::kNicAddresses, epoch.nic_addresses);
  if (!epoch.relays.empty()) epoch_writer_.add_side_state(SideKind::kRelay, epoch.relays);
  if (!epoch.disk_barrier.empty()) epoch_writer_.add_side_state(SideKind::kDiskBarrier, epoch.disk_barrier);
  // Every record of before the cut must be ahead of the epoch's end.
  for (log_ready_ = true; log_ready_;) US_TRY(send_log());
  epoch_writer_.end();
  pages_sent_.fetch_add(epoch.pages, std::memory_order_relaxed);
  return emitted_;
}

Status StreamSender::send_live_round(const Round& round) {
  round_writer_.begin(PageScope::kSync, round.round.value(), version_);
  for (const DirtyRun& run : round.runs) {
    for (uint64_t i = 0; i < run.count && emitted_; ++i) {
      const PageIndex page{run.first.value() + i};
      round_writer_.add(page, ram_.page(page));
      pages_sent_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (!emitted_) return emitted_;
  round_writer_.finish();
  US_TRY(emitted_);
  return send_bytes(encode(SyncRoundEnd{round.round, round_writer_.pages(), 0}, version_));
}

Status StreamSender::send_bytes(ByteSpan bytes) {
  Instant progress = clock_now();
  while (!bytes.empty()) {
    if (stop_) return fail(ErrorKind::kSystem, "stopped");
    const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      bytes = bytes.subspan(static_cast<size_t>(n));
      bytes_sent_.fetch_add(static_cast<uint64_t>(n), std::memory_order_relaxed);
      progress = clock_now();
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return fail_errno("send to the standby", errno);
    if (clock_now() - progress > stall_timeout_)
      return fail(ErrorKind::kTimeout,
                  "the standby has taken no data for " + std::to_string(stall_timeout_.to_millis()) + " ms");
    wait_writable(socket_, clock_now() + kSendSlice);
  }
  return {};
}

}  // namespace us
