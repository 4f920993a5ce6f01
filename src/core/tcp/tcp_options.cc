#include "core/tcp/tcp_options.h"

#include <algorithm>

namespace us {

namespace {

// IANA "TCP Option Kind Numbers".
constexpr uint8_t kEndOfList = 0;
constexpr uint8_t kNoOperation = 1;
constexpr uint8_t kMaximumSegmentSize = 2;
constexpr uint8_t kWindowScale = 3;
constexpr uint8_t kSackPermitted = 4;
constexpr uint8_t kSack = 5;
constexpr uint8_t kTimestamps = 8;
constexpr uint8_t kMd5Signature = 19;
constexpr uint8_t kAuthentication = 29;
constexpr uint8_t kMultipathTcp = 30;
constexpr uint8_t kFastOpenCookie = 34;
constexpr uint8_t kExperiment1 = 253;
constexpr uint8_t kExperiment2 = 254;
constexpr uint16_t kFastOpenExperimentId = 0xf989;

constexpr uint32_t kPaddedTimestamps = 0x0101080a;  // NOP NOP kind 8 length 10: what nearly every segment carries

uint8_t unusual_bit(uint8_t kind, ByteSpan value) {
  switch (kind) {
    case kMd5Signature:
      return TcpOptions::kMd5;
    case kAuthentication:
      return TcpOptions::kAo;
    case kMultipathTcp:
      return TcpOptions::kMultipath;
    case kFastOpenCookie:
      return TcpOptions::kFastOpen;
    case kExperiment1:
    case kExperiment2:
      if (value.size() >= 2 && load_be<uint16_t>(value.data()) == kFastOpenExperimentId) return TcpOptions::kFastOpen;
      return TcpOptions::kUnknown;
    default:
      return TcpOptions::kUnknown;
  }
}

SeqRange read_block(const uint8_t* p) { return {SeqNum(load_be<uint32_t>(p)), SeqNum(load_be<uint32_t>(p + 4))}; }

// One option with its value; false if its length is not the one of its kind.
bool read_option(uint8_t kind, ByteSpan value, TcpOptions& out) {
  switch (kind) {
    case kMaximumSegmentSize:
      if (value.size() != 2) return false;
      out.mss = load_be<uint16_t>(value.data());
      return true;
    case kWindowScale:
      if (value.size() != 1) return false;
      out.window_scale = std::min(value[0], TcpOptions::kWindowScaleMax);
      return true;
    case kSackPermitted:
      out.sack_permitted = true;
      return value.empty();
    case kSack:
      if (value.empty() || value.size() % 8 != 0) return false;
      for (size_t i = 0; i < value.size(); i += 8) out.add_sack(read_block(value.data() + i));
      return true;
    case kTimestamps:
      if (value.size() != 8) return false;
      out.timestamps = Timestamps{load_be<uint32_t>(value.data()), load_be<uint32_t>(value.data() + 4)};
      return true;
    default:
      out.unusual |= unusual_bit(kind, value);
      return true;
  }
}

}  // namespace

TcpOptions parse_tcp_options(ByteSpan bytes) {
  TcpOptions out;
  if (bytes.size() == 12 && load_be<uint32_t>(bytes.data()) == kPaddedTimestamps) {
    out.timestamps = Timestamps{load_be<uint32_t>(bytes.data() + 4), load_be<uint32_t>(bytes.data() + 8)};
    return out;
  }
  size_t at = 0;
  while (at < bytes.size() && bytes[at] != kEndOfList) {
    if (bytes[at] == kNoOperation) {
      ++at;
      continue;
    }
    const size_t length = at + 1 < bytes.size() ? bytes[at + 1] : size_t{0};
    // RFC 9293 section 3.1 (MUST-7): be prepared for an illegal length.
    if (length < 2 || length > bytes.size() - at || !read_option(bytes[at], bytes.subspan(at + 2, length - 2), out)) {
      out.unusual |= TcpOptions::kMalformed;
      break;
    }
    at += length;
  }
  return out;
}

namespace {

class OptionWriter {
 public:
  explicit OptionWriter(std::span<uint8_t, TcpOptions::kBytesMax> out) : out_(out) {}
  size_t room() const { return out_.size() - at_; }
  size_t size() const { return at_; }
  void u8(uint8_t v) { out_[at_++] = v; }
  void u16(uint16_t v) { put(v); }
  void u32(uint32_t v) { put(v); }
  void pad() {
    while (at_ % 4 != 0) u8(kNoOperation);
  }

 private:
  template <typename T>
  void put(T v) {
    store_be(out_.data() + at_, v);
    at_ += sizeof v;
  }
  std::span<uint8_t, TcpOptions::kBytesMax> out_;
  size_t at_ = 0;
};

void write_sack(std::span<const SeqRange> blocks, OptionWriter& w) {
  const size_t count = std::min(blocks.size(), (w.room() - 4) / 8);
  if (count == 0) return;
  w.u8(kNoOperation);
  w.u8(kNoOperation);
  w.u8(kSack);
  w.u8(static_cast<uint8_t>(2 + 8 * count));
  for (SeqRange block : blocks.first(count)) {
    w.u32(block.start.value());
    w.u32(block.end.value());
  }
}

}  // namespace

size_t write_tcp_options(const TcpOptions& options, std::span<uint8_t, TcpOptions::kBytesMax> out) {
  OptionWriter w(out);
  if (options.mss) {
    w.u8(kMaximumSegmentSize);
    w.u8(4);
    w.u16(*options.mss);
  }
  if (options.sack_permitted) {
    w.u8(kSackPermitted);
    w.u8(2);
  }
  if (options.window_scale) {
    w.u8(kWindowScale);
    w.u8(3);
    w.u8(*options.window_scale);
  }
  w.pad();
  const bool syn_options = w.size() > 0;
  if (options.timestamps) {
    w.u32(kPaddedTimestamps);
    w.u32(options.timestamps->value);
    w.u32(options.timestamps->echo);
  }
  if (!syn_options) write_sack(options.sack(), w);
  return w.size();
}

}  // namespace us
