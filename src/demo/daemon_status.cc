#include "demo/daemon_status.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace us::demo {
namespace {

using Json = nlohmann::json;

double number(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

uint64_t counter(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

std::string text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

TakeoverStatus takeover(const Json& object) {
  return {.generation = counter(object, "generation"),
          .detection_ms = number(object, "detection_ms"),
          .arbitration_ms = number(object, "arbitration_ms"),
          .restore_ms = number(object, "restore_ms"),
          .announce_ms = number(object, "announce_ms"),
          .total_ms = number(object, "total_ms")};
}

void read_pause(const Json& object, DaemonStatus& out) {
  const auto pause = object.find("pause_ms");
  if (pause == object.end() || !pause->is_object()) return;
  if (pause->contains("p50")) out.pause_p50_ms = number(*pause, "p50");
  if (pause->contains("p99")) out.pause_p99_ms = number(*pause, "p99");
}

}  // namespace

Result<DaemonStatus> parse_daemon_status(std::string_view json) {
  const Json object = Json::parse(json, nullptr, false);
  if (!object.is_object() || !object.contains("role"))
    return fail(ErrorKind::kProtocol, fmt::format("this is not the status of a VM: {}", json));
  DaemonStatus out;
  out.name = text(object, "name");
  out.role = text(object, "role");
  out.accelerator = text(object, "accelerator");
  out.accelerator_reason = text(object, "accelerator_reason");
  out.dirty_tracker = text(object, "dirty_tracker");
  out.state = text(object, "state");
  out.generation = counter(object, "generation");
  out.epoch = counter(object, "epoch");
  out.committed_epoch = counter(object, "committed_epoch");
  out.sync_progress = number(object, "sync_progress");
  read_pause(object, out);
  out.guest_resets = counter(object, "guest_resets");
  out.resets_in_pauses = counter(object, "resets_in_pauses");
  if (const auto audit = object.find("audit"); audit != object.end() && audit->is_object()) {
    out.audits = counter(*audit, "done");
    out.audit_differences = counter(*audit, "differences");
  }
  if (const auto list = object.find("takeovers"); list != object.end() && list->is_array())
    for (const Json& item : *list)
      if (item.is_object()) out.takeovers.push_back(takeover(item));
  return out;
}

}  // namespace us::demo
