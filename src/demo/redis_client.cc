#include <fmt/format.h>

#include <charconv>

#include "demo/client.h"

namespace us::demo {
namespace {

constexpr uint64_t kCommandsUnderWayMax = 8;

// A command in RESP, https://redis.io/docs/reference/protocol-spec
std::string command(std::string_view verb, std::string_view key) {
  return fmt::format("*2\r\n${}\r\n{}\r\n${}\r\n{}\r\n", verb.size(), verb, key.size(), key);
}

Result<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return fail(ErrorKind::kProtocol, fmt::format("redis answered \"{}\" instead of a number", text));
  return value;
}

Result<uint64_t> integer_reply(LineReader& reader) {
  US_ASSIGN(const std::string line, reader.line());
  return number(line.starts_with(':') ? std::string_view(line).substr(1) : std::string_view("?"));
}

Result<uint64_t> get(const std::string& address, const std::string& key) {
  const std::atomic<bool> never = false;
  US_ASSIGN(Stream stream, Stream::connect(address, 6379, never));
  LineReader reader(stream);
  US_TRY(stream.send(command("GET", key)));
  US_ASSIGN(const std::string head, reader.line());
  if (head == "$-1") return 0;  // there is no such key: nothing was ever written
  US_ASSIGN(const std::string value, reader.line());
  return number(value);
}

}  // namespace

Status RedisClient::talk() {
  US_ASSIGN(Stream stream, connect());
  LineReader reader(stream);
  const std::string increment = command("INCR", key_);
  while (!stopping() || sent_ > acknowledged()) {
    for (; !stopping() && sent_ - acknowledged() < kCommandsUnderWayMax; ++sent_) US_TRY(stream.send(increment));
    if (sent_ == acknowledged()) continue;
    US_ASSIGN(const uint64_t value, integer_reply(reader));
    US_TRY(take_answer(value));
  }
  return {};
}

Status RedisClient::take_answer(uint64_t value) {
  const uint64_t due = acknowledged() + 1;
  if (value < due) {
    lost_ = due - value;
    return fail(ErrorKind::kProtocol,
                fmt::format("redis counted to {} where {} was due: acknowledged writes were lost", value, due));
  }
  if (value > due)
    return fail(ErrorKind::kProtocol,
                fmt::format("redis counted to {} where {} was due: a write was done twice", value, due));
  advance(1);
  return {};
}

Result<uint64_t> read_redis_counter(const NetNs& ns, const std::string& address, const std::string& key) {
  Result<uint64_t> answer = 0;
  std::thread([&] {
    if (const Status entered = ns.enter(); !entered)
      answer = tl::unexpected(entered.error());
    else
      answer = get(address, key);
  }).join();
  return answer;
}

}  // namespace us::demo
