#include "cli/audit_command.h"

#include <fmt/format.h>

#include <cstdio>

#include "host/control_server.h"

namespace us {
namespace {

using Json = nlohmann::json;

// The node has the better limit: it knows the size of the guest.
constexpr Duration kAnswerTimeout = Duration::seconds(4 * 3600);
constexpr int kExitEqual = 0;
constexpr int kExitDifferent = 1;
constexpr int kExitNoAudit = 2;

std::string describe_page(const Json& page) {
  std::string text = fmt::format("  block {}  page {}", page.value("block", std::string()), page.value("page", 0ull));
  text += page["guest_physical"].is_null() ? "  not mapped for the guest now"
                                           : "  guest-physical " + page.value("guest_physical", std::string());
  if (!page.contains("last_epoch")) return text + "  never seen written since the session began\n";
  return text + fmt::format("  last seen written by the {} in epoch {}\n", page.value("last_writer", std::string()),
                            page.value("last_epoch", 0ull));
}

std::string describe_disks(const Json& result) {
  std::string text;
  for (const Json& disk : result.value("disks", Json::array())) {
    const uint64_t granule = disk.value("granule_bytes", uint64_t{0});
    const uint64_t differing = disk.value("differences", uint64_t{0});
    const std::string size = fmt::format("{} pieces of {} KiB", disk.value("granules", uint64_t{0}), granule / 1024);
    const std::string name = disk.value("name", std::string());
    if (differing == 0)
      text += fmt::format("{}: {} are equal on both hosts\n", name, size);
    else
      text += fmt::format("{}: {} of {} DIFFER\n", name, differing, size);
    for (const Json& offset : disk["offsets"]) text += fmt::format("  bytes from {}\n", offset.get<uint64_t>());
    if (const uint64_t out = disk.value("left_out", uint64_t{0}); out > 0)
      text += fmt::format("  {} not compared: they cannot be read here, or a write there has failed\n", out);
  }
  return text;
}

std::string describe(const std::string& name, const Json& result) {
  const std::string how = fmt::format("(epoch {}; the guest paused {:.0f} ms for it)", result.value("epoch", 0ull),
                                      result.value("pause_ms", 0.0));
  const uint64_t pages = result.value("pages", uint64_t{0}), differing = result.value("differences", uint64_t{0});
  const uint64_t more = result.value("regions_not_named", uint64_t{0});
  std::string text = differing + more == 0 ? fmt::format("{}: {} pages are equal on both hosts {}\n", name, pages, how)
                                           : fmt::format("{}: {} of {} pages DIFFER {}\n", name, differing, pages, how);
  for (const Json& page : result["differing"]) text += describe_page(page);
  if (more > 0) text += fmt::format("  and pages in {} more regions of 2 MiB\n", more);
  text += describe_disks(result);
  if (result.value("equal", false)) return text;
  return text + "The standby has been told to forget its copy; the VM is synchronised anew.\n";
}

}  // namespace

int run_audit(const AuditOptions& options) {
  const auto result =
      control_request(control_path(options.runtime_directory, options.name), {{"command", "audit"}}, kAnswerTimeout);
  if (!result) {
    std::fprintf(stderr, "understudy: %s\n", result.error().message.c_str());
    return kExitNoAudit;
  }
  std::fputs(options.json ? (result->dump() + "\n").c_str() : describe(options.name, *result).c_str(), stdout);
  return result->value("equal", false) ? kExitEqual : kExitDifferent;
}

}  // namespace us
