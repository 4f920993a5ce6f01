// Names the user need not choose: a NIC's MAC address and its tap interface, both made from the VM's name and
// the NIC's position, so that every host that reads the same VM file makes the same ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace us::config {

inline constexpr size_t kInterfaceNameMax = 15;  // IFNAMSIZ without the terminating zero

// "us-" + the name if the whole fits into kInterfaceNameMax, otherwise its beginning and four hex digits of its
// hash; then "-" and the position.
std::string derived_tap_name(std::string_view vm_name, size_t nic);

// 52:54:00 (QEMU's own prefix, locally administered) and three bytes of a hash.
std::array<uint8_t, 6> derived_mac(std::string_view vm_name, size_t nic);

// What the kernel takes: 1 to 15 characters without "/", ":", "%" or white space, not "." or "..", and not "all" or
// "default", which are names of their own below /proc/sys/net.
// takes.
bool is_interface_name(std::string_view name);

}  // namespace us::config
