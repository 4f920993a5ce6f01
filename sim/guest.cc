#include "sim/guest.h"

#include <algorithm>
#include <utility>

#include "base/rng.h"

namespace us::sim {
namespace {

constexpr size_t kOutputBytes = 8 + 8 + 4 + 8 + 8;
constexpr size_t kDevicePaddingMax = 3000;

uint64_t mix(uint64_t a, uint64_t b) { return Rng(a ^ (b * 0x9e3779b97f4a7c15u)).next(); }

}  // namespace

EthernetFrame to_frame(const GuestOutput& output) {
  Bytes bytes(kMinEthernetBytes);
  ByteWriter w(bytes);
  w.le(output.number);
  w.le(output.history);
  w.le(output.client);
  w.le(output.request);
  w.le(output.value);
  return EthernetFrame(bytes);
}

GuestOutput from_frame(const EthernetFrame& frame) {
  US_CHECK(frame.size() == kMinEthernetBytes + kOutputBytes);
  ByteReader r(frame.ethernet().subspan(kMinEthernetBytes));
  GuestOutput o;
  o.number = r.le<uint64_t>();
  o.history = r.le<uint64_t>();
  o.client = r.le<uint32_t>();
  o.request = r.le<uint64_t>();
  o.value = r.le<uint64_t>();
  return o;
}

Guest::Guest() : ram_(kGuestPages * kPageSize) {
  for (uint64_t page = 0; page < kGuestPages / 2; ++page) dirty_.insert(PageIndex{page});
  advance(0);
}

Result<std::unique_ptr<Guest>> Guest::restore(Bytes ram, ByteSpan device_state) {
  auto guest = std::make_unique<Guest>();
  guest->ram_ = std::move(ram);
  guest->dirty_.clear();
  const Bytes expected = guest->device_state();
  if (!std::equal(device_state.begin(), device_state.end(), expected.begin(), expected.end()))
    return fail(ErrorKind::kProtocol, "devices and memory are not of the same moment");
  return guest;
}

void Guest::put(size_t at, uint64_t value) {
  store_le(ram_.data() + at, value);
  dirty_.insert(PageIndex{at / kPageSize});
  dirty_.insert(PageIndex{(at + 7) / kPageSize});
}

void Guest::advance(uint64_t cause) {
  put(kHistoryAt, mix(history(), cause + 1));
  put(kNumberAt, number() + 1);
  scribble();
}

// Some memory traffic: a few pages get new bytes, at times a page becomes zero.
void Guest::scribble() {
  Rng rng(history());
  for (uint64_t n = rng.below(3); n > 0; --n) {
    const PageIndex page{4 + rng.below(kGuestPages - 4)};
    uint8_t* const bytes = ram_.data() + page.value() * kPageSize;
    if (rng.chance(0.2)) {
      std::fill_n(bytes, kPageSize, uint8_t{0});
    } else {
      const size_t words = rng.chance(0.1) ? kPageSize / 8 : 1 + rng.below(16);
      for (size_t i = 0; i < words; ++i) store_le(bytes + 8 * rng.below(kPageSize / 8), rng.next());
    }
    dirty_.insert(page);
  }
}

std::optional<GuestOutput> Guest::on_request(uint32_t client, uint64_t request) {
  US_CHECK(running_);
  const size_t last_at = kClientsAt + client * 16, value_at = last_at + 8;
  const uint64_t last = get(last_at);
  if (request < last) return std::nullopt;
  advance(uint64_t{client} << 48 ^ request << 1);
  if (request > last) {
    put(last_at, request);
    put(value_at, get(value_at) + 1);
  }
  return GuestOutput{number(), history(), client, request, get(value_at)};
}

GuestOutput Guest::on_timer() {
  US_CHECK(running_);
  advance(1);
  return GuestOutput{number(), history(), kNoClient, 0, 0};
}

std::optional<GuestWrite> Guest::begin_write() {
  US_CHECK(running_);
  Rng rng(history() ^ writing_.size());
  if (writing_.size() == kGuestWritesMax || rng.chance(0.3)) return std::nullopt;
  GuestWrite write;
  write.count = 1 + rng.below(8);
  // Often the same few places, as a journal or a database does.
  write.first = rng.below(rng.chance(0.5) ? 16 : kBlocks - write.count + 1);
  write.kind = static_cast<WriteKind>(rng.chance(0.8) ? 1 : 2 + rng.below(2));
  write.tag = write.kind == WriteKind::kData ? history() | 1 : 0;
  if (write.tag == kUnknownTag) return std::nullopt;
  for (const GuestWrite& other : writing_)
    if (other.range().overlaps(write.range())) return std::nullopt;  // a sane guest does not
  writing_.push_back(write);
  return write;
}

// Also while it stands: QEMU completes what is in flight before it answers `stop`.
void Guest::on_write_done(const GuestWrite& write, bool written) {
  std::erase_if(writing_, [&](const GuestWrite& w) { return w.first == write.first; });
  for (uint64_t i = 0; i < write.count; ++i) put(kTagsAt + 8 * (write.first + i), written ? write.tag : kUnknownTag);
  advance(write.tag);
}

Bytes Guest::device_state() const {
  US_CHECK(writing_.empty());
  Bytes out;
  ByteWriter w(out);
  w.le(number());
  w.le(history());
  w.zeros(history() % kDevicePaddingMax);
  return out;
}

}  // namespace us::sim
