// CaptureFile: what tcpdump has written, as TCP segments of connections to one server.
//
// Format: the classic capture file, microseconds or nanoseconds, either byte order
// (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html), of Ethernet frames.  Sequence and acknowledgement
// numbers are counted from each side's SYN, so the first byte is 1; a connection whose SYNs are not in the file is left
// out.  Pure but for reading the file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace us::bench {

struct CapturedSegment {
  int64_t at_ns = 0;         // since 1970
  uint16_t client_port = 0;  // which connection
  bool from_server = false;
  std::string flags;     // of "SFRPA"
  int64_t sequence = 0;  // of the first byte; the SYN is 0
  uint32_t bytes = 0;    // payload
  int64_t acknowledged = 0;
  uint32_t window = 0;  // scaled
};

// Errors: no capture file, or not of Ethernet.  A file that ends in the middle of a frame, as one does whose writer was
// stopped, is read up to there; frames that are no TCP are passed over.
Result<std::vector<CapturedSegment>> read_capture(ByteSpan file, uint16_t server_port);

}  // namespace us::bench
