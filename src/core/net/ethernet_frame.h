// EthernetFrame: one Ethernet frame in a buffer of our own, behind the virtio-net header that says what is still to
// be done to it (checksum, segmentation).  Move-only.
//
// The 12 header bytes and the frame are contiguous, which is what a tap with IFF_VNET_HDR reads and writes, so
// a frame crosses the process without being taken apart.  Header layout: virtio 1.2, section 5.1.6.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "base/bytes.h"
#include "base/check.h"
#include "core/net/vnet_header.h"

namespace us {

static_assert(sizeof(VnetHeader) == 12);

inline constexpr size_t kVnetHeaderBytes = sizeof(VnetHeader);
// The largest frame that segmentation offload makes: an IP packet of 65,535 bytes, Ethernet and two VLAN tags.
inline constexpr size_t kMaxEthernetBytes = 65'535 + 14 + 8;
inline constexpr size_t kMinEthernetBytes = 14;

class EthernetFrame {
 public:
  EthernetFrame() = default;
  // The contents are not initialised.
  explicit EthernetFrame(size_t ethernet_bytes)
      : data_(std::make_unique_for_overwrite<uint8_t[]>(kVnetHeaderBytes + ethernet_bytes)),
        capacity_(ethernet_bytes),
        size_(ethernet_bytes) {}
  explicit EthernetFrame(ByteSpan ethernet) : EthernetFrame(ethernet.size()) {
    set_header({});
    std::memcpy(data_.get() + kVnetHeaderBytes, ethernet.data(), ethernet.size());
  }

  VnetHeader header() const {
    VnetHeader h;
    std::memcpy(&h, data_.get(), sizeof h);
    return h;
  }
  void set_header(const VnetHeader& h) { std::memcpy(data_.get(), &h, sizeof h); }

  std::span<uint8_t> ethernet() { return {data_.get() + kVnetHeaderBytes, size_}; }
  ByteSpan ethernet() const { return {data_.get() + kVnetHeaderBytes, size_}; }
  // Header and frame, as a tap wants them.
  std::span<uint8_t> with_header() { return {data_.get(), kVnetHeaderBytes + size_}; }
  ByteSpan with_header() const { return {data_.get(), kVnetHeaderBytes + size_}; }

  size_t size() const { return size_; }
  // Shrinks, or grows up to what it was made for.
  void resize(size_t ethernet_bytes) {
    US_CHECK(ethernet_bytes <= capacity_);
    size_ = ethernet_bytes;
  }
  size_t capacity() const { return capacity_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  std::unique_ptr<uint8_t[]> data_;
  size_t capacity_ = 0;
  size_t size_ = 0;
};

}  // namespace us
