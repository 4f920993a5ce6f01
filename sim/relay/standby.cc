#include "sim/relay/standby.h"

#include <fmt/format.h>

#include "sim/relay/judge.h"
#include "sim/relay/network.h"
#include "sim/relay/primary.h"

namespace us::sim::relay {
Standby::Standby(Lab& lab, HostId id)
    : lab_(lab), id_(id), session_(++lab.sessions), replica_(ReplicaLimits{}), ingress_(lab.connections()) {
  replica_.begin_session();
}

// In order, however the delays fall.
Duration Standby::travel(Instant& last) {
  const Instant at = lab_.now() + lab_.story.replication + lab_.world.random(Duration(), lab_.story.replication_jitter);
  last = std::max({last + Duration::nanos(1), at, stalled_until_});
  return last - lab_.now();
}

void Standby::send(Bytes log_frame) {
  auto shared = std::make_shared<Bytes>(std::move(log_frame));
  lab_.world.host_after(id_, travel(there_last_), "log arrives", [this, shared] { take_log(*shared); });
}

void Standby::send_end(Epoch epoch, Bytes side, std::shared_ptr<const Guest> guest) {
  auto shared = std::make_shared<Bytes>(std::move(side));
  lab_.world.host_after(id_, travel(there_last_), "epoch arrives",
                        [this, epoch, shared, guest = std::move(guest)] { take_end(epoch, *shared, guest); });
}

void Standby::answer(const char* what, std::function<void(Primary&)> action) {
  if (!lab_.primary) return;
  lab_.world.host_after(lab_.primary->id(), travel(back_last_), what,
                        [&lab = lab_, session = session_, action = std::move(action)] {
                          if (lab.standby && lab.standby->session_ == session) action(*lab.primary);
                        });
}

void Standby::take_log(const Bytes& frame) {
  const Result<Message> message = decode({FrameType::kRelayLogChunk, 0, ByteSpan(frame).subspan(kFrameHeaderBytes)});
  if (!message) throw Violation("the log's frame cannot be read: " + message.error().message);
  const auto& chunk = std::get<RelayLogChunk>(*message);
  const Result<LogPosition> position = replica_.apply(chunk);
  if (!position) throw Violation("the standby refuses the log: " + position.error().message);
  ByteReader in(chunk.records);
  for (uint32_t i = 0; i < chunk.count; ++i) note(*decode_relay_record(in));
  answer("log acknowledged", [at = *position](Primary& primary) { primary.on_log_ack(at); });
}

// What is durable now, by a reading of the log that is independent of the replica.
void Standby::note(const RelayRecord& record) {
  if (const auto* open = std::get_if<OpenRecord>(&record)) {
    const size_t i = number_of(static_cast<uint8_t>(open->initial.as_guest.destination.port - kClientPort));
    connection_of_[open->initial.id.value()] = i;
    if (!open->initial.from_peer.fin) return;  // of an old connection: its FIN comes in no record
    const TcpEnd& client = lab_.network->client(i);
    const auto at = static_cast<uint64_t>(
        TcpEnd::unwrap(open->initial.from_peer.fin->value(), client.config().isn, client.sent_max()));
    ingress_[i].add(at, at + 1);
  } else if (const auto* ingress = std::get_if<IngressRecord>(&record)) {
    const size_t i = connection_of_.at(ingress->flow.value());
    const TcpEnd& client = lab_.network->client(i);
    const int64_t start = TcpEnd::unwrap(ingress->stored.start.value(), client.config().isn, client.sent_max());
    const auto from = static_cast<uint64_t>(start);
    const int64_t wrong = client.stream().difference(from - 1, ingress->bytes);
    if (wrong >= 0) throw Violation(fmt::format("byte {} in the log is not what the client has written", wrong));
    ingress_[i].add(from, from + ingress->bytes.size() + (ingress->fin ? 1 : 0));
  }
}

void Standby::take_end(Epoch epoch, const Bytes& side, const std::shared_ptr<const Guest>& guest) {
  if (const Status staged = replica_.stage_cut(side); !staged)
    throw Violation("the standby refuses the cut: " + staged.error().message);
  replica_.commit();
  committed_ = guest;
  lab_.trace.note(lab_.now(), "standby commits", epoch.value());
  answer("epoch acknowledged", [epoch](Primary& primary) { primary.on_epoch_ack(epoch); });
}

}  // namespace us::sim::relay
