// Client: what the loads of `./do bench micro tcp` have in common.  Each runs in the client's namespace, against the
// services of the guest (docs/guest.md), and measures with the client's clock: the guest's own stands still in every
// pause.
#pragma once

#include <netinet/in.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <thread>

#include "base/result.h"
#include "base/time.h"
#include "demo/netns.h"
#include "os/unique_fd.h"

namespace us::bench {

inline constexpr uint16_t kEchoPort = 7;
inline constexpr uint16_t kHttpPort = 80;
inline constexpr uint16_t kLoadPort = 9001;

struct Client {
  const demo::NetNs& ns;
  std::string guest;                     // its address
  std::string cc;                        // congestion control of the client's sockets
  const std::atomic<bool>& interrupted;  // ends a measurement early, with an error

  // Error (kRefused): interrupted.
  Status check() const;
  sockaddr_in address(uint16_t port) const;
  // A TCP socket with the client's congestion control and without Nagle's algorithm; `flags` as for socket(2).
  // Only inside().
  Result<UniqueFd> socket(int flags) const;
  // A blocking connection whose reads and writes give up after 20 s.  Only inside().
  Result<UniqueFd> connect(uint16_t port) const;
  // `count` non-blocking connections, all of them open.  Only inside().
  Result<std::vector<UniqueFd>> connect_many(uint16_t port, int count) const;
};

// Runs `body` in a thread of the client's namespace.
template <typename T>
Result<T> inside(const demo::NetNs& ns, const std::function<Result<T>()>& body) {
  Result<T> result;
  std::thread([&] {
    const Status entered = ns.enter();
    if (entered)
      result = body();
    else
      result = tl::unexpected(entered.error());
  }).join();
  return result;
}

// All of it; `fd` is blocking.
Status send_text(int fd, const std::string& text);
// At least one byte; `fd` is blocking.
Result<size_t> receive(int fd, std::span<char> into);

// Runs a shell line in the guest, over whatever line the client has, and returns what it printed.
Result<std::string> run_in_guest(const Client& client, const std::string& line);

}  // namespace us::bench
