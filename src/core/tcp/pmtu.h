// PathMtu: the payload size of a full segment, and what lowers it: an ICMP report, or silence to full segments only.
//
// Source: RFC 1191 and RFC 8201 (reports), RFC 8899 sections 3 and 4.3 in the small (black hole detection: without
// reports, full segments that time out repeatedly are tried smaller).  Sizes are payload bytes (what remains of the MTU
// after headers and options); the owner converts.
//
// A black hole and an outage look alike: the first time the full size comes back as soon as the peer acknowledges
// anything, the second time the smaller one stays.  What a report has lowered stays as well.
//
// The floor keeps a forged report from making segments tiny; that the report quotes bytes in flight, the sender checks
// (RFC 5927 section 4).
#pragma once

#include <cstdint>

namespace us {

class PathMtu {
 public:
  PathMtu(uint32_t mss, uint32_t floor) : mss_(mss), floor_(floor < mss ? floor : mss) {}

  uint32_t mss() const { return mss_; }
  // All return true when the size has changed.
  bool on_too_big(uint32_t mss);
  bool on_timeout(uint32_t retries, bool full_segment);  // `retries`: timeouts in a row, this one included
  bool on_progress();                                    // the peer acknowledged something new

 private:
  uint32_t mss_;
  uint32_t floor_;
  uint32_t suspended_ = 0;  // the size before the first suspicion; 0: none is open
  bool suspected_before_ = false;
};

}  // namespace us
