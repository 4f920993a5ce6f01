// Comparing the VM definitions of two hosts, so that a refused standby can tell its operator which key differs.
//
// A definition travels as canonical text: lines of "key = value"; a key may repeat (disks, NICs), and then the order
// counts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace us {

// XXH3-64 of the text: Hello::definition_hash.
uint64_t definition_hash(std::string_view text);

// One clause for each key that differs, as in
//   memory is "536870912" on the primary and "1073741824" on the standby; cpu is absent on the primary and "max" on the
//   standby
// Empty when no key differs.  Values are shortened, and both texts may come from a peer.
std::string explain_definition_difference(std::string_view primary, std::string_view standby);

}  // namespace us
