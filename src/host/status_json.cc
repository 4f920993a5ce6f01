#include "host/status_json.h"

#include <algorithm>

namespace us {
namespace {

using Json = nlohmann::json;

}  // namespace

Json histogram_json(const Histogram& h) {
  return {{"n", h.count()},
          {"mean", h.mean().to_millis_f()},
          {"p50", h.quantile(0.5).to_millis_f()},
          {"p90", h.quantile(0.9).to_millis_f()},
          {"p99", h.quantile(0.99).to_millis_f()},
          {"p999", h.quantile(0.999).to_millis_f()},
          {"max", h.max().to_millis_f()}};
}

Json takeover_json(const TakeoverRecord& record) {
  const Duration total = record.detection + record.arbitration + record.restore;
  return {{"generation", record.generation.value()},
          {"planned", record.planned},
          {"epoch", record.epoch.value()},
          {"detection_ms", record.detection.to_millis_f()},
          {"arbitration_ms", record.arbitration.to_millis_f()},
          {"restore_ms", record.restore.to_millis_f()},
          {"total_ms", total.to_millis_f()}};
}

void add_end_of_takeover(Json& out, const TakeoverRecord& record, Instant resumed, const AnnouncementTimes& net) {
  const Instant end = std::max(resumed, net.announced);
  if (resumed == Instant() || net.announced == Instant()) return;
  const Instant silent_since = record.decided - record.detection;
  out["announce_ms"] = (end - record.restored).to_millis_f();
  out["total_ms"] = (end - silent_since).to_millis_f();
  const auto at = [&](Instant instant) { return instant == Instant() ? Json() : Json(instant.to_nanos()); };
  out["at_ns"] = {{"last_heard", at(silent_since)},
                  {"decided", at(record.decided)},
                  {"granted", at(record.decided + record.arbitration)},
                  {"restored", at(record.restored)},
                  {"announced", at(net.announced)},
                  {"resumed", at(resumed)},
                  {"first_frame", at(net.first_frame)}};
}

Json pause_json(const PrimaryStats::Values& values) {
  return {{"stop", histogram_json(values.stop)},
          {"scan", histogram_json(values.scan)},
          {"copy", histogram_json(values.copy)},
          {"save", histogram_json(values.save)},
          {"cont", histogram_json(values.resume)}};
}

Json gate_json(const DataPathCounters& net) {
  Histogram wait;
  for (const NicStatus& nic : net.nics) wait.add(nic.gate_wait);
  return {{"packets", net.gate.gated_packets},
          {"bytes", net.gate.gated_bytes},
          {"packets_max", net.gate.gated_packets_max},
          {"bytes_max", net.gate.gated_bytes_max},
          {"released_packets", net.gate.released_packets},
          {"released_bytes", net.gate.released_bytes},
          {"dropped_packets", net.gate.dropped_packets},
          {"wait_ms", histogram_json(wait)}};
}

Json nics_json(const std::vector<NicStatus>& nics) {
  Json list = Json::array();
  for (const NicStatus& nic : nics) {
    list.push_back({{"tap", nic.name},
                    {"from_guest_packets", nic.nic.from_guest_packets},
                    {"from_guest_bytes", nic.nic.from_guest_bytes},
                    {"to_guest_packets", nic.nic.to_guest_packets},
                    {"to_guest_bytes", nic.nic.to_guest_bytes},
                    {"dropped", nic.nic.to_guest_unfit + nic.nic.uplink_refused},
                    {"ring_faults", nic.nic.ring_faults},
                    {"connection_errors", nic.nic.connection_errors},
                    {"last_error", nic.last_connection_error}});
  }
  return list;
}

}  // namespace us
