// An epoch as frames, both ways: EpochFrameWriter makes them on the primary, stage_epoch_message() collects them on the
// standby.  PageFrameWriter is the part that both epochs and synchronisation rounds need.
//
// Page data is copied once, compressed, into the frame that is sent; each frame is a buffer of its own that the owner
// takes and queues.  Pure and single-threaded; meant to run in the thread that encodes while the guest runs.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "core/memory/page_codec.h"
#include "core/memory/staged_epoch.h"
#include "core/replica/wire.h"

namespace us {

// Called with each frame as it is complete.
using EmitFrame = std::function<void(Bytes frame, uint64_t checksum)>;

class PageFrameWriter {
 public:
  PageFrameWriter(PageMode mode, size_t chunk_bytes_max, EmitFrame emit);

  void begin(PageScope scope, uint64_t number, uint16_t version = kProtocolVersionMax);
  // Pages in ascending order; the bytes are copied.
  void add(PageIndex page, PageSpan bytes);
  // Emits what is left, if anything.
  void finish();

  uint64_t pages() const { return pages_; }  // since begin()
  const PageStats& stats() const { return encoder_.stats(); }

 private:
  void open_frame();
  void close_frame();

  PageEncoder encoder_;
  size_t chunk_bytes_max_;
  EmitFrame emit_;
  PageScope scope_ = PageScope::kEpoch;
  uint64_t number_ = 0;
  uint16_t version_ = kProtocolVersionMax;
  uint64_t pages_ = 0;
  Bytes frame_;
  std::optional<FrameBuilder> builder_;  // set while a frame is open
};

// begin(), then pages, device state and side state in any order and mix, then end().
class EpochFrameWriter {
 public:
  EpochFrameWriter(PageMode mode, size_t chunk_bytes_max, EmitFrame emit);
  EpochFrameWriter(const EpochFrameWriter&) = delete;
  EpochFrameWriter& operator=(const EpochFrameWriter&) = delete;

  void begin(const EpochBegin& begin, uint16_t version = kProtocolVersionMax);
  void add_page(PageIndex page, PageSpan bytes) { pages_.add(page, bytes); }
  void add_device_state(ByteSpan bytes);
  void add_side_state(SideKind kind, ByteSpan bytes);
  // That everything announced in begin() has been added is a CHECK.
  void end();

  const PageStats& stats() const { return pages_.stats(); }

 private:
  void emit_chunk(const Message& chunk);

  EmitFrame emit_;
  PageFrameWriter pages_;
  EpochBegin begin_;
  uint16_t version_ = kProtocolVersionMax;
  uint64_t device_state_bytes_ = 0;
  uint64_t side_state_bytes_ = 0;
  ChunkDigest digest_;
};

// Gives a message of an epoch (EpochBegin, PageChunk of an epoch, the state chunks, EpochEnd) to `staged`; `checksum`
// is that of its frame.  After EpochEnd and no error, staged.whole().  EpochBegin wants `staged` clear; refuses a
// message of another kind or of another epoch than the one that is open.
Status stage_epoch_message(StagedEpoch& staged, const Message& message, uint64_t checksum);

}  // namespace us
