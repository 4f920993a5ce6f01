#include "os/socket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "os/clock.h"

namespace us {
namespace {

using testing::HasSubstr;

Instant soon() { return clock_now() + Duration::seconds(20); }

SocketAddress loopback(uint16_t port = 0) { return SocketAddress::from("127.0.0.1", port).value(); }

SocketAddress bound_to(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length), 0);
  return SocketAddress::from_kernel(storage, length);
}

TEST(SocketAddress, TakesNumbersOnly) {
  EXPECT_EQ(SocketAddress::from("10.1.2.3", 80)->text(), "10.1.2.3:80");
  EXPECT_EQ(SocketAddress::from("fe80::1", 80)->text(), "[fe80::1]:80");
  for (const char* bad : {"localhost", "10.1.2", "10.1.2.3.4", "", "fe80::1%eth0", "1.2.3.4 "}) {
    const Result<SocketAddress> address = SocketAddress::from(bad, 1);
    ASSERT_FALSE(address) << bad;
    EXPECT_EQ(address.error().kind, ErrorKind::kInput);
  }
}

TEST(SocketAddress, ChangesOnlyThePort) {
  EXPECT_EQ(SocketAddress::from("10.1.2.3", 80)->with_port(65535).text(), "10.1.2.3:65535");
  EXPECT_EQ(SocketAddress::from("::1", 80)->with_port(7).text(), "[::1]:7");
}

TEST(SocketAddress, KnowsWhatBelongsToThisHost) {
  EXPECT_TRUE(is_local_address(loopback(12345)));
  EXPECT_FALSE(is_local_address(SocketAddress::from("192.0.2.1", 1).value()));  // RFC 5737: nobody has it
}

TEST(Tcp, ConnectsAndCarriesBytes) {
  Result<UniqueFd> listener = tcp_listen(loopback());
  ASSERT_TRUE(listener) << listener.error().message;
  SocketAddress peer;
  Result<UniqueFd> nobody = tcp_accept(listener->get(), peer);
  ASSERT_TRUE(nobody);
  EXPECT_FALSE(*nobody) << "nothing waits, and that is no error";

  Result<UniqueFd> client = tcp_connect(loopback(), bound_to(listener->get()), Duration::seconds(20));
  ASSERT_TRUE(client) << client.error().message;
  ASSERT_TRUE(wait_readable(listener->get(), soon()));
  Result<UniqueFd> server = tcp_accept(listener->get(), peer);
  ASSERT_TRUE(server && *server);
  EXPECT_EQ(peer.text(), bound_to(client->get()).text());
  tune_replication_socket(client->get());

  EXPECT_FALSE(wait_readable(server->get(), clock_now())) << "a deadline that has passed only looks";
  ASSERT_EQ(::write(client->get(), "x", 1), 1);
  ASSERT_TRUE(wait_readable(server->get(), soon()));
  char byte = 0;
  EXPECT_EQ(::read(server->get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
  EXPECT_EQ(::read(server->get(), &byte, 1), -1) << "it would block, and must not";
}

TEST(Tcp, AClosedPortIsAnErrorThatNamesIt) {
  SocketAddress closed;
  {
    Result<UniqueFd> listener = tcp_listen(loopback());
    ASSERT_TRUE(listener);
    closed = bound_to(listener->get());
  }
  const Result<UniqueFd> client = tcp_connect(loopback(), closed, Duration::seconds(20));
  ASSERT_FALSE(client);
  EXPECT_THAT(client.error().message, HasSubstr(closed.text()));
}

TEST(Tcp, APortInUseIsExplained) {
  Result<UniqueFd> listener = tcp_listen(loopback());
  ASSERT_TRUE(listener);
  const Result<UniqueFd> second = tcp_listen(bound_to(listener->get()));
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("another understudy"));
}

TEST(Tcp, AnAddressOfAnotherHostIsExplained) {
  const Result<UniqueFd> listener = tcp_listen(SocketAddress::from("192.0.2.1", 7).value());
  ASSERT_FALSE(listener);
  EXPECT_THAT(listener.error().message, HasSubstr("not one of this host's"));
}

TEST(Udp, CarriesDatagramsAndKeepsItsPort) {
  Result<UniqueFd> a = udp_bind(loopback()), b = udp_bind(loopback());
  ASSERT_TRUE(a && b);
  const SocketAddress to = bound_to(b->get());
  EXPECT_FALSE(udp_bind(to));
  ASSERT_EQ(::sendto(a->get(), "beat", 4, 0, to.data(), to.size()), 4);
  ASSERT_TRUE(wait_readable(b->get(), soon()));
  char text[8];
  EXPECT_EQ(::recv(b->get(), text, sizeof text, 0), 4);
  EXPECT_EQ(::recv(b->get(), text, sizeof text, 0), -1);
}

}  // namespace
}  // namespace us
