// Sockets for the guest's services: IPv4 and IPv6 on one port, one thread for each connection.
// These programs run only in the demo's and the tests' guest; they trust their clients.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace us::guest {

// A bound socket on `port` for both address families; a stream socket also listens.  Exits on failure.
int open_port(uint16_t port, int type);

// Accepts for ever; `serve` gets each connection in a thread of its own and need not close it.
void accept_loop(int listener, const std::function<void(int)>& serve);

// False when the peer has gone.  `more`: keep an incomplete segment back, for what follows at once.
bool send_all(int fd, std::span<const uint8_t> data, bool more = false);
bool send_all(int fd, std::string_view text, bool more = false);

// Up to and without the next newline; false at the end of the stream or after `limit` characters.
bool read_line(int fd, std::string& line, size_t limit);

}  // namespace us::guest
