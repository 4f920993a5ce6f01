// The frames that tell a network where a guest is now: bridges and switches learn the port of its MAC address from
// their source, neighbours that its addresses still belong to that MAC.
//
//   RARP request        RFC 903; the customary "I have moved" for switches, needs no IP address
//   gratuitous ARP      RFC 5227 section 3 (request form) and RFC 826 (reply form): some stacks heed only one
//   unsolicited NA      RFC 4861 section 7.2.6, to all nodes, override flag set
#pragma once

#include <span>
#include <vector>

#include "core/net/address_learner.h"
#include "core/net/ethernet_frame.h"
#include "core/net/mac_address.h"

namespace us {

std::vector<EthernetFrame> announcement(const MacAddress& mac, std::span<const LearnedAddress> addresses);

}  // namespace us
