// Guest: a very small deterministic machine.
//
// All that it knows is in its RAM and, in part again, in its device state, so that a guest restored from bytes is the
// guest that was captured or visibly is not.  Each thing that happens to it takes it to a new state with a number one
// higher and a history (a hash over all that ever happened); both are written into each packet that it sends, so that
// a packet says exactly which state spoke.
//
// It serves clients that count: request r of a client, if it is the next one, raises the client's counter and is
// answered with the counter; if it is the last one again, it is answered with the same.
//
// It writes to its disk, a few writes at a time, and remembers in its RAM what each block must hold (its tag); a write
// counts when it is done.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/strong.h"
#include "core/memory/page_codec.h"
#include "core/net/ethernet_frame.h"
#include "sim/guest_disk.h"

namespace us::sim {

inline constexpr uint64_t kGuestPages = 40;
inline constexpr uint32_t kClients = 2;
inline constexpr uint32_t kNoClient = kClients;  // spontaneous output

struct GuestOutput {
  uint64_t number = 0;
  uint64_t history = 0;
  uint32_t client = kNoClient;
  uint64_t request = 0;
  uint64_t value = 0;
};
EthernetFrame to_frame(const GuestOutput& output);
GuestOutput from_frame(const EthernetFrame& frame);

class Guest {
 public:
  Guest();  // boots
  // Refuses state that no guest can have been in.
  static Result<std::unique_ptr<Guest>> restore(Bytes ram, ByteSpan device_state);

  void run() { running_ = true; }
  void stop() { running_ = false; }
  bool running() const { return running_; }

  // Only while it runs.
  std::optional<GuestOutput> on_request(uint32_t client, uint64_t request);
  GuestOutput on_timer();
  // A write that it begins now, if any.
  std::optional<GuestWrite> begin_write();
  void on_write_done(const GuestWrite& write, bool written);
  // What block `block` must hold; kUnknownTag: anything.
  uint64_t tag(uint64_t block) const { return get(kTagsAt + 8 * block); }

  // Pages written since the last call.
  std::set<PageIndex> take_dirty() { return std::exchange(dirty_, {}); }
  PageSpan page(PageIndex page) const { return PageSpan(ram_.data() + page.value() * kPageSize, kPageSize); }
  const Bytes& ram() const { return ram_; }
  Bytes device_state() const;

  uint64_t number() const { return get(kNumberAt); }
  uint64_t history() const { return get(kHistoryAt); }

 private:
  static constexpr size_t kNumberAt = 0;
  static constexpr size_t kHistoryAt = 8;
  static constexpr size_t kClientsAt = 2 * kPageSize - 8;  // a table across two pages
  static constexpr size_t kTagsAt = 3 * kPageSize;
  static_assert(kBlocks * 8 <= kPageSize);
  uint64_t get(size_t at) const { return load_le<uint64_t>(ram_.data() + at); }
  void put(size_t at, uint64_t value);
  void advance(uint64_t cause);
  void scribble();

  Bytes ram_;
  std::set<PageIndex> dirty_;
  bool running_ = false;
  std::vector<GuestWrite> writing_;  // of its devices; none when it stands
};

}  // namespace us::sim
