#include "host/disk_tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/aligned_buffer.h"
#include "config/units.h"
#include "host/disk_image.h"
#include "host/disk_limits.h"
#include "os/unique_fd.h"
#include "qemu/brief_run.h"

namespace us {
namespace {

constexpr uint64_t kPieceBytes = 1 << 20;

// An image as it is once its journal has been applied.
struct OpenedImage {
  DiskImage image;
  std::optional<JournalRecord> replay;

  Status read(uint64_t offset, std::span<uint8_t> into) const {
    if (const int error = image.image().read(offset, into); error != 0)
      return fail_errno("read " + image.path(), error);
    if (!replay) return {};
    apply_over(into, {offset, offset + into.size()}, replay->batch.writes);
    return {};
  }
};

Result<OpenedImage> open_image(const std::string& path) {
  US_ASSIGN(DiskImage image, DiskImage::open(path, {}));
  OpenedImage out{std::move(image), std::nullopt};
  const ImageState state = out.image.record().state;
  if (::access((path + ".us-journal").c_str(), F_OK) != 0 || state != ImageState::kConsistent) return out;
  US_ASSIGN(DiskImage::Journal journal, out.image.open_journal(kDiskStagedBytesMax));
  out.replay = std::move(journal.replay);
  return out;
}

}  // namespace

// An L2 entry of 8 bytes and a refcount of 2 for each cluster of 64 KiB (docs/interop/qcow2.txt of QEMU), L1 table and
// refcount table; and room for clusters that are in use twice while they are rewritten.
uint64_t qcow2_container_bytes(uint64_t disk_bytes) {
  const uint64_t metadata = disk_bytes / 8192 + disk_bytes / 32768 + disk_bytes / 65536;
  const uint64_t bytes = disk_bytes + metadata + 16 * config::kMiB;
  return (bytes + 65535) / 65536 * 65536;
}

Status create_disk_image(const std::string& path, uint64_t disk_bytes, const std::string& format) {
  if (format == "raw") return DiskImage::create(path, disk_bytes);
  US_TRY(DiskImage::create(path, qcow2_container_bytes(disk_bytes)));
  const auto made = brief_run({.argv = {"qemu-img", "create", "-q", "-f", "qcow2", path, std::to_string(disk_bytes)},
                               .inherited = {},
                               .limit = Duration::seconds(30),
                               .stop_at = {}});
  const bool good = made && made->exit == "exited with status 0";
  if (good && ::truncate(path.c_str(), static_cast<off_t>(qcow2_container_bytes(disk_bytes))) == 0) return {};
  (void)DiskImage::forget(path);
  ::unlink(path.c_str());
  return fail(ErrorKind::kSystem,
              fmt::format("qemu-img cannot make {}: {}", path, made ? made->output : made.error().message));
}

Result<DiskImageInfo> disk_image_info(const std::string& path) {
  US_ASSIGN(OpenedImage opened, open_image(path));
  const ImageRecord& record = opened.image.record();
  DiskImageInfo info;
  info.path = path;
  info.bytes = opened.image.bytes();
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0) info.used_bytes = static_cast<uint64_t>(st.st_blocks) * 512;
  for (const uint8_t byte : record.image) info.image_id += fmt::format("{:02x}", byte);
  info.state = image_state_name(record.state);
  const ImageEpoch at = opened.replay ? opened.replay->batch.target : record.at;
  info.generation = at.generation.value();
  info.session = at.session;
  info.epoch = at.epoch.value();
  info.journal_pending = opened.replay.has_value();
  US_ASSIGN(const DirtyMap map, opened.image.load_map());
  info.has_map = opened.image.has_map();
  info.shared_by = record.shared_by;
  info.marked_bytes = std::min(map.marked().count() * map.shape().granule_bytes, info.bytes);
  return info;
}

nlohmann::json to_json(const DiskImageInfo& info) {
  return {{"image", info.path},      {"bytes", info.bytes},         {"used_bytes", info.used_bytes},
          {"id", info.image_id},     {"state", info.state},         {"generation", info.generation},
          {"session", info.session}, {"epoch", info.epoch},         {"journal_pending", info.journal_pending},
          {"map", info.has_map},     {"shared_by", info.shared_by}, {"marked_bytes", info.marked_bytes}};
}

void print(const DiskImageInfo& info, std::ostream& out) {
  out << fmt::format("{}: {} ({} used), {}\n", info.path, config::size_text(info.bytes),
                     config::size_text(info.used_bytes / 1024 * 1024), info.state);
  out << fmt::format("  id {}, generation {}, session {:x}, epoch {}{}\n", info.image_id, info.generation, info.session,
                     info.epoch, info.journal_pending ? " (its last writes are in the journal)" : "");
  if (!info.shared_by.empty())
    out << fmt::format("  the shared disk of VM {}\n", info.shared_by);
  else if (info.has_map)
    out << fmt::format("  may differ from the other host's in {}\n", config::size_text(info.marked_bytes));
  else
    out << "  no map: everything is compared when it is synchronised\n";
}

Result<std::optional<uint64_t>> compare_disk_images(const std::string& a, const std::string& b) {
  US_ASSIGN(const OpenedImage first, open_image(a));
  US_ASSIGN(const OpenedImage second, open_image(b));
  if (first.image.bytes() != second.image.bytes())
    return fail(ErrorKind::kInput,
                fmt::format("{} has {} bytes, {} has {}", a, first.image.bytes(), b, second.image.bytes()));
  AlignedBuffer one(kPieceBytes), other(kPieceBytes);
  for (uint64_t at = 0; at < first.image.bytes(); at += kPieceBytes) {
    const uint64_t n = std::min(kPieceBytes, first.image.bytes() - at);
    US_TRY(first.read(at, one.span().first(n)));
    US_TRY(second.read(at, other.span().first(n)));
    const auto differs = std::mismatch(one.data(), one.data() + n, other.data());
    if (differs.first != one.data() + n) return std::optional(at + static_cast<uint64_t>(differs.first - one.data()));
  }
  return std::optional<uint64_t>{};
}

}  // namespace us
