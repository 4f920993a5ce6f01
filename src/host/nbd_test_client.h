// NbdTestClient: a blocking NBD client over a unix socket, for tests: one request after the other, or sent ahead and
// answered later.  Simple replies only.
#pragma once

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <optional>
#include <string>

#include "core/nbd/fake_client.h"
#include "os/unique_fd.h"

namespace us {

class NbdTestClient {
 public:
  // Not connected() if the server refuses or closes.
  explicit NbdTestClient(const std::string& socket_path, const std::string& export_name = "disk") {
    fd_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket_path.c_str(), sizeof address.sun_path - 1);
    timeval patience{10, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return;
    if (!receive(18)) return;  // greeting and flags
    send_all(nbd_client::flags());
    send_all(nbd_client::go(export_name));
    for (;;) {
      const auto head = receive(20);
      if (!head) return;
      const uint32_t type = load_be<uint32_t>(head->data() + 12);
      const uint32_t length = load_be<uint32_t>(head->data() + 16);
      if (length > 0 && !receive(length)) return;
      if (type == static_cast<uint32_t>(NbdOptionReply::kAck)) break;
      if ((type & 0x80000000u) != 0) return;
    }
    connected_ = true;
  }
  bool connected() const { return connected_; }

  // Sends it and returns its cookie.
  uint64_t ask(NbdCommand command, uint64_t offset, uint32_t length, unsigned flags = 0, const Bytes& payload = {}) {
    const uint64_t cookie = next_++;
    if (command == NbdCommand::kRead) reads_[cookie] = length;
    send_all(nbd_client::request(command, cookie, offset, length, flags, payload));
    return cookie;
  }
  struct Answer {
    NbdError error = NbdError::kNone;
    Bytes data;
  };
  // nullopt: the connection ended, or nothing came in time.
  std::optional<Answer> wait(uint64_t cookie) {
    for (;;) {
      if (const auto it = answers_.find(cookie); it != answers_.end()) {
        Answer out = std::move(it->second);
        answers_.erase(it);
        return out;
      }
      const auto head = receive(16);
      if (!head) return std::nullopt;
      const auto error = static_cast<NbdError>(load_be<uint32_t>(head->data() + 4));
      const auto of = load_be<uint64_t>(head->data() + 8);
      Answer answer{error, {}};
      if (const auto read = reads_.find(of); read != reads_.end() && error == NbdError::kNone) {
        auto data = receive(read->second);
        if (!data) return std::nullopt;
        answer.data = std::move(*data);
      }
      answers_[of] = std::move(answer);
    }
  }
  // Whether an answer comes within `millis`.
  bool answered_within(uint64_t cookie, int millis) {
    set_patience(millis);
    auto answer = wait(cookie);
    set_patience(10'000);
    if (answer) answers_[cookie] = std::move(*answer);
    return answer.has_value();
  }

  std::optional<NbdError> write(uint64_t offset, const Bytes& data, unsigned flags = 0) {
    const auto answer = wait(ask(NbdCommand::kWrite, offset, static_cast<uint32_t>(data.size()), flags, data));
    return answer ? std::optional(answer->error) : std::nullopt;
  }
  std::optional<NbdError> flush() {
    const auto answer = wait(ask(NbdCommand::kFlush, 0, 0));
    return answer ? std::optional(answer->error) : std::nullopt;
  }
  Bytes read(uint64_t offset, uint32_t length) {
    const auto answer = wait(ask(NbdCommand::kRead, offset, length));
    return answer ? answer->data : Bytes{};
  }

 private:
  void set_patience(int millis) {
    timeval patience{millis / 1000, millis % 1000 * 1000};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  std::optional<Bytes> receive(size_t size) {
    while (held_.size() < size) {
      uint8_t piece[65536];
      const ssize_t n = ::recv(fd_.get(), piece, sizeof piece, 0);
      if (n <= 0) return std::nullopt;
      held_.insert(held_.end(), piece, piece + n);
    }
    Bytes out(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(size));
    held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(size));
    return out;
  }
  void send_all(const Bytes& bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t n = ::send(fd_.get(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (n <= 0) return;
      at += static_cast<size_t>(n);
    }
  }

  UniqueFd fd_;
  bool connected_ = false;
  uint64_t next_ = 1;
  std::map<uint64_t, uint32_t> reads_;
  std::map<uint64_t, Answer> answers_;
  Bytes held_;
};

}  // namespace us
