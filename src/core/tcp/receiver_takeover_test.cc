// The client side's receiver across a takeover: a snapshot from some time before, and the log since.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

#include "base/rng.h"
#include "core/tcp/receiver.h"

namespace us {
namespace {

constexpr uint32_t kCapacity = 60'000;
constexpr AckBounds kAnyAck{SeqNum(0), SeqNum(1)};

struct LogRecord {
  SeqRange stored;
  bool fin;
  Bytes bytes;
};

uint8_t byte_at(SeqNum seq) { return static_cast<uint8_t>((seq.value() * 2654435761u) >> 24); }

Bytes stream(SeqRange range) {
  Bytes out;
  for (SeqNum s = range.start; s != range.end; s += 1) out.push_back(byte_at(s));
  return out;
}

Bytes contents(const RelayBuffer& buffer, SeqRange range) {
  Bytes out;
  buffer.for_each(range.start, range.end, [&](ByteSpan b) { out.insert(out.end(), b.begin(), b.end()); });
  return out;
}

ReceiverConfig client_side(uint8_t shift) {
  return {.window_shift = shift, .sack = true, .timestamps = true, .segment_bytes_max = 1448, .ack_waits = true};
}

struct Host {
  Host(SeqNum start, uint8_t shift, Instant now)
      : buffer(pool, start, kCapacity), receiver(client_side(shift), start, start, 0, now) {}

  ChunkPool pool{16 << 20};
  RelayBuffer buffer;
  Receiver receiver;
};

// The buffer of a standby that has the log up to a snapshot, and the receiver made from it.
void restore(Host& standby, const RelayBufferState& marks, const ReceiverState& state, const RelayBuffer& primary,
             Instant now) {
  const Bytes bytes = contents(primary, {marks.start, marks.end});
  const ByteSpan piece(bytes);
  standby.buffer = std::move(*RelayBuffer::restore(marks, {&piece, 1}, standby.pool, kCapacity));
  for (SeqRange range : state.held) {
    if (state.fin && range.end == *state.fin + 1) range.end = *state.fin;
    standby.buffer.store(range.start, contents(primary, range));
  }
  auto receiver = Receiver::restore(state, standby.buffer, now);
  ASSERT_TRUE(receiver) << receiver.error().message;
  standby.receiver = std::move(*receiver);
}

// tcp.md, rules 1 and 2: whatever the old primary had acknowledged or offered, the new one has, and stands by.
RC_GTEST_PROP(ReceiverTakeover, ContinuesAtOrAfterEverythingTheOldPrimaryHasSaid, (uint32_t first, uint32_t seed)) {
  Rng rng(seed);
  Instant now = Instant::from_nanos(4'000'000'000);
  const auto shift = static_cast<uint8_t>(rng.below(9));
  Host primary(SeqNum(first), shift, now);
  const SeqNum end = SeqNum(first) + static_cast<uint32_t>(rng.below(40'000));
  std::vector<LogRecord> log;
  size_t durable = 0;
  size_t logged_at_snapshot = 0;
  ReceiverState state = primary.receiver.snapshot(now);
  RelayBufferState marks = primary.buffer.snapshot();
  SeqNum acked(first);
  SeqNum edge(first);
  primary.receiver.request_ack();
  Host standby(SeqNum(first), shift, now);
  restore(standby, marks, state, primary.buffer, now);

  const uint64_t steps = rng.below(80);
  for (uint64_t i = 0; i < steps; ++i) {
    now += Duration::micros(rng.between(0, 30'000));
    Segment segment;
    segment.flags = tcp_flag::kAck;
    segment.seq =
        SeqNum(first) + static_cast<uint32_t>(rng.below(SeqNum(first).distance_to(primary.receiver.next()) + 5000));
    segment.seq = earlier(segment.seq, end);
    segment.payload_length = std::min(static_cast<uint32_t>(rng.below(4000)), segment.seq.distance_to(end));
    if (segment.payload_end() == end && rng.chance(0.3)) segment.flags |= tcp_flag::kFin;
    segment.options.timestamps = Timestamps{static_cast<uint32_t>(now.to_nanos() / 1'000'000), 0};
    const Bytes bytes = stream({segment.seq, segment.payload_end()});
    const ByteSpan payload(bytes);
    const Received r = primary.receiver.on_segment(segment, {&payload, 1}, kAnyAck, primary.buffer, now);
    if (!r.stored.empty()) {
      const SeqNum data_end = r.fin ? r.stored.end - 1 : r.stored.end;
      log.push_back({r.stored, r.fin, contents(primary.buffer, {r.stored.start, data_end})});
    }
    while (durable < log.size() && rng.chance(0.6)) primary.receiver.on_ackable(log[durable++].stored, now);
    while (const auto ack = primary.receiver.poll_ack(primary.buffer, now)) {
      acked = ack->ack;
      edge = later(edge, ack->ack + (uint32_t{ack->window} << shift));
    }
    if (rng.chance(0.1)) {  // an epoch has committed: both hosts drop what the guest has acknowledged
      const uint32_t guest_has = primary.buffer.start().distance_to(later(primary.buffer.start(), acked));
      primary.buffer.trim_to(primary.buffer.start() +
                             static_cast<uint32_t>(rng.below(std::min(guest_has, primary.buffer.size()) + 1)));
      state = primary.receiver.snapshot(now);
      marks = primary.buffer.snapshot();
      logged_at_snapshot = log.size();
      restore(standby, marks, state, primary.buffer, now);
    }
  }

  // The standby has at least what was durable; more may have arrived.
  const size_t arrived =
      std::max(durable, logged_at_snapshot) + rng.below(log.size() - std::max(durable, logged_at_snapshot) + 1);
  for (size_t i = logged_at_snapshot; i < arrived; ++i) {
    const ByteSpan piece(log[i].bytes);
    RC_ASSERT(standby.receiver.on_logged(log[i].stored, log[i].fin, {&piece, 1}, standby.buffer).has_value());
  }
  const Instant other_clock = Instant::from_nanos(1'000);
  standby.receiver.take_over(standby.buffer, other_clock);
  const auto ack = standby.receiver.poll_ack(standby.buffer, other_clock);
  RC_ASSERT(ack.has_value());
  RC_ASSERT(acked.at_or_before(ack->ack));
  RC_ASSERT(ack->ack == standby.receiver.next());
  RC_ASSERT(edge.at_or_before(standby.receiver.right_edge()));
  RC_ASSERT(contents(standby.buffer, {marks.start, standby.buffer.end()}) ==
            stream({marks.start, standby.buffer.end()}));
}

TEST(ReceiverTakeover, RefusesALogThatDoesNotFitTheConnection) {
  const Instant now = Instant::from_nanos(4'000'000'000);
  Host host(SeqNum(1), 0, now);
  const Bytes bytes(100, 7);
  const auto logged = [&](uint32_t start, uint32_t end, bool fin, size_t size) {
    const ByteSpan piece(ByteSpan(bytes).first(size));
    return host.receiver.on_logged({SeqNum(start), SeqNum(end)}, fin, {&piece, 1}, host.buffer).has_value();
  };
  EXPECT_TRUE(logged(1, 101, false, 100));
  EXPECT_TRUE(logged(1, 101, false, 100));  // again
  EXPECT_TRUE(logged(201, 301, false, 100));
  EXPECT_FALSE(logged(101, 201, false, 99));
  EXPECT_FALSE(logged(101, 101, false, 0));
  EXPECT_FALSE(logged(70'000, 70'001, false, 1));              // beyond the buffer
  EXPECT_FALSE(logged(0x80000000u, 0x80000064u, false, 100));  // far from here
  EXPECT_FALSE(logged(150, 151, true, 0));                     // a FIN before data
  EXPECT_TRUE(logged(301, 302, true, 0));
  EXPECT_FALSE(logged(310, 311, true, 0));   // another
  EXPECT_FALSE(logged(302, 303, false, 1));  // data after it
  EXPECT_TRUE(logged(101, 201, false, 100));
  EXPECT_TRUE(host.receiver.finished());
}

}  // namespace
}  // namespace us
