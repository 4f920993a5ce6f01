#include "sim/relay/story.h"

#include <array>

namespace us::sim::relay {
namespace {

Duration random(Rng& rng, Duration low, Duration high) {
  return Duration::nanos(rng.between(low.to_nanos(), high.to_nanos()));
}

// Often small, now and then large.
uint64_t size_of(Rng& rng, uint64_t most) {
  const uint64_t cap = rng.chance(0.5) ? most / 16 : rng.chance(0.6) ? most / 4 : most;
  return rng.below(cap + 1);
}

uint32_t initial_number(Rng& rng) {
  if (rng.chance(0.5)) return static_cast<uint32_t>(0u - 1 - rng.below(30000));
  if (rng.chance(0.3)) return static_cast<uint32_t>(0x7fffffffu - rng.below(20000));
  return static_cast<uint32_t>(rng.next());
}

EndConfig random_end(Rng& rng, uint8_t conn) {
  EndConfig e;
  e.conn = conn;
  e.isn = initial_number(rng);
  constexpr std::array<uint16_t, 5> sizes = {1460, 1460, 1220, 536, 8960};
  e.mss = sizes[rng.below(sizes.size())];
  if (rng.chance(0.85)) e.scale = static_cast<uint8_t>(rng.chance(0.2) ? rng.below(15) : 4 + rng.below(5));
  e.sack = rng.chance(0.8);
  e.dsack = rng.chance(0.7);
  e.timestamps = rng.chance(0.8);
  e.timestamp_base = initial_number(rng);
  constexpr std::array<uint32_t, 4> buffers = {4096, 16384, 65536, 262144};
  e.receive_bytes = std::max<uint32_t>(buffers[rng.below(buffers.size())], 4u << e.scale.value_or(0));
  e.send_bytes = rng.chance(0.3) ? 8192 : 131072;
  e.delayed_ack = Duration::millis(rng.chance(0.3) ? 1 : rng.between(10, 200));
  e.rto_min = Duration::millis(rng.chance(0.5) ? 200 : rng.between(20, 300));
  if (rng.chance(0.2)) e.keep_alive = Duration::millis(rng.between(300, 1500));  // longer than an ACK is delayed
  e.probes_with_data = rng.chance(0.4);
  return e;
}

AppPlan random_app(Rng& rng) {
  AppPlan a;
  a.write_bytes = rng.chance(0.15) ? 0 : size_of(rng, 120000);
  a.write_max = static_cast<uint32_t>(1 + size_of(rng, 30000));
  if (a.write_bytes / a.write_max > 60) a.write_max = static_cast<uint32_t>(a.write_bytes / 60);
  a.write_gap = random(rng, Duration::micros(100), Duration::millis(rng.chance(0.3) ? 80 : 10));
  a.read_max = static_cast<uint32_t>(rng.chance(0.3) ? 1 + rng.below(3000) : 1 << 20);
  a.read_gap = random(rng, Duration::micros(20), Duration::millis(5));
  if (rng.chance(0.25)) a.stall = 0.05;
  a.stall_for = random(rng, Duration::millis(50), Duration::millis(1500));
  a.close_after_peer = rng.chance(0.4);
  return a;
}

Connection random_connection(Rng& rng, uint8_t conn) {
  Connection c;
  c.guest_opens = rng.chance(0.35);
  c.guest = random_end(rng, conn);
  c.client = random_end(rng, conn);
  c.guest.burst_segments = rng.chance(0.5) ? static_cast<uint32_t>(2 + rng.below(7)) : 1;
  c.guest_app = random_app(rng);
  c.client_app = random_app(rng);
  if (c.guest_app.close_after_peer) c.client_app.close_after_peer = false;
  if (rng.chance(0.12)) {
    AppPlan& app = rng.chance(0.5) ? c.guest_app : c.client_app;
    app.abort_after = rng.below(app.write_bytes + 2000);
  }
  c.start = random(rng, Duration::millis(1), Duration::millis(rng.chance(0.5) ? 60 : 900));
  return c;
}

Fault random_fault(Rng& rng, Duration within) {
  Fault f;
  f.at = random(rng, Duration::millis(5), within);
  f.kind = rng.chance(0.35) ? FaultKind::kKill : static_cast<FaultKind>(rng.below(kFaultKinds));
  f.length = random(rng, Duration::millis(1), Duration::millis(rng.chance(0.7) ? 150 : 900));
  f.number = rng.next();
  return f;
}

RelayOptions random_options(Rng& rng) {
  RelayOptions o;
  if (rng.chance(0.6)) return o;
  o.ack_guest = rng.chance(0.6);
  o.ack_peer = rng.chance(0.6);
  o.recovery = rng.chance(0.6);
  o.offload = rng.chance(0.6);
  return o;
}

}  // namespace

Story random_story(uint64_t seed) {
  Rng rng(seed ^ 0x517cc1b727220a95u);
  Story s;
  const uint64_t n = rng.chance(0.5) ? 1 : 1 + rng.below(3);
  uint8_t scale_max = 0;
  for (uint64_t i = 0; i < n; ++i) {
    s.connections.push_back(random_connection(rng, static_cast<uint8_t>(rng.chance(0.3) ? i | kV6 : i)));
    const Connection& c = s.connections.back();
    scale_max = std::max({scale_max, c.guest.scale.value_or(0), c.client.scale.value_or(0)});
  }
  s.network.delay = random(rng, Duration::micros(50), Duration::millis(rng.chance(0.3) ? 40 : 4));
  s.network.jitter = random(rng, Duration::micros(1), Duration::millis(1));
  if (rng.chance(0.6)) s.network.loss = rng.chance(0.5) ? 0.01 : 0.08;
  if (rng.chance(0.3)) s.network.twice = 0.02;
  if (rng.chance(0.3)) s.network.late = 0.03;
  if (rng.chance(0.2)) s.network.damaged = 0.02;
  s.network.late_by = random(rng, Duration::millis(1), Duration::millis(rng.chance(0.2) ? 400 : 30));
  s.replication = random(rng, Duration::micros(50), Duration::millis(rng.chance(0.2) ? 20 : 2));
  s.replication_jitter = random(rng, Duration::micros(1), Duration::millis(2));
  constexpr std::array epochs = {5, 10, 25, 50, 100};
  s.epoch = Duration::millis(epochs[rng.below(epochs.size())]);
  s.pause = random(rng, Duration::micros(200), Duration::millis(4));
  s.epochs_in_flight_max = static_cast<int>(rng.between(1, 3));
  s.join = random(rng, Duration::millis(1), Duration::millis(rng.chance(0.3) ? 600 : 60));
  s.takeover = random(rng, Duration::millis(2), Duration::millis(200));
  constexpr std::array<uint32_t, 4> capacities = {32 << 10, 64 << 10, 256 << 10, 4 << 20};
  const uint32_t room_for_scale = 64u << scale_max;
  s.limits.handshake.egress_capacity = std::max(capacities[rng.below(capacities.size())], room_for_scale);
  s.limits.handshake.ingress_capacity = std::max(capacities[rng.below(capacities.size())], room_for_scale);
  s.options = random_options(rng);
  if (rng.chance(0.15)) s.log_backlog_max = 4096 + rng.below(60000);
  s.faults_for = random(rng, Duration::millis(200), Duration::millis(2000));
  for (uint64_t i = rng.below(6); i > 0; --i) s.faults.push_back(random_fault(rng, s.faults_for));
  return s;
}

}  // namespace us::sim::relay
