#include "os/soft_dirty_tracker.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>

namespace us {
namespace {

constexpr uint64_t kSoftDirty = uint64_t{1} << 55;
constexpr size_t kEntriesPerRead = 16384;  // 128 KiB: 64 MiB of RAM
constexpr const char* kSharedHugePages = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

Result<UniqueFd> open_of(pid_t process, const char* file, int flags) {
  const std::string path = "/proc/" + std::to_string(process) + "/" + file;
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd) return fail_errno("open " + path, errno);
  return fd;
}

Status refuse_huge_pages() {
  std::ifstream in(kSharedHugePages);
  std::string setting;
  std::getline(in, setting);
  if (!in || shared_memory_has_small_pages_only(setting)) return {};
  return fail(ErrorKind::kRefused,
              "shared memory may get huge pages here, and soft-dirty bits get lost with them; echo "
              "never > " +
                  std::string(kSharedHugePages));
}

}  // namespace

bool shared_memory_has_small_pages_only(std::string_view shmem_enabled) {
  return shmem_enabled.find("[never]") != std::string_view::npos ||
         shmem_enabled.find("[deny]") != std::string_view::npos;
}

// Every page of a new mapping counts as dirty, if the kernel keeps these bits at all.
Status SoftDirtyTracker::check_kernel() {
  US_ASSIGN(const UniqueFd pagemap, open_of(::getpid(), "pagemap", O_RDONLY));
  void* const page = ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return fail_errno("mmap of one page", errno);
  *static_cast<volatile uint8_t*>(page) = 1;
  uint64_t entry = 0;
  const auto at = static_cast<off_t>(reinterpret_cast<uint64_t>(page) / kPageSize * sizeof entry);
  const ssize_t n = ::pread(pagemap.get(), &entry, sizeof entry, at);
  ::munmap(page, kPageSize);
  if (n != sizeof entry) return fail_errno("read /proc/self/pagemap", n < 0 ? errno : EIO);
  if ((entry & kSoftDirty) != 0) return {};
  return fail(ErrorKind::kRefused, "the kernel keeps no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY is off)");
}

Result<std::unique_ptr<SoftDirtyTracker>> SoftDirtyTracker::attach(pid_t qemu, const GuestRam& ram) {
  US_TRY(check_kernel());
  US_TRY(refuse_huge_pages());
  US_ASSIGN(std::vector<RamMapping> mappings, find_ram_mappings(qemu, ram));
  US_ASSIGN(UniqueFd pagemap, open_of(qemu, "pagemap", O_RDONLY));
  US_ASSIGN(UniqueFd clear_refs, open_of(qemu, "clear_refs", O_WRONLY));
  // A page that is locked by anybody is not swapped out for anybody.
  if (::mlock(ram.base(), ram.size()) != 0) return fail_errno("mlock of the guest's memory", errno);
  return std::unique_ptr<SoftDirtyTracker>(
      new SoftDirtyTracker(std::move(pagemap), std::move(clear_refs), std::move(mappings)));
}

SoftDirtyTracker::SoftDirtyTracker(UniqueFd pagemap, UniqueFd clear_refs, std::vector<RamMapping> mappings)
    : pagemap_(std::move(pagemap)),
      clear_refs_(std::move(clear_refs)),
      mappings_(std::move(mappings)),
      entries_(kEntriesPerRead) {}

Status SoftDirtyTracker::scan(std::vector<DirtyRun>& out) {
  const size_t before = out.size();
  for (const RamMapping& mapping : mappings_) US_TRY(read_mapping(mapping, out));
  // Clean pages are write-protected still.
  return out.size() == before ? Status{} : clear();
}

Status SoftDirtyTracker::read_mapping(const RamMapping& mapping, std::vector<DirtyRun>& out) {
  const uint64_t pages = (mapping.end - mapping.start) / kPageSize;
  const uint64_t first = mapping.file_offset / kPageSize;
  for (uint64_t done = 0; done < pages;) {
    const size_t wanted = std::min<uint64_t>(entries_.size(), pages - done) * sizeof(uint64_t);
    const auto at = static_cast<off_t>((mapping.start / kPageSize + done) * sizeof(uint64_t));
    const ssize_t n = ::pread(pagemap_.get(), entries_.data(), wanted, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < static_cast<ssize_t>(sizeof(uint64_t)))
      return fail_errno("read QEMU's page map", n < 0 ? errno : ESRCH);  // it reads as empty once QEMU is gone
    const uint64_t count = static_cast<uint64_t>(n) / sizeof(uint64_t);
    for (uint64_t i = 0; i < count; ++i) {
      if ((entries_[i] & kSoftDirty) == 0) continue;
      const uint64_t page = first + done + i;
      if (!out.empty() && out.back().first.value() + out.back().count == page)
        ++out.back().count;
      else
        out.push_back({PageIndex{page}, 1});
    }
    done += count;
  }
  return {};
}

Status SoftDirtyTracker::clear() {
  for (;;) {
    if (::write(clear_refs_.get(), "4", 1) == 1) return {};
    if (errno != EINTR) return fail_errno("clear QEMU's soft-dirty bits", errno);
  }
}

}  // namespace us
