#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>

#include "cli/audit_command.h"
#include "cli/disk_command.h"
#include "cli/status_command.h"
#include "demo/demo_command.h"
#include "host/control_server.h"
#include "host/doctor.h"
#include "host/node.h"

namespace {

int run_node(const us::NodeOptions& options, us::Node::First first) {
  auto node = us::Node::create(options);
  if (!node) {
    std::cerr << "understudy: " << node.error().message << "\n";
    return node.error().kind == us::ErrorKind::kInput ? 2 : 1;
  }
  return (*node)->run(first);
}

int send_command(const std::string& runtime_directory, const std::string& name, const char* command,
                 const std::string& assignment = {}) {
  const auto answer = us::control_request(us::control_path(runtime_directory, name),
                                          {{"command", command}, {"assignment", assignment}});
  if (!answer) {
    std::cerr << "understudy: " << answer.error().message << "\n";
    return 1;
  }
  std::cout << answer->get<std::string>() << "\n";
  return 0;
}

void add_node_options(CLI::App& app, us::NodeOptions& options) {
  app.add_option("VM.toml", options.vm_file, "the VM file, the same on every host")->required();
  app.add_option("--listen", options.listen,
                 "which entry of replication.hosts this host is (default: the one that is an address of this host)");
}

void set_up_logging() {
  auto log = spdlog::stderr_color_mt("understudy");
  log->set_pattern("%H:%M:%S.%e %^%-7l%$ %v");
  spdlog::set_default_logger(log);
}

}  // namespace

int main(int argc, char** argv) {
  set_up_logging();
  CLI::App app{
      "Understudy keeps a virtual machine running when the host under it dies.\n\n"
      "  understudy run db.toml        on the first host: start the VM\n"
      "  understudy standby db.toml    on the second host: protect it\n"
      "  understudy status --watch     on either\n"};
  app.require_subcommand(1);
  app.fallthrough();
  const char* from_environment = std::getenv("UNDERSTUDY_RUNTIME_DIR");
  std::string runtime_directory = from_environment != nullptr ? from_environment : "/run/understudy";
  app.add_option("--runtime-dir", runtime_directory, "where a host's nodes keep their sockets (UNDERSTUDY_RUNTIME_DIR)")
      ->capture_default_str();

  us::NodeOptions node;
  auto* run =
      app.add_subcommand("run", "start the VM as primary and protect it with a standby as soon as there is one");
  add_node_options(*run, node);
  run->add_flag("--fresh-start", node.fresh_start,
                "start the VM anew although the arbiter says that another host had it last");
  // Fault injection, for tests of the audit: docs/adr/0006-audit.md.  Not in the help.
  run->add_option("--inject", node.inject)->group("");
  auto* standby =
      app.add_subcommand("standby", "protect the VM that runs on the other host, and take over when that dies");
  add_node_options(*standby, node);

  std::string name;
  us::StatusOptions status_options;
  auto* status = app.add_subcommand("status", "show the VMs of this host");
  status->add_option("NAME", status_options.name, "only this VM");
  status->add_flag("--json", status_options.json, "one JSON object a VM");
  status->add_flag("--watch", status_options.watch, "again every second, until interrupted");
  us::StatusOptions flows_options;
  auto* flows = app.add_subcommand("flows", "show the TCP connections that are relayed");
  flows->add_option("NAME", flows_options.name, "the VM")->required();
  flows->add_flag("--json", flows_options.json, "a JSON list");
  us::AuditOptions audit_options;
  auto* audit = app.add_subcommand("audit", us::kAuditHelp);
  audit->add_option("NAME", audit_options.name, "the VM")->required();
  audit->add_flag("--json", audit_options.json, "one JSON object");
  std::string assignment;
  auto* set = app.add_subcommand("set", "change a setting of a running VM, as in: set db tcp.mode=accelerated");
  set->add_option("NAME", name, "the VM")->required();
  set->add_option("KEY=VALUE", assignment, "see docs/vm-file.md, [epoch], [audit] and [tcp]")->required();
  auto* switchover = app.add_subcommand("switchover", "hand the VM over to its standby; nothing is lost");
  switchover->add_option("NAME", name, "the VM")->required();
  auto* stop = app.add_subcommand("stop", "end the VM (on the primary), or stop protecting it (on the standby)");
  stop->add_option("NAME", name, "the VM")->required();
  int disk_status = 0;
  auto* disk = us::add_disk_command(app, disk_status);
  int demo_status = 0;
  auto* demo = us::demo::add_demo_command(app, demo_status);

  us::DoctorOptions doctor_options;
  auto* doctor = app.add_subcommand("doctor", "say what this host lacks to protect VMs, and what to install");
  doctor->add_option("VM.toml", doctor_options.vm_file, "also examine what this VM needs");
  doctor->add_flag("--json", doctor_options.json, "one JSON object");

  CLI11_PARSE(app, argc, argv);
  node.runtime_directory = status_options.runtime_directory = runtime_directory;
  if (*demo) return demo_status;
  if (*disk) return disk_status;
  if (*doctor) return us::run_doctor(doctor_options, std::cout);
  if (*run) return run_node(node, us::Node::First::kPrimary);
  if (*standby) return run_node(node, us::Node::First::kStandby);
  if (*status) return us::show_status(status_options);
  flows_options.runtime_directory = runtime_directory;
  if (*flows) return us::show_flows(flows_options);
  audit_options.runtime_directory = runtime_directory;
  if (*audit) return us::run_audit(audit_options);
  if (*set) return send_command(runtime_directory, name, "set", assignment);
  if (*switchover) return send_command(runtime_directory, name, "switchover");
  if (*stop) return send_command(runtime_directory, name, "stop");
  return 2;
}
