// `understudy status`: asks the nodes of this host and shows what they say.
#pragma once

#include <string>

namespace us {

struct StatusOptions {
  std::string runtime_directory;
  std::string name;  // empty: all
  bool json = false;
  bool watch = false;
};

// The exit status: 0, or 1 when a node did not answer or there is none.
int show_status(const StatusOptions& options);

// `understudy flows NAME`: a row for each relayed connection.
int show_flows(const StatusOptions& options);

}  // namespace us
