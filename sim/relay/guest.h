// Guest: the guest's end of every connection, its clock, and what waits in its transmit ring.  A plain value: copying
// it is a checkpoint.  Its time stands still while it is stopped.
#pragma once

#include <deque>
#include <vector>

#include "sim/relay/tcp_end.h"

namespace us::sim::relay {

// What a relay has told one end so far: none of it may go back.
struct Told {
  uint64_t ack = 0, edge = 0;
  std::optional<uint32_t> timestamp;
};

struct Guest {
  std::vector<TcpEnd> ends;
  std::vector<Told> told;       // by the relay, in this history
  std::vector<Instant> starts;  // when it opens the connection, in its time; far_future: the client does
  std::deque<Packet> ring;      // sent, and not yet taken by the data path
  Instant time;                 // of the latest thing it did

  void run(Instant now) {
    time = now;
    for (size_t i = 0; i < ends.size(); ++i) {
      if (now >= starts[i]) {
        starts[i] = Instant::far_future();
        ends[i].connect(now);
      }
      ends[i].on_time(now);
      collect(ends[i]);
    }
  }
  void receive(const Packet& packet, Instant now) {
    time = now;
    TcpEnd& end = ends[number_of(packet.conn)];
    end.on_packet(packet, now);
    collect(end);
  }
  Instant next() const {
    Instant next = Instant::far_future();
    for (const TcpEnd& end : ends) next = std::min(next, end.next_time());
    for (const Instant start : starts) next = std::min(next, start);
    return next;
  }

 private:
  void collect(TcpEnd& end) {
    for (Packet& packet : end.take_out()) ring.push_back(std::move(packet));
  }
};

}  // namespace us::sim::relay
