#include "host/standby.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/replica/frame_epoch.h"
#include "host/dial.h"
#include "os/clock.h"

namespace us {
namespace {

using Json = nlohmann::json;

constexpr Duration kIdleWait = Duration::seconds(1);
constexpr Duration kHelloTimeout = Duration::seconds(2);
constexpr Duration kAnswerTimeout = Duration::millis(500);
constexpr size_t kCallersMax = 8;
// For the disks to write what has committed: a window of writes, on a slow disk.
constexpr Duration kDiskTakeover = Duration::seconds(30);
// For the guest's last writes to come and be written.
constexpr Duration kDisksEnd = Duration::seconds(15);
constexpr Duration kDisksEndPoll = Duration::millis(20);
// Epochs are staged whole, so a huge one must fit; a quarter of the guest's memory is the intention, and the floor
// keeps small guests from being refused a burst.
constexpr uint64_t kStagingBytesFloor = 256u << 20;
// Frames handled before the loop looks at anything else.
constexpr size_t kReadBytesPerTurn = 8u << 20;
// Compared by an audit before the loop looks at anything else: about a millisecond.
constexpr uint64_t kAuditPagesPerTurn = 4 * kAuditRegionPages;

// Pages go straight into the guest's memory, which its waiting QEMU shares.
class RamSink final : public PageSink {
 public:
  RamSink(const GuestRam& ram, CopyAudit& audit) : ram_(ram), audit_(audit) {}
  void apply(PageIndex page, PageSpan bytes) override {
    audit_.before_write(page);
    std::memcpy(ram_.page(page).data(), bytes.data(), kPageSize);
  }
  void apply_zero(PageIndex first, uint64_t count) override {
    for (uint64_t i = 0; i < count; ++i) {
      const PageIndex index{first.value() + i};
      audit_.before_write(index);
      const auto page = ram_.page(index);
      // A page that was never touched stays a hole.
      if (!is_zero_page(page)) std::memset(page.data(), 0, kPageSize);
    }
  }

 private:
  const GuestRam& ram_;
  CopyAudit& audit_;
};

FailoverConfig failover_from(const Hello& hello) {
  FailoverConfig config;
  config.heartbeat = hello.heartbeat_interval;
  config.detection = hello.detection_time;
  return config;
}

}  // namespace

Result<std::unique_ptr<Standby>> Standby::create(NodeContext& context, std::unique_ptr<StandbyDisks> disks,
                                                 std::unique_ptr<Vm> vm, CommandQueue& commands) {
  US_ASSIGN(EventFd wake, EventFd::create());
  US_ASSIGN(EventFd coordinator_wake, EventFd::create());
  std::unique_ptr<Standby> standby(new Standby(context, std::move(disks), std::move(vm), commands, std::move(wake)));
  standby->coordinator_ = std::make_unique<StandbyCoordinator>(context.arbiter, context.heartbeats.get(),
                                                               std::move(coordinator_wake), standby->wake_);
  return standby;
}

Standby::Standby(NodeContext& context, std::unique_ptr<StandbyDisks> disks, std::unique_ptr<Vm> vm,
                 CommandQueue& commands, EventFd wake)
    : context_(context),
      disks_(std::move(disks)),
      vm_(std::move(vm)),
      commands_(commands),
      wake_(std::move(wake)),
      staged_(vm_->ram().page_count(), std::max(vm_->ram().size(), kStagingBytesFloor)),
      audit_(vm_->ram().base(), vm_->ram().page_count()),
      live_decoder_(vm_->ram().page_count()),
      relays_(ReplicaLimits{}) {}

Standby::~Standby() {
  vm_.reset();
  disks_.reset();  // its threads call into this object
}

RoleOutcome Standby::run() {
  for (;;) {
    if (auto outcome = step()) return *outcome;
    wait_for_something();
  }
}

std::optional<RoleOutcome> Standby::step() {
  for (Command& command : commands_.take()) {
    if (command.kind == CommandKind::kStop || command.kind == CommandKind::kLeave) {
      send_to_primary(Bye{ByeReason::kStopping, "the standby was stopped by its operator"});
      command.answer->set_value("the standby ends");
      return RoleOutcome{RoleEnd::kStopped, "stopped by its operator"};
    }
    command.answer->set_value(fail(ErrorKind::kRefused, "this is the standby; ask the primary"));
  }
  if (const auto exit = vm_->process().poll_exit()) return RoleOutcome{RoleEnd::kFailed, "the waiting QEMU " + *exit};
  const StandbyState state = coordinator_->view().state;
  log_state(state);
  switch (state) {
    case StandbyState::kTakingOver:
      return take_over();
    case StandbyState::kEnded:
      if (disks_have_ended(clock_now())) return RoleOutcome{RoleEnd::kGuestEnded, guest_end_text_};
      break;
    case StandbyState::kClaiming:
      return std::nullopt;  // the stream waits until it is known whether it still counts
    default:
      break;
  }
  accept_callers();
  serve_callers(clock_now());
  serve_disks();
  if (stream_ && awaits_disks_)
    if (const Status committed = commit_staged(); !committed) close_stream(committed.error().message);
  if (stream_ && !awaits_disks_) read_stream();
  if (audit_.active()) audit_step();
  return std::nullopt;
}

void Standby::wait_for_something() {
  const StandbyState state = coordinator_->view().state;
  std::vector<pollfd> waiting = {
      {wake_.fd(), POLLIN, 0}, {commands_.fd(), POLLIN, 0}, {vm_->process().exit_fd(), POLLIN, 0}};
  if (state != StandbyState::kClaiming) {
    waiting.push_back({context_.listener.get(), POLLIN, 0});
    if (stream_ && !awaits_disks_) waiting.push_back({stream_.get(), POLLIN, 0});
    for (const Caller& caller : callers_) waiting.push_back({caller.socket.get(), POLLIN, 0});
  }
  const int64_t wait_ns = (callers_.empty() ? kIdleWait : Duration::millis(100)).to_nanos();
  timespec timeout{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
  if (end_deadline_) timeout = {0, kDisksEndPoll.to_nanos()};
  if (audit_.busy()) timeout = {};
  ::ppoll(waiting.data(), waiting.size(), &timeout, nullptr);
  wake_.drain();
}

// ---- callers ----

void Standby::accept_callers() {
  while (true) {
    SocketAddress address;
    Result<UniqueFd> socket = tcp_accept(context_.listener.get(), address);
    if (!socket || !*socket) return;
    if (callers_.size() >= kCallersMax) continue;  // closed at once
    tune_replication_socket(socket->get());
    callers_.push_back(Caller{std::move(*socket), address, FrameParser{}, clock_now() + kHelloTimeout});
  }
}

void Standby::serve_callers(Instant now) {
  callers_.remove_if([&](Caller& caller) { return !serve_caller(caller, now); });
}

bool Standby::serve_caller(Caller& caller, Instant now) {
  const auto drop = [&](const std::string& why) {
    spdlog::warn("refused a connection from {}: {}", caller.address.text(), why);
    const std::lock_guard lock(status_mutex_);
    ++callers_refused_;
    return false;
  };
  for (;;) {
    const Result<std::optional<Frame>> frame = caller.parser.next();
    if (!frame) return drop(frame.error().message);
    if (*frame) {
      const Result<Message> message = decode(**frame);
      if (!message) return drop(message.error().message);
      const auto* hello = std::get_if<Hello>(&*message);
      if (hello == nullptr) return drop("it did not begin with a Hello");
      greet(caller, *hello);
      return false;
    }
    const std::span<uint8_t> room = caller.parser.room();
    const ssize_t n = ::recv(caller.socket.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (n > 0)
      caller.parser.filled(static_cast<size_t>(n));
    else if (n == 0)
      return drop("it closed before its Hello was complete");
    else if (errno == EAGAIN || errno == EWOULDBLOCK)
      return now < caller.deadline || drop("no Hello in time");
    else if (errno != EINTR)
      return drop(std::strerror(errno));
  }
}

void Standby::greet(Caller& caller, const Hello& hello) {
  HelloReply reply = judge_hello(hello, context_, vm_->identity());
  if (reply.verdict == HelloVerdict::kAccepted && !disks_->empty() && reply.version < kDiskVersion) {
    reply.verdict = HelloVerdict::kOtherProtocol;
    reply.reason = "the primary's understudy is too old for disks";
  }
  if (const auto obstacle = disks_->obstacle(); reply.verdict == HelloVerdict::kAccepted && obstacle) {
    reply.verdict = HelloVerdict::kNotReady;
    reply.reason = "its disk cannot be written: " + *obstacle;
  }
  if (reply.verdict == HelloVerdict::kAccepted) {
    const SocketAddress heartbeat_to = caller.address.with_port(hello.heartbeat_port);
    if (!coordinator_->attach(hello.generation, failover_from(hello), hello.session, reply.version, heartbeat_to)) {
      reply.verdict = HelloVerdict::kBusy;
      reply.reason = "it follows a primary already, or decides about one (" +
                     std::string(to_string(coordinator_->view().state)) + ")";
    }
  }
  reply.generation = coordinator_->view().generation;
  const Bytes bytes = encode(reply);
  const bool sent = ::send(caller.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
                    static_cast<ssize_t>(bytes.size());
  if (reply.verdict != HelloVerdict::kAccepted) {
    spdlog::warn("refused primary {} ({}): {}", hello.node, caller.address.text(), reply.reason);
    return;
  }
  stream_ = std::move(caller.socket);
  version_ = reply.version;
  parser_ = std::move(caller.parser);
  parser_->establish(version_);
  staged_.clear();
  relays_.begin_session();
  handover_ = false;
  end_deadline_.reset();
  last_epoch_.reset();
  {
    const std::lock_guard lock(status_mutex_);
    primary_node_ = hello.node;
    sync_pages_ = sync_pages_expected_ = epochs_ = 0;
  }
  // The primary sends what was ever written there; the rest is to be zero.
  if (const Status discarded = vm_->ram().discard(); !discarded) return close_stream(discarded.error().message);
  begin_disk_session(hello);
  if (!sent) close_stream("it takes no answer");
}

// ---- the stream ----

void Standby::read_stream() {
  for (size_t total = 0; total < kReadBytesPerTurn && stream_;) {
    for (;;) {
      const Result<std::optional<Frame>> frame = parser_->next();
      if (!frame) return close_stream(frame.error().message);
      if (!*frame) break;
      if (const Status handled = handle_frame(**frame); !handled) return close_stream(handled.error().message);
      // Not one frame more than the state allows: what follows may have to wait for the arbiter, or for the disks.
      if (awaits_disks_) return;
      const StandbyState state = coordinator_->view().state;
      const bool awaits_end = state == StandbyState::kEnded && end_deadline_ && !last_epoch_;
      if (!stream_ || (state != StandbyState::kSyncing && state != StandbyState::kHolding && !awaits_end)) return;
    }
    const std::span<uint8_t> room = parser_->room();
    const ssize_t n = ::recv(stream_.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n <= 0) return close_stream(n == 0 ? "the primary closed the connection" : std::strerror(errno));
    parser_->filled(static_cast<size_t>(n));
    total += static_cast<size_t>(n);
    const std::lock_guard lock(status_mutex_);
    bytes_ += static_cast<uint64_t>(n);
  }
  wake_.signal();  // there is more; come back after a look at the rest
}

Status Standby::handle_frame(const Frame& frame) {
  US_ASSIGN(const Message message, decode(frame));
  switch (frame.type) {
    case FrameType::kSyncBegin:
    case FrameType::kSyncRoundEnd:
      return handle_sync(message);
    case FrameType::kPageChunk:
      if (std::get<PageChunk>(message).scope == PageScope::kSync) return handle_sync(message);
      return handle_epoch(message, frame.checksum);
    case FrameType::kEpochBegin:
    case FrameType::kDeviceStateChunk:
    case FrameType::kSideStateChunk:
    case FrameType::kEpochEnd:
      return handle_epoch(message, frame.checksum);
    case FrameType::kRelayLogChunk: {
      US_ASSIGN(const LogPosition position, relays_.apply(std::get<RelayLogChunk>(message)));
      send_to_primary(RelayLogAck{position});
      return {};
    }
    case FrameType::kGuestEnded:
      guest_end_text_ = std::get<GuestEnded>(message).text;
      if (coordinator_->view().state == StandbyState::kHolding && disks_->await_end() && version_ >= kDiskEndVersion)
        end_deadline_ = clock_now() + kDisksEnd;
      coordinator_->with_core([](StandbyCore& core) { core.on_guest_ended(); });
      send_to_primary(GuestEndedAck{});
      return {};
    case FrameType::kDisksEnd:
      return end_disks(std::get<DisksEnd>(message));
    case FrameType::kHandoverGo:
      handover_ = true;
      coordinator_->with_core([](StandbyCore& core) { core.on_handover_go(clock_now()); });
      return {};
    case FrameType::kResigned:
      spdlog::warn("the primary resigned: {}", std::get<Resigned>(message).reason);
      coordinator_->with_core([](StandbyCore& core) { core.on_primary_failed(clock_now()); });
      return {};
    case FrameType::kAuditDigests:
    case FrameType::kCopyWrong:
      return handle_audit(message);
    case FrameType::kDiskOffer:
    case FrameType::kDiskRecords:
    case FrameType::kDiskSums:
      return disks_->on_message(message);
    case FrameType::kBye:
      return fail(ErrorKind::kSystem, "the primary said goodbye: " + std::get<Bye>(message).text);
    default:
      return fail(ErrorKind::kProtocol, "a message that only a standby sends");
  }
}

Status Standby::handle_sync(const Message& message) {
  if (coordinator_->view().state != StandbyState::kSyncing)
    return fail(ErrorKind::kProtocol, "pages of a synchronisation after the first epoch");
  if (const auto* begin = std::get_if<SyncBegin>(&message)) {
    const std::lock_guard lock(status_mutex_);
    sync_pages_expected_ = begin->pages;
  } else if (const auto* chunk = std::get_if<PageChunk>(&message)) {
    RamSink sink(vm_->ram(), audit_);
    US_ASSIGN(const uint64_t pages, live_decoder_.decode(chunk->encoded, sink));
    const std::lock_guard lock(status_mutex_);
    sync_pages_ += pages;
  } else if (const auto* end = std::get_if<SyncRoundEnd>(&message)) {
    send_to_primary(SyncAck{end->round, end->pages_sent});
  }
  return {};
}

Status Standby::handle_epoch(const Message& message, uint64_t checksum) {
  US_TRY(stage_epoch_message(staged_, message, checksum));
  return staged_.whole() ? commit_staged() : Status{};
}

Status Standby::commit_staged() {
  const Epoch epoch = staged_.epoch();
  US_TRY(disks_->check(epoch, staged_.side_state(SideKind::kDiskBarrier)));
  awaits_disks_ = !disks_->ready(epoch);
  if (awaits_disks_) return {};
  US_TRY(relays_.stage_cut(staged_.side_state(SideKind::kRelay)));
  const bool committed =
      coordinator_->with_settled_core([&](StandbyCore& core) { return core.on_epoch_whole(epoch, clock_now()); });
  if (!committed) {
    staged_.clear();
    // Not an error if the claim was granted meanwhile: then nobody waits for this epoch any more.
    if (coordinator_->view().state == StandbyState::kTakingOver) return {};
    return fail(ErrorKind::kProtocol, "epoch " + std::to_string(epoch.value()) + " does not follow the one before it");
  }
  disks_->commit(epoch);
  send_to_primary(Ack{epoch});
  relays_.commit();
  RamSink sink(vm_->ram(), audit_);
  staged_.apply_to(sink);
  const ByteSpan device = staged_.device_state();
  device_state_.assign(device.begin(), device.end());
  const ByteSpan addresses = staged_.side_state(SideKind::kNicAddresses);
  nic_addresses_.assign(addresses.begin(), addresses.end());
  staged_.clear();
  send_to_primary(Applied{epoch});
  const std::lock_guard lock(status_mutex_);
  ++epochs_;
  return {};
}

Status Standby::handle_audit(const Message& message) {
  if (const auto* digests = std::get_if<AuditDigests>(&message)) {
    if (digests->first == 0) audit_began_ = clock_now();
    return audit_.on_digests(digests->epoch, coordinator_->view().committed, digests->regions, digests->first,
                             digests->digests);
  }
  const auto& wrong = std::get<CopyWrong>(message);
  spdlog::error("the primary found this copy wrong: {}", wrong.reason);
  const bool dropped = coordinator_->with_core([&](StandbyCore& core) { return core.on_copy_wrong(wrong.reason); });
  if (dropped) send_to_primary(CopyDropped{});
  return {};
}

void Standby::audit_step() {
  audit_.step(kAuditPagesPerTurn);
  while (const std::optional<CopyAudit::Region> region = audit_.poll_region()) {
    send_to_primary(AuditRegion{audit_.epoch(), region->region, region->hashes});
  }
  const std::optional<CopyAudit::Verdict> verdict = audit_.poll_verdict();
  if (!verdict) return;
  send_to_primary(AuditEnd{verdict->epoch, verdict->pages, verdict->regions_differ, clock_now() - audit_began_});
  const std::lock_guard lock(status_mutex_);
  ++audits_;
}

void Standby::send_to_primary(const Message& message) { send_bytes_to_primary(encode(message, version_)); }

void Standby::send_bytes_to_primary(ByteSpan bytes) {
  if (!stream_) return;
  // Answers are tiny; a primary that leaves so many unread that the socket is full has failed.
  const Instant deadline = clock_now() + kAnswerTimeout;
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = ::send(stream_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
      sent += static_cast<size_t>(n);
    else if (errno == EAGAIN) {
      if (!wait_writable(stream_.get(), deadline)) return;
    } else if (errno != EINTR) {
      return;  // the reading side will find out
    }
  }
}

// ---- disks ----

void Standby::begin_disk_session(const Hello& hello) {
  session_generation_ = hello.generation;
  session_ = hello.session;
  {
    const std::lock_guard lock(disk_words_.mutex);
    disk_words_.session = session_;
    disk_words_.frames.clear();
    disk_words_.failure.clear();
  }
  StandbyDisks::Hooks hooks;
  hooks.send = [this, session = session_](Bytes frame) {
    const std::lock_guard lock(disk_words_.mutex);
    if (session != disk_words_.session) return;
    disk_words_.frames.push_back(std::move(frame));
    wake_.signal();
  };
  hooks.failed = [this, session = session_](std::string reason) {
    const std::lock_guard lock(disk_words_.mutex);
    if (session != disk_words_.session) return;
    disk_words_.failure = std::move(reason);
    wake_.signal();
  };
  disks_->begin_session(session_generation_, session_, version_, hooks);
}

void Standby::serve_disks() {
  std::vector<Bytes> frames;
  std::string failure;
  {
    const std::lock_guard lock(disk_words_.mutex);
    frames.swap(disk_words_.frames);
    failure.swap(disk_words_.failure);
  }
  for (const Bytes& frame : frames) send_bytes_to_primary(frame);
  if (!failure.empty()) close_stream(failure);
}

Status Standby::end_disks(const DisksEnd& end) {
  if (!end_deadline_) return fail(ErrorKind::kProtocol, "the disks' end before the guest's");
  US_TRY(disks_->end(end.epoch, end.barrier));
  last_epoch_ = end.epoch;
  return {};
}

bool Standby::disks_have_ended(Instant now) {
  if (!end_deadline_) return true;
  if (last_epoch_ && disks_->ended()) {
    send_to_primary(DisksEnded{*last_epoch_});
    spdlog::info("the disks' images hold all that the guest has written: either host may start it again");
    return true;
  }
  if (now < *end_deadline_ && (stream_ || last_epoch_)) return false;
  spdlog::warn("the disks' images may lack the last writes of the guest: start it on the other host");
  return true;
}

void Standby::close_stream(const std::string& reason) {
  if (!stream_) return;
  spdlog::warn("stream from the primary closed: {}", reason);
  stream_.reset();
  audit_.cancel();
  staged_.clear();
  disks_->end_session();
  awaits_disks_ = false;
  coordinator_->with_core([](StandbyCore& core) { core.on_link_lost(clock_now()); });
}

// ---- takeover ----

RoleOutcome Standby::take_over() {
  audit_.cancel();
  const StandbyCoordinator::View view = coordinator_->view();
  takeover_.generation = view.generation;
  takeover_.planned = handover_;
  takeover_.epoch = view.committed;
  takeover_.detection = view.detected_after;
  takeover_.arbitration = view.claim_answered - view.claim_began;
  takeover_.decided = view.claim_began;
  spdlog::warn("taking over as generation {} from epoch {}: {}", view.generation.value(), view.committed.value(),
               view.reason);
  const Instant began = clock_now();
  Status restored;
  disks_->end_session();
  Result<std::unique_ptr<PrimaryDisks>> disks = disks_->take_over(
      view.generation, {session_generation_, session_.value(), view.committed}, began + kDiskTakeover);
  if (disks)
    live_disks_ = std::move(*disks);
  else
    restored = tl::unexpected<Error>(disks.error());
  if (restored) restored = vm_->net().restore_addresses(nic_addresses_);
  if (restored) restored = vm_->restore(device_state_);
  if (restored) vm_->net().relays().restore(relays_.take_over());
  takeover_.restored = clock_now();
  takeover_.restore = takeover_.restored - began;
  if (!restored) {
    send_to_primary(HandoverAbort{restored.error().message});
    return {RoleEnd::kFailed, "the guest could not be restored: " + restored.error().message};
  }
  coordinator_->with_core([](StandbyCore& core) { core.on_takeover_done(); });
  return {RoleEnd::kTookOver, "took over as generation " + std::to_string(view.generation.value())};
}

void Standby::confirm_handover() {
  if (handover_) send_to_primary(HandoverDone{takeover_.generation});
}

void Standby::log_state(StandbyState state) {
  if (state == logged_state_) return;
  const StandbyCoordinator::View view = coordinator_->view();
  switch (state) {
    case StandbyState::kWaiting:
      // A copy that was given up must not be continued: the next primary starts over.
      if (stream_) close_stream("its copy was given up");
      disks_->give_up();
      spdlog::info("waiting for a primary on {}{}{}", context_.node, view.reason.empty() ? "" : ": ", view.reason);
      break;
    case StandbyState::kSyncing:
      spdlog::info("synchronising from {}", primary_node_);
      break;
    case StandbyState::kHolding:
      spdlog::info("PROTECTING generation {} of {}", view.generation.value(), primary_node_);
      break;
    default:
      spdlog::info("{}{}{}", to_string(state), view.reason.empty() ? "" : ": ", view.reason);
  }
  logged_state_ = state;
}

}  // namespace us
