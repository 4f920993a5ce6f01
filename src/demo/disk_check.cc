#include "demo/disk_check.h"

#include <fmt/format.h>

#include "demo/command.h"

namespace us::demo {
namespace {

constexpr Duration kCheckLimit = Duration::seconds(60);

}  // namespace

Status check_database(Cluster& cluster) {
  constexpr std::string_view kDone = "amcheck is clean";
  US_ASSIGN(const std::string said,
            cluster.run_in_guest(fmt::format("pg_amcheck --username=postgres --host=/run/postgresql --database=ledger "
                                             "--database=bench --heapallindexed --parent-check 2>&1 && echo {}",
                                             kDone)));
  if (said.ends_with(std::string(kDone) + "\n")) return {};
  return fail(ErrorKind::kProtocol, "pg_amcheck says:\n" + said);
}

Status check_file_system(Cluster& cluster, size_t host) {
  US_ASSIGN(const CommandResult result, run_command({"e2fsck", "-fn", cluster.disk_image(host).string()}, kCheckLimit));
  // "Bit 2: file system errors left uncorrected", e2fsck(8).  A journal that must be replayed first is a warning to it,
  // but not to us: the guest has shut down in order.
  if (result.exit_status == 0 && result.output.find("recovery") == std::string::npos) return {};
  return fail(ErrorKind::kProtocol, fmt::format("e2fsck of host {}'s image (status {}):\n{}", kHostNames[host],
                                                result.exit_status, result.output));
}

Status compare_images(Cluster& cluster) {
  const auto equal = run_checked({"cmp", cluster.disk_image(0).string(), cluster.disk_image(1).string()}, kCheckLimit);
  if (!equal) return tl::unexpected(equal.error());
  return {};
}

}  // namespace us::demo
