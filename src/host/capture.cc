#include "host/capture.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "host/audit_hash.h"
#include "os/clock.h"

namespace us {
namespace {

// A QEMU that does not answer for this long has failed.  Saving takes single milliseconds; a host that swaps or is
// badly overloaded may need seconds.
constexpr Duration kQemuTimeout = Duration::seconds(10);

// What the guest's own writes to the same ports do: SLP_EN with sleep type 0 to PM1a_CNT of the ACPI registers, where
// SeaBIOS puts them; "panicked" to pvpanic (docs/specs/pvpanic.rst in QEMU).
Status send_pause_event(QmpClient& qmp, PauseEvent event) {
  switch (event) {
    case PauseEvent::kReset:
      return qmp.send("system_reset");
    case PauseEvent::kPowerOff:
      return qmp.send("human-monitor-command", {{"command-line", "o /h 0x604 0x2000"}});
    case PauseEvent::kPanic:
      return qmp.send("human-monitor-command", {{"command-line", "o /b 0x505 1"}});
  }
  US_CHECK(false);
}

}  // namespace

void merge_runs(const std::vector<DirtyRun>& a, const std::vector<DirtyRun>& b, std::vector<DirtyRun>& out) {
  out.clear();
  auto next_a = a.begin(), next_b = b.begin();
  while (next_a != a.end() || next_b != b.end()) {
    const bool take_a = next_b == b.end() || (next_a != a.end() && next_a->first <= next_b->first);
    const DirtyRun& run = take_a ? *next_a++ : *next_b++;
    US_CHECK(out.empty() || run.first >= out.back().first);
    const uint64_t end = run.first.value() + run.count;
    if (!out.empty() && run.first.value() <= out.back().first.value() + out.back().count) {
      out.back().count = std::max(out.back().first.value() + out.back().count, end) - out.back().first.value();
    } else {
      out.push_back(run);
    }
  }
}

Status Capture::begin_session(Epoch first) {
  history_.reset(first);
  fault_.on_session();
  std::vector<DirtyRun> forgotten;
  US_TRY(collect_from_running_guest(first, forgotten));
  history_.reset(first);
  return {};
}

Status Capture::stop_and_copy(Epoch epoch, const std::vector<DirtyRun>& owed, CapturedEpoch& out,
                              std::unique_ptr<RamHashes>* hashes) {
  began_ = clock_now();
  out.epoch = epoch;
  // Sent back to back: QEMU starts to save the moment the guest stands.
  US_TRY(vm_.qmp().send("stop"));
  const std::optional<PauseEvent> injected = fault_.on_stop();
  if (injected) US_TRY(send_pause_event(vm_.qmp(), *injected));
  US_TRY(vm_.qmp().send("xen-save-devices-state", {{"filename", Vm::state_path()}, {"live", false}}));
  US_TRY(vm_.qmp().receive(kQemuTimeout));
  const size_t resets = vm_.qmp().pending_events("RESET");
  if (injected) US_TRY(vm_.qmp().receive(kQemuTimeout));
  const Instant stopped = clock_now();
  parts_.stop = stopped - began_;
  // QEMU answers "stop" after it has stopped the rings, so from here on the data path leaves the guest's memory alone.
  US_CHECK(vm_.net().quiescent());
  // QEMU may write RAM while it saves its devices, and not every tracker bears that.
  const bool save_first = !vm_.tracker().exact_while_written();
  if (save_first) US_TRY(vm_.qmp().receive(kQemuTimeout));
  const Instant quiet = clock_now();
  US_TRY(collect_dirty(epoch, true, out.runs));
  if (!owed.empty()) {
    merge_runs(out.runs, owed, merged_);
    std::swap(out.runs, merged_);
  }
  const Instant scanned = clock_now();
  parts_.scan = scanned - quiet;
  US_TRY(copy_pages(out));
  out.nic_addresses = vm_.net().snapshot_addresses();
  out.relays = vm_.net().relays().cut(epoch);
  const Instant copied = clock_now();
  parts_.copy = copied - scanned;
  if (!save_first) US_TRY(vm_.qmp().receive(kQemuTimeout));
  if (!save_first && vm_.qmp().pending_events("RESET") != resets) US_TRY(add_pages_of_reset(epoch, out));
  US_TRY(read_device_state(out.device_state));
  const Instant saved = clock_now();
  parts_.save = saved - copied + (quiet - stopped);
  // After QEMU has saved its devices: what it may write to RAM while it does so must not escape the audit.
  if (hashes != nullptr) *hashes = hash_ram(vm_.ram());
  parts_.audit = clock_now() - saved;
  vm_.net().set_epoch(epoch.next());
  captured_ = epoch;
  return {};
}

Status Capture::add_pages_of_reset(Epoch epoch, CapturedEpoch& out) {
  std::vector<DirtyRun> late;
  note_writers(epoch);  // of the first scan, which the next one forgets
  US_TRY(collect_dirty(epoch, false, late));
  merge_runs(out.runs, late, merged_);
  std::swap(out.runs, merged_);
  ++resets_in_pauses_;
  return copy_pages(out);
}

Status Capture::resume() {
  const Instant before = clock_now();
  US_TRY(vm_.qmp().execute("cont", nullptr, kQemuTimeout));
  const Instant now = clock_now();
  parts_.resume = now - before;
  parts_.total = now - began_ - parts_.audit;
  // Only the report of an audit asks for it, so it need not be part of the pause.
  if (captured_) note_writers(*captured_);
  captured_.reset();
  return {};
}

Status Capture::scan_live(Epoch epoch, std::vector<DirtyRun>& out) {
  US_TRY(collect_from_running_guest(epoch, out));
  note_writers(epoch);
  return {};
}

Status Capture::collect_from_running_guest(Epoch epoch, std::vector<DirtyRun>& out) {
  if (vm_.tracker().exact_while_written()) return collect_dirty(epoch, false, out);
  US_TRY(vm_.qmp().execute("stop", nullptr, kQemuTimeout));
  US_CHECK(vm_.net().quiescent());
  US_TRY(collect_dirty(epoch, false, out));
  US_TRY(vm_.qmp().execute("cont", nullptr, kQemuTimeout));
  return {};
}

Status Capture::collect_dirty(Epoch epoch, bool is_cut, std::vector<DirtyRun>& out) {
  scanned_.clear();
  own_runs_.clear();
  US_TRY(vm_.tracker().scan(scanned_));
  vm_.own_writes().drain([&](PageIndex page) {
    if (!own_runs_.empty() && own_runs_.back().first.value() + own_runs_.back().count == page.value())
      ++own_runs_.back().count;
    else
      own_runs_.push_back({page, 1});
  });
  merge_runs(scanned_, own_runs_, out);
  if (fault_.on_scan(out, is_cut))
    spdlog::warn("injected fault: page {} is hidden from the engine from epoch {} on", fault_.page()->value(),
                 epoch.value());
  return {};
}

void Capture::note_writers(Epoch epoch) {
  for (const DirtyRun& run : scanned_) history_.note(run.first, run.count, PageWriter::kGuest, epoch);
  for (const DirtyRun& run : own_runs_) history_.note(run.first, run.count, PageWriter::kDataPath, epoch);
}

Status Capture::copy_pages(CapturedEpoch& out) {
  out.pages = 0;
  for (const DirtyRun& run : out.runs) out.pages += run.count;
  uint8_t* to = out.reserve(out.pages);
  for (const DirtyRun& run : out.runs) {
    std::memcpy(to, vm_.ram().base() + run.first.value() * kPageSize, run.count * kPageSize);
    to += run.count * kPageSize;
  }
  return {};
}

Status Capture::read_device_state(Bytes& out) {
  struct stat status {};
  if (::fstat(vm_.state_fd(), &status) != 0) return fail_errno("fstat of the device state", errno);
  out.resize(static_cast<size_t>(status.st_size));
  for (size_t at = 0; at < out.size();) {
    const ssize_t n = ::pread(vm_.state_fd(), out.data() + at, out.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_errno("read the device state", n < 0 ? errno : EIO);
    at += static_cast<size_t>(n);
  }
  return {};
}

}  // namespace us
