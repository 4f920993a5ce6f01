#include "host/local_disk.h"

#include <fmt/format.h>

#include <filesystem>

#include "host/disk_limits.h"
#include "host/disk_tool.h"

namespace us {
namespace {

constexpr size_t kIoThreads = 4;

Result<DiskImage> open_image(const DiskConfig& disk, const LocalDiskOptions& options) {
  const std::string& path = disk.file_on(options.self).path;
  std::optional<uint64_t> bytes = disk.size_bytes;
  if (bytes && disk.format != "raw") bytes = qcow2_container_bytes(*bytes);
  std::error_code ignored;
  if (options.standby && bytes && !std::filesystem::exists(path, ignored))
    US_TRY(create_disk_image(path, *disk.size_bytes, disk.format));
  const bool direct = disk.cache == DiskCache::kNone;
  return DiskImage::open(path, {.direct = direct && !options.standby,
                                .direct_later = direct && options.standby,
                                .bytes = bytes,
                                .adopt = !options.standby});
}

Result<std::unique_ptr<LocalDisk>> open_disk(const VmConfig& config, size_t i, const LocalDiskOptions& options) {
  US_ASSIGN(DiskImage image, open_image(config.disks[i], options));
  const std::string name = fmt::format("disk{}", i);
  const DiskEndpoint endpoint{fmt::format("{}/{}.{}", options.runtime_directory, config.name, name), image.bytes()};
  DiskLoopOptions loop;
  loop.socket_path = endpoint.socket_path;
  loop.disk = {
      .name = std::string(kDiskExport), .size_bytes = image.bytes(), .block_bytes_min = image.image().block_bytes()};
  loop.limits = {.requests_max = kDiskRequestsMax, .bytes_max = kDiskRequestBytesMax};
  loop.name = name;
  US_ASSIGN(auto io, options.make_io ? options.make_io() : start_thread_disk_io(kIoThreads));
  US_ASSIGN(auto started, DiskLoop::start(std::move(loop), std::move(io)));
  return std::unique_ptr<LocalDisk>(
      new LocalDisk{DiskIndex(static_cast<uint8_t>(i)), name, std::move(image), endpoint, std::move(started)});
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
