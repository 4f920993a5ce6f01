#include "sim/client.h"

#include <fmt/format.h>

#include "sim/host.h"
#include "sim/judge.h"
#include "sim/lab.h"

namespace us::sim {
namespace {

constexpr Duration kThinkMax = Duration::millis(8);
constexpr Duration kRepeatLow = Duration::millis(40);
constexpr Duration kRepeatHigh = Duration::millis(120);
constexpr Duration kWayLow = Duration::micros(80);
constexpr Duration kWayHigh = Duration::micros(900);

}  // namespace

void Client::start() {
  lab_.world.after(lab_.world.random(Duration{}, kThinkMax), "client sends", [this] { send(); });
}

void Client::send() {
  World& world = lab_.world;
  // A network that still looks for the guest delivers to both.
  for (HostId host : kHosts)
    world.after(world.random(kWayLow, kWayHigh), "request",
                [this, host, request = request_] { lab_.host(host).on_request(number_, request); });
  const uint64_t expected = ++tries_;
  world.after(world.random(kRepeatLow, kRepeatHigh), "client repeats", [this, expected] {
    if (tries_ == expected) send();
  });
}

void Client::on_reply(const GuestOutput& reply) {
  if (reply.request < request_) return;  // an answer to a repetition
  if (reply.request > request_)
    lab_.judge->violation(
        fmt::format("client {} got an answer to request {} before it was made", number_, reply.request));
  if (reply.value != request_)
    lab_.judge->violation(
        fmt::format("client {}: request {} was answered with count {}: an acknowledged request was "
                    "lost or repeated",
                    number_, request_, reply.value));
  ++answered_;
  ++request_;
  ++tries_;
  start();
}

}  // namespace us::sim
