#include "sim/standby_node.h"

#include <algorithm>
#include <cstring>

#include "core/replica/frame_epoch.h"
#include "sim/guest.h"
#include "sim/host.h"
#include "sim/judge.h"

namespace us::sim {
namespace {

constexpr size_t kStagingBytes = 4u << 20;

class RamSink final : public PageSink {
 public:
  explicit RamSink(Bytes& ram) : ram_(ram) {}
  void apply(PageIndex page, PageSpan bytes) override {
    std::memcpy(ram_.data() + page.value() * kPageSize, bytes.data(), kPageSize);
  }
  void apply_zero(PageIndex first, uint64_t count) override {
    std::memset(ram_.data() + first.value() * kPageSize, 0, count * kPageSize);
  }

 private:
  Bytes& ram_;
};

}  // namespace

StandbyNode::StandbyNode(Host& host)
    : host_(host),
      ram_(kGuestPages * kPageSize),
      staged_(kGuestPages, kStagingBytes),
      live_decoder_(kGuestPages),
      disk_(host, host.files(),
            {.reply =
                 [this](Bytes frame) {
                   if (stream_) stream_->send(1, std::move(frame));
                 },
             .settled =
                 [this] {
                   if (taking_over_) finish_disk();
                 },
             .changed =
                 [this] {
                   if (whole_waits_ || end_deadline_) receiver_.wake();
                 },
             .broken =
                 [this](const char* why) {
                   broken_ = why;
                   receiver_.wake();
                 }}),
      receiver_(host, "receiver", [this] { receiver_turn(); }),
      coordinator_(host, "coordinator", [this] { coordinator_turn(); }) {}

StandbyNode::~StandbyNode() {
  for (Caller& caller : callers_) caller.connection->close(1);
  if (stream_) stream_->on_readable(1, nullptr);
}

// ---- receiver ----

void StandbyNode::receiver_turn() {
  if (busy_ || over_) return;
  switch (core_.state()) {
    case StandbyState::kTakingOver:
      return take_over();
    case StandbyState::kEnded:
      if (disk_has_ended()) {
        over_ = true;
        return host_.exit();
      }
      break;
    case StandbyState::kClaiming:
      return;
    case StandbyState::kWaiting:
      close_stream("its copy was given up");
      disk_.give_up();
      break;
    default:
      break;
  }
  if (const char* why = std::exchange(broken_, nullptr)) close_stream(why);
  if (whole_waits_) return on_whole();
  for (Caller& caller : callers_) serve(caller);
  callers_.remove_if([](const Caller& caller) { return caller.done; });
  if (stream_) read_frame();
}

void StandbyNode::on_caller(std::shared_ptr<Connection> connection) {
  connection->on_readable(1, [this] { receiver_.wake(); });
  callers_.push_back(Caller{std::move(connection), FrameParser{}, host_.now() + host_.lab().times.hello});
  receiver_.wake();
}

void StandbyNode::serve(Caller& caller) {
  const std::span<uint8_t> room = caller.parser.room();
  caller.parser.filled(caller.connection->read(1, room));
  const Result<std::optional<Frame>> frame = caller.parser.next();
  if (frame && *frame) {
    const Result<Message> message = decode(**frame);
    if (const Hello* hello = message ? std::get_if<Hello>(&*message) : nullptr) greet(caller, *hello);
    caller.done = true;
  } else {
    caller.done = !frame || caller.connection->at_end(1) || host_.now() >= caller.deadline;
  }
  if (caller.done && caller.connection != stream_) caller.connection->close(1);
}

void StandbyNode::greet(Caller& caller, const Hello& hello) {
  HelloReply answer;
  answer.session = hello.session;
  answer.version = kProtocolVersionMax;
  FailoverConfig config = host_.lab().failover;
  config.heartbeat = hello.heartbeat_interval;
  config.detection = hello.detection_time;
  const Instant now = host_.now();
  if (!core_.on_hello(hello.generation, config, now)) {
    answer.verdict = HelloVerdict::kBusy;
    caller.connection->send(1, encode(answer));
    return;
  }
  close_stream("another one takes its place");
  session_ = hello.session;
  disk_generation_ = hello.generation;
  sequence_ = peer_sequence_ = 0;
  next_heartbeat_ = now;
  heartbeat_interval_ = config.heartbeat;
  answer.generation = core_.generation();
  caller.connection->send(1, encode(answer));
  stream_ = caller.connection;
  parser_ = std::move(caller.parser);
  parser_->establish(kProtocolVersionMax);
  broken_ = nullptr;
  staged_.clear();
  handover_ = false;
  end_deadline_.reset();
  last_epoch_.reset();
  std::fill(ram_.begin(), ram_.end(), uint8_t{0});
  host_.note("follows session", session_.value());
  settle();
  coordinator_.wake();
  receiver_.wake();
}

void StandbyNode::read_frame() {
  const Result<std::optional<Frame>> frame = parser_->next();
  if (!frame) return close_stream("garbage");
  if (*frame) {
    if (const Status handled = handle_frame(**frame); !handled) {
      host_.lab().judge->on_refused_stream(host_, handled.error().message);
      return close_stream("refused");
    }
    if (!busy_ && !over_) receiver_.wake();
    return;
  }
  const size_t n = stream_->read(1, parser_->room());
  if (n == 0 && stream_->at_end(1)) return close_stream("closed by the primary");
  if (n == 0) return;
  parser_->filled(n);
  receiver_.wake();
}

Status StandbyNode::handle_frame(const Frame& frame) {
  US_ASSIGN(const Message message, decode(frame));
  switch (frame.type) {
    case FrameType::kSyncBegin:
    case FrameType::kSyncRoundEnd:
      return handle_sync(message);
    case FrameType::kGuestEnded:
      if (core_.state() == StandbyState::kHolding && !host_.lab().shared_disk)
        end_deadline_ = host_.now() + host_.lab().times.guest_end_ack * 2;
      core_.on_guest_ended();
      if (core_.state() == StandbyState::kEnded) host_.lab().judge->on_end_told();
      reply(GuestEndedAck{});
      settle();
      return {};
    case FrameType::kDisksEnd: {
      const auto& end = std::get<DisksEnd>(message);
      US_TRY(disk_.end(end.epoch, end.barrier));
      last_epoch_ = end.epoch;
      return {};
    }
    case FrameType::kHandoverGo:
      handover_ = true;
      core_.on_handover_go(host_.now());
      settle();
      return {};
    case FrameType::kResigned:
      core_.on_primary_failed(host_.now());
      settle();
      return {};
    case FrameType::kPageChunk:
      if (std::get<PageChunk>(message).scope == PageScope::kSync) return handle_sync(message);
      break;
    default:
      break;
  }
  if (disk_of(message)) return disk_.on_message(message, core_.generation(), session_);
  US_TRY(stage_epoch_message(staged_, message, frame.checksum));
  if (frame.type == FrameType::kEpochEnd) host_.lab().judge->on_whole(session_, staged_.epoch());
  if (!staged_.whole()) return {};
  busy_ = true;
  host_.post(Duration::micros(5), "epoch whole", [this] { on_whole(); });
  return {};
}

Status StandbyNode::handle_sync(const Message& message) {
  if (core_.state() != StandbyState::kSyncing)
    return fail(ErrorKind::kProtocol, "pages of a synchronisation after the first epoch");
  if (const auto* chunk = std::get_if<PageChunk>(&message)) {
    RamSink sink(ram_);
    US_TRY(live_decoder_.decode(chunk->encoded, sink));
  } else if (const auto* end = std::get_if<SyncRoundEnd>(&message)) {
    reply(SyncAck{end->round, end->pages_sent});
  }
  return {};
}

void StandbyNode::on_whole() {
  busy_ = false;
  whole_waits_ = core_.state() == StandbyState::kClaiming;
  if (whole_waits_) return;
  const Epoch epoch = staged_.epoch();
  if (const Status whole = disk_.check(epoch, staged_.side_state(SideKind::kDiskBarrier)); !whole) {
    host_.lab().judge->on_refused_stream(host_, whole.error().message);
    return close_stream("refused");
  }
  whole_waits_ = !disk_.ready(epoch);
  if (whole_waits_) return;
  if (!core_.on_epoch_whole(epoch, host_.now())) {
    staged_.clear();
    if (core_.state() == StandbyState::kSyncing || core_.state() == StandbyState::kHolding)
      host_.lab().judge->violation("an epoch does not follow the one before it");
    if (core_.state() != StandbyState::kTakingOver) close_stream("refused an epoch");
    return receiver_.wake();
  }
  disk_.commit(epoch);
  settle();
  busy_ = true;
  host_.post(Duration::micros(10), "acknowledge", [this, epoch] {
    host_.lab().judge->on_acknowledge(host_, session_, epoch);
    reply(Ack{epoch});
    host_.post(host_.lab().world.random(Duration::micros(20), Duration::micros(500)), "apply", [this] { apply(); });
  });
}

void StandbyNode::apply() {
  const Epoch epoch = staged_.epoch();
  RamSink sink(ram_);
  staged_.apply_to(sink);
  device_state_.assign(staged_.device_state().begin(), staged_.device_state().end());
  host_.lab().judge->on_applied(host_, session_, epoch, ram_, device_state_);
  staged_.clear();
  reply(Applied{epoch});
  busy_ = false;
  receiver_.wake();
}

void StandbyNode::reply(const Message& message) {
  if (stream_) stream_->send(1, encode(message));
}

bool StandbyNode::disk_has_ended() {
  if (!end_deadline_) return true;
  if (last_epoch_ && disk_.replica().ended()) {
    reply(DisksEnded{*last_epoch_});
    return true;
  }
  if (host_.now() < *end_deadline_ && (stream_ || last_epoch_)) {
    receiver_.arm(*end_deadline_);
    return false;
  }
  return true;
}

void StandbyNode::close_stream(const char* why) {
  if (!stream_) return;
  host_.note(why);
  stream_->close(1);
  stream_.reset();
  staged_.clear();
  disk_.end_session();
  whole_waits_ = false;
  core_.on_link_lost(host_.now());
  settle();
}

void StandbyNode::on_stopped() {
  if (over_) return;
  over_ = true;
  host_.lab().judge->on_destroyed(host_.id());
  reply(Bye{ByeReason::kStopping, "stopped"});
  host_.exit();
}

void StandbyNode::take_over() {
  busy_ = true;
  host_.note("takes over from epoch", core_.committed().value(), core_.generation().value());
  taking_over_ = true;
  disk_.end_session();
}

// What has committed is on the image: it goes live, and then the guest may be restored.
void StandbyNode::finish_disk() {
  if (disk_live_) {
    if (disk_.replica().lost()) host_.lab().judge->violation("somebody else had the shared image before a takeover");
    taking_over_ = false;
    return restore();
  }
  DiskReplica& replica = disk_.replica();
  const ImageEpoch memory{disk_generation_, session_.value(), core_.committed()};
  if (const Status may = replica.may_take_over(memory); !may)
    host_.lab().judge->violation("the image does not fit the memory: " + may.error().message);
  if (const Status live = replica.go_live(core_.generation()); !live)
    host_.lab().judge->violation("the image cannot go live: " + live.error().message);
  disk_live_ = true;
  disk_.pump();
}

void StandbyNode::restore() {
  host_.post(host_.lab().world.random(Duration::millis(4), Duration::millis(25)), "restore", [this] {
    over_ = true;
    Result<std::unique_ptr<Guest>> guest = Guest::restore(ram_, device_state_);
    if (!guest) host_.lab().judge->violation("the restored guest is torn: " + guest.error().message);
    host_.lab().judge->on_restored(host_, session_, core_.committed(), core_.generation(), **guest);
    bool& fails = host_.lab().restore_fails[index_of(host_.id())];
    if (std::exchange(fails, false)) {
      host_.note("the restore fails");
      host_.lab().judge->on_destroyed(host_.id());
      reply(HandoverAbort{"simulated"});
      return host_.exit();
    }
    core_.on_takeover_done();
    host_.take_over(std::move(*guest), core_.generation(), disk_.replica(), stream_, handover_);
  });
}

// ---- coordinator ----

void StandbyNode::coordinator_turn() {
  std::deque<Bytes>& datagrams = host_.datagrams();
  for (; !datagrams.empty(); datagrams.pop_front()) {
    const Result<Heartbeat> beat = decode_heartbeat(datagrams.front());
    if (!beat || beat->role != HeartbeatRole::kPrimary || beat->session != session_ || beat->sequence <= peer_sequence_)
      continue;
    peer_sequence_ = beat->sequence;
    core_.on_heard(host_.now(), Instant::from_nanos(static_cast<int64_t>(beat->sent_at)));
  }
  const Instant now = host_.now();
  if (core_.holds_promise() && now >= next_heartbeat_) send_heartbeat();
  if (now >= core_.next_deadline()) core_.on_deadline(now);
  settle();
}

void StandbyNode::send_heartbeat() {
  const Instant now = host_.now();
  next_heartbeat_ = std::max(next_heartbeat_ + heartbeat_interval_, now);
  Heartbeat beat;
  beat.role = HeartbeatRole::kStandby;
  beat.session = session_;
  beat.generation = core_.generation();
  beat.sequence = ++sequence_;
  beat.echo_sequence = peer_sequence_;
  beat.sent_at = static_cast<uint64_t>(now.to_nanos());
  if (const std::optional<Instant> echo = core_.echo()) beat.echo_sent_at = static_cast<uint64_t>(echo->to_nanos());
  beat.epoch = beat.committed = core_.committed();
  const auto bytes = encode_heartbeat(beat);
  host_.lab().network.send_datagram(host_.id(), Bytes(bytes.begin(), bytes.end()));
}

void StandbyNode::settle() {
  if (const std::optional<Generation> claim = core_.poll_claim())
    host_.lab().arbiter.claim(host_.id(), *claim, [this](const ClaimAnswer& answer) {
      host_.note("arbiter answers (0 granted, 1 taken, 2 none)", static_cast<uint64_t>(answer.result),
                 answer.generation.value());
      core_.on_claim_answer(answer, host_.now());
      settle();
    });
  coordinator_.arm(std::min(core_.next_deadline(), core_.holds_promise() ? next_heartbeat_ : Instant::far_future()));
  if (core_.state() == announced_) return;
  announced_ = core_.state();
  host_.note(to_string(announced_), core_.generation().value());
  receiver_.wake();
}

}  // namespace us::sim
