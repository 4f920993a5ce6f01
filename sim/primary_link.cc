// The coordinator and the data path of a primary.
#include <algorithm>

#include "sim/host.h"
#include "sim/judge.h"
#include "sim/primary_node.h"

namespace us::sim {

void PrimaryNode::coordinator_turn() {
  // What has arrived counts before the deadline does.
  read_heartbeats();
  if (linked_) read_stream();
  const Instant now = host_.now();
  if (linked_ && now >= next_heartbeat_ && core_.may_send_heartbeat()) send_heartbeat();
  if (now >= core_.next_deadline()) core_.on_deadline(now);
  settle();
  Instant next = core_.next_deadline();
  if (linked_ && core_.may_send_heartbeat()) next = std::min(next, next_heartbeat_);
  coordinator_.arm(next);
}

void PrimaryNode::read_heartbeats() {
  std::deque<Bytes>& datagrams = host_.datagrams();
  for (; !datagrams.empty(); datagrams.pop_front()) {
    if (!linked_) continue;
    const Result<Heartbeat> beat = decode_heartbeat(datagrams.front());
    if (!beat || beat->role != HeartbeatRole::kStandby || beat->session != session_ || beat->sequence <= peer_sequence_)
      continue;
    const Instant now = host_.now();
    peer_sequence_ = beat->sequence;
    peer_sent_at_ = beat->sent_at;
    if (beat->echo_sent_at == 0 || beat->echo_sent_at > static_cast<uint64_t>(now.to_nanos())) continue;
    core_.on_heard(now, Instant::from_nanos(static_cast<int64_t>(beat->echo_sent_at)));
  }
}

void PrimaryNode::read_stream() {
  for (;;) {
    const Result<std::optional<Frame>> frame = parser_->next();
    if (!frame) return lose_link("garbage");
    if (*frame) {
      const Result<Message> message = decode(**frame);
      if (!message) return lose_link("garbage");
      on_message(*message);
      if (!linked_) return;
      continue;
    }
    const size_t n = connection_->read(0, parser_->room());
    if (n == 0) break;
    parser_->filled(n);
  }
  if (connection_->at_end(0)) lose_link("closed by the standby");
}

void PrimaryNode::on_message(const Message& message) {
  const Instant now = host_.now();
  if (const auto* ack = std::get_if<Ack>(&message)) {
    host_.note("acknowledged, epoch", ack->epoch.value());
    if (!core_.on_ack(ack->epoch, now)) host_.lab().judge->violation("an epoch was acknowledged that was never cut");
  } else if (std::holds_alternative<GuestEndedAck>(message)) {
    end_acked_ = true;
    engine_.wake();
  } else if (const auto* ended = std::get_if<DisksEnded>(&message)) {
    disk_ended_ = disk_end_ == ended->epoch;
    engine_.wake();
  } else if (std::holds_alternative<HandoverDone>(message)) {
    host_.note("hand-over confirmed");
    core_.on_handover_done(now);
  } else if (std::holds_alternative<HandoverAbort>(message)) {
    host_.note("hand-over aborted");
    core_.on_handover_aborted(now);
  } else if (disk_of(message)) {
    const Status taken = disk_.on_message(message);
    if (!taken && taken.error().kind == ErrorKind::kRefused) return lose_link("the standby refuses the disk");
    if (!taken) host_.lab().judge->violation("the primary refuses what the standby says: " + taken.error().message);
    engine_.wake();
  } else if (std::holds_alternative<Bye>(message)) {
    lose_link("goodbye");
  }
}

void PrimaryNode::lose_link(const char* why) {
  if (!linked_) return;
  host_.note(why);
  linked_ = false;
  core_.on_link_lost(host_.now());
  settle();
}

void PrimaryNode::send_heartbeat() {
  const Instant now = host_.now();
  next_heartbeat_ = std::max(next_heartbeat_ + host_.lab().failover.heartbeat, now);
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
  const auto bytes = encode_heartbeat(beat);
  host_.lab().network.send_datagram(host_.id(), Bytes(bytes.begin(), bytes.end()));
}

void PrimaryNode::settle() {
  gate_.set_mode(core_.gate_mode());
  if (core_.gate_mode() == GateMode::kProtected) gate_.release_until(core_.lease_until());
  if (core_.committed() != noted_commit_) {
    noted_commit_ = core_.committed();
    gate_.commit(noted_commit_);
    engine_.wake();
  }
  if (const std::optional<Generation> claim = core_.poll_claim())
    host_.lab().arbiter.claim(host_.id(), *claim, [this](const ClaimAnswer& answer) {
      host_.note("arbiter answers (0 granted, 1 taken, 2 none)", static_cast<uint64_t>(answer.result),
                 answer.generation.value());
      core_.on_claim_answer(answer, host_.now());
      settle();
    });
  if (gate_.has_releasable()) data_path_.wake();
  coordinator_.arm(
      std::min(core_.next_deadline(), linked_ && core_.may_send_heartbeat() ? next_heartbeat_ : Instant::far_future()));
  if (core_.state() == announced_) return;
  announced_ = core_.state();
  host_.note(to_string(announced_), core_.generation().value());
  engine_.wake();
}

// ---- data path ----

bool PrimaryNode::may_release() const { return gate_.open(host_.now()); }

void PrimaryNode::from_guest(const GuestOutput& output) {
  gate_.push(gate_epoch_, to_frame(output), host_.now());
  if (gate_.has_releasable()) data_path_.wake();
}

void PrimaryNode::on_request(uint32_t client, uint64_t request) {
  if (!guest_->running()) return;  // the ring is stopped; the client repeats it
  if (const auto output = guest_->on_request(client, request)) from_guest(*output);
}

void PrimaryNode::guest_writes() {
  if (over_ || guest_gone_ || !guest_->running()) return;
  while (const auto write = guest_->begin_write()) disk_.submit(*write);
}

void PrimaryNode::guest_timer() {
  if (guest_->running()) from_guest(guest_->on_timer());
  guest_writes();
  if (!over_) host_.post(host_.lab().times.guest_timer, "guest timer", [this] { guest_timer(); });
}

void PrimaryNode::data_path_turn() {
  while (std::optional<EthernetFrame> frame = gate_.pop(host_.now())) {
    const GuestOutput output = from_frame(*frame);
    host_.lab().judge->on_release(host_, core_.generation(), gate_.mode(), output);
    if (host_.lab().data_cut[index_of(host_.id())] || output.client == kNoClient) continue;
    Lab& lab = host_.lab();
    lab.world.after(lab.world.random(Duration::micros(80), Duration::micros(900)), "reply",
                    [&lab, output] { lab.clients[output.client]->on_reply(output); });
  }
}

}  // namespace us::sim
