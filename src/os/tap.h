// Tap: the guest's uplink, a Linux tap device, usually the port of a bridge (Documentation/networking/tuntap.rst).
//
// Frames travel with a 12-byte virtio-net header, so that checksum and segmentation offload reach from the guest to
// the host's network stack and back.  The device disappears with this object.  Needs CAP_NET_ADMIN.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "os/unique_fd.h"

namespace us {

struct TapOffloads {
  bool checksum = false;
  bool tso4 = false;
  bool tso6 = false;
  bool tso_ecn = false;
  bool operator==(const TapOffloads&) const = default;
};

class Tap {
 public:
  // Creates `name` (at most 15 characters), gives it the bridge's MTU, makes it a port of `bridge` (if that is not
  // empty), brings it up.
  // Errors say whether tap support, permission, the name or the bridge is the trouble.
  static Result<Tap> create(const std::string& name, const std::string& bridge);

  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }

  // What the receiver (the guest) can do; the kernel does the rest before it hands a frame over.
  Status set_offloads(TapOffloads offloads);

  enum class Outcome : uint8_t {
    kDone,
    kWouldBlock,
    kRefused,  // this frame (the guest can write an absurd header); the next may be fine
  };
  // Header and frame into `into`; `bytes` is what was read.
  Outcome read(std::span<uint8_t> into, size_t& bytes) const;
  Outcome write(ByteSpan header_and_frame) const;

 private:
  Tap(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  UniqueFd fd_;
  std::string name_;
};

}  // namespace us
