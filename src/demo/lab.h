// Lab: the demo's network, made of namespaces on one machine.
//
//        client            switch                    host A / host B
//     10.50.0.1/24       +---------+
//     lan0 --------------| lan br. |---------------- lan0 -- br0 -- (tap of the guest, 10.50.0.10)
//     fd50::1/64         |         |
//                        | repl br.|---------------- repl0  10.60.0.1/24 or 10.60.0.2/24
//                        +---------+
//
// The two hosts' data LAN and replication link share nothing but the switch's namespace.  A cable is cut at the
// switch, so a host sees no more than a lost carrier.  Namespaces are called PREFIX-client and so on; nothing outside
// them is touched.  Needs root and iproute2.
//
// With a WireConfig there is a second line between client and switch, with a rate, a delay and losses (wire/wire.h):
//
//     lan0 ----- cable ----- lan br.        one of the two is up at a time; the client has the same
//     wire0 ----- wire ----- lan br.        addresses on both
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "demo/netns.h"
#include "wire/wire.h"

namespace us::demo {

inline constexpr size_t kHosts = 2;
inline constexpr const char* kClientAddress = "10.50.0.1";
inline constexpr const char* kGuestAddress = "10.50.0.10";
inline constexpr const char* kClientAddress6 = "fd50::1";
inline constexpr const char* kGuestAddress6 = "fd50::10";
inline constexpr const char* kHostBridge = "br0";
inline constexpr std::array<const char*, kHosts> kReplicationAddress = {"10.60.0.1", "10.60.0.2"};
inline constexpr std::array<const char*, kHosts> kHostNames = {"A", "B"};

class Lab {
 public:
  // `prefix` must be unique on this machine: "us-PID" by convention, so that sweep() knows whose it is.
  // With `wire`, the client is connected through it at first.
  static Result<Lab> create(const std::string& prefix, const std::optional<WireConfig>& wire = std::nullopt);

  // Deletes what demos that were killed have left: namespaces "us-PID-..." whose process is gone.
  static void sweep();

  const NetNs& client() const { return client_; }
  const NetNs& host(size_t index) const { return hosts_[index]; }

  // The client's line to the switch from now on; kWire needs a lab with a wire.  Connections that are open break.
  enum class ClientLine { kCable, kWire };
  Status connect_client(ClientLine line) const;
  // Of the client's IPv4 connections to the guest from now on, unless a socket chooses its own; until the line changes.
  // By the route (ip-route(8), congctl): a namespace may not choose freely for all its sockets, its routes may.
  Status set_client_congestion_control(ClientLine line, const std::string& name) const;
  // Of everything between client and guest, the guest's own card apart; the replication link keeps its own.
  Status set_mtu(int mtu) const;
  Wire* wire() const { return wire_.get(); }  // nullptr: none
  // Frames that the kernel could not hand over to the wire since it exists; 0 unless this machine is too slow.
  Result<uint64_t> wire_overruns() const;

  // Plugs or unplugs a cable at the switch; takes microseconds.
  Status set_lan_cable(size_t host, bool plugged) const;
  Status set_replication_cable(size_t host, bool plugged) const;

  // The host loses power: both cables go silent at once, then every process on it gets SIGKILL.
  Status power_off(size_t host) const;

  // A fresh machine in its place: nothing of the old one is left but its name and addresses.
  Status power_on(size_t host);

 private:
  Lab(std::string prefix, NetNs client, NetNs network_switch, NetNs host_a, NetNs host_b, UniqueFd switch_control);
  Status set_port(const std::string& port, bool up) const;
  Status wire_client();
  Status wire_switch();
  Status wire_host(size_t host);
  Status add_wire(const WireConfig& config);

  std::string prefix_;
  NetNs client_;
  NetNs switch_;
  std::array<NetNs, kHosts> hosts_;
  UniqueFd switch_control_;
  std::unique_ptr<Wire> wire_;  // last: it ends before the namespaces do
};

}  // namespace us::demo
