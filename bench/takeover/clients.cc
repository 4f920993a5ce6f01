#include "takeover/clients.h"

#include <fmt/format.h>

#include <algorithm>

#include "demo/big_file.h"
#include "os/clock.h"

namespace us::bench {
namespace {

using demo::LineReader;
using demo::Stream;

constexpr Duration kPingInterval = Duration::millis(5);
constexpr uint64_t kEndless = uint64_t{1} << 50;

void sleep_for(Duration length) {
  const timespec wait{length.to_nanos() / 1'000'000'000, length.to_nanos() % 1'000'000'000};
  ::nanosleep(&wait, nullptr);
}

}  // namespace

Status PingStall::talk() {
  US_ASSIGN(Stream stream, connect());
  Bytes buffer(64 * 1024), partial;
  uint64_t sent = 0, got = 0;
  Instant next_send = clock_now(), last_reply = next_send;
  while (!stopping()) {
    US_ASSIGN(const size_t n, stream.receive_until(buffer, next_send));
    const Instant now = clock_now();
    partial.insert(partial.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(n));
    size_t used = 0;
    for (; partial.size() - used >= sizeof(uint64_t); used += sizeof(uint64_t), ++got)
      if (load_le<uint64_t>(&partial[used]) != got || got >= sent)
        return fail(ErrorKind::kProtocol, fmt::format("not the reply that was due, number {}", got));
    partial.erase(partial.begin(), partial.begin() + static_cast<std::ptrdiff_t>(used));
    if (n > 0) {
      last_reply = now;
      received(now, n);
    }
    if (now - last_reply > demo::kPatience) return fail(ErrorKind::kTimeout, "the connection hangs");
    if (now < next_send) continue;
    uint8_t message[sizeof(uint64_t)];
    store_le<uint64_t>(message, sent++);
    US_TRY(stream.send(ByteSpan(message)));
    next_send = std::max(next_send + kPingInterval, now);
  }
  return {};
}

Status RedisStall::talk() {
  US_ASSIGN(Stream stream, connect());
  LineReader reader(stream);
  const std::string increment = fmt::format("*2\r\n$4\r\nINCR\r\n${}\r\n{}\r\n", key_.size(), key_);
  while (!stopping()) {
    US_TRY(stream.send(increment));
    US_ASSIGN(const std::string answer, reader.line());
    const std::string due = fmt::format(":{}", acknowledged_ + 1);
    if (answer != due)
      return fail(
          ErrorKind::kProtocol,
          fmt::format("redis answered \"{}\" where \"{}\" was due: a write was lost or done twice", answer, due));
    ++acknowledged_;
    received(clock_now(), answer.size());
    if (pause_ > Duration::nanos(0)) sleep_for(pause_);
  }
  return {};
}

Status BulkStall::talk() {
  US_ASSIGN(Stream stream, connect());
  const std::string head_end = "\r\n\r\n";
  US_TRY(stream.send(fmt::format("GET /big?bytes={}&seed={} HTTP/1.1\r\nHost: guest\r\n\r\n", kEndless, seed_)));
  const demo::BigFile file(seed_);
  Bytes buffer(256 * 1024), expected(buffer.size());
  std::string head;
  for (uint64_t offset = 0; !stopping();) {
    US_ASSIGN(const size_t n, stream.receive(buffer));
    received(clock_now(), n);
    ByteSpan body = ByteSpan(buffer).first(n);
    if (!head.ends_with(head_end)) {
      const auto begin = std::find_if(body.begin(), body.end(), [&](uint8_t byte) {
        if (head.ends_with(head_end)) return true;
        head.push_back(static_cast<char>(byte));
        return false;
      });
      body = ByteSpan(begin, body.end());
    }
    file.read(offset, std::span(expected).first(body.size()));
    if (!std::equal(body.begin(), body.end(), expected.begin()))
      return fail(ErrorKind::kProtocol, fmt::format("wrong data in the {} bytes at {}", body.size(), offset));
    offset += body.size();
  }
  return {};
}

}  // namespace us::bench
