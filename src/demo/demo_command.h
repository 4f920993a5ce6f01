// The `demo` command of the command line.
#pragma once

namespace CLI {
class App;
}

namespace us::demo {

// Adds `demo` to `app` and returns it.  When the user gives it, parsing runs the demo and stores its exit status.
CLI::App* add_demo_command(CLI::App& app, int& exit_status);

}  // namespace us::demo
