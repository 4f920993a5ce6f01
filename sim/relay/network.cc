#include "sim/relay/network.h"

#include <utility>

#include "sim/relay/judge.h"
#include "sim/relay/primary.h"

namespace us::sim::relay {

Network::Network(Lab& lab) : lab_(lab), quality_(lab.story.network) {
  received_.resize(lab.connections());
  for (size_t i = 0; i < lab.connections(); ++i) {
    const Connection& c = lab.story.connections[i];
    clients_.emplace_back(c.client, c.client_app, ByteStream(lab.world.rng().next()), lab.world.rng().next());
    clients_[i].keep_in(&received_[i]);
    armed_.push_back(Instant::far_future());
  }
}

void Network::start() {
  for (size_t i = 0; i < clients_.size(); ++i) {
    const Connection& c = lab_.story.connections[i];
    if (c.guest_opens) {
      clients_[i].listen();
      continue;
    }
    lab_.world.after(c.start, "client opens", [this, i] {
      clients_[i].connect(lab_.now());
      after_client(i);
    });
  }
}

void Network::calm() {
  quality_.loss = quality_.damaged = 0;
  cut_until_ = bad_until_ = lab_.now();
  for (size_t i = 0; i < clients_.size(); ++i) {
    clients_[i].calm(lab_.now());
    after_client(i);
  }
}

bool Network::lost() {
  if (lab_.now() < cut_until_) return true;
  return lab_.world.rng().chance(lab_.now() < bad_until_ ? 0.5 : quality_.loss);
}

Duration Network::travel() {
  Duration time = quality_.delay + lab_.world.random(Duration(), quality_.jitter);
  if (lab_.world.rng().chance(quality_.late)) time += lab_.world.random(Duration(), quality_.late_by);
  return time;
}

void Network::to_clients(const Packet& packet) {
  const int copies = lab_.world.rng().chance(quality_.twice) ? 2 : 1;
  for (int i = 0; i < copies; ++i)
    if (!lost()) lab_.world.after(travel(), "at the client", [this, packet] { at_client(packet); });
}

void Network::at_client(const Packet& packet) {
  const size_t i = number_of(packet.conn);
  clients_[i].on_packet(packet, lab_.now());
  lab_.judge->on_client_received(i);
  after_client(i);
}

void Network::run_client(size_t i) {
  if (lab_.now() != armed_[i]) return;
  armed_[i] = Instant::far_future();
  clients_[i].on_time(lab_.now());
  after_client(i);
}

void Network::after_client(size_t i) {
  for (Packet& packet : clients_[i].take_out()) send(packet);
  const Instant next = std::max(clients_[i].next_time(), lab_.now() + Duration::nanos(1));
  if (next >= armed_[i] || clients_[i].next_time() == Instant::far_future()) return;
  armed_[i] = next;
  lab_.world.after(next - lab_.now(), "client's time", [this, i] { run_client(i); });
}

void Network::send(const Packet& packet) {
  lab_.trace.packet(lab_.now(), "client sends", packet);
  const int copies = lab_.world.rng().chance(quality_.twice) ? 2 : 1;
  for (int i = 0; i < copies; ++i)
    if (!lost()) send_frame(build_frame(packet, false, false));
}

void Network::send_frame(EthernetFrame frame) {
  if (lab_.world.rng().chance(quality_.damaged)) {
    const size_t at = lab_.world.rng().below(frame.size());
    frame.ethernet()[at] = static_cast<uint8_t>(frame.ethernet()[at] ^ 1u << lab_.world.rng().below(8));
  }
  // An event must be copyable.
  auto shared = std::make_shared<EthernetFrame>(std::move(frame));
  lab_.world.after(travel(), "at the host", [this, shared] {
    if (lab_.primary) lab_.primary->from_uplink(std::move(*shared));
  });
}

}  // namespace us::sim::relay
