// One receiver half against any segments, from either side of the network, and any restored state.
//
// Input: a byte of options, then a program; each step is an operation and its arguments.  Oracles: the sanitizers and
// every CHECK; acknowledgements and the offered edge never go back; the delivered bytes are the first copies; a
// snapshot restores to itself.  A state with a byte changed is refused or does no harm, which leaves the sanitizers and
// CHECKs.  Start from an empty corpus.
#include <vector>

#include "base/check.h"
#include "core/tcp/receiver.h"

namespace {

using namespace us;

constexpr uint32_t kCapacity = 3000;
constexpr SeqNum kStart(0xfffffc00u);

class Machine {
 public:
  explicit Machine(uint8_t options)
      : shift_(options & 7),
        receiver_({.window_shift = shift_,
                   .sack = (options & 8) != 0,
                   .timestamps = (options & 16) != 0,
                   .ecn = true,
                   .segment_bytes_max = 536,
                   .ack_waits = (options & 32) != 0,
                   .fin_ack_waits = (options & 64) != 0,
                   .answers_keep_alive = (options & 128) != 0},
                  kStart, kStart + kCapacity / 2, 0, now_) {}

  void run(ByteReader& in) {
    while (in.remaining() > 0) {
      step(in);
      while (const auto ack = receiver_.poll_ack(buffer_, now_)) check(*ack);
      US_CHECK(buffer_.end() == receiver_.next() || receiver_.finished());
    }
  }

 private:
  void step(ByteReader& in) {
    const uint8_t operation = in.le<uint8_t>();
    now_ += Duration::micros(int64_t{operation >> 4} * 7'000);
    switch (operation & 15) {
      case 0:
        return acknowledgeable();
      case 1:
        return trim(in.le<uint16_t>());
      case 2:
        return receiver_.set_ack_waits((operation & 16) != 0, now_);
      case 3:
        return buffer_.set_capacity(in.le<uint16_t>() % (2 * kCapacity));
      case 4:
        return restore(0, 0);
      case 5: {
        const size_t at = in.le<uint8_t>();
        return restore(at, in.le<uint8_t>());
      }
      case 6:
        return receiver_.on_fin_ackable(now_);
      case 7:
        return logged(in);
      default:
        return segment(in);
    }
  }

  void segment(ByteReader& in) {
    Segment s;
    s.flags = in.le<uint8_t>();
    s.seq = buffer_.start() + in.le<uint16_t>() - 1000;
    s.ack = SeqNum(in.le<uint8_t>());
    s.payload_length = in.le<uint16_t>() % 1500;
    s.options.timestamps = Timestamps{in.le<uint8_t>(), 0};
    s.ecn = static_cast<Ecn>(s.seq.value() & 3);
    // Every segment lies about all of its bytes.
    const Bytes bytes(s.payload_length, ++copy_);
    const ByteSpan payload[] = {ByteSpan(bytes).first(bytes.size() / 2), ByteSpan(bytes).subspan(bytes.size() / 2)};
    const Bytes before = stream();
    const Received r = receiver_.on_segment(s, payload, {SeqNum(0), SeqNum(200)}, buffer_, now_);
    const Bytes after = stream();
    US_CHECK(after.size() >= before.size() && std::equal(before.begin(), before.end(), after.begin()));
    if (!r.stored.empty()) log_.push_back(r.stored);
  }

  void acknowledgeable() {
    if (log_.empty()) return;
    receiver_.on_ackable(log_.front(), now_);
    log_.erase(log_.begin());
  }

  void trim(uint32_t bytes) { buffer_.trim_to(buffer_.start() + std::min(bytes, buffer_.size())); }

  // Byte `at` of the state is changed by `difference`.
  void restore(size_t at, uint8_t difference) {
    Bytes bytes;
    ByteWriter w(bytes);
    encode(receiver_.snapshot(now_), w);
    bytes[at % bytes.size()] ^= difference;
    ByteReader r(bytes);
    const auto state = decode_receiver_state(r);
    US_CHECK(state || difference != 0);
    if (!state) return;
    auto restored = Receiver::restore(*state, buffer_, now_);
    US_CHECK(restored || difference != 0);
    if (!restored) return;
    if (difference == 0) US_CHECK(restored->snapshot(now_) == *state);
    receiver_ = std::move(*restored);
    if (difference != 0) lied_ = true;
  }

  void logged(ByteReader& in) {
    const SeqNum start = buffer_.start() + in.le<uint16_t>();
    const Bytes bytes(in.le<uint8_t>(), ++copy_);
    const bool fin = (bytes.size() & 1) != 0;
    const ByteSpan piece(bytes);
    const SeqNum end = start + static_cast<uint32_t>(bytes.size()) + (fin ? 1u : 0u);
    static_cast<void>(receiver_.on_logged({start, end}, fin, {&piece, 1}, buffer_));
    receiver_.take_over(buffer_, now_);
  }

  void check(const AckOut& ack) {
    US_CHECK(ack.ack.at_or_before(receiver_.next()));
    if (lied_) return;
    const SeqNum edge = ack.ack + (uint32_t{ack.window} << shift_);
    US_CHECK(acked_.at_or_before(ack.ack));
    US_CHECK(edge_.at_or_before(receiver_.right_edge()));
    US_CHECK(edge.at_or_before(receiver_.right_edge()));
    // Taken back by less than the rounding, at most (receive_window.h).
    US_CHECK(edge_.before(edge + (1u << shift_)));
    acked_ = ack.ack;
    edge_ = receiver_.right_edge();
  }

  Bytes stream() const {
    Bytes out;
    buffer_.for_each(buffer_.start(), buffer_.end(), [&](ByteSpan b) { out.insert(out.end(), b.begin(), b.end()); });
    return out;
  }

  uint8_t shift_;
  Instant now_ = Instant::from_nanos(1'000'000'000);
  ChunkPool pool_{4 * ChunkPool::kChunkBytes};
  RelayBuffer buffer_{pool_, kStart, kCapacity};
  Receiver receiver_;
  std::vector<SeqRange> log_;
  uint8_t copy_ = 0;
  bool lied_ = false;  // a changed state was accepted
  SeqNum acked_ = kStart;
  SeqNum edge_ = kStart;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteReader in(ByteSpan(data, size));
  Machine machine(in.le<uint8_t>());
  machine.run(in);
  return 0;
}
