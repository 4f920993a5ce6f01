#include "probes/shared_image.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "os/unique_fd.h"

namespace us::probes {
namespace {

// 0, or an errno; EAGAIN: somebody else has it.
int try_lock(int fd) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &whole) == 0) return 0;
  return errno == EACCES ? EAGAIN : errno;
}

}  // namespace

Finding probe_shared_image(const std::string& image) {
  Finding out{"shared image", "one image for both hosts, written by one at a time", Verdict::kOk,
              fmt::format("{}: locks keep a second writer out, and it can be read past the page cache", image), ""};
  const auto fails = [&](Verdict verdict, const std::string& evidence, const char* advice) {
    out.verdict = verdict;
    out.evidence = fmt::format("{}: {}", image, evidence);
    out.advice = advice;
    return out;
  };
  const UniqueFd first(::open(image.c_str(), O_RDWR | O_CLOEXEC)), second(::open(image.c_str(), O_RDWR | O_CLOEXEC));
  if (!first || !second)
    return fails(verdict_of_errno(errno), std::strerror(errno),
                 "mount what it lies on, or make it: understudy disk create");
  const int error = try_lock(first.get());
  if (error != 0 && error != EAGAIN)
    return fails(Verdict::kUnexpected, fmt::format("it cannot be locked: {}", std::strerror(error)),
                 "use storage with fcntl(2) locks that hold across hosts");
  if (try_lock(second.get()) != EAGAIN)
    return fails(Verdict::kUnexpected, "two writers can lock it at once",
                 "use storage with fcntl(2) locks that hold across hosts, and mount it with them");
  const UniqueFd direct(::open(image.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!direct)
    return fails(
        Verdict::kDegraded, "it cannot be opened past the page cache (O_DIRECT)",
        "fine if the file system keeps the caches of all hosts alike, as cluster file systems do; NFS does not");
  return out;
}

}  // namespace us::probes
