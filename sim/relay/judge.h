// Judge: holds every packet that leaves, and everything that arrives, against what may be known and said at this
// instant.  The rules are those of docs/tcp-relay.md; each check throws Violation.
#pragma once

#include <vector>

#include "sim/relay/lab.h"

namespace us::sim::relay {

class Judge {
 public:
  explicit Judge(Lab& lab);

  // To the clients, in the order in which it leaves.
  void on_release(const Packet& packet, bool of_relay);
  // From the relay to the guest, in order.
  void on_relay_to_guest(const Packet& packet);
  void on_client_received(size_t i);
  void on_session(const Relay& relay);
  // `guest` is the history that goes on.
  void on_takeover(const Guest& guest);
  void note_flows(const Relay& relay);
  void at_end();

  // What the guest surely is, whoever ends now: the state that a takeover would restore, or the live one when this host
  // is alone.
  const Guest& truth() const;

 private:
  struct Wire {
    Told told;
    Spans sacked;
    uint64_t taken_alone = 0;  // before the session began
    bool relayed = false;      // there is a relay for it now
    bool ended = false;        // there was, and it has done its work
  };
  void check_data(const Packet& p, const TcpEnd& guest, const TcpEnd& client) const;
  void check_ack(const Packet& p, const TcpEnd& guest, const TcpEnd& client, Wire& wire);
  void check_sacks(const Packet& p, const TcpEnd& guest, const TcpEnd& client, Wire& wire) const;
  static void check_told(const Packet& p, Told& told, uint64_t ack, uint8_t scale, bool timestamps, const char* to);

  Lab& lab_;
  std::vector<Wire> wires_;
  std::vector<uint64_t> compared_;
};

}  // namespace us::sim::relay
