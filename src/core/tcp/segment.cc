#include "core/tcp/segment.h"

namespace us {

std::string_view to_string(RelayObstacle obstacle) {
  switch (obstacle) {
    case RelayObstacle::kNone:
      return "none";
    case RelayObstacle::kMalformedOptions:
      return "malformed TCP options";
    case RelayObstacle::kSynData:
      return "data or FIN on SYN";
    case RelayObstacle::kFastOpen:
      return "TCP Fast Open";
    case RelayObstacle::kMultipath:
      return "Multipath TCP";
    case RelayObstacle::kMd5:
      return "TCP MD5 signature";
    case RelayObstacle::kAo:
      return "TCP Authentication Option";
    case RelayObstacle::kUnknownOption:
      return "unknown TCP option";
    case RelayObstacle::kUrgent:
      return "urgent data";
    case RelayObstacle::kAccurateEcn:
      return "Accurate ECN";
    case RelayObstacle::kIpOptions:
      return "IP options or extension headers";
  }
  return "?";
}

RelayObstacle relay_obstacle(const Segment& s) {
  const uint8_t unusual = s.options.unusual;
  if (unusual & TcpOptions::kMalformed) return RelayObstacle::kMalformedOptions;
  if (unusual & TcpOptions::kFastOpen) return RelayObstacle::kFastOpen;
  if (unusual & TcpOptions::kMultipath) return RelayObstacle::kMultipath;
  if (unusual & TcpOptions::kMd5) return RelayObstacle::kMd5;
  if (unusual & TcpOptions::kAo) return RelayObstacle::kAo;
  if (unusual & TcpOptions::kUnknown) return RelayObstacle::kUnknownOption;
  if (s.has(tcp_flag::kUrg)) return RelayObstacle::kUrgent;
  if (!s.has(tcp_flag::kSyn)) return RelayObstacle::kNone;
  if (s.payload_length != 0 || s.has(tcp_flag::kFin)) return RelayObstacle::kSynData;
  if (s.has(tcp_flag::kAe)) return RelayObstacle::kAccurateEcn;
  return RelayObstacle::kNone;
}

}  // namespace us
