#include "demo/clients.h"

#include <fmt/format.h>

namespace us::demo {

Clients::Clients(const NetNs& ns, const std::string& guest_address, uint64_t download_bytes, uint64_t seed,
                 bool with_ledger)
    : ns_(ns),
      guest_address_(guest_address),
      redis_(guest_address, fmt::format("demo:{}", seed)),
      download_(guest_address, download_bytes, seed),
      ping_(guest_address),
      ledger_(with_ledger ? std::make_unique<LedgerClient>(guest_address, LedgerId{.seed = seed, .client = 1})
                          : nullptr) {}

void Clients::start() {
  redis_.start(ns_);
  download_.start(ns_);
  ping_.start(ns_);
  if (ledger_) ledger_->start(ns_);
}

void Clients::finish(Duration limit) {
  ping_.finish(limit);
  if (ledger_) ledger_->finish(limit);
  redis_.finish(limit);
  download_.finish(limit);
}

std::optional<std::string> Clients::failure() const {
  for (const Client* client : all())
    if (const auto why = client->failure()) return fmt::format("{}: {}", client->name(), *why);
  return std::nullopt;
}

std::vector<const Client*> Clients::all() const {
  std::vector<const Client*> out = {&redis_, &download_, &ping_};
  if (ledger_) out.push_back(ledger_.get());
  return out;
}

Clients::Marks Clients::marks() const {
  Marks out;
  for (const Client* client : all()) out.push_back(client->progress());
  return out;
}

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
  report_counter(figures);
  if (ledger_) report_ledger(figures);
}

void Clients::report_counter(DemoFigures& figures) const {
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

void Clients::report_ledger(DemoFigures& figures) const {
  if (!figures.disk) figures.disk.emplace();
  figures.disk->transactions = ledger_->acknowledged();
  const auto verdict = audit_ledger(ns_, guest_address_, ledger_->id(), ledger_->counts());
  if (!verdict) {
    figures.failures.push_back("the guest's database does not answer at the end: " + verdict.error().message);
    return;
  }
  figures.disk->transactions_lost = verdict->lost;
  if (!verdict->good()) figures.failures.push_back("the ledger is wrong: " + to_text(*verdict));
}

}  // namespace us::demo
