#include "host/dial.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <cerrno>

#include "core/replica/wire_definition.h"
#include "os/clock.h"

namespace us {
namespace {

constexpr Duration kConnectTimeout = Duration::millis(300);
constexpr Duration kReplyTimeout = Duration::seconds(1);

Result<SessionId> random_session() {
  uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return fail_errno("getrandom", errno);
  return SessionId{number};
}

Status send_all(int fd, ByteSpan bytes, Instant deadline) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
      bytes = bytes.subspan(static_cast<size_t>(n));
    else if (errno == EAGAIN) {
      if (!wait_writable(fd, deadline)) return fail(ErrorKind::kTimeout, "the standby takes no data");
    } else if (errno != EINTR) {
      return fail_errno("send to the standby", errno);
    }
  }
  return {};
}

Result<HelloReply> receive_reply(int fd, Instant deadline) {
  FrameParser parser;
  for (;;) {
    US_ASSIGN(const std::optional<Frame> frame, parser.next());
    if (frame) {
      US_ASSIGN(const Message message, decode(*frame));
      if (const auto* reply = std::get_if<HelloReply>(&message)) return *reply;
      return fail(ErrorKind::kProtocol, "the standby did not answer the Hello");
    }
    if (!wait_readable(fd, deadline)) return fail(ErrorKind::kTimeout, "the standby does not answer");
    const std::span<uint8_t> room = parser.room();
    const ssize_t n = ::recv(fd, room.data(), room.size(), MSG_DONTWAIT);
    if (n == 0) return fail(ErrorKind::kSystem, "the standby closed the connection");
    if (n < 0 && errno != EAGAIN && errno != EINTR) return fail_errno("receive from the standby", errno);
    if (n > 0) parser.filled(static_cast<size_t>(n));
  }
}

uint16_t port_of(const SocketAddress& address) {
  return ntohs(address.family() == AF_INET ? reinterpret_cast<const sockaddr_in*>(address.data())->sin_port
                                           : reinterpret_cast<const sockaddr_in6*>(address.data())->sin6_port);
}

}  // namespace

Hello make_hello(const NodeContext& context, const VmIdentity& identity, Generation generation) {
  Hello hello;
  hello.generation = generation;
  hello.vm_name = context.config.name;
  hello.node = context.node;
  hello.qemu_version = identity.qemu_version;
  hello.machine = identity.machine;
  hello.definition = canonical_text(context.config);
  hello.definition_hash = definition_hash(hello.definition);
  hello.ram_bytes = context.config.memory_bytes;
  hello.epoch_length = context.config.runtime.epoch_length;
  hello.heartbeat_interval = context.config.replication.heartbeat;
  hello.detection_time = context.config.replication.detection;
  hello.heartbeat_port = port_of(context.self);
  return hello;
}

Result<StandbyPeer> dial_standby(const NodeContext& context, const SocketAddress& address, Hello hello) {
  US_ASSIGN(hello.session, random_session());
  StandbyPeer peer;
  US_ASSIGN(peer.stream, tcp_connect(context.self, address, kConnectTimeout));
  tune_replication_socket(peer.stream.get());
  const Instant deadline = clock_now() + kReplyTimeout;
  US_TRY(send_all(peer.stream.get(), encode(hello), deadline));
  US_ASSIGN(const HelloReply reply, receive_reply(peer.stream.get(), deadline));
  if (reply.verdict != HelloVerdict::kAccepted)
    return fail(ErrorKind::kRefused, std::string(hello_verdict_name(reply.verdict)) + ": " + reply.reason);
  if (reply.session != hello.session || !negotiate_version(reply.version, reply.version))
    return fail(ErrorKind::kProtocol, "the standby answered another Hello");
  peer.version = reply.version;
  peer.session = hello.session;
  peer.node = reply.node;
  peer.heartbeat_to = address.with_port(reply.heartbeat_port);
  return peer;
}

HelloReply judge_hello(const Hello& hello, const NodeContext& context, const VmIdentity& identity) {
  HelloReply reply;
  reply.session = hello.session;
  reply.node = context.node;
  reply.heartbeat_port = port_of(context.self);
  const auto refuse = [&](HelloVerdict verdict, std::string reason) {
    reply.verdict = verdict;
    reply.reason = std::move(reason);
    return reply;
  };
  const std::optional<uint16_t> version = negotiate_version(hello.version_min, hello.version_max);
  if (!version) return refuse(HelloVerdict::kOtherProtocol, "the hosts run versions of understudy that do not fit");
  reply.version = *version;
  if (hello.vm_name != context.config.name)
    return refuse(HelloVerdict::kOtherVm, "this is a standby of \"" + context.config.name + "\"");
  if (hello.qemu_version != identity.qemu_version)
    return refuse(HelloVerdict::kOtherQemu, "the standby has QEMU " + identity.qemu_version + ", the primary " +
                                                hello.qemu_version + "; install the same package on both hosts");
  if (hello.machine != identity.machine)
    return refuse(HelloVerdict::kOtherMachine, "the standby has machine and accelerator \"" + identity.machine +
                                                   "\", the primary \"" + hello.machine + "\"");
  if (hello.ram_bytes != context.config.memory_bytes || hello.page_bytes != kPageSize)
    return refuse(HelloVerdict::kOtherRamSize, "the VM files of the two hosts give different memory sizes");
  const std::string mine = canonical_text(context.config);
  if (hello.definition_hash != definition_hash(mine))
    return refuse(HelloVerdict::kOtherDefinition,
                  "the VM files of the two hosts differ: " + explain_definition_difference(hello.definition, mine));
  return reply;
}

}  // namespace us
