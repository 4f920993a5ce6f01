// The loop: wait for events, let each port note them, let each port move frames, and again at once if one of them has
// more to do.
#include "host/data_path.h"

#include <sys/random.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "os/clock.h"
#include "os/thread.h"

namespace us {
namespace {

constexpr uint64_t kWakeTag = UINT64_MAX;
constexpr int kNice = -10;
// A first burst for the bridge at hand, then for switches that were still settling or lost a frame.
constexpr std::array kAnnounceAt = {Duration::millis(0),   Duration::millis(50),   Duration::millis(150),
                                    Duration::millis(400), Duration::millis(1000), Duration::millis(2000)};

}  // namespace

Result<std::unique_ptr<DataPath>> DataPath::start(std::vector<DataPathNic> nics, const DataPathRam& ram,
                                                  DirtySet& own_writes) {
  US_ASSIGN(Epoll epoll, Epoll::create());
  US_ASSIGN(EventFd wake, EventFd::create());
  uint64_t secret = 0;
  if (::getrandom(&secret, sizeof secret, 0) != sizeof secret) return fail_errno("getrandom", errno);
  auto relays = std::make_unique<RelayHub>(nics.size(), secret);
  std::unique_ptr<DataPath> path(new DataPath(std::move(epoll), std::move(wake), std::move(relays)));
  US_TRY(path->epoll_.add(path->wake_.fd(), EPOLLIN | EPOLLET, kWakeTag));
  for (DataPathNic& nic : nics) {
    const auto index = static_cast<uint32_t>(path->ports_.size());
    US_ASSIGN(auto port, NicPort::create(std::move(nic), ram, own_writes, path->epoll_, index, path->running_rings_,
                                         *path->relays_));
    path->ports_.push_back(std::move(port));
  }
  path->announce_next_ = kAnnounceAt.size();
  path->thread_ = std::thread([raw = path.get()] { raw->run(); });
  return path;
}

DataPath::~DataPath() {
  stopping_ = true;
  wake_.signal();
  if (thread_.joinable()) thread_.join();
}

void DataPath::run() {
  name_this_thread("data-path");
  // Only this thread (setpriority(2): on Linux the nice value is per thread).  Without the permission it runs as is.
  ::setpriority(PRIO_PROCESS, 0, kNice);
  std::array<epoll_event, 32> events;
  bool more = false;
  while (!stopping_) {
    const Instant now = clock_now();
    Duration wait = serve_announcements(now);
    if (const Instant timer = relays_->run_timers(now); timer != Instant::far_future())
      wait = std::min(wait, std::max(Duration{}, timer - now));
    for (const auto& port : ports_)
      if (const auto due = port->next_deadline()) wait = std::min(wait, std::max(Duration{}, *due - now));
    for (const epoll_event& event : epoll_.wait(events, more ? Duration{} : wait)) dispatch(event);
    more = false;
    for (auto& port : ports_) more |= port->service();
    relays_->flush_log();
  }
}

void DataPath::dispatch(const epoll_event& event) {
  if (event.data.u64 == kWakeTag) return;  // edge-triggered: never read
  ports_[event.data.u64 >> 32]->on_event(event.data.u64, event.events);
}

Duration DataPath::serve_announcements(Instant now) {
  if (announce_wanted_.exchange(false)) {
    for (auto& port : ports_) port->discard_stale();
    announce_start_ = now;
    announced_ns_ = 0;
    announce_next_ = 0;
  }
  while (announce_next_ < kAnnounceAt.size()) {
    const Instant due = announce_start_ + kAnnounceAt[announce_next_];
    if (now < due) return due - now;
    bool sent = true;
    for (auto& port : ports_) sent &= port->send_announcement();
    if (sent && announced_ns_ == 0) announced_ns_ = clock_now().to_nanos();
    ++announce_next_;
  }
  return Duration::infinite();
}

void DataPath::set_epoch(Epoch epoch) {
  for (auto& port : ports_) port->set_epoch(epoch);
}

void DataPath::commit(Epoch epoch) {
  for (auto& port : ports_) port->commit(epoch);
  relays_->commit(epoch);
  wake_.signal();
}

void DataPath::set_mode(GateMode mode) {
  for (auto& port : ports_) port->set_mode(mode);
  relays_->set_mode(mode);
  wake_.signal();
}

void DataPath::extend_lease(Instant until) {
  for (auto& port : ports_) port->release_until(until);
  wake_.signal();
}

void DataPath::drop_gated() {
  for (auto& port : ports_) port->drop_gated();
  wake_.signal();
}

void DataPath::announce() {
  announce_wanted_ = true;
  wake_.signal();
}

AnnouncementTimes DataPath::announcement_times() const {
  int64_t first = 0;
  for (const auto& port : ports_) {
    const int64_t ns = port->first_frame_ns();
    if (ns != 0 && (first == 0 || ns < first)) first = ns;
  }
  return {Instant::from_nanos(announced_ns_), Instant::from_nanos(first)};
}

Bytes DataPath::snapshot_addresses() const {
  Bytes out;
  ByteWriter w(out);
  w.le(static_cast<uint32_t>(ports_.size()));
  for (const auto& port : ports_) {
    const Bytes one = port->snapshot_addresses();
    w.le(static_cast<uint32_t>(one.size()));
    w.bytes(one);
  }
  return out;
}

Status DataPath::restore_addresses(ByteSpan snapshot) {
  ByteReader in(snapshot);
  if (in.le<uint32_t>() != ports_.size())
    return fail(ErrorKind::kProtocol, "learned addresses: another number of NICs");
  for (auto& port : ports_) {
    const uint32_t bytes = in.le<uint32_t>();
    US_TRY(port->restore_addresses(in.bytes(bytes)));
  }
  if (!in.done()) return fail(ErrorKind::kProtocol, "learned addresses: wrong length");
  return {};
}

DataPathCounters DataPath::counters() const {
  DataPathCounters out;
  for (const auto& port : ports_) {
    out.nics.push_back(port->status());
    out.nic += out.nics.back().nic;
    out.gate += out.nics.back().gate;
  }
  return out;
}

}  // namespace us
