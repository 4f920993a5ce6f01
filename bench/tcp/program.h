// Runs a client program in the client's namespace.
#pragma once

#include <string>
#include <vector>

#include "tcp/client.h"

namespace us::bench {

// What it printed.  Errors: interrupted (it is killed), it takes longer than `limit`, or it cannot be started.
Result<std::string> output_of(const Client& client, const std::vector<std::string>& argv, Duration limit);

}  // namespace us::bench
