// `understudy disk`: makes images, and looks into images that no VM uses at the time.
#pragma once

#include <CLI/CLI.hpp>

namespace us {

// Adds the command to `app`.  `status` becomes its exit status: 0 done, or equal; 1 not done, or they differ; 2 misuse.
CLI::App* add_disk_command(CLI::App& app, int& status);

}  // namespace us
