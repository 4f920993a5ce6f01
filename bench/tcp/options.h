// What `./do bench micro tcp` was asked for.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace us::bench {

struct Options {
  std::string program{};    // the understudy executable
  std::string guest_dir{};  // docs/guest.md
  int rounds = 5;
  bool quick = false;                     // shorter measurements
  std::vector<std::string> scenarios{};   // empty: all
  std::string slice{};                    // which settings; empty: what the scenario has by default
  std::vector<std::string> modes{};       // empty: all of the slice; unprotected is always measured
  std::vector<std::string> epochs{};      // empty: all of the slice
  std::vector<std::string> directions{};  // empty: all that the scenario has; likewise the next two
  std::vector<int> rtts_ms{};
  std::vector<double> losses{};
  int mbit = 150;            // of the wire
  int queue_packets = 1000;  // of the wire at an MTU of 1500: what Linux gives a network card, 80 ms at 150 Mbit/s
  int mtu = 1500;            // of the client's line and the guest
  std::string cc = "cubic";  // congestion control of the client
  std::string results{};     // directory for the raw data; empty: none
  std::string step = "tcp";  // what its files are called
  bool keep_files = false;   // logs of daemons and guests
};

}  // namespace us::bench
