#include "host/primary_coordinator.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/memory/copy_audit.h"
#include "core/replica/disk_frames.h"
#include "os/clock.h"
#include "os/thread.h"

namespace us {
namespace {

constexpr Duration kIdlePoll = Duration::seconds(1);

}  // namespace

PrimaryCoordinator::PrimaryCoordinator(const FailoverConfig& config, Generation generation, DataPath& net,
                                       PrimaryDisks& disks, std::shared_ptr<Arbiter> arbiter, int heartbeat_socket,
                                       EventFd own_wake, EventFd& engine_wake, EpochTimes& epoch_times)
    : config_(config),
      net_(net),
      disks_(disks),
      heartbeat_socket_(heartbeat_socket),
      engine_wake_(engine_wake),
      epoch_times_(epoch_times),
      own_wake_(std::move(own_wake)),
      claims_(std::move(arbiter),
              [this](const ClaimAnswer& answer) {
                with_core([&](PrimaryCore& core) { core.on_claim_answer(answer, clock_now()); });
                own_wake_.signal();  // there may be a new deadline: when to ask again
              }),
      core_(config, generation) {
  net_.set_mode(core_.gate_mode());
  thread_ = std::thread([this] { run(); });
}

PrimaryCoordinator::~PrimaryCoordinator() {
  stop_ = true;
  own_wake_.signal();
  thread_.join();
}

void PrimaryCoordinator::attach(const StandbyPeer& peer) {
  const Instant now = clock_now();
  with_core([&](PrimaryCore& core) {
    stream_ = peer.stream.get();
    session_ = peer.session;
    heartbeat_to_ = peer.heartbeat_to;
    version_ = peer.version;
    parser_.emplace();
    parser_->establish(peer.version);
    sequence_ = peer_sequence_ = peer_sent_at_ = 0;
    sync_acked_ = {};
    disks_ended_ = {};
    next_heartbeat_ = now;
    cut_at_.clear();
    audit_answers_.clear();
    core.on_link_up(now);
  });
  own_wake_.signal();
}

void PrimaryCoordinator::detach() {
  with_core([&](PrimaryCore& core) {
    if (stream_ >= 0) core.on_link_lost(clock_now());
    stream_ = -1;
  });
}

void PrimaryCoordinator::stream_failed(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  lose_link(reason, clock_now());
}

void PrimaryCoordinator::lose_link(const std::string& reason, Instant now) {
  if (stream_ < 0) return;
  spdlog::warn("link to the standby lost: {}", reason);
  stream_ = -1;
  core_.on_link_lost(now);
  settle();
}

void PrimaryCoordinator::settle() {
  if (core_.last_cut() != noted_cut_) {
    noted_cut_ = core_.last_cut();
    cut_at_.emplace(noted_cut_, clock_now());
  }
  net_.set_mode(core_.gate_mode());
  if (core_.gate_mode() == GateMode::kProtected) net_.extend_lease(core_.lease_until());
  if (core_.committed() != noted_commit_) {
    noted_commit_ = core_.committed();
    net_.commit(noted_commit_);
    const Instant now = clock_now();
    epoch_times_.on_commit(noted_commit_, now);
    while (!cut_at_.empty() && cut_at_.begin()->first <= noted_commit_) {
      commit_.record(now - cut_at_.begin()->second);
      cut_at_.erase(cut_at_.begin());
    }
    engine_wake_.signal();
  }
  if (const std::optional<Generation> claim = core_.poll_claim()) claims_.ask(*claim);
  if (core_.state() != announced_state_) {
    announced_state_ = core_.state();
    engine_wake_.signal();
  }
}

PrimaryCoordinator::View PrimaryCoordinator::view() const {
  const std::lock_guard lock(mutex_);
  return {core_.state(), core_.generation(), core_.committed(), core_.last_cut(), core_.covered(), core_.last_reason(),
          commit_,       heartbeat_rtt_,     sync_acked_,       guest_end_acked_, disks_ended_,    applied_epoch_};
}

void PrimaryCoordinator::run() {
  name_this_thread("us-coordinator");
  make_this_thread_urgent();
  while (!stop_) poll_once();
}

void PrimaryCoordinator::poll_once() {
  pollfd waiting[3] = {{own_wake_.fd(), POLLIN, 0}, {heartbeat_socket_, POLLIN, 0}, {-1, POLLIN, 0}};
  Instant next = clock_now() + kIdlePoll;
  {
    const std::lock_guard lock(mutex_);
    waiting[2].fd = stream_;
    if (stream_ >= 0 && core_.may_send_heartbeat()) next = std::min(next, next_heartbeat_);
    next = std::min(next, core_.next_deadline());
  }
  const int64_t left = std::max<int64_t>(0, (next - clock_now()).to_nanos());
  const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
  ::ppoll(waiting, 3, &timeout, nullptr);
  if (waiting[0].revents != 0) own_wake_.drain();

  const std::lock_guard lock(mutex_);
  // What has arrived counts before the deadline does: a late thread must not mistake its own delay for silence.
  read_heartbeats();
  if (stream_ >= 0 && stream_ == waiting[2].fd && waiting[2].revents != 0) read_stream();
  const Instant now = clock_now();
  if (stream_ >= 0 && core_.may_send_heartbeat() && now >= next_heartbeat_) send_heartbeat(now);
  if (now >= core_.next_deadline()) core_.on_deadline(now);
  settle();
}

void PrimaryCoordinator::read_stream() {
  for (;;) {
    const std::span<uint8_t> room = parser_->room();
    const ssize_t n = ::recv(stream_, room.data(), room.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    const Instant now = clock_now();
    if (n <= 0) return lose_link(n == 0 ? "the standby closed the connection" : std::strerror(errno), now);
    parser_->filled(static_cast<size_t>(n));
    for (;;) {
      const Result<std::optional<Frame>> frame = parser_->next();
      if (!frame) return lose_link("it sent garbage: " + frame.error().message, now);
      if (!*frame) break;
      const Result<Message> message = decode(**frame);
      if (!message) return lose_link("it sent garbage: " + message.error().message, now);
      on_message(*message, now);
      if (stream_ < 0) return;
    }
  }
}

void PrimaryCoordinator::on_message(const Message& message, Instant now) {
  if (const auto* ack = std::get_if<Ack>(&message)) {
    if (!core_.on_ack(ack->epoch, now)) lose_link("it acknowledged an epoch that was never cut", now);
  } else if (const auto* log = std::get_if<RelayLogAck>(&message)) {
    if (const Status taken = net_.relays().on_log_ack(log->position); !taken)
      return lose_link(taken.error().message, now);
    net_.wake();
  } else if (disk_of(message)) {
    if (const Status taken = disks_.on_message(message); !taken) return lose_link(taken.error().message, now);
    if (core_.state() == PrimaryState::kSyncing) engine_wake_.signal();
  } else if (const auto* applied = std::get_if<Applied>(&message)) {
    applied_epoch_ = applied->epoch.value();
  } else if (frame_type_since(message_type(message)) == kAuditVersion) {
    on_audit_message(message, now);
  } else if (const auto* sync = std::get_if<SyncAck>(&message)) {
    sync_acked_ = sync->round;
    engine_wake_.signal();
  } else if (std::holds_alternative<GuestEndedAck>(message)) {
    guest_end_acked_ = true;
    engine_wake_.signal();
  } else if (const auto* disks = std::get_if<DisksEnded>(&message)) {
    disks_ended_ = disks->epoch;
    engine_wake_.signal();
  } else if (std::holds_alternative<HandoverDone>(message)) {
    core_.on_handover_done(now);
  } else if (const auto* abort = std::get_if<HandoverAbort>(&message)) {
    spdlog::error("the standby could not take over: {}", abort->reason);
    core_.on_handover_aborted(now);
  } else if (const auto* bye = std::get_if<Bye>(&message)) {
    lose_link("it said goodbye (" + std::string(bye_reason_name(bye->reason)) + "): " + bye->text, now);
  } else if (const auto* stale = std::get_if<StaleGeneration>(&message)) {
    lose_link("generation " + std::to_string(stale->generation.value()) + " runs on " + stale->holder, now);
  } else {
    lose_link("it sent a message that only a primary sends", now);
  }
}

// The engine judges the answers; here they are only kept, and not more than an audit can have.
void PrimaryCoordinator::on_audit_message(const Message& message, Instant now) {
  if (const auto* region = std::get_if<AuditRegion>(&message)) {
    audit_answers_.push_back(
        AuditRegionAnswer{region->epoch, region->region, Bytes(region->hashes.begin(), region->hashes.end())});
  } else if (const auto* end = std::get_if<AuditEnd>(&message)) {
    audit_answers_.push_back(*end);
  } else if (std::holds_alternative<CopyDropped>(message)) {
    if (!core_.on_copy_dropped()) return lose_link("it dropped its copy unasked", now);
    spdlog::warn("the standby has dropped its wrong copy");
    stream_ = -1;
    settle();
    return;
  } else {
    return lose_link("it sent a message that only a primary sends", now);
  }
  if (audit_answers_.size() > kAuditRegionsNamedMax + 1)
    return lose_link("it answers audits that nobody asked for", now);
  engine_wake_.signal();
}

std::vector<AuditAnswer> PrimaryCoordinator::take_audit_answers() {
  const std::lock_guard lock(mutex_);
  return std::exchange(audit_answers_, {});
}

void PrimaryCoordinator::read_heartbeats() {
  for (int i = 0; i < 64; ++i) {  // bounded: a flood must not keep the thread here
    uint8_t datagram[kHeartbeatBytes + 1];
    const ssize_t n = ::recv(heartbeat_socket_, datagram, sizeof datagram, MSG_DONTWAIT);
    if (n < 0) return;
    if (stream_ < 0) continue;
    const Result<Heartbeat> beat = decode_heartbeat(ByteSpan(datagram, static_cast<size_t>(n)), version_);
    if (!beat || beat->role != HeartbeatRole::kStandby || beat->session != session_ || beat->sequence <= peer_sequence_)
      continue;
    const Instant now = clock_now();
    peer_sequence_ = beat->sequence;
    peer_sent_at_ = beat->sent_at;
    if (beat->echo_sent_at == 0 || beat->echo_sent_at > static_cast<uint64_t>(now.to_nanos())) continue;
    const Instant echoed = Instant::from_nanos(static_cast<int64_t>(beat->echo_sent_at));
    heartbeat_rtt_ = now - echoed;
    core_.on_heard(now, echoed);
  }
}

void PrimaryCoordinator::send_heartbeat(Instant now) {
  next_heartbeat_ = std::max(next_heartbeat_ + config_.heartbeat, now);
  Heartbeat beat;
  beat.role = HeartbeatRole::kPrimary;
  beat.session = session_;
  beat.generation = core_.generation();
  beat.sequence = ++sequence_;
  beat.echo_sequence = peer_sequence_;
  beat.sent_at = static_cast<uint64_t>(now.to_nanos());
  beat.echo_sent_at = peer_sent_at_;
  beat.epoch = core_.last_cut().next();
  beat.committed = core_.committed();
  beat.health = core_.state() == PrimaryState::kSyncing ? kHealthSyncing : kHealthProtected;
  const auto bytes = encode_heartbeat(beat, version_);
  ::sendto(heartbeat_socket_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL, heartbeat_to_.data(),
           heartbeat_to_.size());
}

}  // namespace us
