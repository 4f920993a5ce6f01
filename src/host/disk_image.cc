#include "host/disk_image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

#include "core/disk/apply_journal.h"
#include "host/disk_limits.h"
#include "os/clock.h"
#include "os/unique_fd.h"

namespace us {
namespace {

namespace fs = std::filesystem;

tl::unexpected<Error> refuse(std::string text) { return fail(ErrorKind::kRefused, std::move(text)); }

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

Status sync_directory(const std::string& of_file) {
  const std::string directory = fs::path(of_file).parent_path().string();
  const UniqueFd fd(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail_errno(fmt::format("sync the directory of {}", of_file), errno);
  return {};
}

// A new file of `bytes` zeroes; `allocate`: in full.  Durable.
Status make_file(const std::string& path, uint64_t bytes, bool allocate) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail_errno(fmt::format("make {}", path), errno);
  int error = 0;
  if (allocate) error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes));
  if (error == 0 && ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) error = errno;
  if (error == 0 && ::fsync(fd.get()) != 0) error = errno;
  if (error != 0) {
    ::unlink(path.c_str());
    return fail_errno(fmt::format("make {} with {} bytes", path, bytes), error);
  }
  return sync_directory(path);
}

Result<Bytes> read_all(const BlockFile& file, const std::string& path) {
  Bytes out(file.size_bytes());
  if (const int error = file.read(0, out); error != 0) return fail_errno(fmt::format("read {}", path), error);
  return out;
}

Result<BlockFile> open_beside(const std::string& path, bool lock = true) {
  return BlockFile::open(path, {.read_only = false, .try_direct = false, .lock = lock});
}

ImageRecord new_record(uint64_t bytes) {
  ImageRecord record;
  record.disk_bytes = bytes;
  // Cannot fail for so few bytes (getrandom(2)).
  while (::getrandom(record.image.data(), record.image.size(), 0) != static_cast<ssize_t>(record.image.size())) {
  }
  return record;
}

Status write_first_record(const std::string& path, uint64_t bytes) {
  US_TRY(make_file(path, kImageRecordFileBytes, true));
  US_ASSIGN(BlockFile file, open_beside(path));
  const ImageRecord record = new_record(bytes);
  const Bytes encoded = encode(record);
  int error = file.write(image_record_offset(record), encoded);
  if (error == 0) error = file.sync();
  return error == 0 ? Status{} : fail_errno(fmt::format("write {}", path), error);
}

}  // namespace

Status DiskImage::create(const std::string& path, uint64_t bytes) {
  const DiskImagePaths paths = DiskImagePaths::of(path);
  for (const std::string& file : {paths.image, paths.record, paths.map, paths.journal})
    if (exists(file)) return refuse(fmt::format("{} exists already; nothing was made", file));
  US_TRY(make_file(paths.image, bytes, false));
  const Status made = write_first_record(paths.record, bytes);
  if (!made) ::unlink(paths.image.c_str());
  return made;
}

Status DiskImage::adopt(const std::string& path) {
  const DiskImagePaths paths = DiskImagePaths::of(path);
  US_ASSIGN(const BlockFile image, BlockFile::open(path, {.read_only = false, .try_direct = false}));
  if (exists(paths.record)) return refuse(fmt::format("{} has a record already: it is known here", path));
  return write_first_record(paths.record, image.size_bytes());
}

Status DiskImage::forget(const std::string& path) {
  const DiskImagePaths paths = DiskImagePaths::of(path);
  if (exists(path)) {
    US_ASSIGN(const BlockFile image, BlockFile::open(path, {.read_only = false, .try_direct = false}));
  }
  // The record last: without it the others mean nothing.
  for (const std::string& file : {paths.map, paths.journal, paths.record})
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) return fail_errno(fmt::format("remove {}", file), errno);
  return sync_directory(path);
}

Result<DiskImage> DiskImage::open(const std::string& path, const Options& options) {
  if (!exists(path)) {
    return refuse(options.bytes
                      ? fmt::format("the image {} is missing; mount what it lies on, or make one: understudy disk "
                                    "create {} {}",
                                    path, path, *options.bytes)
                      : fmt::format("the image {} is missing; mount what it lies on, or make one: understudy disk "
                                    "create {} SIZE",
                                    path, path));
  }
  US_ASSIGN(BlockFile file,
            BlockFile::open(path, {.read_only = false,
                                   .try_direct = options.direct || options.direct_later || options.shared,
                                   .lock = !options.shared}));
  DiskImage image(DiskImagePaths::of(path), std::move(file));
  image.shared_ = options.shared;
  if (options.bytes && *options.bytes != image.bytes())
    return refuse(
        fmt::format("the image {} has {} bytes, the VM file says {}; correct the VM file (a disk cannot be "
                    "resized this way)",
                    path, image.bytes(), *options.bytes));
  if (options.direct_later && image.image_.direct()) {
    if (const int error = image.image_.set_direct(false); error != 0) return fail_errno("fcntl " + path, error);
    image.direct_later_ = true;
  }
  US_TRY(image.open_record(options));
  if (exists(image.paths_.map) && !options.shared) {
    US_ASSIGN(BlockFile map, open_beside(image.paths_.map));
    image.map_file_.emplace(std::move(map));
  }
  return image;
}

void DiskImage::go_direct() {
  // What is in the page cache is written out by the kernel before it is read past it (open(2), O_DIRECT).
  if (direct_later_) (void)image_.set_direct(true);
  direct_later_ = false;
}

Status DiskImage::open_record(const Options& options) {
  if (!exists(paths_.record)) {
    if (!options.adopt && !options.shared)
      return refuse(
          fmt::format("{} is not known here: there is no {}.  If it may be used, and overwritten as a "
                      "standby's: understudy disk adopt {}",
                      paths_.image, paths_.record, paths_.image));
    record_ = new_record(bytes());  // in the file with the first change: who only looks takes nothing
    return {};
  }
  US_ASSIGN(BlockFile file, open_beside(paths_.record, !shared_));
  US_ASSIGN(const Bytes content, read_all(file, paths_.record));
  // Another host may be writing it just now: only who has the lock reads it for good (take()).
  if (options.shared && !decode_image_record(content)) {
    record_ = new_record(bytes());
    return {};
  }
  const Result<ImageRecord> record = decode_image_record(content);
  if (!record)
    return refuse(
        fmt::format("{} is damaged, so nobody can say what {} holds.  Bring it back from a backup, or give "
                    "the image up as this VM's: understudy disk forget {}",
                    paths_.record, paths_.image, paths_.image));
  if (record->disk_bytes != bytes())
    return refuse(fmt::format("{} has {} bytes, but had {} when it was last used: it has been cut or replaced",
                              paths_.image, bytes(), record->disk_bytes));
  record_ = *record;
  record_file_.emplace(std::move(file));
  return {};
}

Status DiskImage::write_record(const ImageRecord& next) {
  if (!record_file_) {
    US_TRY(make_file(paths_.record, kImageRecordFileBytes, true));
    US_ASSIGN(BlockFile file, open_beside(paths_.record, !shared_));
    record_file_.emplace(std::move(file));
  }
  const Bytes encoded = encode(next);
  int error = record_file_->write(image_record_offset(next), encoded);
  if (error == 0) error = record_file_->sync();
  if (error != 0) return fail_errno(fmt::format("write {}", paths_.record), error);
  record_ = next;
  return {};
}

Result<DirtyMap> DiskImage::load_map() {
  const DirtyMapShape shape{.image = record_.image, .disk_bytes = bytes()};
  has_map_ = false;
  if (map_file_) {
    US_ASSIGN(const Bytes content, read_all(*map_file_, paths_.map));
    Result<DirtyMap> map = DirtyMap::load(shape, content, kDiskMarkKeepEpochs);
    if (map) {
      has_map_ = true;
      return std::move(*map);
    }
  }
  DirtyMap all(shape, kDiskMarkKeepEpochs);
  all.prepare({0, bytes()}, DirtyMap::kSolo);
  return all;
}

Status DiskImage::write_map(const DirtyMap& map) {
  const uint64_t wanted = map.shape().file_bytes();
  if (map_file_ && map_file_->size_bytes() != wanted) {
    map_file_.reset();
    if (::unlink(paths_.map.c_str()) != 0) return fail_errno(fmt::format("remove {}", paths_.map), errno);
  }
  if (!map_file_) {
    if (!exists(paths_.map)) US_TRY(make_file(paths_.map, wanted, true));
    US_ASSIGN(BlockFile file, open_beside(paths_.map));
    map_file_.emplace(std::move(file));
  }
  int error = map_file_->write(0, map.initial_file());
  if (error == 0) error = map_file_->sync();
  if (error != 0) return fail_errno(fmt::format("write {}", paths_.map), error);
  has_map_ = true;
  return {};
}

Status DiskImage::open_journal_file(const JournalLayout& layout) {
  if (!exists(paths_.journal)) US_TRY(make_file(paths_.journal, layout.file_bytes(), true));
  US_ASSIGN(BlockFile file, open_beside(paths_.journal, !shared_));
  if (file.size_bytes() != layout.file_bytes())
    return refuse(
        fmt::format("{} has {} bytes, this version uses {}; remove it if the image was last used by this "
                    "host's primary",
                    paths_.journal, file.size_bytes(), layout.file_bytes()));
  journal_file_.emplace(std::move(file));
  return {};
}

Result<DiskImage::Journal> DiskImage::open_journal(uint64_t staged_bytes_max) {
  const JournalLayout layout = JournalLayout::for_staged(staged_bytes_max);
  journal_file_.reset();
  US_TRY(open_journal_file(layout));
  Journal journal;
  Bytes slots[2];
  for (uint64_t i = 0; i < 2; ++i) {
    slots[i].resize(layout.slot_bytes);
    if (const int error = journal_file_->read(i * layout.slot_bytes, slots[i]); error != 0)
      return fail_errno(fmt::format("read {}", paths_.journal), error);
  }
  journal.replay = recover_journal(slots[0], slots[1], record_.image, bytes(), record_.journal_base);
  journal.last = journal.replay ? journal.replay->sequence : record_.journal_base;
  return journal;
}

void DiskImage::forget_sync_errors() {
  image_.forget_sync_error();
  for (const auto* file : {&record_file_, &map_file_, &journal_file_})
    if (*file) (*file)->forget_sync_error();
}

int DiskImage::take(Duration patience, bool read_journal, Taken& taken) {
  const Instant until = clock_now() + patience;
  int error = image_.try_lock();
  for (; error == EAGAIN && clock_now() < until; error = image_.try_lock())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (error != 0) return error;
  record_file_.reset();
  journal_file_.reset();
  const Status read = read_taken(read_journal, taken);
  if (read) return 0;
  spdlog::error("{}", read.error().message);
  image_.unlock();
  return EIO;
}

Status DiskImage::read_taken(bool read_journal, Taken& taken) {
  US_TRY(open_record({.adopt = true}));
  taken = {record_, {std::nullopt, record_.journal_base}};
  if (!read_journal) return open_journal_file(JournalLayout::for_staged(kDiskStagedBytesMax));
  US_ASSIGN(taken.journal, open_journal(kDiskStagedBytesMax));
  return {};
}

Result<JournalSequence> DiskImage::finish_journal() {
  if (record_.state != ImageState::kConsistent || !exists(paths_.journal)) return record_.journal_base;
  US_ASSIGN(const Journal journal, open_journal(kDiskStagedBytesMax));
  if (!journal.replay) return journal.last;
  const bool direct = image_.direct();
  int error = journal_file_->sync();  // a replayed record must not be lost afterwards: epoch_applier.h
  if (error == 0 && direct) error = image_.set_direct(false);  // its writes are of any length
  for (const DiskWrite& write : journal.replay->batch.writes) {
    if (error != 0) break;
    error = write.kind == WriteKind::kData
                ? image_.write(write.range.start, write.data.span())
                : image_.zero(write.range.start, write.range.length(), write.kind == WriteKind::kDiscard, false);
  }
  if (error == 0) error = image_.sync();
  if (error == 0 && direct) error = image_.set_direct(true);
  if (error != 0) return fail_errno(fmt::format("apply the journal to {}", paths_.image), error);
  return journal.last;
}

}  // namespace us
