#include "demo/demo_command.h"

#include <signal.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <memory>

#include "demo/story.h"

namespace us::demo {
namespace {

std::atomic<bool> g_interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void interrupt(int) { g_interrupted = true; }
void do_nothing(int) {}

// Whatever ends the demo early, its namespaces and processes must go too.
void catch_signals() {
  struct sigaction action {};
  action.sa_handler = interrupt;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(number, &action, nullptr);
  // Not SIG_IGN, which the daemons would inherit.
  action.sa_handler = do_nothing;
  ::sigaction(SIGPIPE, &action, nullptr);
}

}  // namespace

CLI::App* add_demo_command(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<DemoOptions>();
  auto cut = std::make_shared<bool>(false);
  options->disk = true;
  CLI::App* demo = app.add_subcommand("demo", "The whole story on one machine: a guest, its clients, hosts that die");
  demo->add_option("--rounds", options->rounds, "How many takeovers in a row")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  demo->add_flag("--cut-network", *cut, "Pull both cables of the primary instead of killing it");
  demo->add_option("--seed", options->seed, "Repeat the run that printed this seed");
  demo->add_option("--memory", options->memory, "Memory of the guest")->capture_default_str();
  demo->add_option("--cpus", options->cpus, "Virtual CPUs of the guest")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  demo->add_option("--epoch", options->epoch, "Length of an epoch")->capture_default_str();
  demo->add_option("--detection", options->detection, "Silence after which a host counts as dead")
      ->capture_default_str();
  demo->add_flag("--disk,!--no-disk", options->disk,
                 "PostgreSQL on a replicated disk, and a client that counts commits")
      ->capture_default_str();
  demo->add_option("--disk-image", options->disk_image, "Image of that disk (guest-debian/disk.img of the build)");
  demo->add_option("--download-mib", options->download_mib, "Size of each downloaded file in MiB")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  demo->add_flag("--ipv6", options->ipv6, "Clients use IPv6");
  demo->add_option("--json", options->json_file, "Write the figures to this file");
  demo->add_flag("--keep", options->keep, "Keep logs and files (they are kept anyway after a failure)");
  demo->add_option("--guest", options->guest_dir, "Directory with the guest's vmlinuz and initrd.cpio");
  demo->callback([options, cut, &exit_status] {
    catch_signals();
    options->fault = *cut ? Fault::kCutNetwork : Fault::kKill;
    exit_status = run_demo(*options, g_interrupted);
  });
  return demo;
}

}  // namespace us::demo
