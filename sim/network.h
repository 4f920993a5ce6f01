// The replication network: streams and datagrams between the two hosts.
//
// A stream is ordered and never loses a byte while it lives.  A cut holds its bytes back until the cut is mended, and
// nobody is told; a reset or a closed socket is told after what was sent before it.  A host that lost power tells
// nothing; its peer learns of it when it sends to the host after the restart.
// Datagrams are lost, doubled, delayed and overtaken, and lost for good in a cut.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "sim/world.h"

namespace us::sim {

class Network;

// A TCP connection.  Side 0 opened it.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Network& network, HostId opener) : network_(network), hosts_{opener, other(opener)} {}

  HostId host(int side) const { return hosts_[static_cast<size_t>(side)]; }
  // Called by the network when there is something to read; the owner schedules its own event from it.
  void on_readable(int side, std::function<void()> callback) { end(side).readable = std::move(callback); }

  bool writable(int side) const;  // the buffers in between are not full
  void send(int side, Bytes bytes);
  size_t read(int side, std::span<uint8_t> to);
  bool at_end(int side) const { return end(side).inbox.empty() && end(side).finished; }
  void close(int side);
  // The host of `side` has lost power.
  void vanish(int side);
  // Both ends are told that the connection is gone; bytes in between are lost.
  void reset();
  bool open(int side) const { return end(side).open; }

 private:
  friend class Network;
  struct Item {
    Bytes bytes;
    bool finish = false;
  };
  struct End {
    bool open = true;
    bool accepted = false;      // a process has it
    std::deque<uint8_t> inbox;  // received, not read
    bool finished = false;      // nothing will follow what is in the inbox
    std::deque<Item> outgoing;  // on its way to the other side
    size_t outgoing_bytes = 0;
    bool finish_sent = false;
    Instant last_arrival;
    size_t held = 0;  // deliveries that a cut has kept from happening
    std::function<void()> readable;
  };
  End& end(int side) { return ends_[static_cast<size_t>(side)]; }
  const End& end(int side) const { return ends_[static_cast<size_t>(side)]; }
  void push(int side, Item item);
  void schedule(int side);
  void deliver(int side);
  void notify(int side);

  Network& network_;
  std::array<HostId, 2> hosts_;
  std::array<End, 2> ends_;
};

class Network {
 public:
  // What the way from one host to the other is like.
  struct Path {
    bool streams_cut = false;
    bool datagrams_cut = false;
    Duration delay_low = Duration::micros(50);
    Duration delay_high = Duration::micros(400);
    double loss = 0;
    double doubled = 0;
    double late = 0;  // datagrams that take up to late_by longer
    Duration late_by = Duration::millis(150);
  };

  explicit Network(World& world) : world_(world) {}

  // Who takes new connections and datagrams on each host.  `accept` false: nobody listens.
  std::function<bool(HostId, std::shared_ptr<Connection>)> accept;
  std::function<void(HostId, Bytes)> datagram;
  std::function<bool(HostId)> powered;

  std::shared_ptr<Connection> open(HostId from);
  void send_datagram(HostId from, Bytes bytes);

  Path& path(HostId from) { return paths_[index_of(from)]; }
  // Cuts or mends everything that leaves `from`.
  void cut(HostId from, bool streams, bool datagrams);
  void mend();
  // Every connection is reset.
  void reset_all();
  // The process on `host` is gone; its sockets are closed, or vanish with the power.
  void drop_host(HostId host, bool power);

 private:
  friend class Connection;
  Duration delay(HostId from);

  World& world_;
  std::array<Path, 2> paths_;
  std::vector<std::weak_ptr<Connection>> connections_;
};

}  // namespace us::sim
