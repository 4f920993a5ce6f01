// Parameters: what things cost, as the microbenchmarks measured it; the scaling simulation's only source of figures.
//
// Text: a line `name = value`, the value in the unit that the name ends with; `#` begins a comment.  Every name must be
// there once.  sim/scale/parameters.txt says where each value comes from.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace us::sim::scale {

struct Parameters {
  // The relay, on the thread of the data path: from a frame in to the same bytes out, ACKs included.
  double relay_frame_us = 0;
  double relay_byte_ns = 0;
  // A capture: what it takes with no page dirty, and more for each dirty page.
  double pause_base_ms = 0;
  double pause_page_us = 0;
  // The sender's thread: a page compared with its history, encoded and written; its bytes on the link.
  double encode_page_us = 0;
  double page_wire_bytes = 0;
  double device_state_bytes = 0;
  // The standby: a page checked and put into its place; from the last byte to the acknowledgement, scheduling included.
  double apply_page_us = 0;
  double commit_fixed_ms = 0;
  // Bytes on the replication link for each byte that a relayed connection carries, of either direction.
  double log_byte_ratio = 0;
  // Pages that a guest dirties for each megabyte it sends or receives.
  double pages_per_mbyte = 0;
  // Pages that an idle guest dirties in a second.
  double idle_pages_per_second = 0;
};

// Errors (kInput) name the line.
Result<Parameters> parse_parameters(std::string_view text);

}  // namespace us::sim::scale
