// Doctor: runs the probes and says in plain words what this host lacks.
//
// `understudy doctor` examines the host; with a VM file also that VM's machine, files, bridges and arbiter.
// Takes a few seconds; makes and removes a tap and a bridge, and starts three short-lived QEMUs.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "config/vm_config.h"
#include "probes/finding.h"

namespace us {

struct DoctorOptions {
  std::string vm_file;  // empty: only the host
  bool json = false;
};

// Prints to `out`.  The process's exit status: 0 when a VM can be protected here (degraded findings included), 1 when
// not, 2 when the VM file has faults.
int run_doctor(const DoctorOptions& options, std::ostream& out);

// `vm`: null for the host alone.
std::vector<probes::Finding> examine(const VmConfig* vm);

// One line a finding; below each that is not ok: what it is for, and what to do.  Ends in a verdict.
std::string findings_text(const std::vector<probes::Finding>& findings);

// {"usable": true, "findings": [{"probe", "purpose", "verdict", "evidence", "advice"}, ...]}
nlohmann::json findings_json(const std::vector<probes::Finding>& findings);

}  // namespace us
