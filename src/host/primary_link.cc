// The link to a standby: finding one, synchronising it, letting go of it.
#include <spdlog/spdlog.h>

#include "host/primary.h"
#include "os/clock.h"

namespace us {
namespace {

constexpr Duration kDialInterval = Duration::seconds(1);
// A synchronisation ends with the first cut once so little is left that the cut is as short as any other, or after so
// many rounds that the guest evidently writes faster than the link carries.
constexpr uint64_t kSyncPagesLeft = 2048;
constexpr uint32_t kSyncRoundsMax = 12;
constexpr Duration kStreamStallTimeout = Duration::seconds(5);

uint64_t count_pages(const std::vector<DirtyRun>& runs) {
  uint64_t pages = 0;
  for (const DirtyRun& run : runs) pages += run.count;
  return pages;
}

PageMode page_mode(Compression compression) {
  switch (compression) {
    case Compression::kAuto:
      return PageMode::kAuto;
    case Compression::kLz4:
      return PageMode::kLz4;
    case Compression::kNone:
      return PageMode::kNone;
  }
  return PageMode::kAuto;
}

}  // namespace

void Primary::look_for_standby(Instant now) {
  if (now < next_dial_) return;
  const Generation generation = coordinator_->view().generation;
  for (const SocketAddress& address : context_.others) {
    Result<StandbyPeer> peer = dial_standby(context_, address, make_hello(context_, vm_->identity(), generation));
    if (peer && !disks_->empty() && peer->version < kDiskVersion)
      peer = fail(ErrorKind::kRefused, "the understudy there is too old for disks");
    if (peer) return start_link(std::move(*peer));
    const std::string error = address.text() + ": " + peer.error().message;
    if (error != last_dial_error_) spdlog::warn("no standby yet, the VM is NOT protected: {}", error);
    last_dial_error_ = error;
  }
  next_dial_ = clock_now() + kDialInterval;
}

void Primary::start_link(StandbyPeer peer) {
  spdlog::info("standby {} found; synchronising {} MB", peer.node, vm_->ram().size() >> 20);
  last_dial_error_.clear();
  round_ = SyncRound{};
  round_on_wire_ = false;
  sync_pages_base_ = 0;
  sync_pages_total_ = 0;
  // Everything that there is is sent anyway; from here on changes count.  What was never written is zero there, too.
  if (!capture_.begin_session(next_epoch_)) return;
  auto written = vm_->ram().data_runs();
  if (!written) spdlog::warn("all of the memory is sent: {}", written.error().message);
  dirty_ = written ? std::move(*written) : std::vector<DirtyRun>{{PageIndex{0}, vm_->ram().page_count()}};
  StreamSender::Hooks hooks;
  hooks.epoch_sent = [this](std::unique_ptr<CapturedEpoch> epoch) {
    return_spare(std::move(epoch));
    wake_.signal();
  };
  hooks.round_sent = [this] {
    round_on_wire_ = false;
    wake_.signal();
  };
  hooks.failed = [this](const std::string& reason) { coordinator_->stream_failed(reason); };
  hooks.take_log = [this] { return vm_->net().relays().take_log_frames(); };
  hooks.take_disks = [this] { return disks_->take_frames(); };
  const std::lock_guard lock(peer_mutex_);
  peer_ = std::move(peer);
  peer_node_ = peer_->node;
  sender_ = std::make_unique<StreamSender>(peer_->stream.get(), peer_->version, vm_->ram(),
                                           page_mode(context_.config.replication.compression), kStreamStallTimeout,
                                           std::move(hooks));
  vm_->net().relays().set_log_ready([sender = sender_.get()] { sender->log_ready(); }, peer_->version);
  coordinator_->attach(*peer_);
  sender_handle_ = std::make_shared<SenderHandle>();
  sender_handle_->sender = sender_.get();
  disks_->begin_session(next_epoch_, peer_->session, peer_->version, [handle = sender_handle_] {
    const std::lock_guard held(handle->mutex);
    if (handle->sender != nullptr) handle->sender->log_ready();
  });
}

void Primary::follow_generation() {
  const Generation generation = coordinator_->view().generation;
  disks_->go_on_alone(generation);
  if (generation == disks_generation_) return;
  disks_generation_ = generation;
  if (const Status advanced = disks_->advance(generation); !advanced)
    spdlog::error("the disks' images do not say yet that the VM runs as generation {}: {}", generation.value(),
                  advanced.error().message);
}

// Another host runs the VM, or is about to.
void Primary::let_go_of_disks() {
  disks_->fence();
  const auto standing = context_.arbiter->standing();
  if (!standing || standing->generation <= disks_generation_) return;  // the next session finds it out
  if (const Status stale = disks_->mark_stale(standing->generation); !stale)
    spdlog::warn("the disks' images could not be marked as stale: {}", stale.error().message);
}

void Primary::close_link() {
  if (!peer_) return;
  audit_.abort("the standby was lost before it had compared everything");
  coordinator_->detach();
  vm_->net().relays().set_log_ready(nullptr);
  disks_->end_session();
  {
    const std::lock_guard lock(sender_handle_->mutex);
    sender_handle_->sender = nullptr;
  }
  std::unique_ptr<StreamSender> sender;
  {
    const std::lock_guard lock(peer_mutex_);
    sender = std::move(sender_);
  }
  sender.reset();  // outside the lock: it joins a thread
  peer_.reset();
  next_dial_ = clock_now() + kDialInterval;
}

std::optional<RoleOutcome> Primary::sync_step() {
  if (round_on_wire_) return std::nullopt;
  if (round_ != SyncRound{}) {
    // What the guest dirties meanwhile is found once the disks are ready.
    if (!disks_->ready_to_cut()) return std::nullopt;
    if (const Status scanned = capture_.scan_live(next_epoch_, dirty_); !scanned)
      return on_qemu_failure(scanned.error());
    // The pages found here are in no later scan: they go into a round, or into the first cut.
    if (count_pages(dirty_) <= kSyncPagesLeft || round_.value() >= kSyncRoundsMax) return cut(false);
  } else {
    sender_->send_message(SyncBegin{count_pages(dirty_)});
  }
  round_ = SyncRound{round_.value() + 1};
  round_on_wire_ = true;
  sync_pages_total_ = count_pages(dirty_);
  sync_pages_base_ = sender_->pages_sent();
  sender_->send_round(round_, std::exchange(dirty_, {}));
  return std::nullopt;
}

}  // namespace us
