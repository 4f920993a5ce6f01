#include "os/block_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/aligned_buffer.h"

namespace us {
namespace {

constexpr size_t kZeroesAtATime = 1 << 20;
constexpr size_t kPiecesAtATime = 512;  // of the kernel's 1024 (IOV_MAX)

Result<uint64_t> size_of(int fd, const std::string& path) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return fail_errno(fmt::format("stat {}", path), errno);
  uint64_t size = 0;
  if (S_ISREG(st.st_mode)) {
    size = static_cast<uint64_t>(st.st_size);
  } else if (!S_ISBLK(st.st_mode)) {
    return fail(ErrorKind::kInput, fmt::format("{} is neither a file nor a block device", path));
  } else if (::ioctl(fd, BLKGETSIZE64, &size) != 0) {
    return fail_errno(fmt::format("size of {}", path), errno);
  }
  if (size == 0) return fail(ErrorKind::kInput, fmt::format("{} is empty", path));
  if (size % 512 != 0)
    return fail(ErrorKind::kInput, fmt::format("{} has {} bytes, which is no multiple of 512", path, size));
  return size;
}

int set_lock(int fd, short type) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0) return 0;
  return errno == EACCES ? EAGAIN : errno;
}

Status lock(int fd, const std::string& path, bool read_only) {
  const int error = set_lock(fd, read_only ? F_RDLCK : F_WRLCK);
  if (error == 0) return {};
  if (error == EAGAIN) return fail(ErrorKind::kRefused, fmt::format("{} is in use by another process", path));
  return fail_errno(fmt::format("lock {}", path), error);
}

// What direct I/O wants to be aligned to, found by reading; 0: it does not work here.
uint32_t direct_alignment(int fd, uint64_t size) {
  AlignedBuffer buffer(AlignedBuffer::kAlignment);
  for (const uint32_t bytes : {512u, 4096u})
    if (size % bytes == 0 && ::pread(fd, buffer.data(), bytes, 0) == static_cast<ssize_t>(bytes)) return bytes;
  return 0;
}

}  // namespace

Result<BlockFile> BlockFile::open(const std::string& path, const Options& options) {
  const int flags = (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
  UniqueFd fd(::open(path.c_str(), flags));
  if (!fd) return fail_errno(fmt::format("open {}", path), errno);
  US_ASSIGN(const uint64_t size, size_of(fd.get(), path));
  if (options.lock) US_TRY(lock(fd.get(), path, options.read_only));
  uint32_t alignment = 1;
  if (options.try_direct && ::fcntl(fd.get(), F_SETFL, O_DIRECT) == 0) {
    alignment = direct_alignment(fd.get(), size);
    if (alignment == 0 && ::fcntl(fd.get(), F_SETFL, 0) != 0) return fail_errno(fmt::format("fcntl {}", path), errno);
    alignment = std::max(alignment, 1u);
  }
  return BlockFile(std::move(fd), size, alignment);
}

int BlockFile::read(uint64_t offset, std::span<uint8_t> into) const {
  while (!into.empty()) {
    const ssize_t n = ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;
    into = into.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return 0;
}

bool BlockFile::read_cached(uint64_t offset, std::span<uint8_t> into) const {
  const iovec vector{into.data(), into.size()};
  return ::preadv2(fd_.get(), &vector, 1, static_cast<off_t>(offset), RWF_NOWAIT) == static_cast<ssize_t>(into.size());
}

int BlockFile::write(uint64_t offset, ByteSpan data) const {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;
    data = data.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return 0;
}

int BlockFile::write(uint64_t offset, const std::vector<ByteSpan>& pieces) const {
  std::array<iovec, kPiecesAtATime> vectors;
  for (size_t at = 0; at < pieces.size();) {
    const size_t count = std::min(pieces.size() - at, vectors.size());
    for (size_t i = 0; i < count; ++i)
      vectors[i] = {const_cast<uint8_t*>(pieces[at + i].data()), pieces[at + i].size()};
    const ssize_t n = ::pwritev(fd_.get(), vectors.data(), static_cast<int>(count), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return EIO;
    auto written = static_cast<size_t>(n);
    offset += written;
    for (; at < pieces.size() && written >= pieces[at].size(); ++at) written -= pieces[at].size();
    if (written == 0) continue;
    // In the middle of a piece, which is rare: the rest of it by itself.
    if (const int error = write(offset, pieces[at].subspan(written)); error != 0) return error;
    offset += pieces[at].size() - written;
    ++at;
  }
  return 0;
}

int BlockFile::sync() const {
  if (sync_error_->load() == 0 && ::fdatasync(fd_.get()) != 0) sync_error_->store(errno);
  return sync_error_->load();
}

void BlockFile::drop_cache() const { ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED); }
int BlockFile::try_lock() const { return set_lock(fd_.get(), F_WRLCK); }

void BlockFile::unlock() const { (void)set_lock(fd_.get(), F_UNLCK); }

int BlockFile::set_direct(bool on) const { return ::fcntl(fd_.get(), F_SETFL, on ? O_DIRECT : 0) == 0 ? 0 : errno; }

int BlockFile::zero(uint64_t offset, uint64_t length, bool may_unmap, bool fast_only) const {
  const auto allocate = [&](int mode) {
    const int flags = mode | FALLOC_FL_KEEP_SIZE;
    int rc = 0;
    do rc = ::fallocate(fd_.get(), flags, static_cast<off_t>(offset), static_cast<off_t>(length));
    while (rc != 0 && errno == EINTR);
    return rc == 0 ? 0 : errno;
  };
  int error = allocate(may_unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
  if (error != EOPNOTSUPP && error != ENOSYS) return error;
  if (fast_only) return EOPNOTSUPP;
  const AlignedBuffer zeroes = AlignedBuffer::zeroed(std::min<uint64_t>(length, kZeroesAtATime));
  for (error = 0; length > 0 && error == 0;) {
    const uint64_t n = std::min<uint64_t>(length, zeroes.size());
    error = write(offset, zeroes.span().first(n));
    offset += n;
    length -= n;
  }
  return error;
}

bool BlockFile::is_hole(uint64_t offset, uint64_t length) const {
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
  return data < 0 ? errno == ENXIO : static_cast<uint64_t>(data) >= offset + length;
}

std::vector<BlockFile::Extent> BlockFile::extents(uint64_t offset, uint64_t length, size_t extents_max) const {
  std::vector<Extent> out;
  const uint64_t end = offset + length;
  while (offset < end && out.size() < extents_max) {
    const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0 && errno != ENXIO) return {{length, false}};  // ENXIO: a hole up to the end of the file
    const uint64_t data_at = data < 0 ? end : std::min(static_cast<uint64_t>(data), end);
    if (data_at > offset) {
      out.push_back({data_at - offset, true});
      offset = data_at;
      continue;
    }
    const off_t hole = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_HOLE);
    if (hole < 0) return {{length, false}};
    const uint64_t hole_at = std::min(static_cast<uint64_t>(hole), end);
    if (hole_at <= offset) return {{length, false}};
    out.push_back({hole_at - offset, false});
    offset = hole_at;
  }
  return out;
}

}  // namespace us
