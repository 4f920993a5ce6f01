#include "demo/client.h"

#include <pthread.h>

#include "os/clock.h"

namespace us::demo {

namespace {
constexpr Duration kFinishCheck = Duration::millis(10);
}

Client::Client(std::string name, std::string address, uint16_t port)
    : name_(std::move(name)), address_(std::move(address)), port_(port) {}

Client::~Client() = default;

void Client::start(const NetNs& ns) {
  thread_ = std::thread([this, &ns] {
    ::pthread_setname_np(::pthread_self(), name_.c_str());
    if (const Status done = run(ns); !done) {
      const std::lock_guard lock(mutex_);
      failure_ = done.error().message;
    }
    ended_ = true;
  });
}

Status Client::run(const NetNs& ns) {
  US_TRY(ns.enter());
  return talk();
}

void Client::finish(Duration limit) {
  if (!thread_.joinable()) return;
  stopping_ = true;
  const timespec pause{0, kFinishCheck.to_nanos()};
  for (const Instant deadline = clock_now() + limit; !ended_ && clock_now() < deadline;) ::nanosleep(&pause, nullptr);
  abort_ = true;
  thread_.join();
}

std::optional<std::string> Client::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

}  // namespace us::demo
