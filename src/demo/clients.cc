#include "demo/clients.h"

#include <fmt/format.h>

namespace us::demo {

Clients::Clients(const NetNs& ns, const std::string& guest_address, uint64_t download_bytes, uint64_t seed)
    : ns_(ns),
      guest_address_(guest_address),
      redis_(guest_address, fmt::format("demo:{}", seed)),
      download_(guest_address, download_bytes, seed),
      ping_(guest_address) {}

void Clients::start() {
  redis_.start(ns_);
  download_.start(ns_);
  ping_.start(ns_);
}

void Clients::finish(Duration limit) {
  ping_.finish(limit);
  redis_.finish(limit);
  download_.finish(limit);
}

std::optional<std::string> Clients::failure() const {
  for (const Client* client : all())
    if (const auto why = client->failure()) return fmt::format("{}: {}", client->name(), *why);
  return std::nullopt;
}

Clients::Marks Clients::marks() const { return {redis_.progress(), download_.progress(), ping_.progress()}; }

bool Clients::all_beyond(const Marks& marks) const {
  const Marks now = this->marks();
  for (size_t i = 0; i < now.size(); ++i)
    if (now[i] <= marks[i]) return false;
  return true;
}

void Clients::report(DemoFigures& figures) const {
  for (const Client* client : all()) {
    ++figures.connections;
    if (const auto why = client->failure())
      figures.failures.push_back(fmt::format("{}: {}", client->name(), *why));
    else
      ++figures.connections_survived;
  }
  figures.acknowledged_writes = redis_.acknowledged();
  figures.acknowledged_writes_lost = redis_.lost();
  figures.downloads = download_.files_verified();
  figures.download_bytes = download_.bytes();
  figures.download_sha256_ok = figures.downloads > 0 && !download_.has_wrong_file();
  figures.ping_p50_ms = ping_.replies().round_trip(0.5).to_millis_f();

  const auto counter = read_redis_counter(ns_, guest_address_, redis_.key());
  if (!counter) {
    figures.failures.push_back("the guest's redis does not answer at the end: " + counter.error().message);
  } else if (*counter < redis_.acknowledged()) {
    figures.acknowledged_writes_lost = std::max(figures.acknowledged_writes_lost, redis_.acknowledged() - *counter);
  } else if (*counter > redis_.sent()) {
    figures.failures.push_back(
        fmt::format("the guest counted {} writes, but only {} were sent", *counter, redis_.sent()));
  }
}

}  // namespace us::demo
