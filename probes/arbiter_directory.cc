#include "probes/arbiter_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "os/unique_fd.h"

namespace us::probes {
namespace {

// A file with a name of its own, removed in the end.
class ProbeFile {
 public:
  explicit ProbeFile(const std::string& directory) : path_(directory + "/.understudy-probe.XXXXXX") {
    fd_.reset(::mkostemp(path_.data(), O_CLOEXEC));
  }
  ProbeFile(const ProbeFile&) = delete;
  ProbeFile& operator=(const ProbeFile&) = delete;
  ~ProbeFile() {
    if (fd_) ::unlink(path_.c_str());
  }
  bool write() { return fd_ && ::write(fd_.get(), "probe", 5) == 5 && ::fsync(fd_.get()) == 0; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  UniqueFd fd_;
};

Finding failed(Finding out, const char* operation, std::string_view advice) {
  out.verdict = verdict_of_errno(errno);
  out.evidence = fmt::format("{}: {}", operation, std::strerror(errno));
  out.advice = advice;
  return out;
}

// File systems that by their nature belong to one host; statfs(2) lists these numbers.
const char* local_file_system(const std::string& directory) {
  constexpr long kTmpfs = 0x01021994;
  constexpr long kRamfs = 0x858458f6;
  constexpr long kOverlay = 0x794c7630;
  struct statfs about {};
  if (::statfs(directory.c_str(), &about) != 0) return nullptr;
  switch (about.f_type) {
    case kTmpfs:
      return "tmpfs";
    case kRamfs:
      return "ramfs";
    case kOverlay:
      return "overlayfs";
    default:
      return nullptr;
  }
}

}  // namespace

Finding probe_arbiter_directory(const std::string& directory) {
  Finding out{"arbiter", "deciding which host runs the VM when they lose each other", Verdict::kOk,
              fmt::format("{}: of two links to one name exactly one was made", directory), ""};
  ProbeFile first(directory), second(directory);
  if (!first.write() || !second.write())
    return failed(out, "create and sync a file in the arbiter's directory",
                  "mount the directory that the hosts share, writable");
  const std::string goal = first.path() + ".goal";
  if (::link(first.path().c_str(), goal.c_str()) != 0)
    return failed(out, "link(2)", "use a file system with hard links, such as NFS or a cluster file system");
  const bool second_won = ::link(second.path().c_str(), goal.c_str()) == 0;
  const int error = errno;
  ::unlink(goal.c_str());
  if (second_won || error != EEXIST) {
    out.verdict = Verdict::kUnexpected;
    out.evidence = "a second link(2) to the same name did not fail with EEXIST: both hosts could win";
    out.advice = "use another file system for the arbiter's directory";
  } else if (const char* local = local_file_system(directory)) {
    out.verdict = Verdict::kDegraded;
    out.evidence += fmt::format(", on {}", local);
    out.advice = "this file system belongs to one host; fine for a trial on one machine, not for two hosts";
  }
  return out;
}

}  // namespace us::probes
