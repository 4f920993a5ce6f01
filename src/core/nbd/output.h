// NbdOutput: what waits to be sent to a client: headers in one buffer each, disk data in the buffers it was read into,
// zeroes in no memory at all.
//
// gather() yields pieces for writev(2); sent() drops what has left.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/bytes.h"

namespace us {

class NbdOutput {
 public:
  void append(ByteSpan bytes);
  void append(AlignedBuffer data);
  void append_zeroes(uint32_t length);

  bool empty() const { return segments_.empty(); }
  // Memory that waits, disk data not included.
  size_t header_bytes() const { return header_bytes_; }
  // At most `pieces_max` pieces from the front; valid until anything is appended or sent.
  void gather(std::vector<ByteSpan>& into, size_t pieces_max) const;
  // Bytes of disk data (zeroes included) that have left for good with these `size` bytes.
  uint64_t sent(size_t size);
  void clear();

 private:
  struct Segment {
    Bytes bytes;
    AlignedBuffer data;
    uint32_t zeroes = 0;
    size_t size() const { return bytes.size() + data.size() + zeroes; }
    bool is_header() const { return !bytes.empty(); }
  };

  std::deque<Segment> segments_;
  size_t front_sent_ = 0;  // bytes of the first segment
  size_t header_bytes_ = 0;
};

}  // namespace us
