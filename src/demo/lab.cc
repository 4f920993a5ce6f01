#include "demo/lab.h"

#include <fmt/format.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <utility>

#include "base/check.h"
#include "demo/command.h"

namespace us::demo {
namespace {

std::string lan_port(size_t host) { return fmt::format("lan-{}", kHostNames[host]); }
// A machine keeps its network cards when it is restarted.
std::string mac_of(size_t host, int card) { return fmt::format("02:55:53:00:{:02x}:{:02x}", host, card); }
constexpr const char* kClientMac = "02:55:53:00:ff:01";
constexpr const char* kNetwork = "10.50.0.0/24";
constexpr const char* kClientCable = "lan0";
constexpr const char* kClientWire = "wire0";
constexpr const char* kCablePort = "client";  // of the switch
constexpr const char* kWirePort = "wire";
std::string replication_port(size_t host) { return fmt::format("repl-{}", kHostNames[host]); }

// Runs `ip -n NS WORDS`.
Status ip(const NetNs& ns, const std::string& words) {
  std::vector<std::string> argv = {"ip", "-n", ns.name()};
  std::istringstream in(words);
  for (std::string word; in >> word;) argv.push_back(word);
  US_TRY(run_checked(argv));
  return {};
}

Result<UniqueFd> tap_inside(const NetNs& ns, const std::string& name) {
  Result<UniqueFd> made;
  std::thread([&] {
    const Status entered = ns.enter();
    if (entered)
      made = create_wire_tap(name);
    else
      made = tl::unexpected(entered.error());
  }).join();
  return made;
}

Status address_client(const NetNs& client, const std::string& interface) {
  US_TRY(ip(client, fmt::format("addr replace {}/24 dev {}", kClientAddress, interface)));
  return ip(client, fmt::format("addr replace {}/64 dev {} nodad", kClientAddress6, interface));
}

Result<uint64_t> transmit_drops(const NetNs& ns, const std::string& interface) {
  US_ASSIGN(const std::string text, run_checked({"ip", "-n", ns.name(), "-s", "-j", "link", "show", interface}));
  const auto parsed = nlohmann::json::parse(text, nullptr, false);
  const auto drops = nlohmann::json::json_pointer("/0/stats64/tx/dropped");
  if (!parsed.is_array() || !parsed.contains(drops)) return fail(ErrorKind::kSystem, "ip shows no statistics");
  return parsed[drops].get<uint64_t>();
}

// Of a namespace; bridges, whose MTU cannot be greater than a port's, last.
Result<std::vector<std::string>> interfaces(const NetNs& ns) {
  US_ASSIGN(const std::string text, run_checked({"ip", "-n", ns.name(), "-d", "-j", "link", "show"}));
  const auto parsed = nlohmann::json::parse(text, nullptr, false);
  if (!parsed.is_array()) return fail(ErrorKind::kSystem, "ip lists no interfaces");
  std::vector<std::string> ports, bridges;
  for (const auto& link : parsed) {
    const bool bridge = link.contains("linkinfo") && link["linkinfo"].value("info_kind", "") == "bridge";
    (bridge ? bridges : ports).push_back(link.value("ifname", ""));
  }
  ports.insert(ports.end(), bridges.begin(), bridges.end());
  return ports;
}

Status add_bridge(const NetNs& ns, const std::string& bridge) {
  US_TRY(ip(ns, fmt::format("link add {} type bridge forward_delay 0", bridge)));
  return ip(ns, fmt::format("link set {} up", bridge));
}

// A cable from `port` of the switch, which joins `bridge` there, to `interface` of `machine`.
Status add_cable(const NetNs& network_switch, const std::string& port, const std::string& bridge, const NetNs& machine,
                 const std::string& interface, const std::string& mac) {
  US_TRY(ip(network_switch, fmt::format("link add {} type veth peer name {} address {} netns {}", port, interface, mac,
                                        machine.name())));
  US_TRY(ip(network_switch, fmt::format("link set {} master {} up", port, bridge)));
  return ip(machine, fmt::format("link set {} up", interface));
}

// The process id in "us-PID-...", or 0 for other names.
pid_t owner_of(const std::string& name) {
  int pid = 0, used = 0;
  return std::sscanf(name.c_str(), "us-%d-%n", &pid, &used) == 1 && used > 0 ? pid : 0;
}

}  // namespace

Lab::Lab(std::string prefix, NetNs client, NetNs network_switch, NetNs host_a, NetNs host_b, UniqueFd switch_control)
    : prefix_(std::move(prefix)),
      client_(std::move(client)),
      switch_(std::move(network_switch)),
      hosts_{std::move(host_a), std::move(host_b)},
      switch_control_(std::move(switch_control)) {}

Result<Lab> Lab::create(const std::string& prefix, const std::optional<WireConfig>& wire) {
  US_ASSIGN(NetNs client, NetNs::create(prefix + "-client"));
  US_ASSIGN(NetNs network_switch, NetNs::create(prefix + "-switch"));
  US_ASSIGN(NetNs host_a, NetNs::create(prefix + "-hostA"));
  US_ASSIGN(NetNs host_b, NetNs::create(prefix + "-hostB"));
  US_ASSIGN(UniqueFd control, network_switch.open_control_socket());
  Lab lab(prefix, std::move(client), std::move(network_switch), std::move(host_a), std::move(host_b),
          std::move(control));
  US_TRY(lab.wire_switch());
  US_TRY(lab.wire_client());
  for (size_t host = 0; host < kHosts; ++host) US_TRY(lab.wire_host(host));
  if (wire) US_TRY(lab.add_wire(*wire));
  return lab;
}

void Lab::sweep() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/run/netns", error)) {
    const std::string name = entry.path().filename();
    const pid_t owner = owner_of(name);
    const bool orphan = owner > 0 && ::kill(owner, 0) != 0 && errno == ESRCH;
    if (orphan) static_cast<void>(run_command({"ip", "netns", "delete", name}));
  }
}

Status Lab::wire_switch() {
  US_TRY(add_bridge(switch_, "lan"));
  return add_bridge(switch_, "repl");
}

Status Lab::wire_client() {
  US_TRY(add_cable(switch_, kCablePort, "lan", client_, kClientCable, kClientMac));
  return address_client(client_, kClientCable);
}

Status Lab::add_wire(const WireConfig& config) {
  US_ASSIGN(UniqueFd at_client, tap_inside(client_, kClientWire));
  US_ASSIGN(UniqueFd at_switch, tap_inside(switch_, kWirePort));
  US_TRY(ip(client_, fmt::format("link set {} address {}", kClientWire, kClientMac)));
  US_TRY(ip(switch_, fmt::format("link set {} master lan addrgenmode none", kWirePort)));
  US_ASSIGN(wire_, Wire::start(std::move(at_client), std::move(at_switch), config));
  return connect_client(ClientLine::kWire);
}

Status Lab::connect_client(ClientLine line) const {
  const bool wire = line == ClientLine::kWire;
  US_CHECK(!wire || wire_);
  US_TRY(ip(client_, fmt::format("link set {} down", wire ? kClientCable : kClientWire)));
  US_TRY(ip(switch_, fmt::format("link set {} down", wire ? kCablePort : kWirePort)));
  US_TRY(ip(switch_, fmt::format("link set {} up", wire ? kWirePort : kCablePort)));
  US_TRY(ip(client_, fmt::format("link set {} up", wire ? kClientWire : kClientCable)));
  return address_client(client_, wire ? kClientWire : kClientCable);
}

Status Lab::set_client_congestion_control(ClientLine line, const std::string& name) const {
  return ip(client_, fmt::format("route replace {} dev {} proto kernel scope link src {} congctl {}", kNetwork,
                                 line == ClientLine::kWire ? kClientWire : kClientCable, kClientAddress, name));
}

Status Lab::set_mtu(int mtu) const {
  for (const NetNs* ns : {&client_, &switch_, &hosts_[0], &hosts_[1]}) {
    US_ASSIGN(const std::vector<std::string> names, interfaces(*ns));
    for (const std::string& name : names)
      if (name != "lo" && !name.starts_with("repl")) US_TRY(ip(*ns, fmt::format("link set {} mtu {}", name, mtu)));
  }
  return {};
}

Result<uint64_t> Lab::wire_overruns() const {
  US_CHECK(wire_);
  US_ASSIGN(const uint64_t to_switch, transmit_drops(client_, kClientWire));
  US_ASSIGN(const uint64_t to_client, transmit_drops(switch_, kWirePort));
  return to_switch + to_client;
}

Status Lab::wire_host(size_t host) {
  const NetNs& ns = hosts_[host];
  US_TRY(add_bridge(ns, kHostBridge));
  US_TRY(add_cable(switch_, lan_port(host), "lan", ns, "lan0", mac_of(host, 1)));
  US_TRY(ip(ns, fmt::format("link set lan0 master {}", kHostBridge)));
  US_TRY(add_cable(switch_, replication_port(host), "repl", ns, "repl0", mac_of(host, 2)));
  return ip(ns, fmt::format("addr add {}/24 dev repl0", kReplicationAddress[host]));
}

Status Lab::set_port(const std::string& port, bool up) const {
  ifreq request{};
  port.copy(request.ifr_name, sizeof request.ifr_name - 1);
  if (::ioctl(switch_control_.get(), SIOCGIFFLAGS, &request) != 0) return fail_errno("read flags of " + port, errno);
  request.ifr_flags = static_cast<short>(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
  if (::ioctl(switch_control_.get(), SIOCSIFFLAGS, &request) != 0) return fail_errno("set flags of " + port, errno);
  return {};
}

Status Lab::set_lan_cable(size_t host, bool plugged) const { return set_port(lan_port(host), plugged); }

Status Lab::set_replication_cable(size_t host, bool plugged) const { return set_port(replication_port(host), plugged); }

Status Lab::power_off(size_t host) const {
  // Found before the cables go: between silence and death there must be nothing but the signals.
  const auto victims = hosts_[host].processes();
  US_TRY(set_replication_cable(host, false));
  US_TRY(set_lan_cable(host, false));
  for (const pid_t pid : victims) ::kill(pid, SIGKILL);
  return hosts_[host].kill_processes();
}

Status Lab::power_on(size_t host) {
  const std::string name = hosts_[host].name();
  { const NetNs gone = std::move(hosts_[host]); }
  // The kernel takes a namespace apart in its own time; the cables must make room for new ones now, unless they are
  // gone already.
  for (const std::string& port : {lan_port(host), replication_port(host)})
    static_cast<void>(run_command({"ip", "-n", switch_.name(), "link", "delete", port}));
  US_ASSIGN(hosts_[host], NetNs::create(name));
  return wire_host(host);
}

}  // namespace us::demo
