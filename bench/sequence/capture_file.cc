#include "sequence/capture_file.h"

#include <cstring>
#include <map>
#include <optional>

#include "core/tcp/frame.h"

namespace us::bench {
namespace {

constexpr uint32_t kMicroseconds = 0xa1b2c3d4, kNanoseconds = 0xa1b23c4d;
constexpr uint32_t kEthernet = 1;
constexpr size_t kFileHeader = 24, kRecordHeader = 16;
// More than any link's frame; a length above it is damage, not data.
constexpr uint32_t kFrameMax = 1 << 18;

class Numbers {
 public:
  explicit Numbers(ByteSpan bytes) : bytes_(bytes) {}
  bool swapped = false;

  uint32_t at(size_t offset) const {
    uint32_t value = 0;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return swapped ? __builtin_bswap32(value) : value;
  }

 private:
  ByteSpan bytes_;
};

struct Side {
  std::optional<SeqNum> first;
  uint8_t scale = 0;
  int64_t highest = 0;  // to unwrap by

  // The number nearest to the highest so far.
  int64_t unwrap(SeqNum number) {
    const auto low = static_cast<uint32_t>(number.value() - first->value());
    const int64_t value = highest + static_cast<int32_t>(low - static_cast<uint32_t>(highest));
    highest = std::max(highest, value);
    return value;
  }
};

struct Connection {
  Side client, server;
};

class Reader {
 public:
  explicit Reader(uint16_t port) : port_(port) {}

  void on_frame(int64_t at_ns, ByteSpan head, uint32_t length) {
    FrameView view;
    if (parse_frame(head, length, {}, view) != FrameStatus::kTcp) return;
    const Segment& s = view.segment;
    if (s.source_port != port_ && s.destination_port != port_) return;
    const bool from_server = s.source_port == port_;
    const uint16_t client_port = from_server ? s.destination_port : s.source_port;
    Connection& connection = connections_[client_port];
    Side& from = from_server ? connection.server : connection.client;
    Side& to = from_server ? connection.client : connection.server;
    if (s.has(tcp_flag::kSyn)) {
      if (from.first && *from.first != s.seq) connection = {};
      from.first = s.seq;
      from.scale = s.options.window_scale.value_or(0);
    }
    if (!from.first || (s.has(tcp_flag::kAck) && !to.first)) return;
    segments_.push_back(row(at_ns, s, client_port, from_server, from, to));
  }
  std::vector<CapturedSegment> take() { return std::move(segments_); }

 private:
  static CapturedSegment row(int64_t at_ns, const Segment& s, uint16_t client_port, bool from_server, Side& from,
                             Side& to) {
    CapturedSegment out{.at_ns = at_ns, .client_port = client_port, .from_server = from_server, .flags = {}};
    for (const auto& [flag, letter] : {std::pair{tcp_flag::kSyn, 'S'},
                                       {tcp_flag::kFin, 'F'},
                                       {tcp_flag::kRst, 'R'},
                                       {tcp_flag::kPsh, 'P'},
                                       {tcp_flag::kAck, 'A'}})
      if (s.has(flag)) out.flags += letter;
    out.sequence = from.unwrap(s.seq);
    out.bytes = s.payload_length;
    if (s.has(tcp_flag::kAck)) out.acknowledged = to.unwrap(s.ack);
    out.window = uint32_t{s.window} << (s.has(tcp_flag::kSyn) ? 0 : from.scale);
    return out;
  }

  const uint16_t port_;
  std::map<uint16_t, Connection> connections_;
  std::vector<CapturedSegment> segments_;
};

}  // namespace

Result<std::vector<CapturedSegment>> read_capture(ByteSpan file, uint16_t server_port) {
  Numbers numbers(file);
  if (file.size() < kFileHeader) return fail(ErrorKind::kInput, "not a capture file: it is too short");
  const auto known = [&] { return numbers.at(0) == kMicroseconds || numbers.at(0) == kNanoseconds; };
  if (!known()) numbers.swapped = true;
  if (!known()) return fail(ErrorKind::kInput, "not a capture file: it begins with something else");
  const int64_t fraction_ns = numbers.at(0) == kNanoseconds ? 1 : 1000;
  if ((numbers.at(20) & 0xffff) != kEthernet) return fail(ErrorKind::kInput, "the capture is not of Ethernet frames");
  Reader reader(server_port);
  for (size_t at = kFileHeader; at + kRecordHeader <= file.size();) {
    const int64_t time = int64_t{numbers.at(at)} * 1'000'000'000 + int64_t{numbers.at(at + 4)} * fraction_ns;
    const uint32_t kept = numbers.at(at + 8), length = numbers.at(at + 12);
    at += kRecordHeader;
    if (kept > kFrameMax || kept > file.size() - at) break;
    reader.on_frame(time, file.subspan(at, kept), length);
    at += kept;
  }
  return reader.take();
}

}  // namespace us::bench
