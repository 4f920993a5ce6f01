#include "core/replica/frame_epoch.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace us {
namespace {

constexpr size_t kPageChunkPrefixBytes = 9;  // scope u8, number u64
static_assert(kPageChunkBytesMax + kPageChunkPrefixBytes <= kPageFramePayloadMax);

// Calls `each` with consecutive parts of at most kStateChunkBytesMax bytes; not at all for nothing.
template <typename F>
void split_state(ByteSpan bytes, F&& each) {
  while (!bytes.empty()) {
    const size_t n = std::min(bytes.size(), kStateChunkBytesMax);
    each(bytes.first(n));
    bytes = bytes.subspan(n);
  }
}

}  // namespace

PageFrameWriter::PageFrameWriter(PageMode mode, size_t chunk_bytes_max, EmitFrame emit)
    : encoder_(mode, chunk_bytes_max), chunk_bytes_max_(chunk_bytes_max), emit_(std::move(emit)) {}

void PageFrameWriter::begin(PageScope scope, uint64_t number, uint16_t version) {
  US_CHECK(!builder_);
  scope_ = scope;
  number_ = number;
  version_ = version;
  pages_ = 0;
}

void PageFrameWriter::open_frame() {
  frame_ = Bytes();
  frame_.reserve(kFrameHeaderBytes + kPageChunkPrefixBytes + chunk_bytes_max_);
  builder_.emplace(frame_, FrameType::kPageChunk, version_);
  append_page_chunk_prefix(frame_, scope_, number_);
  encoder_.begin(frame_);
}

void PageFrameWriter::close_frame() {
  encoder_.finish();
  const uint64_t checksum = builder_->finish();
  builder_.reset();
  emit_(std::move(frame_), checksum);
}

void PageFrameWriter::add(PageIndex page, PageSpan bytes) {
  if (!builder_) open_frame();
  if (!encoder_.add(page, bytes)) {
    close_frame();
    open_frame();
    US_CHECK(encoder_.add(page, bytes));
  }
  ++pages_;
}

void PageFrameWriter::finish() {
  if (builder_) close_frame();
}

EpochFrameWriter::EpochFrameWriter(PageMode mode, size_t chunk_bytes_max, EmitFrame emit)
    : emit_(std::move(emit)), pages_(mode, chunk_bytes_max, [this](Bytes frame, uint64_t checksum) {
        digest_.add(checksum);
        emit_(std::move(frame), checksum);
      }) {}

void EpochFrameWriter::begin(const EpochBegin& begin, uint16_t version) {
  begin_ = begin;
  version_ = version;
  device_state_bytes_ = side_state_bytes_ = 0;
  digest_ = ChunkDigest{};
  Bytes frame;
  const uint64_t checksum = encode_to(frame, begin, version);
  emit_(std::move(frame), checksum);
  pages_.begin(PageScope::kEpoch, begin.epoch.value(), version);
}

void EpochFrameWriter::emit_chunk(const Message& chunk) {
  Bytes frame;
  const uint64_t checksum = encode_to(frame, chunk, version_);
  digest_.add(checksum);
  emit_(std::move(frame), checksum);
}

void EpochFrameWriter::add_device_state(ByteSpan bytes) {
  device_state_bytes_ += bytes.size();
  split_state(bytes, [this](ByteSpan part) { emit_chunk(DeviceStateChunk{begin_.epoch, part}); });
}

void EpochFrameWriter::add_side_state(SideKind kind, ByteSpan bytes) {
  side_state_bytes_ += bytes.size();
  split_state(bytes, [this, kind](ByteSpan part) { emit_chunk(SideStateChunk{begin_.epoch, kind, part}); });
}

void EpochFrameWriter::end() {
  pages_.finish();
  US_CHECK(pages_.pages() == begin_.size.pages);
  US_CHECK(device_state_bytes_ == begin_.size.device_state_bytes);
  US_CHECK(side_state_bytes_ == begin_.size.side_state_bytes);
  Bytes frame;
  const uint64_t checksum =
      encode_to(frame, EpochEnd{begin_.epoch, begin_.size.pages, digest_.chunks(), digest_.value()}, version_);
  emit_(std::move(frame), checksum);
}

namespace {

Status check_epoch(const StagedEpoch& staged, FrameType type, Epoch epoch) {
  if (!staged.open()) return fail(ErrorKind::kProtocol, fmt::format("{} outside of an epoch", frame_type_name(type)));
  if (epoch != staged.epoch())
    return fail(ErrorKind::kProtocol, fmt::format("{} of epoch {} inside epoch {}", frame_type_name(type),
                                                  epoch.value(), staged.epoch().value()));
  return {};
}

struct Stage {
  StagedEpoch& staged;
  uint64_t checksum;

  Status operator()(const EpochBegin& m) const {
    if (!staged.is_clear())
      return fail(ErrorKind::kProtocol,
                  fmt::format("EpochBegin {} before epoch {} was done with", m.epoch.value(), staged.epoch().value()));
    return staged.begin(m.epoch, m.size);
  }
  Status operator()(const PageChunk& m) const {
    if (m.scope != PageScope::kEpoch)
      return fail(ErrorKind::kProtocol, "PageChunk of a synchronisation inside an epoch");
    US_TRY(check_epoch(staged, m.kType, Epoch{m.number}));
    return staged.add_pages(m.encoded, checksum);
  }
  Status operator()(const DeviceStateChunk& m) const {
    US_TRY(check_epoch(staged, m.kType, m.epoch));
    return staged.add_device_state(m.bytes, checksum);
  }
  Status operator()(const SideStateChunk& m) const {
    US_TRY(check_epoch(staged, m.kType, m.epoch));
    return staged.add_side_state(m.kind, m.bytes, checksum);
  }
  Status operator()(const EpochEnd& m) const {
    US_TRY(check_epoch(staged, m.kType, m.epoch));
    return staged.end(m.pages, m.chunks, m.digest);
  }
  template <typename M>
  Status operator()(const M&) const {
    return fail(ErrorKind::kProtocol, fmt::format("{} is no part of an epoch", frame_type_name(M::kType)));
  }
};

}  // namespace

Status stage_epoch_message(StagedEpoch& staged, const Message& message, uint64_t checksum) {
  return std::visit(Stage{staged, checksum}, message);
}

}  // namespace us
