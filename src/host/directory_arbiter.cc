#include "host/directory_arbiter.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "os/unique_fd.h"

namespace us {
namespace {

constexpr size_t kHolderBytesMax = 256;

Status sync_directory(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail_errno("fsync " + path, errno);
  return {};
}

}  // namespace

DirectoryArbiter::DirectoryArbiter(std::string directory, std::string vm_name, std::string node)
    : directory_(std::move(directory)), vm_name_(std::move(vm_name)), node_(std::move(node)) {}

std::string DirectoryArbiter::file_of(Generation generation) const {
  return directory_ + "/" + vm_name_ + ".generation-" + std::to_string(generation.value());
}

ClaimAnswer DirectoryArbiter::claim(Generation generation) {
  const Result<Standing> before = standing();
  if (!before) return {generation, ClaimResult::kUnavailable, "", before.error().message, true};
  if (before->ended) return {generation, ClaimResult::kTaken, "nobody: its user has ended the VM", ""};
  return link_claim(generation);
}

ClaimAnswer DirectoryArbiter::claim_start(Generation generation) { return link_claim(generation); }

ClaimAnswer DirectoryArbiter::link_claim(Generation generation) {
  // Until link() is called it is certain that nothing was recorded; after it, only what the file says is.
  bool linking = false;
  const auto unavailable = [&](const Error& error) {
    return ClaimAnswer{generation, ClaimResult::kUnavailable, "", error.message, !linking};
  };
  const Result<Standing> before = standing();
  if (!before) return unavailable(before.error());
  if (before->generation > generation) return {generation, ClaimResult::kTaken, before->holder, ""};
  const Result<std::string> temporary = write_temporary(node_);
  if (!temporary) return unavailable(temporary.error());
  linking = true;
  const int linked = ::link(temporary->c_str(), file_of(generation).c_str());
  const int link_error = errno;
  ::unlink(temporary->c_str());
  // An NFS server may have done the link although its answer was lost: what the file says counts, not the result.
  const Result<std::string> holder = holder_of(generation);
  if (!holder) {
    return unavailable(linked == 0 ? holder.error() : fail_errno("link in " + directory_, link_error).value());
  }
  if (const Status synced = sync_directory(directory_); !synced) return unavailable(synced.error());
  return {generation, *holder == node_ ? ClaimResult::kGranted : ClaimResult::kTaken, *holder, ""};
}

Result<std::string> DirectoryArbiter::write_temporary(const std::string& text) const {
  std::string path = directory_ + "/." + vm_name_ + ".XXXXXX";
  UniqueFd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) return fail_errno("create a file in the arbiter's directory " + directory_, errno);
  const ssize_t written = ::write(fd.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size()) || ::fchmod(fd.get(), 0644) != 0 || ::fsync(fd.get()) != 0) {
    const int error = written < 0 || errno != 0 ? errno : ENOSPC;
    ::unlink(path.c_str());
    return fail_errno("write " + path, error);
  }
  return path;
}

Result<std::string> DirectoryArbiter::holder_of(Generation generation) const {
  const std::string path = file_of(generation);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno("open " + path, errno);
  char text[kHolderBytesMax];
  const ssize_t n = ::read(fd.get(), text, sizeof text);
  if (n < 0) return fail_errno("read " + path, errno);
  return std::string(text, static_cast<size_t>(n));
}

Result<DirectoryArbiter::Standing> DirectoryArbiter::standing() const {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory_.c_str()), ::closedir);
  if (!dir) return fail_errno("open the arbiter's directory " + directory_, errno);
  const std::string prefix = vm_name_ + ".generation-";
  Standing standing;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(prefix)) continue;
    uint64_t number = 0;
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + prefix.size(), end, number);
    if (parsed.ec != std::errc{} || parsed.ptr != end) continue;
    if (Generation{number} > standing.generation) standing.generation = Generation{number};
  }
  if (standing.generation == Generation{}) return standing;
  US_ASSIGN(standing.holder, holder_of(standing.generation));
  standing.ended = ::access((file_of(standing.generation) + ".ended").c_str(), F_OK) == 0;
  return standing;
}

Status DirectoryArbiter::mark_ended(Generation generation, const std::string& reason) {
  US_ASSIGN(const std::string temporary, write_temporary(reason));
  const int result = ::rename(temporary.c_str(), (file_of(generation) + ".ended").c_str());
  const int error = errno;
  if (result != 0) {
    ::unlink(temporary.c_str());
    return fail_errno("mark the generation as ended in " + directory_, error);
  }
  return sync_directory(directory_);
}

}  // namespace us
