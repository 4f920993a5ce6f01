// NicPort, the vhost-user connection.  Messages arrive in a byte stream with descriptors beside it.  Header and
// payload are read apart, each exactly, because one read could otherwise run into the next message and mix up whose
// descriptors came along.
//
// Start and stop of the rings happen once per epoch: nothing here maps, allocates big buffers, or waits.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "host/nic_port.h"

namespace us {
namespace {

FileIdentity identity_of(dev_t device, ino_t inode) { return {uint64_t{device}, uint64_t{inode}}; }

}  // namespace

Result<std::unique_ptr<NicPort>> NicPort::create(DataPathNic config, const DataPathRam& ram, DirtySet& own_writes,
                                                 const Epoll& epoll, uint32_t index,
                                                 std::atomic<uint32_t>& running_rings, RelayHub& relays) {
  US_ASSIGN(Tap tap, Tap::create(config.tap_name, config.bridge));
  US_TRY(tap.set_offloads({}));
  US_ASSIGN(UniqueFd listener, unix_listen(config.vhost_socket_path));
  std::unique_ptr<NicPort> port(new NicPort(std::move(config), std::move(tap), std::move(listener), ram, own_writes,
                                            epoll, index, running_rings, relays));
  US_TRY(epoll.add(port->tap_.fd(), EPOLLIN | EPOLLET, port->tag(Source::kTap)));
  US_TRY(epoll.add(port->listener_.get(), EPOLLIN, port->tag(Source::kListener)));
  return port;
}

NicPort::NicPort(DataPathNic config, Tap tap, UniqueFd listener, const DataPathRam& ram, DirtySet& own_writes,
                 const Epoll& epoll, uint32_t index, std::atomic<uint32_t>& running_rings, RelayHub& relays)
    : config_(std::move(config)),
      tap_(std::move(tap)),
      listener_(std::move(listener)),
      epoll_(epoll),
      index_(index),
      running_rings_(running_rings),
      relays_(relays),
      backend_(GuestMemory(ram.base, ram.size, own_writes), identity_of(ram.device, ram.inode)),
      pool_(config_.gate_bytes_max),
      uplink_frame_(kMaxEthernetBytes),
      gate_(GateLimits{.bytes_max = config_.gate_bytes_max}),
      learner_(config_.mac) {}

NicPort::~NicPort() { ::unlink(config_.vhost_socket_path.c_str()); }

void NicPort::on_accept() {
  auto accepted = unix_accept(listener_.get());
  if (!accepted || !*accepted) return;
  on_readable();  // the one before may be gone and its end not yet noticed
  if (connection_) {
    spdlog::warn("{}: a second vhost-user connection was refused", config_.tap_name);
    return;
  }
  if (!epoll_.add(accepted->get(), EPOLLIN, tag(Source::kConnection))) return;
  connection_ = std::move(*accepted);
  guest_ran_ = false;
  ++counters_.connections;
}

void NicPort::on_readable() {
  while (connection_) {
    const FdSocketOutcome outcome = read_some();
    if (outcome == FdSocketOutcome::kWouldBlock) return;
    if (outcome == FdSocketOutcome::kClosed) return disconnect("");
    const bool whole = header_ && payload_have_ == payload_.size();
    if (!whole) continue;
    const Status status = on_message();
    header_.reset();
    header_have_ = 0;
    fds_.clear();
    if (!status) return disconnect(status.error().message);
  }
}

FdSocketOutcome NicPort::read_some() {
  size_t bytes = 0;
  if (!header_) {
    const auto rest = std::span(header_bytes_).subspan(header_have_);
    const FdSocketOutcome outcome = fd_socket_read(connection_.get(), rest, bytes, fds_);
    if (outcome != FdSocketOutcome::kDone) return outcome;
    header_have_ += bytes;
    if (header_have_ < header_bytes_.size()) return outcome;
    auto header = decode_vhost_user_header(header_bytes_);
    if (!header) {
      disconnect(header.error().message);
      return FdSocketOutcome::kWouldBlock;
    }
    header_ = *header;
    payload_.resize(header->payload_bytes);
    payload_have_ = 0;
    return outcome;
  }
  const auto rest = std::span(payload_).subspan(payload_have_);
  const FdSocketOutcome outcome = fd_socket_read(connection_.get(), rest, bytes, fds_);
  if (outcome == FdSocketOutcome::kDone) payload_have_ += bytes;
  if (fds_.size() > 2 * kVhostUserFdsMax) return FdSocketOutcome::kClosed;
  return outcome;
}

Result<std::vector<FileIdentity>> NicPort::identify_files() const {
  std::vector<FileIdentity> files;
  for (const UniqueFd& fd : fds_) {
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) return fail_errno("fstat of a descriptor from QEMU", errno);
    files.push_back(identity_of(st.st_dev, st.st_ino));
  }
  return files;
}

Status NicPort::on_message() {
  US_ASSIGN(const VhostUserMessage message, decode_vhost_user(*header_, payload_));
  US_ASSIGN(const std::vector<FileIdentity> files, identify_files());
  // The interrupt must be under way before the ring stops, or the state that QEMU saves then lacks it.
  if (message.request == VhostUserRequest::kGetVringBase)
    for (uint32_t ring = 0; ring < NetBackend::kRings; ++ring) settle_interrupt(ring);
  US_ASSIGN(const NetBackend::Answer answer, backend_.handle(message, files));
  return apply(message, answer);
}

Status NicPort::apply(const VhostUserMessage& message, const NetBackend::Answer& answer) {
  if (answer.features_changed) apply_offloads();
  publish_running();
  switch (message.request) {
    case VhostUserRequest::kSetVringKick:
      set_kick(message.ring, std::move(fds_[0]));
      break;
    case VhostUserRequest::kSetVringCall:
      set_call(message.ring, message.has_fd ? std::move(fds_[0]) : UniqueFd());
      break;
    case VhostUserRequest::kSetVringErr:
      if (message.has_fd) ring_fds_[message.ring].error.emplace(std::move(fds_[0]));
      break;
    default:
      break;
  }
  if (answer.stopped) set_kick(*answer.stopped, UniqueFd());
  if (answer.started) on_ring_started(*answer.started);
  if (answer.reply && fd_socket_write(connection_.get(), *answer.reply) != FdSocketOutcome::kDone)
    return fail(ErrorKind::kSystem, "vhost-user: the answer could not be sent");
  return {};
}

// Before the guest can be told what it may get, the kernel must stop handing out more than that.
void NicPort::apply_offloads() {
  const NetRingFormat& format = backend_.format();
  const TapOffloads wanted{.checksum = format.guest_checksum,
                           .tso4 = format.guest_tso4,
                           .tso6 = format.guest_tso6,
                           .tso_ecn = NetBackend::has_guest_tso_ecn(backend_.features())};
  if (wanted == offloads_) return;
  if (const Status status = tap_.set_offloads(wanted); !status)
    spdlog::warn("{}: {}; the guest gets fewer offloads", config_.tap_name, status.error().message);
  offloads_ = wanted;
}

void NicPort::on_ring_started(uint32_t ring) {
  ++counters_.ring_starts;
  ring_fds_[ring].fault_reported = false;
  if (ring == NetBackend::kTransmit) {
    transmit_ready_ = true;
  } else {
    receive_ready_ = true;
    guest_ran_ = true;
  }
}

void NicPort::set_kick(uint32_t ring, UniqueFd fd) {
  UniqueFd& kick = ring_fds_[ring].kick;
  if (kick) epoll_.remove(kick.get());
  kick = std::move(fd);
  if (!kick) return;
  const Source source = ring == NetBackend::kTransmit ? Source::kTransmitKick : Source::kReceiveKick;
  if (const Status status = epoll_.add(kick.get(), EPOLLIN | EPOLLET, tag(source)); !status)
    spdlog::warn("{}: kick descriptor: {}", config_.tap_name, status.error().message);
}

// QEMU sends it after the kick, so interrupts may already have gone to the descriptor of before the stop.
void NicPort::set_call(uint32_t ring, UniqueFd fd) {
  if (!fd) {
    ring_fds_[ring].call.reset();
    return;
  }
  ring_fds_[ring].call.emplace(std::move(fd));
  if (backend_.ring(ring).may_have_missed_interrupt()) interrupt(ring);
}

void NicPort::publish_running() {
  const uint32_t running = (backend_.ring(NetBackend::kReceive).running() ? 1u : 0u) +
                           (backend_.ring(NetBackend::kTransmit).running() ? 1u : 0u);
  running_rings_.fetch_add(running - published_running_, std::memory_order_seq_cst);
  published_running_ = running;
}

void NicPort::disconnect(const std::string& reason) {
  if (!connection_) return;
  if (!reason.empty()) {
    ++counters_.connection_errors;
    spdlog::error("{}: connection to QEMU closed: {}", config_.tap_name, reason);
    const std::lock_guard lock(mutex_);
    last_connection_error_ = reason;
    published_ = counters_;
  }
  epoll_.remove(connection_.get());
  connection_.reset();
  header_.reset();
  header_have_ = 0;
  fds_.clear();
  for (uint32_t ring = 0; ring < NetBackend::kRings; ++ring) {
    set_kick(ring, UniqueFd());
    ring_fds_[ring] = {};
  }
  backend_.reset();
  publish_running();
  apply_offloads();
}

}  // namespace us
