#include "sim/judge.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "sim/host.h"

namespace us::sim {
namespace {

uint64_t hash(ByteSpan bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::vector<uint64_t> tags_of(const Guest& guest) {
  std::vector<uint64_t> tags;
  for (uint64_t block = 0; block < kBlocks; ++block) tags.push_back(guest.tag(block));
  return tags;
}

bool is_copy(StandbyState state) {
  return state == StandbyState::kHolding || state == StandbyState::kClaiming || state == StandbyState::kTakingOver;
}

}  // namespace

void Judge::violation(const std::string& what) { throw Violation(what); }

Judge::Cut* Judge::find(SessionId session, Epoch epoch) {
  const auto it = cuts_.find({session, epoch});
  return it == cuts_.end() ? nullptr : &it->second;
}

// ---- epochs ----

void Judge::on_cut(Host& host, SessionId session, const CapturedEpoch& epoch, const Guest& guest) {
  host.note("cut, epoch", epoch.epoch.value(), guest.number());
  if (guest.running()) violation("an epoch was cut while the guest ran");
  tags_[{session.value(), epoch.epoch}] = tags_of(guest);
  // Of one that another host has taken over from, nothing leaves; its shared image is the other's.
  const bool overtaken = lab_.shared_disk && lab_.arbiter.newest() != host.primary()->core().generation();
  if (!overtaken) compare(host.primary()->disk().view(), tags_of(guest), "at a cut");
  cuts_[{session, epoch.epoch}] = {hash(guest.ram()), hash(guest.device_state()), guest.number(), false};
}

void Judge::on_whole(SessionId session, Epoch epoch) {
  if (Cut* cut = find(session, epoch)) cut->whole = true;
}

void Judge::on_acknowledge(Host& host, SessionId session, Epoch epoch) {
  host.note("acknowledges, epoch", epoch.value());
  const Cut* cut = find(session, epoch);
  if (cut == nullptr || !cut->whole)
    violation(fmt::format("epoch {} was acknowledged before it was whole", epoch.value()));
  ++commits_;
}

void Judge::on_applied(Host& host, SessionId session, Epoch epoch, const Bytes& ram, const Bytes& device_state) {
  host.note("applied, epoch", epoch.value());
  const Cut* cut = find(session, epoch);
  if (cut == nullptr) violation("an epoch was applied that was never cut");
  if (cut->memory != hash(ram))
    violation(fmt::format("after epoch {} the standby's memory is not the primary's", epoch.value()));
  if (cut->devices != hash(device_state))
    violation(fmt::format("after epoch {} the standby's device state is not the primary's", epoch.value()));
  cuts_.erase(cuts_.begin(), cuts_.find({session, epoch}));  // nobody can go back behind it
}

// ---- the disk ----

void Judge::compare_image(Host& host, const std::vector<uint64_t>& tags, const char* when) {
  compare(host.files().image.bytes(), tags, fmt::format("{} on host {}", when, to_string(host.id())));
}

void Judge::compare(ByteSpan image, const std::vector<uint64_t>& tags, const std::string& when) {
  std::array<uint8_t, kBlockBytes> expected{};
  for (uint64_t block = 0; block < kBlocks; ++block) {
    if (tags[block] == kUnknownTag) continue;
    fill_block(expected.data(), block, tags[block]);
    if (!std::ranges::equal(expected, image.subspan(block * kBlockBytes, kBlockBytes)))
      violation(fmt::format("{}, block {} of the image is not what its guest has written", when, block));
  }
}

void Judge::on_direct(Host& host, const Guest& guest) { compare_image(host, tags_of(guest), "when it was taken back"); }

void Judge::on_shared_power_loss(const DiskFiles& files) {
  const Result<DiskReplica::Image> opened = files.open();
  if (!opened) violation("what the shared image is cannot be read: " + opened.error().message);
  if (opened->record.state != ImageState::kConsistent) return;
  ImageEpoch at = opened->record.at;
  const ByteSpan bytes = files.image.bytes();
  Bytes image(bytes.begin(), bytes.end());
  if (opened->replay) {
    at = opened->replay->batch.target;
    for (const DiskWrite& write : opened->replay->batch.writes) {
      const auto to = image.begin() + static_cast<ptrdiff_t>(write.range.start);
      if (write.kind == WriteKind::kData)
        std::ranges::copy(write.data.span(), to);
      else
        std::fill_n(to, write.range.length(), uint8_t{0});
    }
  }
  const auto it = tags_.find({at.session, at.epoch});
  if (it != tags_.end()) compare(image, it->second, "after a power loss");
}

void Judge::on_image_at(Host& host, const ImageEpoch& at, const DiskFiles&) {
  host.note("image is at epoch", at.epoch.value(), at.session);
  const auto it = tags_.find({at.session, at.epoch});
  if (it == tags_.end()) violation("an image is at an epoch that was never cut");
  compare_image(host, it->second, "after an epoch was applied");
}

void Judge::on_guest_left(Host& host, const ImageEpoch& last, const Guest& guest) {
  host.note("the guest has left its disk, generation", last.generation.value(), last.epoch.value());
  left_[last.generation] = tags_[{last.session, last.epoch}] = tags_of(guest);
}

void Judge::on_image_ended(Host& host, const ImageEpoch& last) {
  host.note("the image is what the guest left", last.generation.value(), last.epoch.value());
  const auto it = left_.find(last.generation);
  if (it == left_.end()) violation("an image says that its guest has ended, and it has not");
  compare_image(host, it->second, "after the guest's end");
}

void Judge::check_starts() {
  const Generation newest = lab_.arbiter.newest();
  for (HostId id : kHosts) {
    Host& host = lab_.host(id);
    const Result<ImageRecord> record = decode_image_record(host.files().record.bytes());
    if (!record) violation("what an image is cannot be read: " + record.error().message);
    const Status may =
        may_start_from(*record, {record->image, record->disk_bytes, newest, lab_.arbiter.holder() == id});
    if (!may && tidy_end_ == newest && tidy_end_ != Generation{})
      violation(fmt::format("host {} may not start the VM after a tidy end: {}", to_string(id), may.error().message));
    if (!may || record->state != ImageState::kEnded) continue;
    if (!left_.contains(newest)) violation("an image says that its guest has ended, and it has not");
    compare_image(host, left_.at(newest), "at a start after the guest's end");
  }
}

// ---- who runs ----

void Judge::on_restored(Host& host, SessionId session, Epoch epoch, Generation generation, const Guest& guest) {
  host.note("restored, state", guest.number(), generation.value());
  const Cut* cut = find(session, epoch);
  if (cut == nullptr || cut->memory != hash(guest.ram()))
    violation("a takeover from memory that is no committed epoch");
  ++takeovers_;
}

void Judge::on_running(Host& host, Generation generation, const Guest& guest) {
  host.note("guest runs, generation", generation.value(), guest.number());
  if (ended_) violation("the guest runs again after its user had ended it");
  if (lab_.arbiter.newest() != generation || lab_.arbiter.holder() != host.id())
    violation(fmt::format("generation {} runs without having been granted", generation.value()));
  compare_image(host, tags_of(guest), "when the guest begins to run");
  if (generation <= running_) violation(fmt::format("generation {} runs a second time", generation.value()));
  running_ = generation;
  if (!released_.empty() && released_.rbegin()->first > guest.number())
    violation(fmt::format("state {} was released, and the guest goes on from state {}", released_.rbegin()->first,
                          guest.number()));
}

void Judge::on_recorded(HostId who, Generation) {
  // The primary whose guest has ended may still ask when it loses its standby; it will run nothing.
  // So may a host that is down: its claim was on the way before.
  if (ended_ && lab_.host(who).up() && lab_.host(who).primary() == nullptr)
    violation(fmt::format("a generation was granted to {} after the guest's end", to_string(who)));
}

// ---- output ----

void Judge::on_release(Host& host, Generation generation, GateMode mode, const GuestOutput& output) {
  ++releases_;
  if (lost_) violation("a lost VM speaks");
  const Generation newest = lab_.arbiter.newest();
  if (newest > generation && lab_.arbiter.holder() != host.id())
    violation(fmt::format("host {} released in generation {} after generation {} was given to the other (gate {})",
                          to_string(host.id()), generation.value(), newest.value(), us::to_string(mode)));
  check_survivors(host, output);
  const auto [it, first] = released_.emplace(output.number, output.history);
  if (!first && it->second != output.history)
    violation(fmt::format("two different states {} were released: the guest forked", output.number));
  if (std::next(it) != released_.end())
    violation(fmt::format("state {} was released after state {}", output.number, released_.rbegin()->first));
  while (released_.size() > 64) released_.erase(released_.begin());
}

void Judge::check_survivors(Host& host, const GuestOutput& output) {
  Host& peer = lab_.host(other(host.id()));
  if (peer.standby() == nullptr || !could_continue(peer)) return;
  const Cut* cut = find(peer.standby()->session(), peer.standby()->held());
  if (cut == nullptr) violation("a standby holds an epoch that was never cut");
  if (cut->number < output.number)
    violation(
        fmt::format("state {} was released, and the standby holds no more than state {}", output.number, cut->number));
}

// ---- the end ----

void Judge::on_end_marked(Generation generation) {
  if (generation == lab_.arbiter.newest()) ended_ = true;
}

void Judge::on_refused_stream(Host& host, const std::string& why) {
  violation(fmt::format("standby {} refused the stream: {}", to_string(host.id()), why));
}

void Judge::on_destroyed(HostId host) {
  if (!able_[index_of(host)]) return;
  if (destroyed_++ == 0) struck_sound_ = sound_;
}

// ---- invariants of every instant ----

// The arbiter would let this host go on with what it has.
bool Judge::could_continue(Host& host) {
  const Generation newest = lab_.arbiter.newest();
  const bool holds_newest = lab_.arbiter.holder() == host.id();
  if (host.changing()) return holds_newest;
  if (const PrimaryNode* primary = host.primary()) {
    const PrimaryState state = primary->core().state();
    if (primary->guest() == nullptr || state == PrimaryState::kFenced || state == PrimaryState::kHandedOver ||
        state == PrimaryState::kEnded)
      return false;
    return newest == primary->core().generation() || holds_newest;
  }
  if (const StandbyNode* standby = host.standby()) {
    if (!is_copy(standby->core().state())) return false;
    return newest == standby->core().generation() || (holds_newest && newest == standby->core().generation().next());
  }
  return false;
}

Host* Judge::protected_primary() {
  for (HostId id : kHosts) {
    Host& host = lab_.host(id);
    if (host.primary() != nullptr && host.primary()->core().state() == PrimaryState::kProtected &&
        host.primary()->guest() != nullptr && host.primary()->may_release() &&
        is_copy(lab_.host(other(id)).standby() ? lab_.host(other(id)).standby()->core().state()
                                               : StandbyState::kWaiting))
      return &host;
  }
  return nullptr;
}

void Judge::after_step() {
  check_gates();
  bool agreed = true;
  for (HostId id : kHosts) {
    Host& host = lab_.host(id);
    able_[index_of(id)] = could_continue(host);
    if (host.primary() != nullptr) agreed &= host.primary()->core().generation() == lab_.arbiter.newest();
  }
  if (ended_) return;
  if (user_ended_) {
    ended_ = !able_[0] && !able_[1];
    return;
  }
  if (!able_[0] && !able_[1] && !lost_) {
    const bool excused = destroyed_ > 1 || (destroyed_ == 1 && !struck_sound_);
    if (!excused)
      violation(fmt::format("no host can go on with the VM, though only {} copies were destroyed", destroyed_));
    lost_ = true;
    lab_.world.note(HostId::kNone, "the VM is lost");
  }
  // A standby that failed to restore hands the VM back to a primary that waits for its word.
  if (able_[0] || able_[1]) lost_ = false;
  sound_ = able_[0] && able_[1] && agreed && !lab_.arbiter.outstanding();
  if (sound_) destroyed_ = 0;
}

void Judge::check_gates() {
  int open = 0;
  for (HostId id : kHosts) {
    const PrimaryNode* primary = lab_.host(id).primary();
    if (primary == nullptr || !primary->may_release()) continue;
    ++open;
    const PrimaryCore& core = primary->core();
    const bool counts_on_standby =
        core.state() == PrimaryState::kProtected || core.state() == PrimaryState::kHandingOver;
    if (counts_on_standby && lab_.arbiter.newest() != core.generation())
      violation(fmt::format(
          "host {} is {} in generation {}, and generation {} is claimed already: if one host crashes "
          "now, the other may be refused",
          to_string(id), us::to_string(core.state()), core.generation().value(), lab_.arbiter.newest().value()));
  }
  if (open > 1) violation("two hosts may release at the same instant");
}

}  // namespace us::sim
