#include "core/virtio/net_ring.h"

#include <algorithm>
#include <cstring>

namespace us {
namespace {

// Copies `pieces` into `head` until that is full, then into `body`.  The sizes add up.
void gather_frame(const std::vector<GuestPiece>& pieces, std::span<uint8_t> head, std::span<uint8_t> body) {
  for (const GuestPiece& piece : pieces) {
    const uint8_t* from = piece.data;
    size_t left = piece.bytes;
    for (std::span<uint8_t>* into : {&head, &body}) {
      const size_t n = std::min(left, into->size());
      if (n == 0) continue;
      std::memcpy(into->data(), from, n);
      *into = into->subspan(n);
      from += n;
      left -= n;
    }
  }
}

bool fits_guest(const VnetHeader& h, const NetRingFormat& format) {
  const uint8_t gso = h.gso_type & ~VnetHeader::kGsoEcn;
  if ((h.flags & VnetHeader::kNeedsChecksum) != 0 && !format.guest_checksum) return false;
  return gso == VnetHeader::kGsoNone || (gso == VnetHeader::kGsoTcp4 && format.guest_tso4) ||
         (gso == VnetHeader::kGsoTcp6 && format.guest_tso6);
}

}  // namespace

std::optional<EthernetFrame> NetTransmitter::take(SplitRing& ring, const NetRingFormat& format, FramePool& pool) {
  if (ring.next(chain_) != SplitRing::Next::kChain) return std::nullopt;
  if (chain_.bytes < format.header_bytes + kMinEthernetBytes) {
    ring.set_fault(RingFault::kFrameTooShort);
    return std::nullopt;
  }
  if (chain_.bytes > format.header_bytes + kMaxEthernetBytes) {
    ring.set_fault(RingFault::kFrameTooLong);
    return std::nullopt;
  }
  EthernetFrame frame = pool.take(chain_.bytes - format.header_bytes);
  VnetHeader header;
  uint8_t raw[kVnetHeaderBytes] = {};
  gather_frame(chain_.pieces, {raw, format.header_bytes}, frame.ethernet());
  std::memcpy(&header, raw, sizeof header);
  header.flags &= VnetHeader::kNeedsChecksum;
  header.buffer_count = 0;
  frame.set_header(header);
  ring.use(chain_, 0);
  return frame;
}

NetReceiver::Outcome NetReceiver::deliver(SplitRing& ring, const NetRingFormat& format, const EthernetFrame& frame,
                                          GuestMemory& memory) {
  VnetHeader header = frame.header();
  if (!fits_guest(header, format)) return Outcome::kUnfit;
  if (!format.guest_checksum) header.flags = 0;
  const uint64_t bytes = format.header_bytes + frame.size();
  const Outcome gathered = gather(ring, format.mergeable, bytes);
  if (gathered != Outcome::kDelivered) {
    ring.rewind();
    return gathered;
  }
  header.buffer_count = static_cast<uint16_t>(parts_.size());
  uint8_t raw[kVnetHeaderBytes];
  std::memcpy(raw, &header, sizeof raw);
  piece_ = 0;
  piece_at_ = 0;
  scatter({raw, format.header_bytes}, memory);
  scatter(frame.ethernet(), memory);
  uint64_t left = bytes;
  for (const Part& part : parts_) {
    const auto written = static_cast<uint32_t>(std::min<uint64_t>(left, part.bytes));
    ring.use(part.head, written);
    left -= written;
  }
  return Outcome::kDelivered;
}

NetReceiver::Outcome NetReceiver::gather(SplitRing& ring, bool mergeable, uint64_t bytes) {
  parts_.clear();
  pieces_.clear();
  for (uint64_t room = 0; room < bytes;) {
    // Neither one chain nor, merged, a whole ring of them is enough: waiting would never help.
    if (parts_.size() == (mergeable ? ring.size() : 1)) return Outcome::kUnfit;
    switch (ring.next(chain_)) {
      case SplitRing::Next::kFault:
        return Outcome::kFault;
      case SplitRing::Next::kEmpty:
        return Outcome::kNoBuffers;
      case SplitRing::Next::kChain:
        break;
    }
    // What exceeds the frame is never written, so a chain of more than 4 GB may be counted as less.
    parts_.push_back({chain_.head, static_cast<uint32_t>(std::min<uint64_t>(chain_.bytes, UINT32_MAX))});
    pieces_.insert(pieces_.end(), chain_.pieces.begin(), chain_.pieces.end());
    room += chain_.bytes;
  }
  return Outcome::kDelivered;
}

void NetReceiver::scatter(ByteSpan bytes, GuestMemory& memory) {
  while (!bytes.empty()) {
    const GuestPiece& piece = pieces_[piece_];
    const size_t n = std::min<size_t>(bytes.size(), piece.bytes - piece_at_);
    if (n > 0) {
      std::memcpy(piece.data + piece_at_, bytes.data(), n);
      memory.wrote(piece.data + piece_at_, n);
    }
    bytes = bytes.subspan(n);
    piece_at_ += static_cast<uint32_t>(n);
    if (piece_at_ == piece.bytes) {
      ++piece_;
      piece_at_ = 0;
    }
  }
}

}  // namespace us
