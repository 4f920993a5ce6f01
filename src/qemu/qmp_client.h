// QmpClient: QEMU's machine protocol over a socket (docs/interop/qmp-spec in QEMU).
//
// Commands may be pipelined: send() several, then receive() each answer in order.  Events that arrive meanwhile are
// kept for take_events().  One thread at a time.  Every wait has a deadline: a QEMU that does not answer is an Error,
// as is one that closed the socket.  An "error" answer becomes ErrorKind::kRefused with QEMU's own description.
#pragma once

#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "os/unique_fd.h"

namespace us {

class QmpClient {
 public:
  explicit QmpClient(UniqueFd socket) : socket_(std::move(socket)) {}

  // Greeting and qmp_capabilities.
  Status negotiate(Duration timeout);

  Status send(const std::string& command, const nlohmann::json& arguments = nullptr);
  Result<nlohmann::json> receive(Duration timeout);
  Result<nlohmann::json> execute(const std::string& command, const nlohmann::json& arguments, Duration timeout);
  // The text that an HMP command prints.
  Result<std::string> monitor_command(const std::string& line, Duration timeout);

  // Reads what has arrived without waiting, then hands over all events so far.
  Result<std::vector<nlohmann::json>> take_events();
  // How many events of this name have been read so far and are not taken yet; reads nothing.
  size_t pending_events(std::string_view name) const;

  // For poll(): readable when an event may have arrived.
  int fd() const { return socket_.get(); }

 private:
  // Waits until a line is there; `wait` zero only looks.  False: none in time.
  Result<bool> read_line(std::string& line, Instant deadline);
  Result<bool> read_more(Instant deadline);
  // One message that is not an event; events are queued.
  Result<nlohmann::json> receive_message(Instant deadline);

  UniqueFd socket_;
  std::string buffer_;
  size_t scanned_ = 0;  // no newline before this
  std::deque<nlohmann::json> answers_;
  std::vector<nlohmann::json> events_;
};

}  // namespace us
