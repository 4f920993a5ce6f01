#include "demo/figures.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace us::demo {
namespace {

using Json = nlohmann::ordered_json;

Json rounded(double ms) { return static_cast<double>(static_cast<int64_t>(ms * 100 + 0.5)) / 100; }
Json rounded(const std::optional<double>& ms) { return ms ? rounded(*ms) : Json(nullptr); }

Json column(const std::vector<TakeoverStatus>& takeovers, double TakeoverStatus::*member) {
  Json out = Json::array();
  for (const TakeoverStatus& takeover : takeovers) out.push_back(rounded(takeover.*member));
  return out;
}

std::string list(const std::vector<double>& values) {
  std::string out;
  for (const double value : values) out += fmt::format("{}{:.0f}", out.empty() ? "" : ", ", value);
  return out.empty() ? "-" : out + " ms";
}

std::vector<double> values(const std::vector<TakeoverStatus>& takeovers, double TakeoverStatus::*member) {
  std::vector<double> out;
  for (const TakeoverStatus& takeover : takeovers) out.push_back(takeover.*member);
  return out;
}

std::string disk_words(const DiskFigures& disk) {
  const auto verdict = [](bool clean) { return clean ? "clean" : "NOT CLEAN"; };
  return fmt::format("both images {}, e2fsck {}, pg_amcheck {}", disk.images_equal ? "equal" : "NOT EQUAL",
                     verdict(disk.fsck_clean), verdict(disk.amcheck_clean));
}

}  // namespace

void DemoFigures::judge() {
  const auto require = [this](bool holds, std::string otherwise) {
    if (!holds) failures.push_back(std::move(otherwise));
  };
  require(connections > 0 && connections_survived == connections,
          fmt::format("{} of {} connections survived", connections_survived, connections));
  require(acknowledged_writes > 0, "redis acknowledged no write at all");
  require(acknowledged_writes_lost == 0, fmt::format("{} acknowledged writes were lost", acknowledged_writes_lost));
  require(downloads > 0, "no download was completed");
  require(download_sha256_ok, "the SHA-256 of a download is wrong, or none was checked");
  if (disk) {
    require(disk->transactions > 0, "the database committed no transaction at all");
    require(disk->transactions_lost == 0,
            fmt::format("{} acknowledged transactions were lost", disk->transactions_lost));
    require(disk->amcheck_clean, "pg_amcheck was not clean, or did not run");
    require(disk->fsck_clean, "e2fsck was not clean on both images, or did not run");
    require(disk->images_equal, "the images of the two hosts were not equal, or were not compared");
  }
  require(takeovers.size() == rounds_wanted && stall_ms.size() == rounds_wanted,
          fmt::format("{} of {} takeovers happened", takeovers.size(), rounds_wanted));
  require(audits == rounds_wanted, fmt::format("{} of {} audits were made", audits, rounds_wanted));
  require(rounds_wanted > 0, "nothing was tried");
}

std::string to_json(const DemoFigures& f) {
  Json out;
  out["verdict"] = f.green() ? "green" : "red";
  out["failures"] = f.failures;
  out["fault"] = f.fault == Fault::kKill ? "kill" : "cut-network";
  out["seed"] = f.seed;
  out["memory"] = f.memory;
  out["epoch"] = f.epoch;
  out["rounds"] = f.rounds_wanted;
  out["connections"] = f.connections;
  out["connections_survived"] = f.connections_survived;
  out["acknowledged_writes"] = f.acknowledged_writes;
  out["acknowledged_writes_lost"] = f.acknowledged_writes_lost;
  out["downloads"] = f.downloads;
  out["download_bytes"] = f.download_bytes;
  out["download_sha256_ok"] = f.download_sha256_ok;
  if (f.disk) {
    out["transactions"] = f.disk->transactions;
    out["transactions_lost"] = f.disk->transactions_lost;
    out["amcheck_clean"] = f.disk->amcheck_clean;
    out["fsck_clean"] = f.disk->fsck_clean;
    out["images_equal"] = f.disk->images_equal;
  }
  out["ping_p50_ms"] = rounded(f.ping_p50_ms);
  out["stall_ms"] = Json::array();
  for (const double ms : f.stall_ms) out["stall_ms"].push_back(rounded(ms));
  out["detection_ms"] = column(f.takeovers, &TakeoverStatus::detection_ms);
  out["arbitration_ms"] = column(f.takeovers, &TakeoverStatus::arbitration_ms);
  out["restore_ms"] = column(f.takeovers, &TakeoverStatus::restore_ms);
  out["announce_ms"] = column(f.takeovers, &TakeoverStatus::announce_ms);
  out["pause_ms"] = {{"p50", rounded(f.pause_p50_ms)}, {"p99", rounded(f.pause_p99_ms)}};
  out["epochs"] = f.epochs;
  out["audits"] = f.audits;
  out["audited_pages"] = f.audited_pages;
  return out.dump(2) + "\n";
}

std::string to_text(const DemoFigures& f, bool colour) {
  const auto milliseconds = [](const std::optional<double>& ms) { return ms ? fmt::format("{:.1f}", *ms) : "?"; };
  std::string out = "\n";
  const auto row = [&out](std::string_view label, const std::string& value) {
    out += fmt::format("  {:<28}{}\n", label, value);
  };
  row("connections survived", fmt::format("{} of {}", f.connections_survived, f.connections));
  row("acknowledged writes", fmt::format("{}, lost {}", f.acknowledged_writes, f.acknowledged_writes_lost));
  if (f.disk)
    row("committed transactions", fmt::format("{}, lost {}", f.disk->transactions, f.disk->transactions_lost));
  row("downloads", fmt::format("{} ({:.0f} MB), SHA-256 {}", f.downloads, static_cast<double>(f.download_bytes) / 1e6,
                               f.download_sha256_ok ? "right"
                               : f.downloads == 0   ? "unknown"
                                                    : "WRONG"));
  row("takeovers", fmt::format("{} of {}", f.takeovers.size(), f.rounds_wanted));
  row("stall seen by the client", list(f.stall_ms));
  row("  of it detection", list(values(f.takeovers, &TakeoverStatus::detection_ms)));
  row("  of it restore", list(values(f.takeovers, &TakeoverStatus::restore_ms)));
  row("epochs committed", fmt::format("{} (pause p50 {} ms, p99 {} ms)", f.epochs, milliseconds(f.pause_p50_ms),
                                      milliseconds(f.pause_p99_ms)));
  row("audits", fmt::format("{} ({} pages compared, all equal)", f.audits, f.audited_pages));
  if (f.disk) row("disk at the end", disk_words(*f.disk));
  row("ping-pong round trip", fmt::format("p50 {:.1f} ms while protected", f.ping_p50_ms));
  const char* paint = !colour ? "" : f.green() ? "\033[1;32m" : "\033[1;31m";
  const char* plain = colour ? "\033[0m" : "";
  out += fmt::format("\n{}{}{}\n", paint,
                     f.green() ? "GREEN: every connection survived and nothing was lost." : "RED:", plain);
  for (const std::string& failure : f.failures) out += "  * " + failure + "\n";
  return out;
}

}  // namespace us::demo
