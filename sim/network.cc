#include "sim/network.h"

#include <algorithm>
#include <utility>

namespace us::sim {
namespace {

constexpr size_t kBufferBytes = 256 * 1024;

}  // namespace

// ---- connections ----

bool Connection::writable(int side) const {
  return end(side).outgoing_bytes + end(1 - side).inbox.size() < kBufferBytes;
}

void Connection::send(int side, Bytes bytes) {
  if (!end(side).open || end(side).finish_sent) return;
  push(side, {std::move(bytes), false});
}

void Connection::push(int side, Item item) {
  End& from = end(side);
  from.outgoing_bytes += item.bytes.size();
  from.finish_sent |= item.finish;
  from.outgoing.push_back(std::move(item));
  if (from.held > 0)
    ++from.held;
  else
    schedule(side);
}

void Connection::schedule(int side) {
  End& from = end(side);
  World& world = network_.world_;
  from.last_arrival = std::max(from.last_arrival, world.now() + network_.delay(host(side)));
  world.after(from.last_arrival - world.now(), "stream", [self = shared_from_this(), side] { self->deliver(side); });
}

void Connection::deliver(int side) {
  End& from = end(side);
  if (from.outgoing.empty()) return;  // reset meanwhile
  if (network_.paths_[index_of(host(side))].streams_cut) {
    ++from.held;
    return;
  }
  Item item = std::move(from.outgoing.front());
  from.outgoing.pop_front();
  from.outgoing_bytes -= item.bytes.size();
  const int to_side = 1 - side;
  End& to = end(to_side);
  if (!network_.powered(host(to_side))) return;
  if (to.open && to_side == 1 && !to.accepted && !item.finish) {
    to.accepted = network_.accept(host(1), shared_from_this());
    if (!to.accepted) to.open = false;
  }
  if (!to.open) {
    // Nobody has this socket any more: the kernel says so.
    if (!item.finish && !to.finish_sent) push(to_side, {{}, true});
    return;
  }
  to.inbox.insert(to.inbox.end(), item.bytes.begin(), item.bytes.end());
  to.finished |= item.finish;
  notify(to_side);
}

void Connection::notify(int side) {
  if (end(side).open && end(side).readable) end(side).readable();
}

size_t Connection::read(int side, std::span<uint8_t> to) {
  std::deque<uint8_t>& inbox = end(side).inbox;
  const size_t n = std::min(inbox.size(), to.size());
  const auto last = inbox.begin() + static_cast<std::ptrdiff_t>(n);
  std::copy(inbox.begin(), last, to.begin());
  inbox.erase(inbox.begin(), last);
  return n;
}

void Connection::close(int side) {
  if (!end(side).open) return;
  end(side).open = false;
  end(side).readable = nullptr;
  if (!end(side).finish_sent) push(side, {{}, true});
}

void Connection::vanish(int side) {
  end(side).open = false;
  end(side).readable = nullptr;
  end(side).finish_sent = false;
}

void Connection::reset() {
  for (int side : {0, 1}) {
    End& e = end(side);
    e.outgoing.clear();
    e.outgoing_bytes = 0;
    e.held = 0;
    e.finish_sent = true;
    e.finished = true;
    notify(side);
  }
}

// ---- the network ----

Duration Network::delay(HostId from) {
  const Path& path = paths_[index_of(from)];
  return world_.random(path.delay_low, path.delay_high);
}

std::shared_ptr<Connection> Network::open(HostId from) {
  auto connection = std::make_shared<Connection>(*this, from);
  std::erase_if(connections_, [](const auto& weak) { return weak.expired(); });
  connections_.push_back(connection);
  return connection;
}

void Network::send_datagram(HostId from, Bytes bytes) {
  const Path& path = paths_[index_of(from)];
  Rng& rng = world_.rng();
  const int copies = rng.chance(path.loss) ? 0 : rng.chance(path.doubled) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    Duration wait = delay(from);
    if (rng.chance(path.late)) wait += world_.random(Duration{}, path.late_by);
    world_.after(wait, "datagram", [this, from, bytes] {
      if (!paths_[index_of(from)].datagrams_cut && powered(other(from))) datagram(other(from), bytes);
    });
  }
}

void Network::cut(HostId from, bool streams, bool datagrams) {
  Path& path = paths_[index_of(from)];
  path.streams_cut |= streams;
  path.datagrams_cut |= datagrams;
}

void Network::mend() {
  for (Path& path : paths_) path.streams_cut = path.datagrams_cut = false;
  for (const auto& weak : connections_) {
    const auto connection = weak.lock();
    if (!connection) continue;
    for (int side : {0, 1})
      for (size_t held = std::exchange(connection->end(side).held, 0); held > 0; --held) connection->schedule(side);
  }
}

void Network::reset_all() {
  for (const auto& weak : connections_)
    if (const auto connection = weak.lock()) connection->reset();
}

void Network::drop_host(HostId host, bool power) {
  for (const auto& weak : connections_) {
    const auto connection = weak.lock();
    if (!connection) continue;
    for (int side : {0, 1}) {
      if (connection->host(side) != host) continue;
      if (power)
        connection->vanish(side);
      else
        connection->close(side);
    }
  }
}

}  // namespace us::sim
