#include "sim/replica_disk.h"

#include "sim/disk_ops.h"
#include "sim/host.h"
#include "sim/judge.h"

namespace us::sim {
namespace {

DiskReplica::Image open(Host& host, const DiskFiles& files) {
  Result<DiskReplica::Image> image = files.open();
  if (!image) host.lab().judge->violation("what the image is cannot be read: " + image.error().message);
  return std::move(*image);
}

}  // namespace

ReplicaDisk::ReplicaDisk(Host& host, DiskFiles& files, Hooks hooks)
    : host_(host),
      files_(files),
      hooks_(std::move(hooks)),
      replica_(open(host, files), kDiskStaged, host.lab().shared_disk) {
  if (replica_.at()) host_.lab().judge->on_image_at(host_, *replica_.at(), files_);
  pump();
}

Status ReplicaDisk::on_message(const Message& message, Generation generation, SessionId session) {
  if (const auto* offer = std::get_if<DiskOffer>(&message)) {
    session_ = session;
    if (replica_.broken()) replica_.recover();
    const DiskReplica::Answer answer = replica_.begin_session(to_offer(*offer, generation, session));
    for (Bytes& frame : answer_frames(DiskIndex{0}, answer, kProtocolVersionMax)) hooks_.reply(std::move(frame));
  } else {
    US_TRY(deliver(replica_, message));
  }
  pump();
  return {};
}

Result<DiskBarrier::Count> ReplicaDisk::count_of(Epoch epoch, ByteSpan bytes) const {
  US_ASSIGN(const DiskBarrier barrier, decode_disk_barrier(bytes));
  if (barrier.epoch != epoch || barrier.disks.size() != 1)
    return fail(ErrorKind::kProtocol, "the barrier is of another epoch");
  return barrier.disks.front();
}

Status ReplicaDisk::check(Epoch epoch, ByteSpan barrier) const {
  US_ASSIGN(const DiskBarrier::Count count, count_of(epoch, barrier));
  return replica_.check(epoch, count);
}

Status ReplicaDisk::end(Epoch last, ByteSpan barrier) {
  US_ASSIGN(const DiskBarrier::Count count, count_of(last, barrier));
  US_TRY(replica_.end(last, count));
  pump();
  return {};
}

bool ReplicaDisk::ready(Epoch epoch) {
  const bool ready = replica_.ready(epoch);
  pump();
  return ready;
}

void ReplicaDisk::commit(Epoch epoch) {
  replica_.commit(epoch);
  pump();
}

void ReplicaDisk::end_session() {
  replica_.end_session();
  pump();
}

void ReplicaDisk::give_up() {
  replica_.give_up();
  pump();
}

void ReplicaDisk::pump() {
  if (busy_) return;
  const bool eager = hurry_ || host_.lab().world.rng().chance(0.5);
  hurry_ = false;
  std::optional<DiskReplica::Op> op = replica_.next_op(eager);
  if (!op) {
    if (replica_.settled()) return hooks_.settled();
    if (!eager) pump_later();
    return;
  }
  busy_ = true;
  host_.post(host_.disk_delay(), "standby's disk", [this, op = std::move(*op)] { execute(op); });
}

void ReplicaDisk::pump_later() {
  const Duration delay = host_.lab().world.random(Duration::millis(1), Duration::millis(40));
  host_.post(delay, "no larger batch", [self = std::weak_ptr(self_)] {
    const auto disk = self.lock();
    if (!disk) return;
    (*disk)->hurry_ = true;
    (*disk)->pump();
  });
}

void ReplicaDisk::execute(const DiskReplica::Op& op) {
  busy_ = false;
  Execute with{host_, files_};
  const bool fine = std::visit(with, op);
  const std::optional<ImageEpoch> before = replica_.at();
  const bool ended_before = replica_.ended();
  if (fine && with.taken) {
    replica_.on_taken(with.taken->record);
    if (replica_.lost()) hooks_.broken("the shared image is not what was promised");
  } else if (!fine) {
    replica_.on_op_failed();
    if (replica_.broken()) return hooks_.broken("the standby's image cannot be written");
    host_.post(Duration::millis(3), "disk again", [this] {
      replica_.retry();
      pump();
    });
  } else if (std::holds_alternative<DiskReplica::ReadGranule>(op)) {
    replica_.on_read(with.sum);
  } else {
    replica_.on_op_done();
  }
  if (replica_.at() && replica_.at() != before) host_.lab().judge->on_image_at(host_, *replica_.at(), files_);
  if (replica_.ended() && !ended_before) host_.lab().judge->on_image_ended(host_, replica_.record().at);
  hooks_.changed();
  for (Bytes& frame : take_reply_frames(DiskIndex{0}, replica_, kProtocolVersionMax)) hooks_.reply(std::move(frame));
  pump();
}

}  // namespace us::sim
