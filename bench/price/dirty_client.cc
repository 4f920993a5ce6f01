#include "price/dirty_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <thread>

#include "demo/lab.h"

namespace us::bench {
namespace {

constexpr uint16_t kPort = 9002;
constexpr int kPatienceSeconds = 20;

Result<UniqueFd> connect_inside(const demo::NetNs& client) {
  US_TRY(client.enter());
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{kPatienceSeconds, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(kPort);
  ::inet_pton(AF_INET, demo::kGuestAddress, &to.sin_addr);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
    return fail_errno(fmt::format("connect to port {}", kPort), errno);
  return fd;
}

}  // namespace

Result<DirtyClient> DirtyClient::start(const demo::NetNs& client, int pages_per_second, int megabytes) {
  Result<UniqueFd> connected;
  std::thread([&] { connected = connect_inside(client); }).join();
  if (!connected) return tl::unexpected(connected.error());
  const std::string line = fmt::format("{} {} 4096\n", pages_per_second, megabytes);
  if (::send(connected->get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) return fail_errno("send", errno);
  return DirtyClient(std::move(*connected));
}

Result<double> DirtyClient::finish() {
  ::shutdown(fd_.get(), SHUT_WR);
  char answer[64] = "";
  const ssize_t n = ::recv(fd_.get(), answer, sizeof answer - 1, MSG_WAITALL);
  if (n <= 0) return fail(ErrorKind::kProtocol, "the guest does not say how many pages it wrote");
  return std::strtod(answer, nullptr);
}

}  // namespace us::bench
