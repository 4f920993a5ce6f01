// What `./do bench tcp` was asked for.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace us::bench {

struct Options {
  std::string program;    // the understudy executable
  std::string guest_dir;  // docs/guest.md
  int rounds = 3;
  bool quick = false;
  std::vector<std::string> scenarios;  // empty: all
  std::vector<std::string> modes;      // empty: all; unprotected is always measured
  std::vector<int> epochs_ms;          // empty: 10, 25, 50, 100
  std::vector<int> rtts_ms;            // empty: all that the scenario has
  int mbit = 150;                      // of the wire
  int queue_packets = 1000;            // of the wire: what Linux gives a network card, 80 ms at 150 Mbit/s
  std::string cc = "cubic";            // of the client
  std::string json_file;
  bool keep_files = false;  // logs of daemons and guests
};

}  // namespace us::bench
