// A whole relay between a guest and a peer that say anything, with epochs, a standby that is late or never hears,
// takeovers, switches between solo and protected, and of options.
//
// Input: three bytes of set-up, then a program; each step is an operation and its arguments.  Segments lie near what
// the connection is at, so that many of them are valid.  Oracles: FlowJudge (what is acknowledged is durable, what is
// sent is committed, nothing is taken back, all bytes are right), the standby that checks every record and cut, the
// bounds of memory, every CHECK, the sanitizers.  Seeds: test/golden/flow/.
#include <fmt/format.h>

#include "base/check.h"
#include "core/tcp/relay_rig.h"

namespace {

using namespace us;

constexpr uint32_t kCapacity = 20'000;

RigSetup setup_from(uint8_t a, uint8_t b, uint8_t c) {
  RigSetup setup;
  setup.solo = (a & 1) != 0;
  setup.guest_opens = (a & 2) != 0;
  setup.v6 = (a & 4) != 0;
  setup.ecn = (a & 8) != 0;
  setup.guest.timestamps = setup.peer.timestamps = (a & 16) == 0;
  setup.guest.sack = setup.peer.sack = (a & 32) == 0;
  setup.options = {(a & 64) == 0, (a & 128) == 0, (b & 1) == 0, (b & 2) != 0};
  setup.guest.scale = (b >> 2) & 15;
  setup.peer.scale = c & 15;
  setup.guest.mss = (b & 64) != 0 ? 100 : 1460;
  setup.peer.window = (c & 16) != 0 ? 3 : 500;
  setup.guest.window = (c & 32) != 0 ? 3 : 500;
  setup.guest.syn_window = setup.peer.syn_window = (c & 64) != 0 ? 65535 : 5000;
  if ((c & 128) != 0) setup.vlans = {0x81000005};
  setup.limits.handshake.egress_capacity = setup.limits.handshake.ingress_capacity = kCapacity;
  setup.limits.buffer_bytes_max = 1u << 20;
  return setup;
}

class Machine {
 public:
  explicit Machine(const RigSetup& setup) : rig_(setup) { rig_.connect(); }

  void run(ByteReader& in) {
    for (int steps = 0; in.remaining() > 0 && steps < 400; ++steps) {
      step(in.le<uint8_t>(), in);
      rig_.forget_sent();
      check();
    }
    rig_.go_solo();
    rig_.advance(Duration::seconds(1));
    check();
  }

 private:
  void check() const {
    if (!rig_.violation().empty()) {
      fmt::print(stderr, "{}\n", rig_.violation());
      US_CHECK(false);
    }
    // Both directions with what is behind their ends, and a chunk that is partly used at each end.
    US_CHECK(rig_.relay().pool_bytes() <= 2 * (2 * kCapacity + 65536 + 2 * ChunkPool::kChunkBytes));
    US_CHECK(rig_.relay().size() <= 1);
  }

  void step(uint8_t operation, ByteReader& in) {
    const bool guest = (operation & 16) != 0;
    const bool variant = (operation & 32) != 0;
    switch (operation & 15) {
      case 0:
      case 1: {
        ScriptSegment s;
        s.flags = variant ? ".P" : ".";
        s.length = 1 + in.le<uint16_t>() % 3000;
        rig_.say(guest, s);
        return;
      }
      case 2:
      case 3:
        return any_segment(guest, in);
      case 4:
        return rig_.cut();
      case 5:
        return rig_.commit(!variant);
      case 6:
        return rig_.durable(!variant);
      case 7:
        if (variant) rig_.go_solo();
        return;
      case 8:
        if (variant) rig_.take_over(Duration::millis(in.le<uint8_t>()));
        return;
      case 9:
        return rig_.advance(Duration::millis(in.le<uint8_t>()));
      case 10:
        return pass_much(in.le<uint8_t>());
      case 11: {
        const uint8_t o = in.le<uint8_t>();
        rig_.relay().set_options({(o & 1) != 0, (o & 2) != 0, (o & 4) != 0, (o & 8) != 0}, rig_.now());
        return;
      }
      case 12:
        return garbled(guest, in);
      case 13: {
        ScriptSegment s;
        s.flags = variant ? ".F" : ".";
        rig_.say(guest, s);
        return;
      }
      case 14:
        return sack(guest, in);
      default: {
        ScriptSegment s;
        s.flags = ".";
        s.window = in.le<uint8_t>() * uint32_t{variant};
        rig_.say(guest, s);
      }
    }
  }

  // Near what that side is at; any flags.
  ScriptSegment near(bool guest, ByteReader& in) {
    ScriptSegment s;
    const uint8_t flags = in.le<uint8_t>();
    const std::string_view letters = "FSRP.UEW";
    for (size_t i = 0; i < letters.size(); ++i)
      if ((flags >> i) & 1) s.flags += letters[i];
    std::sort(s.flags.begin(), s.flags.end());
    const auto around = [&](uint32_t at) {
      const int64_t moved = int64_t{at} + static_cast<int16_t>(in.le<uint16_t>());
      return static_cast<uint32_t>(std::max<int64_t>(moved, 0));
    };
    s.seq = around(rig_.next(guest));
    s.ack = around(rig_.got(guest));
    s.length = in.le<uint16_t>() % 2000;
    s.ecn = in.le<uint8_t>() % 4;
    return s;
  }
  void any_segment(bool guest, ByteReader& in) { rig_.say(guest, near(guest, in)); }

  void sack(bool guest, ByteReader& in) {
    ScriptSegment s;
    s.flags = ".";
    s.sack_blocks.emplace();
    for (int i = in.le<uint8_t>() % 4; i > 0; --i) {
      const uint32_t first = rig_.got(guest) + in.le<uint16_t>() % 4000;
      s.sack_blocks->emplace_back(first, first + in.le<uint16_t>() % 3000);
    }
    // Beside timestamps there is room for three.
    if (s.sack_blocks->size() > 3) s.sack_blocks->resize(3);
    rig_.say(guest, s);
  }

  // Any frame at all: most are not the connection's any more, or have a wrong checksum.
  void garbled(bool guest, ByteReader& in) {
    ScriptSegment s = near(guest, in);
    rig_.complete(guest, s);
    // What is changed may be nothing that anybody checks (MAC addresses, hop limit).
    const uint32_t end = *s.seq + s.length + (s.has('F') ? 1 : 0);
    if (guest)
      rig_.judge().guest_says(s, end, rig_.solo());
    else
      rig_.judge().peer_says(s, *s.seq, end, rig_.solo());
    Bytes frame = rig_.slow_frame(guest, s).bytes();
    frame[in.le<uint16_t>() % frame.size()] ^= static_cast<uint8_t>(1 + in.le<uint8_t>() % 255);
    frame.resize(frame.size() - std::min<size_t>(in.le<uint8_t>() % 64, frame.size() - 14));
    rig_.put(guest, frame);
  }

  void pass_much(uint8_t seconds) {
    rig_.judge().allow_resets();  // a side may be given up
    rig_.advance(Duration::seconds(seconds));
  }

  mutable RelayRig rig_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteReader in(ByteSpan(data, size));
  const uint8_t a = in.le<uint8_t>(), b = in.le<uint8_t>(), c = in.le<uint8_t>();
  if (!in.ok()) return 0;
  Machine(setup_from(a, b, c)).run(in);
  return 0;
}
