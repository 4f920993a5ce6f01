// The relay log, its cuts and the standby's replica against hostile bytes.  Seeds: test/golden/relay.
//
// The input is taken as records and as a cut, which must be refused or encode to the same bytes again; and as a script:
// what an odd primary appends and cuts.  Whatever the replica has accepted and committed can be restored by the real
// receivers, senders and buffers, and a refusal leaves what was committed.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "core/tcp/receiver.h"
#include "core/tcp/relay_log.h"
#include "core/tcp/relay_replica.h"
#include "core/tcp/relay_sample.h"
#include "core/tcp/sender.h"

using namespace us;

namespace {

constexpr uint32_t kCapacity = 8192;
const ReplicaLimits kLimits{.flows_max = 8, .capacity_max = 2 * kCapacity, .bytes_max = 4u << 20};

uint32_t count_records(ByteSpan in) {
  ByteReader reader(in);
  uint32_t records = 0;
  while (reader.remaining() > 0) {
    const size_t at = in.size() - reader.remaining();
    const Result<RelayRecord> record = decode_relay_record(reader);
    if (!record) break;
    Bytes again;
    ByteWriter writer(again);
    encode(*record, writer);
    US_CHECK(std::equal(again.begin(), again.end(), in.begin() + static_cast<ptrdiff_t>(at),
                        in.begin() + static_cast<ptrdiff_t>(in.size() - reader.remaining())));
    ++records;
  }
  return records;
}

void check_cut(ByteSpan in) {
  const Result<RelayCut> cut = decode_relay_cut(in);
  if (!cut) return;
  const Bytes again = encode(*cut);
  US_CHECK(std::equal(again.begin(), again.end(), in.begin(), in.end()));
}

// As the new primary does it.
void restore(const RestoredFlow& flow) {
  const Instant now = Instant::from_nanos(1'000'000'000);
  const FlowState& s = flow.state;
  ChunkPool pool(16u << 20);
  const auto buffer = [&pool](const LoggedBytes& bytes, uint32_t capacity) {
    return RelayBuffer::restore({bytes.range.start, bytes.range.end, capacity}, bytes.gather(), pool,
                                RelayBuffer::kCapacityMax);
  };
  Result<RelayBuffer> egress = buffer(flow.egress, s.egress_capacity);
  Result<RelayBuffer> ingress = buffer(flow.ingress, s.ingress_capacity);
  US_CHECK(egress && ingress);
  for (const LoggedBytes& held : flow.held) {
    SeqNum at = held.range.start;
    for (const ByteSpan piece : held.pieces) at += ingress->store(at, piece);
    US_CHECK(at == held.range.end);
  }
  US_CHECK(Receiver::restore(s.from_guest, *egress, now));
  Result<Receiver> from_peer = Receiver::restore(s.from_peer, *ingress, now);
  US_CHECK(from_peer);
  for (const LoggedIngress& later : flow.later)
    US_CHECK(from_peer->on_logged(later.stored, later.fin, later.gather(), *ingress));
  from_peer->take_over(*ingress, now);
  const SenderConfig config;
  US_CHECK(Sender::restore(s.to_peer, config));
  Result<Sender> to_guest = Sender::restore(s.to_guest, config);
  US_CHECK(to_guest);
  if (!to_guest->fin_committed()) {
    to_guest->on_committed(ingress->end());
    if (from_peer->finished()) to_guest->on_fin();
  }
  US_CHECK(TimestampClock::restore(s.peer_clock, now) && TimestampClock::restore(s.guest_clock, now));
  US_CHECK(SegmentBuilder::restore(s.as_guest) && SegmentBuilder::restore(s.as_peer));
}

void take_over(const RelayReplica& replica) {
  for (const RestoredFlow& flow : replica.take_over()) restore(flow);
}

// A primary whose records and states are mostly possible: the script chooses small steps around the right numbers.
class Script {
 public:
  explicit Script(ByteSpan in) : in_(in) { log_.begin_session(); }

  void run() {
    for (uint32_t i = 0; i < kFlows; ++i) flows_[i] = relay_sample::new_flow(i + 1, kFirst, kFirst, kCapacity);
    while (in_.remaining() > 0) {
      const uint8_t what = byte();
      FlowState& flow = flows_[what % kFlows];
      switch (what / kFlows % 12) {
        case 0:
          open(flow);
          break;
        case 1:
        case 2:
          ingress(flow);
          break;
        case 3:
          egress(flow);
          break;
        case 4:
          log_.append_clock_bound(0, flow.id, flow.peer_clock.bound + word() * 16);
          break;
        case 5:
          move(flow);
          break;
        case 6:
          hold(flow);
          break;
        case 7:
          changed_.push_back(flow);
          break;
        case 8:
          ended_.push_back(flow.id);
          break;
        case 9:
          cut();
          break;
        case 10:
          deliver();
          break;
        default:
          take_over(replica_);
          break;
      }
    }
    deliver();
    cut();
    take_over(replica_);
  }

 private:
  static constexpr uint32_t kFlows = 3;
  static constexpr SeqNum kFirst{0xfffff000};

  uint8_t byte() { return in_.le<uint8_t>(); }
  uint32_t word() { return in_.le<uint16_t>(); }
  // Mostly `n`, now and then something near it or far from it.
  uint32_t about(uint32_t n) {
    const uint8_t how = byte();
    return how < 192 ? n : how < 248 ? n + how - 220 : n + (word() << 8);
  }

  void open(FlowState& flow) {
    flow.guest_opened = byte() % 4 == 0;
    log_.append_open(0, flow);
  }
  void ingress(FlowState& flow) {
    const uint8_t how = byte();
    const uint32_t length = word() % 3000;
    const SeqNum start = SeqNum(about(stream_end(flow.from_peer).value())) + (how % 4 == 0 ? word() % 4000 : 0);
    const bool fin = how >= 250 || length == 0;
    log_.append_ingress(0, flow.id, {start, start + length + (fin ? 1 : 0)}, fin, gather(length));
    if (start != flow.from_peer.next || flow.from_peer.fin) return;
    flow.from_peer.next = start + length;
    flow.to_guest.committed = flow.from_peer.next;
    if (!fin) return;
    flow.from_peer.fin = flow.from_peer.next;
    flow.from_peer.next += 1;
  }
  void egress(FlowState& flow) {
    const uint32_t length = word() % 3000;
    const SeqNum start(about(flow.to_peer.committed.value()));
    log_.append_egress(0, flow.id, start, gather(length));
    flow.to_peer.committed = flow.from_guest.next = start + length;
    flow.from_guest.right_edge = flow.from_guest.next + kCapacity;
  }
  Gather gather(uint32_t length) {
    data_.resize(length);
    piece_ = data_;
    return {&piece_, 1};
  }
  void move(FlowState& flow) {
    flow.to_peer.una += about(word() % 2000);
    flow.to_guest.una += about(word() % 2000);
    flow.to_peer.peer.update_ack = flow.to_peer.una;
    flow.to_guest.peer.update_ack = flow.to_guest.una;
    flow.from_peer.right_edge = flow.from_peer.next + about(kCapacity);
    flow.ingress_capacity = about(kCapacity);
  }
  void hold(FlowState& flow) {
    flow.from_peer.held.clear();
    SeqNum at = flow.from_peer.next;
    for (uint8_t n = byte() % 4; n > 0; --n) {
      const SeqNum start = at + 1 + word() % 2000;
      at = start + 1 + word() % 2000;
      flow.from_peer.held.push_back({start, at});
    }
    if (byte() % 8 == 0) flow.from_peer.fin = at - 1;
  }
  void cut() {
    RelayCut cut{LogPosition(about(static_cast<uint32_t>(log_.position().value()))), {{0, changed_, ended_}}};
    for (FlowState& state : cut.nics[0].changed)
      state.position = LogPosition(about(static_cast<uint32_t>(cut.position.value())));
    changed_.clear();
    ended_.clear();
    deliver();
    if (replica_.stage_cut(encode(cut))) replica_.commit();
  }
  void deliver() {
    for (const Bytes& frame : log_.take_frames()) {
      const Result<Message> message =
          decode({FrameType::kRelayLogChunk, 0, ByteSpan(frame).subspan(kFrameHeaderBytes)});
      if (replica_.apply(std::get<RelayLogChunk>(*message))) continue;
      take_over(replica_);
      log_.end_session([](const DurableRecord&) {});
      log_.begin_session();
      replica_.begin_session();
      break;
    }
    US_CHECK(replica_.bytes() <= kLimits.bytes_max + (1u << 20));
  }

  ByteReader in_;
  RelayLog log_;
  RelayReplica replica_{kLimits};
  FlowState flows_[kFlows];
  std::vector<FlowState> changed_;
  std::vector<FlowId> ended_;
  Bytes data_;
  ByteSpan piece_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteSpan in(data, size);
  check_cut(in);
  RelayReplica replica(kLimits);
  US_CHECK(replica.stage_cut({}));
  replica.commit();
  (void)replica.apply({LogPosition(1), std::max(count_records(in), 1u), in});
  take_over(replica);
  Script(in).run();
  return 0;
}
