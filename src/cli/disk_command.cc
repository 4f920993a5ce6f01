#include "cli/disk_command.h"

#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config/units.h"
#include "host/disk_image.h"
#include "host/disk_tool.h"

namespace us {
namespace {

struct Options {
  std::string path;
  std::string size;
  std::string format = "raw";
  std::vector<std::string> paths;
  bool json = false;
};

int report(const Status& status, const std::string& done) {
  if (status) {
    std::cout << done << "\n";
    return 0;
  }
  std::cerr << "understudy: " << status.error().message << "\n";
  return 1;
}

int create(const Options& o) {
  const std::optional<uint64_t> bytes = config::parse_size(o.size);
  if (!bytes || *bytes < kDirtyBlockBytes || *bytes % 4096 != 0) {
    std::cerr << fmt::format("understudy: \"{}\" is not an accepted size; expected such as 20G, a multiple of 4K\n",
                             o.size);
    return 2;
  }
  return report(create_disk_image(o.path, *bytes, o.format), fmt::format("{}: {}, new", o.path, o.size));
}

int info(const Options& o) {
  const Result<DiskImageInfo> found = disk_image_info(o.path);
  if (!found) return report(tl::unexpected(found.error()), "");
  if (o.json)
    std::cout << to_json(*found).dump(2) << "\n";
  else
    print(*found, std::cout);
  return 0;
}

int check(const Options& o) {
  for (const std::string& path : o.paths) {
    const Result<DiskImageInfo> found = disk_image_info(path);
    if (!found) return report(tl::unexpected(found.error()), "");
    print(*found, std::cout);
  }
  if (o.paths.size() < 2) return 0;
  const auto differs = compare_disk_images(o.paths[0], o.paths[1]);
  if (!differs) return report(tl::unexpected(differs.error()), "");
  std::cout << (*differs ? fmt::format("they differ, first at byte {}\n", **differs) : "they are equal\n");
  return *differs ? 1 : 0;
}

}  // namespace

CLI::App* add_disk_command(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  CLI::App* disk = app.add_subcommand("disk", "make disk images, and look into images that no VM uses (docs/disk.md)");
  disk->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, auto work) {
    CLI::App* command = disk->add_subcommand(name, help);
    command->callback([options, work, &status] { status = work(*options); });
    return command;
  };
  auto* made = add("create", "a new, sparse image: understudy disk create web.img 20G", create);
  made->add_option("IMAGE", options->path)->required();
  made->add_option("SIZE", options->size, "of the disk, such as 20G")->required();
  made->add_option("--format", options->format)->check(CLI::IsMember({"raw", "qcow2"}))->capture_default_str();
  auto* shown = add("info", "what an image is: its state, its epoch, how much may differ", info);
  shown->add_option("IMAGE", options->path)->required();
  shown->add_flag("--json", options->json, "one JSON object");
  auto* checked = add("check", "the same of one image, or of two, whose bytes are then compared", check);
  checked->add_option("IMAGE", options->paths)->required()->expected(1, 2);
  auto* adopted =
      add("adopt", "take a file as an image: a primary may serve it, and a standby overwrite it with a copy",
          [](const Options& o) { return report(DiskImage::adopt(o.path), o.path + ": adopted, new"); });
  adopted->add_option("IMAGE", options->path)->required();
  auto* forgotten = add("forget", "remove what is known of an image (its bytes stay): it is a plain file again",
                        [](const Options& o) { return report(DiskImage::forget(o.path), o.path + ": forgotten"); });
  forgotten->add_option("IMAGE", options->path)->required();
  return disk;
}

}  // namespace us
