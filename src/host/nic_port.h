// NicPort: one NIC of the guest, from QEMU's vhost-user socket to the tap.
//
//     guest rings ── NetBackend ──► from_guest ──► OutputGate ──► tap ──► bridge
//          ▲                                                       │
//          └──────────── to the receive ring ◄── from_uplink ◄─────┘
//
// from_guest and from_uplink are the two places where a frame is in our hands, owned; there the relays (relay_hub.h)
// take what belongs to their connections, and what they make of it goes out beside the gate's frames.
//
// All of it runs on the loop thread of DataPath, except what is marked "any thread": those take a short lock.
// Nothing blocks.  Back-pressure, never loss: with the gate full frames stay in the guest's ring, with the guest's
// ring empty or stopped they stay in the tap's queue.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "core/epoch/output_gate.h"
#include "core/net/address_learner.h"
#include "core/net/frame_pool.h"
#include "core/virtio/net_backend.h"
#include "host/relay_hub.h"
#include "os/epoll.h"
#include "os/event_fd.h"
#include "os/fd_socket.h"
#include "os/tap.h"

namespace us {

struct DataPathNic {
  std::string vhost_socket_path;  // made here, QEMU connects
  std::string tap_name;           // at most 15 characters
  std::string bridge;             // empty: the tap is left for the administrator to connect
  MacAddress mac{};
  uint64_t gate_bytes_max = GateLimits{}.bytes_max;  // of held output; beyond it frames wait in the guest's ring
};

// The guest's RAM file, mapped whole, and how to recognise a descriptor of it.
struct DataPathRam {
  uint8_t* base;
  uint64_t size;
  dev_t device;
  ino_t inode;
};

struct NicCounters {
  uint64_t from_guest_packets = 0, from_guest_bytes = 0;
  uint64_t to_guest_packets = 0, to_guest_bytes = 0;
  uint64_t to_guest_unfit = 0;   // dropped: the guest could never take it (too long, offload not negotiated)
  uint64_t uplink_refused = 0;   // dropped: the kernel would not take it from us (an absurd header of the guest)
  uint64_t stale_discarded = 0;  // dropped: had waited in the tap since before a takeover
  uint64_t gate_full = 0;        // times the guest was held back because the gate was full
  uint64_t out_of_buffers = 0;   // times the uplink was held back because the guest had no buffers
  uint64_t kicks = 0, interrupts = 0;
  // Found by a second look (nic_port_interrupts.cc): work without a kick, and interrupts that should not have been left
  // out.
  uint64_t missed_kicks = 0, missed_interrupts = 0;
  uint64_t ring_starts = 0;
  uint64_t connections = 0;
  uint64_t connection_errors = 0;  // closed because front end and back end did not understand each other
  uint64_t ring_faults = 0;        // rings stopped because the guest's driver broke the rules
  RingFault last_ring_fault = RingFault::kNone;

  NicCounters& operator+=(const NicCounters& other);
};

struct NicStatus {
  std::string name;  // of the tap
  NicCounters nic;
  GateCounters gate;
  Histogram gate_wait;
  std::string last_connection_error;
};

class NicPort {
 public:
  // `running_rings` counts the started rings of all NICs.  Everything passed by reference outlives this.
  static Result<std::unique_ptr<NicPort>> create(DataPathNic config, const DataPathRam& ram, DirtySet& own_writes,
                                                 const Epoll& epoll, uint32_t index,
                                                 std::atomic<uint32_t>& running_rings, RelayHub& relays);
  ~NicPort();
  NicPort(const NicPort&) = delete;
  NicPort& operator=(const NicPort&) = delete;

  const DataPathNic& config() const { return config_; }

  // --- loop thread ---
  // An event for a tag made by this port; tags have `index` in their upper half.
  void on_event(uint64_t tag, uint32_t events);
  // Moves frames, up to a budget.  True if there is more to do at once.
  bool service();
  // When service() is to be called again even if no event comes.
  std::optional<Instant> next_deadline() const;
  // Throws away what waits in the tap, if the guest has not run here yet.
  void discard_stale();
  // False: not while the gate is closed.
  bool send_announcement();

  // --- any thread ---
  void set_epoch(Epoch epoch);
  void commit(Epoch epoch);
  void set_mode(GateMode mode);
  void release_until(Instant end);
  void drop_gated();
  NicStatus status() const;
  // When the first frame left that is no announcement; 0: none has.
  int64_t first_frame_ns() const { return first_frame_ns_; }
  Bytes snapshot_addresses() const;
  Status restore_addresses(ByteSpan snapshot);

 private:
  enum class Source : uint32_t { kListener, kConnection, kTap, kReceiveKick, kTransmitKick };
  struct Budget {
    int frames;
    int64_t bytes;
    bool spent() const { return frames <= 0 || bytes <= 0; }
    void take(size_t n) {
      --frames;
      bytes -= static_cast<int64_t>(n);
    }
  };

  NicPort(DataPathNic config, Tap tap, UniqueFd listener, const DataPathRam& ram, DirtySet& own_writes,
          const Epoll& epoll, uint32_t index, std::atomic<uint32_t>& running_rings, RelayHub& relays);
  uint64_t tag(Source source) const { return uint64_t{index_} << 32 | static_cast<uint64_t>(source); }

  // nic_port_control.cc: the vhost-user connection
  void on_accept();
  void on_readable();
  FdSocketOutcome read_some();
  Status on_message();
  Status apply(const VhostUserMessage& message, const NetBackend::Answer& answer);
  void apply_offloads();
  void on_ring_started(uint32_t ring);
  void set_kick(uint32_t ring, UniqueFd fd);
  void set_call(uint32_t ring, UniqueFd fd);
  void disconnect(const std::string& reason);
  Result<std::vector<FileIdentity>> identify_files() const;
  void publish_running();

  // nic_port.cc: frames
  void on_tap_event(uint32_t events);
  void arm_tap();
  void pump_guest(Budget& budget);
  bool from_guest(EthernetFrame frame);  // true: the gate is full now
  bool pump_gate(Budget& budget);
  bool pump_relay_to_uplink(Budget& budget);
  bool pump_relay_to_guest(Budget& budget);
  bool gate_open(Instant now) const;
  void write_uplink(EthernetFrame frame);
  bool pump_uplink(Budget& budget);
  bool from_uplink();
  bool to_guest(SplitRing& ring, EthernetFrame& frame, bool& waiting);
  void check_fault(uint32_t ring);
  bool gate_full() const;

  // nic_port_interrupts.cc
  void plan_interrupt(uint32_t ring);
  void settle_interrupt(uint32_t ring);
  void settle_due_interrupts();
  void interrupt(uint32_t ring);
  void plan_second_look(uint32_t ring);
  bool take_second_looks();
  bool look_again(uint32_t ring);

  DataPathNic config_;
  Tap tap_;
  UniqueFd listener_;
  const Epoll& epoll_;
  uint32_t index_;
  std::atomic<uint32_t>& running_rings_;
  RelayHub& relays_;
  uint32_t published_running_ = 0;
  FileIdentity ram_identity_;

  // The connection and the message being read from it.
  UniqueFd connection_;
  std::array<uint8_t, kVhostUserHeaderBytes> header_bytes_{};
  size_t header_have_ = 0;
  std::optional<VhostUserHeader> header_;
  Bytes payload_;
  size_t payload_have_ = 0;
  std::vector<UniqueFd> fds_;

  NetBackend backend_;
  struct RingFds {
    UniqueFd kick;
    std::optional<EventFd> call;
    std::optional<EventFd> error;
    bool fault_reported = false;
  };
  std::array<RingFds, NetBackend::kRings> ring_fds_;
  TapOffloads offloads_;
  bool guest_ran_ = false;  // the receive ring was started on this connection

  FramePool pool_;  // keeps as much as the gate can hold
  NetTransmitter transmitter_;
  NetReceiver receiver_;
  bool transmit_ready_ = false;  // the transmit ring may have frames
  bool receive_ready_ = false;   // the receive ring may have buffers
  // By ring: when the guest is to be interrupted, if it then still wants to be; and when it last was.
  std::array<std::optional<Instant>, NetBackend::kRings> interrupt_due_;
  std::array<Instant, NetBackend::kRings> interrupted_{};
  struct SecondLook {
    std::optional<Instant> due;
    Instant decided;        // when we last began to wait for a kick, or left an interrupt out
    bool left_out = false;  // an interrupt, and none was sent since
  };
  std::array<SecondLook, NetBackend::kRings> second_looks_{};
  bool tap_readable_ = false;
  bool tap_writable_ = true;
  bool tap_armed_ = true;
  EthernetFrame uplink_frame_;   // buffer for one frame from the tap
  bool uplink_waiting_ = false;  // it holds a frame not yet delivered
  bool uplink_judged_ = false;   // and no relay wants it
  EthernetFrame relay_frame_;    // the same for a frame that a relay has made
  bool relay_waiting_ = false;
  std::optional<EthernetFrame> stalled_;  // released, but the tap would not take it yet
  NicCounters counters_;
  std::atomic<int64_t> first_frame_ns_{0};

  mutable std::mutex mutex_;  // guards what follows
  Epoch epoch_{};
  OutputGate gate_;
  bool drop_stalled_ = false;  // by drop_gated(): stalled_ had left the gate, but not the host
  AddressLearner learner_;
  NicCounters published_;
  std::string last_connection_error_;
};

}  // namespace us
