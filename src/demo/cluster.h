// Cluster: a lab (lab.h) with the guest in it and understudy on its two hosts; what the demo and the end-to-end tests
// share.  Hosts are 0 (A) and 1 (B).
//
// All files live in one temporary directory: the VM file of each host (they differ in their logs and their disk's
// image only), the arbiter's directory, which both hosts share, logs and images.  The directory goes with the object
// unless keep_files().
#pragma once

#include <array>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "demo/daemon_status.h"
#include "demo/host_daemon.h"
#include "demo/lab.h"

namespace us::demo {

inline constexpr const char* kVmName = "demo";

struct ClusterOptions {
  std::string prefix;     // of the namespaces and the temporary directory; unique on this machine
  std::string program;    // the understudy executable
  std::string guest_dir;  // has vmlinuz and initrd.cpio (docs/guest.md)
  // Of the guest's replicated disk: host A gets a copy, host B makes its own when it becomes the standby.  Both keep
  // theirs through power_off().  Empty: the guest has no disk.
  std::string disk_image{};
  std::string disk_keys{};      // further lines for [[disk]]
  bool disk_is_shared = false;  // one image for both hosts instead
  std::string memory = "512M";
  int cpus = 1;
  std::string accelerator = "auto";
  std::string cpu{};  // empty: the default model
  std::string epoch = "25ms";
  std::string detection = "100ms";
  uint64_t audit_every = 0;             // epochs; 0: no audits but those asked for
  std::optional<WireConfig> wire = {};  // between client and switch (lab.h)
  // Looked at while waiting: a wait ends with an error when it becomes true.
  const std::atomic<bool>* interrupted = nullptr;
  // Called about 20 times a second while waiting.
  std::function<void()> on_wait = [] {};
};

class Cluster {
 public:
  static Result<std::unique_ptr<Cluster>> create(ClusterOptions options);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  Lab& lab() { return lab_; }
  const std::filesystem::path& directory() const { return directory_; }
  void keep_files() { keep_files_ = true; }

  // The VM file of a host; a test may rewrite it before the daemon starts.
  std::filesystem::path vm_file(size_t host) const { return host_directory(host) / "vm.toml"; }
  std::filesystem::path log_file(size_t host) const { return host_directory(host) / "understudy.log"; }
  std::filesystem::path serial_log(size_t host) const { return host_directory(host) / "serial.log"; }
  std::filesystem::path disk_image(size_t host) const {
    return (options_.disk_is_shared ? directory_ : host_directory(host)) / "disk.img";
  }
  std::string vm_file_text(size_t host) const;

  Status start_primary(size_t host, const std::vector<std::string>& extra_arguments = {}) {
    return start(host, "run", extra_arguments);
  }
  Status start_standby(size_t host) { return start(host, "standby"); }
  std::optional<HostDaemon>& daemon(size_t host) { return daemons_[host]; }
  // `understudy audit`: the number of pages compared.  Error: they differ, or no audit could be made.
  Result<uint64_t> audit(size_t host);
  // Error of kind kRefused: the daemon is not there (any more).
  Result<DaemonStatus> status(size_t host);

  // The host dies: no link, no process.  Afterwards a fresh one stands in its place.
  Status power_off(size_t host);
  Status power_on(size_t host) { return lab_.power_on(host); }
  // Both of the host's cables are pulled; its processes live on.
  Status pull_cables(size_t host);
  Status plug_cables(size_t host);

  // Whether a QEMU runs on the host.
  bool has_qemu(size_t host) const;

  // Waits.  The error of a wait that fails says what was awaited and the last state seen.  An error of kind kRefused
  // from `holds` ends the wait at once: it can no longer come true.
  Status wait_until(const std::string& what, Duration limit, const std::function<Result<bool>()>& holds);
  Status wait_guest(Duration limit);  // the guest answers the client
  Status wait_protected(size_t primary, Duration limit);
  Status wait_role(size_t host, const std::string& role, Duration limit);
  Status wait_exit(size_t host, Duration limit);  // the daemon has ended
  Status sleep(Duration length);

  // Runs a shell line in the guest and returns what it printed.
  Result<std::string> run_in_guest(const std::string& line);
  // The same without an answer, for a line that ends the guest.
  Status tell_guest(const std::string& line);

 private:
  Cluster(ClusterOptions options, Lab lab, std::filesystem::path directory);
  Status write_files();
  std::string disk_text(size_t host) const;
  Status start(size_t host, const std::string& verb, const std::vector<std::string>& extra_arguments = {});
  std::filesystem::path host_directory(size_t host) const { return directory_ / kHostNames[host]; }

  const ClusterOptions options_;
  Lab lab_;
  const std::filesystem::path directory_;
  bool keep_files_ = false;
  std::array<std::optional<HostDaemon>, kHosts> daemons_;
};

// Runs a shell line in the guest that this client reaches, and returns what it printed.
Result<std::string> run_in_guest(const NetNs& client, const std::string& line);

// The name of a process as the kernel keeps it (15 characters), or nothing when it is gone.
std::string process_name(pid_t pid);

}  // namespace us::demo
