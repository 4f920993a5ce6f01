// Runs a short-lived program and collects what it prints (standard output and standard error together).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace us::demo {

struct CommandResult {
  int exit_status = -1;  // -1: it did not end by itself
  std::string output;
};

// Errors: the program cannot be started, or it runs longer than `limit` (it is then killed).
Result<CommandResult> run_command(const std::vector<std::string>& argv, Duration limit = Duration::seconds(10));

// The same for a program that must succeed: another exit status than 0 is an error that shows the output.
Result<std::string> run_checked(const std::vector<std::string>& argv, Duration limit = Duration::seconds(10));

}  // namespace us::demo
