// The split ring walker, transmit and receive, against a driver that writes anything anywhere in its memory.
//
// The input is a program for the driver: options, then operations.  Oracles: the sanitizer (nothing outside RAM is
// touched), an end (no loop the guest could keep us in), and that every byte we change lies in a page marked as
// written. Start from an empty corpus; coverage of the walker is complete after some seconds.
#include <cstdlib>

#include "core/virtio/fake_driver.h"
#include "core/virtio/net_ring.h"

namespace {

using namespace us;

constexpr uint16_t kSize = 8;
constexpr uint64_t kRamBytes = 256 << 10;

struct Machine {
  explicit Machine(uint8_t options)
      : direction((options & 1) != 0 ? RingDirection::kToDriver : RingDirection::kFromDriver),
        ring_options{(options & 2) != 0, (options & 4) != 0},
        format{static_cast<uint8_t>((options & 8) != 0 ? 12 : 10), (options & 8) != 0, true, true, true},
        ring(direction, ram.memory) {
    US_CHECK(ring.start(driver.setup(), ring_options).has_value());
  }

  void device_turn(size_t frame_bytes) {
    WriteAudit audit(ram);
    if (direction == RingDirection::kFromDriver) {
      while (auto frame = transmitter.take(ring, format, pool)) pool.give_back(std::move(*frame));
    } else {
      EthernetFrame frame(frame_bytes);
      frame.set_header({});
      std::memset(frame.ethernet().data(), 0x5a, frame_bytes);
      while (receiver.deliver(ring, format, frame, ram.memory) == NetReceiver::Outcome::kDelivered) {
      }
    }
    ring.publish();
    ring.enable_kick();
    ring.disable_kick();
    US_CHECK(!audit.unmarked().has_value());
  }

  void restart() {
    const uint16_t base = ring.stop();
    driver.set_avail_index(base);
    US_CHECK(ring.start(driver.setup(base), ring_options).has_value());
  }

  FakeRam ram{kRamBytes};
  FakeDriver driver{ram, 0, kSize, kRamBytes - FakeDriver::kRingBytes};
  RingDirection direction;
  SplitRing::Options ring_options;
  NetRingFormat format;
  SplitRing ring;
  FramePool pool{1 << 20};
  NetTransmitter transmitter;
  NetReceiver receiver;
};

void run(Machine& m, ByteReader& in) {
  for (int steps = 0; in.remaining() > 0 && steps < 200; ++steps) {
    switch (in.le<uint8_t>() % 6) {
      case 0: {  // a descriptor in the ring's table or in what indirect descriptors point at
        const uint64_t table = in.le<uint8_t>() % 2 == 0 ? 0 : 0x10000;
        const uint8_t index = in.le<uint8_t>() % kSize;
        const uint64_t at = FakeDriver::guest(uint64_t{in.le<uint16_t>()} * 4);
        const uint32_t bytes = in.le<uint16_t>();
        m.driver.set_descriptor(table, index, at, bytes, in.le<uint8_t>() & 7, in.le<uint8_t>() % (kSize + 1));
        break;
      }
      case 1:
        m.driver.offer(in.le<uint8_t>() % (kSize + 1));
        break;
      case 2: {  // anything anywhere
        const uint64_t at = in.le<uint32_t>() % (kRamBytes - 8);
        store_le(m.ram.at(at), in.le<uint64_t>());
        break;
      }
      case 3:
        m.driver.set_avail_index(in.le<uint16_t>());
        break;
      case 4:
        m.device_turn(kMinEthernetBytes + in.le<uint16_t>() % (kMaxEthernetBytes - kMinEthernetBytes));
        break;
      case 5:
        m.restart();
        break;
    }
  }
  m.device_turn(1500);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  us::ByteReader in({data, size});
  Machine machine(in.le<uint8_t>());
  run(machine, in);
  return 0;
}
