#include "sim/sender.h"

#include "sim/host.h"

namespace us::sim {
namespace {

constexpr size_t kPagesPerRead = 8;
constexpr Duration kSendSlice = Duration::millis(5);

}  // namespace

Sender::Sender(Host& host, std::shared_ptr<Connection> connection, const Guest& guest, Hooks hooks)
    : host_(host),
      connection_(std::move(connection)),
      guest_(guest),
      hooks_(std::move(hooks)),
      epoch_writer_(PageMode::kAuto, kPageChunkBytesMin,
                    [this](Bytes frame, uint64_t) { frames_.push_back(std::move(frame)); }),
      round_writer_(PageMode::kAuto, kPageChunkBytesMin,
                    [this](Bytes frame, uint64_t) { frames_.push_back(std::move(frame)); }),
      progress_(host.now()),
      actor_(host, "sender", [this] { turn(); }) {}

void Sender::send(const Message& message) { enqueue(encode(message)); }
void Sender::send_epoch(CapturedEpoch epoch) { enqueue(std::move(epoch)); }
void Sender::send_round(SyncRound round, std::vector<PageIndex> pages) { enqueue(Round{round, std::move(pages)}); }

void Sender::enqueue(Job job) {
  if (idle()) progress_ = host_.now();
  jobs_.push_back(std::move(job));
  actor_.wake();
}

void Sender::disk_ready() {
  if (idle() && !disk_ready_) progress_ = host_.now();
  disk_ready_ = true;
  actor_.wake();
}

void Sender::take_disk_frames() {
  if (!disk_ready_ || !disk_frames_.empty()) return;
  for (Bytes& frame : hooks_.take_disk()) disk_frames_.push_back(std::move(frame));
  disk_ready_ = !disk_frames_.empty();
}

void Sender::turn() {
  if (failed_) return;
  take_disk_frames();
  if (frames_.empty() && !round_pages_.empty()) encode_live_pages();
  if (frames_.empty() && disk_frames_.empty()) {
    if (jobs_.empty()) return hooks_.idle();
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    open_job(std::move(job));
    return actor_.wake();
  }
  if (!connection_->writable(0)) {
    if (host_.now() - progress_ > host_.lab().times.stream_stall) {
      failed_ = true;
      return hooks_.failed();
    }
    return actor_.arm(host_.now() + kSendSlice);
  }
  std::deque<Bytes>& from = disk_frames_.empty() ? frames_ : disk_frames_;
  const bool of_disk = !disk_frames_.empty();
  connection_->send(0, std::move(from.front()));
  from.pop_front();
  progress_ = host_.now();
  if (of_disk) return actor_.wake();
  if (round_open_ && frames_.empty() && round_pages_.empty()) {
    round_open_ = false;
    connection_->send(0, encode(SyncRoundEnd{round_, round_total_, 0}));
    hooks_.round_sent();
  }
  actor_.wake();
}

void Sender::open_job(Job job) {
  if (auto* bytes = std::get_if<Bytes>(&job)) {
    frames_.push_back(std::move(*bytes));
  } else if (auto* epoch = std::get_if<CapturedEpoch>(&job)) {
    encode_epoch(*epoch);
  } else {
    Round& round = std::get<Round>(job);
    round_ = round.round;
    round_total_ = round.pages.size();
    round_pages_.assign(round.pages.begin(), round.pages.end());
    round_open_ = true;
    if (round_pages_.empty()) frames_.push_back(Bytes{});
  }
}

void Sender::encode_epoch(const CapturedEpoch& epoch) {
  const EpochSize size{epoch.pages.size(), static_cast<uint32_t>(epoch.device_state.size()),
                       static_cast<uint32_t>(epoch.side_state.size() + epoch.disk_barrier.size())};
  epoch_writer_.begin({.epoch = epoch.epoch, .size = size, .handover = epoch.handover});
  const uint8_t* bytes = epoch.bytes.data();
  for (const PageIndex page : epoch.pages) {
    epoch_writer_.add_page(page, PageSpan(bytes, kPageSize));
    bytes += kPageSize;
  }
  epoch_writer_.add_device_state(epoch.device_state);
  epoch_writer_.add_side_state(SideKind::kNicAddresses, epoch.side_state);
  epoch_writer_.add_side_state(SideKind::kDiskBarrier, epoch.disk_barrier);
  epoch_writer_.end();
  // Every record of before the cut is ahead of the epoch's end.
  Bytes end = std::move(frames_.back());
  frames_.pop_back();
  for (std::vector<Bytes> more = hooks_.take_disk(); !more.empty(); more = hooks_.take_disk())
    for (Bytes& frame : more) frames_.push_back(std::move(frame));
  frames_.push_back(std::move(end));
}

void Sender::encode_live_pages() {
  round_writer_.begin(PageScope::kSync, round_.value());
  for (size_t i = 0; i < kPagesPerRead && !round_pages_.empty(); ++i) {
    round_writer_.add(round_pages_.front(), guest_.page(round_pages_.front()));
    round_pages_.pop_front();
  }
  round_writer_.finish();
}

}  // namespace us::sim
