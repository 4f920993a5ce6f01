#include "core/replica/frame_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace us {
namespace {

constexpr size_t kHandshakeCapacity = kFrameHeaderBytes + kControlPayloadMax;
// The largest frame, and some room to read on while its tail is awaited.
constexpr size_t kStreamCapacity = kFrameBytesMax + 256 * 1024;
// With less than this to read into, an incomplete frame is moved to the front of the buffer.
constexpr size_t kRoomBytesMin = 128 * 1024;

tl::unexpected<Error> bad(std::string message) {
  return fail(ErrorKind::kProtocol, "replication stream: " + std::move(message));
}

}  // namespace

FrameParser::FrameParser()
    : buffer_(std::make_unique_for_overwrite<uint8_t[]>(kHandshakeCapacity)), capacity_(kHandshakeCapacity) {}

void FrameParser::establish(uint16_t version) {
  US_CHECK(version >= kProtocolVersionMin && version <= kProtocolVersionMax);
  version_ = version;
}

std::span<uint8_t> FrameParser::room() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (begin_ > 0 && capacity_ - end_ < kRoomBytesMin) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (version_ && capacity_ < kStreamCapacity) grow(kStreamCapacity);
  return {buffer_.get() + end_, capacity_ - end_};
}

void FrameParser::grow(size_t capacity) {
  auto larger = std::make_unique_for_overwrite<uint8_t[]>(capacity);
  std::memcpy(larger.get(), buffer_.get(), end_);
  buffer_ = std::move(larger);
  capacity_ = capacity;
}

void FrameParser::filled(size_t size) {
  US_CHECK(size <= capacity_ - end_);
  end_ += size;
}

size_t FrameParser::feed(ByteSpan slice) {
  const std::span<uint8_t> to = room();
  const size_t n = std::min(to.size(), slice.size());
  if (n > 0) std::memcpy(to.data(), slice.data(), n);
  filled(n);
  return n;
}

Result<std::optional<Frame>> FrameParser::next() {
  if (error_) return tl::unexpected<Error>(*error_);
  auto frame = parse();
  if (!frame) error_ = frame.error();
  return frame;
}

Result<size_t> FrameParser::check_header(const uint8_t* header) const {
  const uint32_t magic = load_le<uint32_t>(header);
  if (magic != kFrameMagic)
    return bad(fmt::format("a frame starts with {:#010x}, not with the magic {:#010x}", magic, kFrameMagic));
  const auto type = static_cast<FrameType>(load_le<uint16_t>(header + 6));
  if (!is_frame_type(type)) return bad(fmt::format("unknown frame type {:#06x}", static_cast<unsigned>(type)));
  const bool handshake = is_handshake_type(type);
  if (!handshake && !version_) return bad(fmt::format("{} before the Hello was agreed", frame_type_name(type)));
  const uint16_t version = load_le<uint16_t>(header + 4);
  const uint16_t expected = handshake ? kHandshakeVersion : *version_;
  if (version != expected)
    return bad(fmt::format("{} of protocol version {}, expected {}", frame_type_name(type), version, expected));
  if (frame_type_since(type) > expected)
    return bad(fmt::format("{}, which protocol version {} does not have", frame_type_name(type), expected));
  const uint32_t length = load_le<uint32_t>(header + 8);
  if (length > payload_bytes_max(type))
    return bad(fmt::format("{} of {} bytes, more than the limit of {}", frame_type_name(type), length,
                           payload_bytes_max(type)));
  return size_t{length};
}

Result<std::optional<Frame>> FrameParser::parse() {
  const size_t have = end_ - begin_;
  if (have < kFrameHeaderBytes) return std::optional<Frame>{};
  const uint8_t* header = buffer_.get() + begin_;
  US_ASSIGN(const size_t length, check_header(header));
  if (have - kFrameHeaderBytes < length) return std::optional<Frame>{};
  Frame frame;
  frame.type = static_cast<FrameType>(load_le<uint16_t>(header + 6));
  frame.checksum = load_le<uint64_t>(header + 12);
  frame.payload = {header + kFrameHeaderBytes, length};
  if (const uint64_t sum = frame_checksum(header, frame.payload); sum != frame.checksum)
    return bad(fmt::format("{} of {} bytes has checksum {:#018x}, its header says {:#018x}",
                           frame_type_name(frame.type), length, sum, frame.checksum));
  begin_ += kFrameHeaderBytes + length;
  return std::optional<Frame>(frame);
}

}  // namespace us
