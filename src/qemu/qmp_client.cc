#include "qemu/qmp_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "os/clock.h"

namespace us {
namespace {

constexpr size_t kLineBytesMax = 16u << 20;  // query-qmp-schema is the longest, under 1 MB
using Json = nlohmann::json;

}  // namespace

Status QmpClient::negotiate(Duration timeout) {
  US_ASSIGN(const Json greeting, receive_message(clock_now() + timeout));
  if (!greeting.contains("QMP")) return fail(ErrorKind::kProtocol, "QEMU's QMP socket sent no greeting");
  US_TRY(execute("qmp_capabilities", nullptr, timeout));
  return {};
}

Status QmpClient::send(const std::string& command, const Json& arguments) {
  Json message{{"execute", command}};
  if (!arguments.is_null()) message["arguments"] = arguments;
  const std::string text = message.dump() + "\n";
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t n = ::send(socket_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("send " + command + " to QEMU", errno);
    sent += static_cast<size_t>(n);
  }
  return {};
}

Result<Json> QmpClient::receive(Duration timeout) {
  Json message;
  if (!answers_.empty()) {
    message = std::move(answers_.front());
    answers_.pop_front();
  } else {
    US_ASSIGN(message, receive_message(clock_now() + timeout));
  }
  if (message.contains("error")) {
    const Json& error = message["error"];
    const Json desc = error.is_object() ? error.value("desc", Json()) : Json();
    return fail(ErrorKind::kRefused, "QEMU says: " + (desc.is_string() ? desc.get<std::string>() : "(no reason)"));
  }
  return message.value("return", Json::object());
}

Result<Json> QmpClient::execute(const std::string& command, const Json& arguments, Duration timeout) {
  US_TRY(send(command, arguments));
  Result<Json> answer = receive(timeout);
  if (!answer) return fail(answer.error().kind, command + ": " + answer.error().message);
  return answer;
}

Result<std::string> QmpClient::monitor_command(const std::string& line, Duration timeout) {
  US_ASSIGN(const Json text, execute("human-monitor-command", Json{{"command-line", line}}, timeout));
  if (!text.is_string()) return fail(ErrorKind::kProtocol, "human-monitor-command gave no text");
  return text.get<std::string>();
}

Result<std::vector<Json>> QmpClient::take_events() {
  const Instant now = clock_now();
  std::string line;
  for (;;) {
    const Result<bool> got = read_line(line, now);
    // What QEMU said before it went is heard first: its last words tell an end from a failure.
    if (!got && events_.empty()) return tl::unexpected<Error>(got.error());
    if (!got || !*got) break;
    Json message = Json::parse(line, nullptr, false);
    if (!message.is_object()) return fail(ErrorKind::kProtocol, "QEMU sent something that is not a QMP message");
    if (message.contains("event"))
      events_.push_back(std::move(message));
    else
      answers_.push_back(std::move(message));
  }
  return std::exchange(events_, {});
}

size_t QmpClient::pending_events(std::string_view name) const {
  return static_cast<size_t>(std::ranges::count_if(
      events_, [name](const Json& event) { return event.value("event", std::string()) == name; }));
}

Result<Json> QmpClient::receive_message(Instant deadline) {
  std::string line;
  for (;;) {
    US_ASSIGN(const bool got, read_line(line, deadline));
    if (!got) return fail(ErrorKind::kTimeout, "QEMU did not answer in time");
    Json message = Json::parse(line, nullptr, false);
    if (!message.is_object()) return fail(ErrorKind::kProtocol, "QEMU sent something that is not a QMP message");
    if (!message.contains("event")) return message;
    events_.push_back(std::move(message));
  }
}

Result<bool> QmpClient::read_line(std::string& line, Instant deadline) {
  for (;;) {
    const size_t end = buffer_.find('\n', scanned_);
    if (end != std::string::npos) {
      line.assign(buffer_, 0, end);
      buffer_.erase(0, end + 1);
      scanned_ = 0;
      return true;
    }
    scanned_ = buffer_.size();
    if (buffer_.size() > kLineBytesMax) return fail(ErrorKind::kProtocol, "QEMU sent a line over 16 MiB");
    US_ASSIGN(const bool more, read_more(deadline));
    if (!more) return false;
  }
}

Result<bool> QmpClient::read_more(Instant deadline) {
  char chunk[16384];
  for (;;) {
    const ssize_t n = ::recv(socket_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n > 0) {
      buffer_.append(chunk, static_cast<size_t>(n));
      return true;
    }
    if (n == 0) return fail(ErrorKind::kSystem, "QEMU closed its QMP socket");
    // A QEMU that ended with a command of ours unread resets the socket; what it had sent before is still there behind
    // the error.
    if (errno == EINTR || errno == ECONNRESET) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return fail_errno("receive from QEMU", errno);
    const Duration left = deadline - clock_now();
    if (left <= Duration{}) return false;
    pollfd waiting{socket_.get(), POLLIN, 0};
    const int64_t left_ns = std::min<int64_t>(left.to_nanos(), int64_t{60} * 1'000'000'000);
    const timespec timeout{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
    if (::ppoll(&waiting, 1, &timeout, nullptr) < 0 && errno != EINTR)
      return fail_errno("poll of QEMU's socket", errno);
  }
}

}  // namespace us
