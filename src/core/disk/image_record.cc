#include "core/disk/image_record.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

namespace us {
namespace {

constexpr uint32_t kMagic = 0x49445355;  // "USDI" in memory order
constexpr uint16_t kVersion = 1;
constexpr size_t kChecksumAt = kImageRecordBytes - 8;

tl::unexpected<Error> refuse(std::string why) { return fail(ErrorKind::kRefused, "image: " + std::move(why)); }

tl::unexpected<Error> no_arrow(ImageState from, const char* to) {
  return refuse(fmt::format("one that is {} cannot {}", image_state_name(from), to));
}

std::optional<ImageRecord> decode_block(ByteSpan block) {
  if (XXH3_64bits(block.data(), kChecksumAt) != load_le<uint64_t>(block.data() + kChecksumAt)) return std::nullopt;
  ByteReader in(block);
  if (in.le<uint32_t>() != kMagic || in.le<uint16_t>() != kVersion) return std::nullopt;
  const auto state = in.le<uint8_t>();
  in.skip(1);
  ImageRecord r;
  std::ranges::copy(in.bytes(r.image.size()), r.image.begin());
  r.disk_bytes = in.le<uint64_t>();
  r.at.generation = Generation(in.le<uint64_t>());
  r.at.session = in.le<uint64_t>();
  r.at.epoch = Epoch(in.le<uint64_t>());
  r.journal_base = JournalSequence(in.le<uint64_t>());
  r.counter = in.le<uint64_t>();
  const ByteSpan name = in.bytes(kSharedByMax);
  r.shared_by.assign(name.begin(), std::ranges::find(name, 0));
  if (state < 1 || state > static_cast<uint8_t>(ImageState::kEnded)) return std::nullopt;
  r.state = static_cast<ImageState>(state);
  return r;
}

Status same_disk(const ImageRecord& record, const ImageFacts& facts) {
  if (record.image != facts.expected) return refuse("it belongs to another disk");
  if (record.disk_bytes != facts.disk_bytes)
    return refuse(fmt::format("it has {} bytes, the disk has {}", record.disk_bytes, facts.disk_bytes));
  return {};
}

}  // namespace

std::string_view image_state_name(ImageState state) {
  switch (state) {
    case ImageState::kNew:
      return "new";
    case ImageState::kLive:
      return "live";
    case ImageState::kConsistent:
      return "consistent";
    case ImageState::kStale:
      return "stale";
    case ImageState::kSyncing:
      return "being synchronised";
    case ImageState::kEnded:
      return "ended";
  }
  return "?";
}

Result<ImageRecord> ImageRecord::go_live(Generation generation, JournalSequence last) const {
  if (state == ImageState::kStale || state == ImageState::kSyncing) return no_arrow(state, "be served");
  if (generation < at.generation || (generation == at.generation && state != ImageState::kLive))
    return refuse(
        fmt::format("generation {} cannot start on one of generation {}", generation.value(), at.generation.value()));
  ImageRecord next = *this;
  next.state = ImageState::kLive;
  next.at = {generation, 0, Epoch{}};
  next.journal_base = std::max(journal_base, last);
  ++next.counter;
  return next;
}

Result<ImageRecord> ImageRecord::fall_behind(Generation other) const {
  if (state != ImageState::kLive && state != ImageState::kConsistent && state != ImageState::kEnded)
    return no_arrow(state, "become stale");
  if (other <= at.generation) return refuse("it cannot fall behind an older generation");
  ImageRecord next = *this;
  next.state = ImageState::kStale;
  next.at = {other, 0, Epoch{}};
  ++next.counter;
  return next;
}

Result<ImageRecord> ImageRecord::begin_sync(const ImageId& source, Generation generation, JournalSequence last) const {
  // kLive must become kStale first: that is where another generation's claim to it is examined.
  if (state == ImageState::kLive) return no_arrow(state, "be overwritten");
  if (state != ImageState::kNew && image != source) return refuse("it belongs to another disk");
  if (generation < at.generation) return refuse("it is newer than what would be copied to it");
  if (state == ImageState::kEnded && generation == at.generation)
    return refuse("the guest of that generation has ended, so nothing can come from it");
  ImageRecord next = *this;
  next.image = source;
  next.state = ImageState::kSyncing;
  next.at = {generation, 0, Epoch{}};
  next.journal_base = std::max(journal_base, last);
  ++next.counter;
  return next;
}

Result<ImageRecord> ImageRecord::finish_sync(const ImageEpoch& reached) const {
  if (state != ImageState::kSyncing) return no_arrow(state, "finish synchronising");
  if (reached.generation != at.generation) return refuse("it was synchronised from another generation");
  ImageRecord next = *this;
  next.state = ImageState::kConsistent;
  next.at = reached;
  ++next.counter;
  return next;
}

Result<ImageRecord> ImageRecord::end(const ImageEpoch& last, JournalSequence sequence) const {
  if (state != ImageState::kLive && state != ImageState::kConsistent) return no_arrow(state, "be a guest's last");
  if (last.generation != at.generation) return refuse("the guest of another generation has ended");
  ImageRecord next = *this;
  next.state = ImageState::kEnded;
  next.at = last;
  next.journal_base = std::max(journal_base, sequence);
  ++next.counter;
  return next;
}

Result<ImageRecord> ImageRecord::give(const ImageEpoch& first) const {
  if (state != ImageState::kLive) return no_arrow(state, "be given to a standby");
  if (first.generation != at.generation) return refuse("a standby of another generation cannot have it");
  ImageRecord next = *this;
  next.state = ImageState::kConsistent;
  next.at = first;
  ++next.counter;
  return next;
}

Result<ImageRecord> ImageRecord::take_back(Generation own, JournalSequence last) const {
  if (state != ImageState::kConsistent && state != ImageState::kLive) return no_arrow(state, "be taken back");
  if (own < at.generation) return refuse(fmt::format("generation {} has it", at.generation.value()));
  ImageRecord next = *this;
  next.state = ImageState::kConsistent;
  next.at = {own, 0, Epoch{}};
  next.journal_base = std::max(journal_base, last);
  ++next.counter;
  return next;
}

Result<ImageRecord> ImageRecord::finish_taking_back(Generation own, JournalSequence last) const {
  if (state != ImageState::kConsistent || own < at.generation) return no_arrow(state, "be taken back");
  ImageRecord next = *this;
  next.state = ImageState::kLive;
  next.at = {own, 0, Epoch{}};
  next.journal_base = std::max(journal_base, last);
  ++next.counter;
  return next;
}

Bytes encode(const ImageRecord& r) {
  Bytes out;
  ByteWriter w(out);
  w.le(kMagic);
  w.le(kVersion);
  w.le(static_cast<uint8_t>(r.state));
  w.zeros(1);
  w.bytes(r.image);
  w.le(r.disk_bytes);
  w.le(r.at.generation.value());
  w.le(r.at.session);
  w.le(r.at.epoch.value());
  w.le(r.journal_base.value());
  w.le(r.counter);
  US_CHECK(r.shared_by.size() <= kSharedByMax);
  for (const char c : r.shared_by) w.le(static_cast<uint8_t>(c));
  w.zeros(kSharedByMax - r.shared_by.size());
  w.zeros(kChecksumAt - out.size());
  w.le(uint64_t{XXH3_64bits(out.data(), out.size())});
  return out;
}

Result<ImageRecord> decode_image_record(ByteSpan file) {
  std::optional<ImageRecord> newest;
  for (size_t at = 0; at + kImageRecordBytes <= file.size() && at < kImageRecordFileBytes; at += kImageRecordBytes) {
    const auto record = decode_block(file.subspan(at, kImageRecordBytes));
    if (record && (!newest || record->counter > newest->counter)) newest = record;
  }
  if (!newest) return fail(ErrorKind::kInput, "the file beside the image that says what it is cannot be read");
  return *newest;
}

Status may_start_from(const ImageRecord& record, const ImageFacts& facts) {
  US_TRY(same_disk(record, facts));
  switch (record.state) {
    case ImageState::kNew:
      if (facts.newest != Generation{}) return refuse("it is new, and the VM has run before on another one");
      return {};
    case ImageState::kLive:
      if (facts.newest_was_here && facts.newest == record.at.generation) return {};
      return refuse(fmt::format("it is of generation {}, and generation {} has run elsewhere since",
                                record.at.generation.value(), facts.newest.value()));
    case ImageState::kConsistent:
      return refuse("the other host's image may hold more than it does: start there, or say that it is lost");
    case ImageState::kEnded:
      if (facts.newest == record.at.generation) return {};
      return refuse(fmt::format("the guest of generation {} ended on it, and generation {} has run since",
                                record.at.generation.value(), facts.newest.value()));
    case ImageState::kStale:
    case ImageState::kSyncing:
      break;
  }
  return refuse(fmt::format("it is {} and must be synchronised first", image_state_name(record.state)));
}

Status may_start_from_shared(const ImageRecord& record, Generation newest, const std::string& vm) {
  if (!record.shared_by.empty() && record.shared_by != vm)
    return refuse(fmt::format("it is the shared disk of VM {}", record.shared_by));
  if (record.state == ImageState::kNew) {
    if (newest != Generation{}) return refuse("it is new, and the VM has run before on another one");
    return {};
  }
  if (record.shared_by.empty()) return refuse("it is one host's image of a replicated disk, not a shared one");
  if (record.at.generation > newest)
    return refuse(
        fmt::format("generation {} has written to it, and the arbiter knows of none after {}: it is another "
                    "arbiter's VM, or the arbiter has lost its directory",
                    record.at.generation.value(), newest.value()));
  return {};
}

Status may_take_over_with(const ImageRecord& record, const ImageFacts& facts, const ImageEpoch& applied,
                          const ImageEpoch& memory) {
  US_TRY(same_disk(record, facts));
  if (record.state != ImageState::kConsistent)
    return refuse(fmt::format("it is {}, not consistent", image_state_name(record.state)));
  if (applied != memory)
    return refuse(fmt::format("it is at epoch {} of generation {}, the memory at epoch {} of generation {}",
                              applied.epoch.value(), applied.generation.value(), memory.epoch.value(),
                              memory.generation.value()));
  return {};
}

}  // namespace us
