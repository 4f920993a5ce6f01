// An Ethernet address.
#pragma once

#include <array>
#include <cstdint>

namespace us {

using MacAddress = std::array<uint8_t, 6>;

}  // namespace us
