#include "core/replica/disk_frames.h"

#include <algorithm>

namespace us {
namespace {

constexpr size_t kSumBytes = 16;
constexpr size_t kAnswerBytes = 9;
constexpr size_t kFrameBytesAtFirst = 64 * 1024;
static_assert(kWriteRecordHeadBytes + kWriteRecordDataMax <= kDiskFrameBytesMax);

tl::unexpected<Error> bad(const char* what) { return fail(ErrorKind::kProtocol, std::string("disk: ") + what); }

// Collects items of one kind until a frame is full.  In the frame itself: what encode() would copy into it is most of
// what a guest writes.
class Packer {
 public:
  Packer(DiskIndex disk, uint16_t version, std::vector<Bytes>& out) : disk_(disk), version_(version), out_(out) {}
  ~Packer() { flush(); }
  void add_record(const WriteRecord& record) {
    us::encode(record, frame_for(FrameType::kDiskRecords, kWriteRecordHeadBytes + record.write.data.size()));
  }
  void add_sum(const DiskSource::Sum& sum) {
    ByteWriter w(frame_for(FrameType::kDiskSums, kSumBytes));
    w.le(sum.granule);
    w.le(sum.sum);
  }

 private:
  // With room for so many bytes of an item.
  Bytes& frame_for(FrameType type, size_t item) {
    if (builder_ && (type_ != type || items_ + item > kDiskFrameBytesMax)) flush();
    if (!builder_) {
      type_ = type;
      items_ = 0;
      frame_ = Bytes();
      frame_.reserve(std::clamp<size_t>(2 * item, kFrameBytesAtFirst, kDiskFrameBytesMax) + kFrameHeaderBytes + 1);
      builder_.emplace(frame_, type, version_);
      ByteWriter(frame_).le(disk_.value());  // the first field of both messages (wire.cc)
    }
    items_ += item;
    return frame_;
  }
  void flush() {
    if (!builder_) return;
    builder_->finish();
    builder_.reset();
    out_.push_back(std::move(frame_));
  }
  DiskIndex disk_;
  uint16_t version_;
  std::vector<Bytes>& out_;
  FrameType type_ = FrameType::kDiskRecords;
  size_t items_ = 0;  // bytes of them in frame_
  Bytes frame_;
  std::optional<FrameBuilder> builder_;
};

}  // namespace

std::optional<DiskIndex> disk_of(const Message& message) {
  return std::visit(
      []<typename M>(const M& m) -> std::optional<DiskIndex> {
        if constexpr (requires { m.disk; })
          return m.disk;
        else
          return std::nullopt;
      },
      message);
}

// ---- primary ----

Bytes offer_frame(const DiskSource& source, Epoch first, uint16_t version) {
  const DirtyMapShape& shape = source.map().shape();
  return encode(DiskOffer{source.disk(), shape.image, shape.disk_bytes, shape.granule_bytes, first}, version);
}

void take_stream_frames(DiskSource& source, uint16_t version, size_t bytes_max, std::vector<Bytes>& out) {
  Packer packer(source.disk(), version, out);
  for (size_t taken = 0; taken < bytes_max;) {
    const std::optional<DiskSource::StreamItem> item = source.poll_stream();
    if (!item) return;
    taken += kWriteRecordHeadBytes;
    if (item->is_sum) {
      packer.add_sum(item->sum);
      continue;
    }
    taken += item->record.write.data.size();
    packer.add_record(item->record);
  }
}

Status deliver(DiskSource& source, const Message& message) {
  if (const auto* answer = std::get_if<DiskAnswer>(&message)) {
    if (answer->verdict == DiskVerdict::kRefused)
      return fail(ErrorKind::kRefused,
                  "the standby refuses disk " + std::to_string(answer->disk.value()) + ": " + answer->reason);
    if (answer->verdict == DiskVerdict::kCompareAll) return source.on_answer_compare_all();
    return source.on_answer_marks(answer->marked);
  }
  if (const auto* marks = std::get_if<DiskMarks>(&message)) return source.on_marks(marks->first, marks->bits);
  if (const auto* sums = std::get_if<DiskSumAnswers>(&message)) return source.on_sum_answers(sums->answers);
  if (const auto* progress = std::get_if<DiskProgress>(&message))
    return source.on_progress(progress->copied, progress->durable);
  return bad("a message that a standby does not send");
}

// ---- standby ----

DiskReplica::Offer to_offer(const DiskOffer& offer, Generation generation, SessionId session) {
  return {offer.image, offer.disk_bytes, offer.granule_bytes, generation, session.value(), offer.first};
}

std::vector<Bytes> answer_frames(DiskIndex disk, const DiskReplica::Answer& answer, uint16_t version) {
  if (answer.refused) return {encode(DiskAnswer{disk, DiskVerdict::kRefused, 0, answer.reason}, version)};
  if (answer.compare_all) return {encode(DiskAnswer{disk, DiskVerdict::kCompareAll, 0, {}}, version)};
  const GranuleSet& marks = *answer.marks;
  std::vector<Bytes> out = {encode(DiskAnswer{disk, DiskVerdict::kMarks, marks.count(), {}}, version)};
  constexpr uint64_t kPerFrame = uint64_t{kDiskMarksBytesMax} * 8;
  for (uint64_t g = marks.next(0); g < marks.granules();) {
    const uint64_t first = g / 8 * 8;
    Bytes bits;
    for (; g < marks.granules() && g - first < kPerFrame; g = marks.next(g + 1)) {
      bits.resize((g - first) / 8 + 1);
      bits[(g - first) / 8] |= static_cast<uint8_t>(1u << ((g - first) % 8));
    }
    out.push_back(encode(DiskMarks{disk, first, bits}, version));
  }
  return out;
}

Status deliver(DiskReplica& replica, const Message& message) {
  if (const auto* records = std::get_if<DiskRecords>(&message)) {
    ByteReader in(records->records);
    while (!in.done()) {
      US_ASSIGN(const WriteRecord record, decode_write_record(in));
      if (record.disk != records->disk) return bad("a record of another disk than its frame says");
      US_TRY(replica.on_record(record.epoch, record.write));
    }
    return {};
  }
  if (const auto* sums = std::get_if<DiskSums>(&message)) {
    if (sums->sums.size() % kSumBytes != 0) return bad("checksums of a wrong length");
    ByteReader in(sums->sums);
    while (!in.done()) {
      const auto granule = in.le<uint64_t>();
      US_TRY(replica.on_sum(granule, in.le<uint64_t>()));
    }
    return {};
  }
  return bad("a message that a primary does not send");
}

std::vector<Bytes> take_reply_frames(DiskIndex disk, DiskReplica& replica, uint16_t version) {
  std::vector<Bytes> out;
  const std::vector<DiskReplica::SumAnswer> answers = replica.take_sum_answers();
  for (size_t i = 0; i < answers.size();) {
    Bytes bytes;
    ByteWriter w(bytes);
    for (; i < answers.size() && bytes.size() + kAnswerBytes <= kDiskFrameBytesMax; ++i) {
      w.le(answers[i].granule);
      w.le(static_cast<uint8_t>(answers[i].equal ? 1 : 0));
    }
    out.push_back(encode(DiskSumAnswers{disk, bytes}, version));
  }
  if (const auto progress = replica.poll_progress())
    out.push_back(encode(DiskProgress{disk, progress->copied, progress->durable}, version));
  return out;
}

}  // namespace us
