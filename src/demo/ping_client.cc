#include <fmt/format.h>

#include "demo/client.h"
#include "os/clock.h"

namespace us::demo {
namespace {

constexpr Duration kInterval = Duration::millis(5);
constexpr size_t kMessage = sizeof(uint64_t);

}  // namespace

Status PingClient::talk() {
  US_ASSIGN(Stream stream, connect());
  Bytes buffer(64 * 1024);
  Instant next_send = clock_now();
  Instant last_reply = next_send;
  while (!stopping() || received_ < sent_at_.size()) {
    const Instant wake = stopping() ? clock_now() + kInterval : next_send;
    US_ASSIGN(const size_t n, stream.receive_until(buffer, wake));
    const Instant now = clock_now();
    if (n > 0) {
      last_reply = now;
      US_TRY(take_replies(std::span(buffer).first(n), now));
    }
    if (received_ < sent_at_.size() && now - last_reply > kPatience)
      return fail(ErrorKind::kTimeout, "the connection hangs: no reply for a long time");
    if (stopping() || now < next_send) continue;
    US_TRY(send_next(stream, now));
    next_send = std::max(next_send + kInterval, now);
  }
  return {};
}

Status PingClient::send_next(Stream& stream, Instant now) {
  uint8_t message[kMessage];
  store_le<uint64_t>(message, sent_at_.size());
  sent_at_.push_back(now);
  return stream.send(message);
}

Status PingClient::take_replies(ByteSpan data, Instant now) {
  partial_.insert(partial_.end(), data.begin(), data.end());
  size_t used = 0;
  for (; partial_.size() - used >= kMessage; used += kMessage, ++received_) {
    const uint64_t number = load_le<uint64_t>(&partial_[used]);
    if (number != received_ || number >= sent_at_.size())
      return fail(ErrorKind::kProtocol, fmt::format("reply {} came where {} was due", number, received_));
    replies_.add(now, now - sent_at_[number]);
    advance(1);
  }
  partial_.erase(partial_.begin(), partial_.begin() + static_cast<std::ptrdiff_t>(used));
  return {};
}

}  // namespace us::demo
