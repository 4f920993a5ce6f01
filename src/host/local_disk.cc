#include "host/local_disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "host/disk_limits.h"
#include "host/disk_tool.h"

namespace us {
namespace {

constexpr size_t kIoThreads = 4;
// Of what is asked of a shared image: two writers never share a block, whatever the storage counts in.
constexpr uint32_t kSharedBlockBytes = 4096;

Result<DiskImage> open_shared_image(const std::string& path, std::optional<uint64_t> bytes, const std::string& vm) {
  US_ASSIGN(DiskImage image, DiskImage::open(path, {.bytes = bytes, .shared = true}));
  if (image.bytes() % kSharedBlockBytes != 0)
    return fail(ErrorKind::kRefused, fmt::format("{} has {} bytes; a shared image needs a multiple of {}", path,
                                                 image.bytes(), kSharedBlockBytes));
  const ImageRecord& record = image.record();
  if (record.shared_by.empty() ? record.state != ImageState::kNew : record.shared_by != vm)
    return fail(ErrorKind::kRefused, fmt::format("{} is {}.  If this VM may have it: understudy disk forget {}", path,
                                                 record.shared_by.empty() ? "one host's image of a replicated disk"
                                                                          : "the shared disk of VM " + record.shared_by,
                                                 path));
  return image;
}

Result<DiskImage> open_image(const DiskConfig& disk, const std::string& vm, const LocalDiskOptions& options) {
  const std::string& path = disk.file_on(options.self).path;
  std::optional<uint64_t> bytes = disk.size_bytes;
  if (bytes && disk.format != "raw") bytes = qcow2_container_bytes(*bytes);
  if (disk.storage == DiskStorage::kShared) return open_shared_image(path, bytes, vm);
  std::error_code ignored;
  if (options.standby && bytes && !std::filesystem::exists(path, ignored))
    US_TRY(create_disk_image(path, *disk.size_bytes, disk.format));
  const bool direct = disk.cache == DiskCache::kNone;
  US_ASSIGN(DiskImage image, DiskImage::open(path, {.direct = direct && !options.standby,
                                                    .direct_later = direct && options.standby,
                                                    .bytes = bytes,
                                                    .adopt = !options.standby}));
  if (!image.record().shared_by.empty())
    return fail(ErrorKind::kRefused,
                fmt::format("{} is the shared disk of VM {}.  If this VM may have it: understudy disk forget {}", path,
                            image.record().shared_by, path));
  return image;
}

Result<std::unique_ptr<LocalDisk>> open_disk(const VmConfig& config, size_t i, const LocalDiskOptions& options) {
  const bool shared = config.disks[i].storage == DiskStorage::kShared;
  US_ASSIGN(DiskImage image, open_image(config.disks[i], config.name, options));
  const std::string name = fmt::format("disk{}", i);
  const DiskEndpoint endpoint{fmt::format("{}/{}.{}", options.runtime_directory, config.name, name), image.bytes()};
  DiskLoopOptions loop;
  loop.socket_path = endpoint.socket_path;
  const uint32_t block = image.image().block_bytes();
  loop.disk = {.name = std::string(kDiskExport),
               .size_bytes = image.bytes(),
               .block_bytes_min = shared ? std::max(block, kSharedBlockBytes) : block};
  loop.limits = {.requests_max = kDiskRequestsMax, .bytes_max = kDiskRequestBytesMax};
  loop.name = name;
  US_ASSIGN(auto io, options.make_io ? options.make_io() : start_thread_disk_io(kIoThreads));
  US_ASSIGN(auto started, DiskLoop::start(std::move(loop), std::move(io)));
  return std::unique_ptr<LocalDisk>(new LocalDisk{DiskIndex(static_cast<uint8_t>(i)), name,
                                                  config.disks[i].format == "raw", shared, config.name,
                                                  std::move(image), endpoint, std::move(started)});
}

}  // namespace

Result<std::vector<std::unique_ptr<LocalDisk>>> open_local_disks(const VmConfig& config,
                                                                 const LocalDiskOptions& options) {
  std::vector<std::unique_ptr<LocalDisk>> disks;
  for (size_t i = 0; i < config.disks.size(); ++i) {
    if (!config.disks[i].writable()) continue;
    US_ASSIGN(auto disk, open_disk(config, i, options));
    disks.push_back(std::move(disk));
  }
  return disks;
}

}  // namespace us
