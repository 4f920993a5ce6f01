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

std::string describe(const std::string& name, const Json& result) {
  const std::string how = fmt::format("(epoch {}; the guest paused {:.0f} ms for it)", result.value("epoch", 0ull),
                                      result.value("pause_ms", 0.0));
  if (result.value("equal", false))
    return fmt::format("{}: {} pages are equal on both hosts {}\n", name, result.value("pages", 0ull), how);
  std::string text = fmt::format("{}: {} of {} pages DIFFER {}\n", name, result.value("differences", 0ull),
                                 result.value("pages", 0ull), how);
  for (const Json& page : result["differing"]) text += describe_page(page);
  if (const uint64_t more = result.value("regions_not_named", uint64_t{0}); more > 0)
    text += fmt::format("  and pages in {} more regions of 2 MiB\n", more);
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
