#include "host/primary_audit.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace us {
namespace {

using Json = nlohmann::json;

constexpr size_t kPagesLogged = 16;
constexpr size_t kPagesReported = 1024;
// For the standby to compare.  It does so at more than 1 GB/s, between its other work.
constexpr Duration kAnswerTimeout = Duration::seconds(20);
constexpr uint64_t kPagesPerSecond = 64 * 1024;
// Of the slowest disk that is worth waiting for.
constexpr uint64_t kDiskBytesPerSecond = 16 << 20;

// What is known of a page, as a clause.
std::string page_text(const Json& page) {
  const std::string writer = page.value("last_writer", std::string());
  const std::string written =
      writer == to_string(PageWriter::kNobody)
          ? "never seen written since the session began"
          : fmt::format("last seen written by the {} in epoch {}", writer, page.value("last_epoch", uint64_t{0}));
  const std::string guest = page["guest_physical"].is_null()
                                ? "not mapped for the guest now"
                                : fmt::format("guest-physical {}", page["guest_physical"].get<std::string>());
  return fmt::format("block {}, page {} ({}), {}", page.value("block", std::string()), page.value("page", uint64_t{0}),
                     guest, written);
}

}  // namespace

void PrimaryAudit::request(Command command, const std::optional<std::string>& cannot) {
  if (cannot) {
    command.answer->set_value(fail(ErrorKind::kRefused, *cannot));
  } else if (asked_) {
    command.answer->set_value(fail(ErrorKind::kRefused, "an audit is asked for already; see its result in the status"));
  } else {
    asked_ = std::move(command);
  }
}

bool PrimaryAudit::due(Epoch epoch) const {
  if (running()) return false;
  return asked_ || (every_ != 0 && epoch.value() % every_ == 0);
}

std::vector<Bytes> PrimaryAudit::begin(Epoch epoch, std::unique_ptr<const RamHashes> hashes, Duration pause,
                                       uint16_t version, Instant now) {
  constexpr auto kPerMessage = static_cast<uint32_t>(kAuditDigestBytesMax / sizeof(uint64_t));
  std::vector<Bytes> frames;
  for (uint32_t first = 0; first < hashes->regions(); first += kPerMessage) {
    const Bytes digests = hashes->digests(first, std::min(kPerMessage, hashes->regions() - first));
    frames.push_back(encode(AuditDigests{epoch, hashes->regions(), first, digests}, version));
  }
  pause_ = pause;
  began_ = now;
  deadline_ = now + kAnswerTimeout + Duration::seconds(static_cast<int64_t>(hashes->pages() / kPagesPerSecond));
  judge_ = std::make_unique<AuditJudge>(epoch, std::move(hashes));
  for_asker_ = asked_.has_value();
  disks_begun_ = for_asker_ && knowledge_.begin_disks();
  disks_deadline_ =
      now + kAnswerTimeout + Duration::seconds(static_cast<int64_t>(knowledge_.disk_bytes() / kDiskBytesPerSecond));
  const std::lock_guard lock(mutex_);
  pauses_.record(pause);
  return frames;
}

Status PrimaryAudit::on_answer(const AuditAnswer& answer, Instant now) {
  if (!judge_) return fail(ErrorKind::kProtocol, "it answered an audit that nobody asked for");
  if (const auto* region = std::get_if<AuditRegionAnswer>(&answer))
    return judge_->on_region(region->epoch, region->region, region->hashes);
  const AuditEnd& end = std::get<AuditEnd>(answer);
  US_TRY(judge_->on_end(end.epoch, end.pages, end.regions_differ));
  conclude(end, now);
  return {};
}

void PrimaryAudit::abort(const std::string& why) {
  if (judge_) {
    judge_.reset();
    const std::lock_guard lock(mutex_);
    ++failed_;
  }
  ram_result_.reset();
  for_asker_ = false;
  if (asked_) std::exchange(asked_, std::nullopt)->answer->set_value(fail(ErrorKind::kRefused, why));
}

Instant PrimaryAudit::deadline() const {
  if (judge_) return deadline_;
  return ram_result_ ? disks_deadline_ : Instant::far_future();
}

void PrimaryAudit::answer(Json result) {
  ram_result_.reset();
  if (asked_) std::exchange(asked_, std::nullopt)->answer->set_value(result.dump());
}

void PrimaryAudit::poll_disks() {
  if (!ram_result_) return;
  if (!disks_begun_) disks_begun_ = knowledge_.begin_disks();
  if (!disks_begun_) return;
  std::optional<Json> disks = knowledge_.disks_result();
  if (!disks) return;
  Json result = std::move(*ram_result_);
  for (const Json& disk : *disks) {
    const auto differing = disk["differences"].get<uint64_t>();
    if (differing == 0) continue;
    result["equal"] = false;
    const std::string text = fmt::format(
        "{}: {} pieces of {} KiB differ from the standby's, the first at byte {}", disk["name"].get<std::string>(),
        differing, disk["granule_bytes"].get<uint64_t>() / 1024, disk["offsets"][0].get<uint64_t>());
    spdlog::error("audit: {}", text);
    if (!difference_) difference_ = "audit: " + text;
    const std::lock_guard lock(mutex_);
    differences_ += differing;
  }
  {
    const std::lock_guard lock(mutex_);
    last_["disks"] = *disks;
  }
  result["disks"] = std::move(*disks);
  answer(std::move(result));
}

Json PrimaryAudit::describe_page(PageIndex page, const std::vector<MappedRam>& map) const {
  const PageHistory::Last last = knowledge_.last_writer(page);
  const auto address = guest_address(map, page.value() * kPageSize);
  Json out = {{"block", "mem"}, {"page", page.value()}, {"last_writer", to_string(last.writer)}};
  out["guest_physical"] = address ? Json(fmt::format("{:#x}", address->value())) : Json();
  if (last.writer != PageWriter::kNobody) out["last_epoch"] = last.epoch.value();
  return out;
}

void PrimaryAudit::conclude(const AuditEnd& end, Instant now) {
  const std::unique_ptr<AuditJudge> judge = std::move(judge_);
  last_epoch_ = judge->epoch();
  Json result = {{"epoch", last_epoch_.value()},
                 {"pages", judge->pages()},
                 {"equal", judge->equal()},
                 {"differences", judge->differing().size()},
                 {"regions_not_named", judge->regions_unnamed()},
                 {"pause_ms", pause_.to_millis_f()},
                 {"standby_ms", end.took.to_millis_f()},
                 {"total_ms", (now - began_).to_millis_f() + pause_.to_millis_f()},
                 {"not_audited", other_blocks_}};
  Json pages = Json::array();
  if (!judge->equal()) {
    const std::vector<MappedRam> map = knowledge_.memory_map();
    for (const PageIndex page : judge->differing()) {
      if (pages.size() == kPagesReported) break;
      pages.push_back(describe_page(page, map));
      if (pages.size() <= kPagesLogged)
        spdlog::error("audit of epoch {}: the standby's copy differs: {}", last_epoch_.value(),
                      page_text(pages.back()));
    }
    spdlog::error("audit of epoch {}: {} pages differ, and {} more regions of 2 MiB", last_epoch_.value(),
                  judge->differing().size(), judge->regions_unnamed());
    difference_ = fmt::format("audit of epoch {}: {} pages of the standby's copy differ; {}", last_epoch_.value(),
                              judge->differing().size(), pages.empty() ? "" : page_text(pages[0]));
  }
  result["differing"] = std::move(pages);
  if (std::exchange(for_asker_, false)) {
    if (judge->equal())
      ram_result_ = result;
    else
      answer(result);
  }
  const std::lock_guard lock(mutex_);
  ++done_;
  differences_ += judge->differing().size() + judge->regions_unnamed();
  last_ = std::move(result);
  last_.erase("not_audited");
}

Json PrimaryAudit::status() const {
  const std::lock_guard lock(mutex_);
  return {{"every", every_},
          {"done", done_},
          {"without_result", failed_},
          {"differences", differences_},
          {"pause_ms_max", pauses_.max().to_millis_f()},
          {"pause_ms_sum", pauses_.sum().to_millis_f()},
          {"last", last_}};
}

}  // namespace us
