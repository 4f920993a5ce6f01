// FrameParser: cuts the byte stream of a replication connection into frames.
//
// The bytes may come in slices of any size.  The parser owns one buffer, so that a socket is read straight into it and
// frames are handed out as spans of it, without a copy:
//
//     std::span<uint8_t> room = parser.room();
//     parser.filled(read(fd, room.data(), room.size()));
//     for (;;) {
//       US_ASSIGN(std::optional<Frame> frame, parser.next());
//       if (!frame) break;      // needs more bytes
//       ...                     // frame->payload is valid until the next room() or feed()
//     }
//
// Memory is bounded: 64 KiB and a header until establish(), then about 1.3 MiB.  Until establish() only handshake
// frames are accepted, so a stranger cannot make it hold more.  The first error is final: every next() after it repeats
// it, and the connection must be closed.  Errors are ErrorKind::kProtocol.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "core/replica/frame_header.h"

namespace us {

class FrameParser {
 public:
  FrameParser();

  // Once the Hello is agreed: all types are accepted from here on, and must carry `version`.
  void establish(uint16_t version);

  // Where to put more bytes; never empty once next() has returned nullopt.  Invalidates payloads handed out before.
  std::span<uint8_t> room();
  // `size` bytes of the last room() have been filled.
  void filled(size_t size);

  // Copies as much of `slice` as fits and returns how much that was; call next() until it yields nothing, then feed the
  // rest.
  size_t feed(ByteSpan slice);

  // The next whole frame, or nullopt when more bytes are needed, or why the stream cannot go on.
  Result<std::optional<Frame>> next();

  // Bytes of a frame that is not complete yet; not 0 at the end of the stream means it was truncated.
  size_t pending_bytes() const { return end_ - begin_; }
  size_t capacity() const { return capacity_; }

 private:
  Result<size_t> check_header(const uint8_t* header) const;  // payload length
  Result<std::optional<Frame>> parse();
  void grow(size_t capacity);

  std::unique_ptr<uint8_t[]> buffer_;
  size_t capacity_;
  size_t begin_ = 0;  // of the bytes not handed out yet
  size_t end_ = 0;
  std::optional<uint16_t> version_;  // set by establish()
  std::optional<Error> error_;
};

// Feeds all of `slice`, and calls `each(const Frame&) -> Status` for every frame; leaves at the first error.
template <typename F>
Status parse_frames(FrameParser& parser, ByteSpan slice, F&& each) {
  for (;;) {
    slice = slice.subspan(parser.feed(slice));
    for (;;) {
      US_ASSIGN(std::optional<Frame> frame, parser.next());
      if (!frame) break;
      US_TRY(each(*frame));
    }
    if (slice.empty()) return {};
  }
}

}  // namespace us
