#include "probes/memory_tracking.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <vector>

#include "os/choose_tracker.h"
#include "os/clock.h"
#include "os/guest_ram.h"
#include "os/kernel_abi.h"
#include "os/remote_syscall.h"
#include "os/soft_dirty_tracker.h"
#include "os/unique_fd.h"

namespace us::probes {
namespace {

constexpr std::string_view kNeedsKernel = "Linux 6.7 or later is needed";
constexpr std::string_view kNeedsRoot = "run as root, outside a container or sandbox that forbids it";

constexpr uint64_t kTrackedPages = 16384;  // 64 MiB
constexpr uint32_t kAllPages = ~uint32_t{0};

// A child process that writes pages of memory it shares with us when told to.
class PageWriter {
 public:
  explicit PageWriter(uint8_t* memory) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
    ours_.reset(ends[0]);
    UniqueFd theirs(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) serve(theirs.get(), memory);
  }
  PageWriter(const PageWriter&) = delete;
  PageWriter& operator=(const PageWriter&) = delete;
  ~PageWriter() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, __WALL);
  }

  bool started() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }

  bool write_page(uint32_t page) {
    char done = 0;
    return ::write(ours_.get(), &page, sizeof page) == sizeof page && ::read(ours_.get(), &done, 1) == 1;
  }

 private:
  // Only async-signal-safe calls: this is a fork.
  [[noreturn]] static void serve(int fd, uint8_t* memory) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
      uint32_t page = 0;
      const ssize_t n = ::read(fd, &page, sizeof page);
      if (n < 0 && errno == EINTR) continue;
      if (n != sizeof page) ::_exit(0);
      if (page == kAllPages) {
        for (uint64_t all = 0; all < kTrackedPages; ++all) memory[all * kPageSize] = 1;
        page = 0;
      }
      memory[page * kPageSize] = static_cast<uint8_t>(memory[page * kPageSize] + 1);
      if (::write(fd, "", 1) != 1) ::_exit(0);
    }
  }

  UniqueFd ours_;
  pid_t pid_ = -1;
};

std::vector<uint64_t> pages_of(const std::vector<DirtyRun>& runs) {
  std::vector<uint64_t> pages;
  for (const DirtyRun& run : runs)
    for (uint64_t i = 0; i < run.count; ++i) pages.push_back(run.first.value() + i);
  return pages;
}

// Nothing: the scan named exactly the pages just written.  Otherwise what was wrong.
//
// A page that never was there may be named besides, once: the first write to a part of memory makes its page table, and
// Linux 6.12 then counts all 512 pages of that as written.  `known` are the pages that must not be.
std::optional<std::string> check_round(PageWriter& writer, DirtyTracker& tracker, const std::vector<uint64_t>& pages,
                                       std::set<uint64_t>& known) {
  for (const uint64_t page : pages)
    if (!writer.write_page(static_cast<uint32_t>(page))) return "the child process did not answer";
  std::vector<DirtyRun> runs;
  if (const Status scanned = tracker.scan(runs); !scanned) return scanned.error().message;
  std::vector<uint64_t> seen;
  for (const uint64_t page : pages_of(runs))
    if (!known.insert(page).second || std::ranges::binary_search(pages, page)) seen.push_back(page);
  if (seen == pages) return std::nullopt;
  return fmt::format("wrote pages [{}], the scan said [{}]", fmt::join(pages, " "), fmt::join(seen, " "));
}

// What an idle scan of 1 GB takes, from the quickest of some; all pages are there.
Result<double> scan_ms_per_gb(PageWriter& writer, DirtyTracker& tracker) {
  constexpr double kPerGb = (1 << 30) / static_cast<double>(kTrackedPages * kPageSize);
  if (!writer.write_page(kAllPages)) return fail(ErrorKind::kSystem, "the child process did not answer");
  Duration best = Duration::seconds(100);
  std::vector<DirtyRun> runs;
  US_TRY(tracker.scan(runs));
  for (int i = 0; i < 5; ++i) {
    if (!writer.write_page(5)) return fail(ErrorKind::kSystem, "the child process did not answer");
    const Instant began = clock_now();
    US_TRY(tracker.scan(runs));
    best = std::min(best, clock_now() - began);
  }
  return best.to_millis_f() * kPerGb;
}

struct Tracking {
  std::string wrong;   // empty: nothing
  bool begun = false;  // the tracker could be attached
  double ms_per_gb = 0;
};

// A tracker that is attached to a writer, and what it says.
void check_scans(PageWriter& writer, DirtyTracker& tracker, Tracking& out) {
  std::vector<DirtyRun> first;  // may name any page
  if (const Status scanned = tracker.scan(first); !scanned) out.wrong = scanned.error().message;
  const std::vector<std::vector<uint64_t>> rounds = {{3, 4, 700}, {}, {4}, {0, 15, 16, 700, 1023}, {}};
  std::set<uint64_t> known;
  for (uint64_t page = 0; page < 16; ++page) known.insert(page);
  for (const auto& pages : rounds)
    if (out.wrong.empty()) out.wrong = check_round(writer, tracker, pages, known).value_or("");
  if (!out.wrong.empty()) return;
  const Result<double> cost = scan_ms_per_gb(writer, tracker);
  if (cost)
    out.ms_per_gb = *cost;
  else
    out.wrong = cost.error().message;
}

Tracking check_tracking(TrackerChoice choice) {
  Tracking out;
  auto ram = GuestRam::create(kTrackedPages * kPageSize);
  if (!ram) return {ram.error().message};
  PageWriter writer(ram->base());
  if (!writer.started()) return {fmt::format("fork: {}", std::strerror(errno))};
  // Some pages are there before tracking begins, the others come during it.
  for (uint32_t page = 0; page < 16; ++page)
    if (!writer.write_page(page)) return {"the child process did not answer"};
  auto chosen = attach_tracker(choice, writer.pid(), *ram);
  if (!chosen) return {chosen.error().message};
  const std::unique_ptr<DirtyTracker> tracker = std::move(chosen->tracker);
  out.begun = true;
  check_scans(writer, *tracker, out);
  return out;
}

std::string missing_features(uint64_t features) {
  std::string out;
  const auto need = [&](uint64_t bit, const char* name) {
    if ((features & bit) == 0) out += (out.empty() ? "" : ", ") + std::string(name);
  };
  need(abi::kUffdFeatureWpAsync, "WP_ASYNC");
  need(abi::kUffdFeatureWpUnpopulated, "WP_UNPOPULATED");
  need(abi::kUffdFeatureWpHugetlbfsShmem, "WP_HUGETLBFS_SHMEM");
  return out;
}

std::string exact_text(double ms_per_gb) {
  return fmt::format("scans of a child process named exactly the pages it wrote; 1 GB takes {:.1f} ms", ms_per_gb);
}

std::string yama_scope() {
  std::ifstream in("/proc/sys/kernel/yama/ptrace_scope");
  std::string scope;
  in >> scope;
  return scope.empty() ? "no Yama" : "Yama ptrace_scope " + scope;
}

}  // namespace

Finding probe_userfaultfd() {
  Finding out{"userfaultfd", "write-protecting guest memory without stopping the guest", Verdict::kOk,
              "WP_ASYNC, WP_UNPOPULATED, WP_HUGETLBFS_SHMEM", ""};
  const UniqueFd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (!fd) {
    out.verdict = verdict_of_errno(errno);
    out.evidence = fmt::format("userfaultfd: {}", std::strerror(errno));
    out.advice = out.verdict == Verdict::kForbidden ? "run as root, or: sysctl vm.unprivileged_userfaultfd=1"
                                                    : "a kernel with CONFIG_USERFAULTFD is needed, Linux 6.7 or later";
    return out;
  }
  uffdio_api api{};
  api.api = UFFD_API;
  if (::ioctl(fd.get(), UFFDIO_API, &api) != 0) {
    out.verdict = Verdict::kUnexpected;
    out.evidence = fmt::format("UFFDIO_API: {}", std::strerror(errno));
    out.advice = kNeedsKernel;
  } else if (const std::string missing = missing_features(api.features); !missing.empty()) {
    out.verdict = Verdict::kMissing;
    out.evidence = "the kernel lacks " + missing;
    out.advice = kNeedsKernel;
  }
  return out;
}

Finding probe_pagemap_scan() {
  Finding out{"PAGEMAP_SCAN", "reading which pages were written, and protecting them again, in one step", Verdict::kOk,
              "the ioctl is there", ""};
  const UniqueFd fd(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!fd) {
    out.verdict = verdict_of_errno(errno);
    out.evidence = fmt::format("open /proc/self/pagemap: {}", std::strerror(errno));
    out.advice = "mount /proc; the kernel needs CONFIG_PROC_PAGE_MONITOR";
    return out;
  }
  alignas(kPageSize) static uint8_t page[kPageSize];
  abi::PageRegion region{};
  abi::PmScanArg arg{};
  arg.size = sizeof arg;
  arg.start = reinterpret_cast<uint64_t>(page);
  arg.end = arg.start + kPageSize;
  arg.vec = reinterpret_cast<uint64_t>(&region);
  arg.vec_len = 1;
  arg.category_mask = abi::kPageIsWritten;
  arg.return_mask = abi::kPageIsWritten;
  if (::ioctl(fd.get(), abi::kPagemapScan, &arg) < 0) {
    out.verdict = verdict_of_errno(errno);
    out.evidence = fmt::format("ioctl(PAGEMAP_SCAN): {}", std::strerror(errno));
    out.advice = kNeedsKernel;
  }
  return out;
}

Finding probe_ptrace() {
  Finding out{"ptrace", "creating the userfaultfd inside QEMU", Verdict::kOk, "allowed for a child, " + yama_scope(),
              ""};
  uint8_t unused = 0;
  const PageWriter child(&unused);
  if (!child.started() || ::ptrace(PTRACE_SEIZE, child.pid(), nullptr, nullptr) != 0) {
    out.verdict = verdict_of_errno(errno);
    out.evidence = fmt::format("ptrace(SEIZE): {}, {}", std::strerror(errno), yama_scope());
    out.advice = fmt::format("{}; sysctl kernel.yama.ptrace_scope must not be 3", kNeedsRoot);
    return out;
  }
  const PageWriter other(&unused);  // the first is traced already
  auto remote = RemoteSyscalls::attach(other.pid());
  const auto answer = remote ? (*remote)->call("getpid", SYS_getpid, {}) : tl::unexpected<Error>(remote.error());
  if (!answer || *answer != static_cast<uint64_t>(other.pid())) {
    out.verdict = Verdict::kUnexpected;
    out.evidence = answer ? "a system call inside the child gave a wrong result" : answer.error().message;
    out.advice = kNeedsRoot;
  }
  return out;
}

Finding probe_dirty_tracking() {
  Finding out{"dirty tracking", "copying exactly the pages that the guest wrote in an epoch", Verdict::kOk, "", ""};
  const Tracking tracking = check_tracking(TrackerChoice::kUserfaultfd);
  if (tracking.wrong.empty()) {
    out.evidence = exact_text(tracking.ms_per_gb);
    return out;
  }
  out.evidence = tracking.wrong;
  if (tracking.begun) {
    out.verdict = Verdict::kUnexpected;
    out.advice = "do not protect a VM on this kernel; please report its version";
    return out;
  }
  out.verdict = Verdict::kMissing;
  out.advice = kNeedsKernel;
  for (const Finding& part : {probe_userfaultfd(), probe_pagemap_scan(), probe_ptrace()}) {
    if (is_usable(part.verdict)) continue;
    if (part.verdict != Verdict::kUnexpected) out.verdict = part.verdict;
    out.advice = fmt::format("see {} above", part.probe);
    break;
  }
  return out;
}

Finding probe_soft_dirty() {
  Finding out{"soft-dirty", "finding dirty pages where userfaultfd cannot (Linux before 6.7)", Verdict::kOk, "", ""};
  if (const Status kernel = SoftDirtyTracker::check_kernel(); !kernel) {
    out.verdict = Verdict::kMissing;
    out.evidence = kernel.error().message;
    out.advice = "a kernel with CONFIG_MEM_SOFT_DIRTY (Debian's have it), or Linux 6.7 or later";
    return out;
  }
  const Tracking tracking = check_tracking(TrackerChoice::kSoftDirty);
  if (!tracking.wrong.empty()) {
    out.verdict = Verdict::kUnexpected;
    out.evidence = tracking.wrong;
    out.advice = "mend what it says, or use Linux 6.7 or later";
    return out;
  }
  out.evidence = exact_text(tracking.ms_per_gb);
  return out;
}

std::vector<Finding> judge_tracking(std::vector<Finding> fast, Finding slow, DirtyTrackerChoice choice) {
  const bool fast_works = std::all_of(fast.begin(), fast.end(), [](const Finding& f) { return is_usable(f.verdict); });
  const bool fast_is_wrong = fast.back().verdict == Verdict::kUnexpected;
  const bool slow_works = is_usable(slow.verdict);
  for (Finding& finding : fast) {
    if (is_usable(finding.verdict)) continue;
    if (choice == DirtyTrackerChoice::kSoftDirty) {
      finding = {finding.probe, finding.purpose, Verdict::kOk,
                 finding.evidence + "; not needed, the VM file says soft-dirty", ""};
    } else if (fast_is_wrong && slow_works) {
      finding.advice =
          "write dirty_tracker = \"soft-dirty\" into the VM file; please report the version of this kernel";
    } else if (slow_works && choice == DirtyTrackerChoice::kAuto) {
      finding.verdict = Verdict::kDegraded;
      finding.advice = "soft-dirty bits are used instead, and are slower; " + finding.advice;
    }
  }
  if (!slow_works && fast_works && choice != DirtyTrackerChoice::kSoftDirty)
    slow = {slow.probe, slow.purpose, Verdict::kOk, slow.evidence + "; not needed, userfaultfd works", ""};
  fast.push_back(std::move(slow));
  return fast;
}

}  // namespace us::probes
