#include "sim/host.h"

#include <utility>

#include "sim/actor.h"
#include "sim/judge.h"

namespace us::sim {

Actor::Actor(Host& host, const char* name, std::function<void()> turn)
    : host_(host), name_(name), state_(std::make_shared<State>()) {
  state_->turn = std::move(turn);
}

void Actor::wake() {
  if (std::exchange(state_->woken, true)) return;
  host_.post(host_.wake_delay(), name_, [weak = std::weak_ptr(state_)] {
    const std::shared_ptr<State> state = weak.lock();
    if (!state) return;
    state->woken = false;
    state->turn();
  });
}

void Actor::arm(Instant when) {
  if (when == state_->armed) return;
  state_->armed = when;
  const uint64_t token = ++state_->token;
  if (when == Instant::far_future()) return;
  const Duration left = when - host_.now();
  const Duration wait = left <= Duration{} ? Duration{} : host_.clock().true_length(left);
  host_.post(wait, name_, [weak = std::weak_ptr(state_), token] {
    const std::shared_ptr<State> state = weak.lock();
    if (!state || token != state->token) return;
    state->armed = Instant::far_future();
    state->turn();
  });
}

Host::Host(Lab& lab, HostId id, HostClock clock) : lab_(lab), id_(id), clock_(clock) {
  Rng& rng = lab.world.rng();
  const bool garbage = id == HostId::kB && rng.chance(0.5);
  files_ = std::make_unique<DiskFiles>(rng.next(), static_cast<uint8_t>(1 + index_of(id)), garbage);
}

Duration Host::disk_delay() {
  return disk_slow + lab_.world.random(Duration::micros(20),
                                       lab_.world.rng().chance(0.05) ? Duration::millis(4) : Duration::micros(300));
}

Duration Host::wake_delay() {
  const WiringTimes& t = lab_.times;
  World& world = lab_.world;
  const Duration usual = world.random(t.wake_low, t.wake_high);
  return world.rng().chance(t.busy) ? usual + world.random(Duration{}, t.busy_by) : usual;
}

void Host::boot(Generation generation) {
  up_ = powered_ = true;
  note("boots the guest, generation", generation.value());
  if (lab_.shared_disk) lab_.image_holder = id_;
  DiskReplica::Image image = *files().open();
  image.record = *image.record.go_live(generation, image.last);
  if (lab_.shared_disk) image.record.shared_by = "sim";
  files().write_record(image.record);
  primary_ =
      std::make_unique<PrimaryNode>(*this, std::make_unique<Guest>(), generation, image.record, std::move(image.map));
  primary_->start({});
}

void Host::stand_by() {
  up_ = powered_ = true;
  note("stands by");
  standby_ = std::make_unique<StandbyNode>(*this);
}

void Host::end_process() {
  lab_.world.kill(id_);
  if (lab_.image_holder == id_) lab_.image_holder.reset();
  primary_.reset();
  standby_.reset();
  datagrams_.clear();
  changing_ = false;
}

void Host::rejoin() {
  post(Duration::millis(5), "role changes", [this] {
    lab_.network.drop_host(id_, false);
    end_process();
    stand_by();
  });
}

void Host::take_over(std::unique_ptr<Guest> guest, Generation generation, DiskReplica& disk,
                     std::shared_ptr<Connection> stream, bool planned) {
  changing_ = true;
  const auto shared = std::make_shared<std::unique_ptr<Guest>>(std::move(guest));
  const auto map = std::make_shared<DirtyMap>(disk.take_map());
  post(Duration::micros(300), "role changes", [this, shared, generation, stream, planned, map, record = disk.record()] {
    const std::optional<HostId> holder = lab_.image_holder;  // the process goes on, and its lock with it
    end_process();
    lab_.image_holder = holder;
    note("is primary, generation", generation.value());
    primary_ = std::make_unique<PrimaryNode>(*this, std::move(*shared), generation, record, std::move(*map));
    primary_->start([stream, generation, planned] {
      if (!stream) return;
      if (planned) stream->send(1, encode(HandoverDone{generation}));
      stream->close(1);
    });
  });
}

void Host::exit() {
  post(Duration::micros(100), "process exits", [this] {
    lab_.network.drop_host(id_, false);
    end_process();
    up_ = false;
  });
}

void Host::crash(bool power) {
  note(power ? "loses power" : "is killed");
  lab_.judge->on_destroyed(id_);
  lab_.network.drop_host(id_, power);
  // What is on a shared image and not synced is of who has it.
  const bool loses = power && (!lab_.shared_disk || lab_.image_holder == id_);
  end_process();
  lab_.world.thaw(id_);
  if (loses) files().power_loss();
  if (loses && lab_.shared_disk) lab_.judge->on_shared_power_loss(files());
  up_ = false;
  powered_ = !power;
}

bool Host::accept(std::shared_ptr<Connection> connection) {
  if (!up_ || !standby_) return false;
  standby_->on_caller(std::move(connection));
  return true;
}

void Host::on_datagram(Bytes bytes) {
  if (!up_) return;
  datagrams_.push_back(std::move(bytes));
  if (primary_) primary_->wake_coordinator();
  if (standby_) standby_->wake_coordinator();
}

void Host::on_request(uint32_t client, uint64_t request) {
  // The data path of a frozen host takes it from the tap when it thaws.
  if (up_ && primary_)
    post(wake_delay(), "request in", [this, client, request] {
      if (primary_) primary_->on_request(client, request);
    });
}

}  // namespace us::sim
