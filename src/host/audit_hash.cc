#include "host/audit_hash.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "os/thread.h"

namespace us {
namespace {

// More threads than this only wait for the same memory.
constexpr unsigned kThreadsMax = 8;
// Below this a thread costs more than it saves.
constexpr uint64_t kPagesPerThreadMin = 8192;

}  // namespace

std::unique_ptr<RamHashes> hash_ram(const GuestRam& ram) {
  auto hashes = std::make_unique<RamHashes>(ram.page_count());
  const uint64_t useful = std::max<uint64_t>(1, ram.page_count() / kPagesPerThreadMin);
  const uint64_t threads = std::min<uint64_t>(useful, std::clamp(std::thread::hardware_concurrency(), 1u, kThreadsMax));
  const auto part = [&](uint64_t i) { return ram.page_count() * i / threads; };
  std::vector<std::thread> helpers;
  for (uint64_t i = 1; i < threads; ++i)
    helpers.emplace_back([&, i] {
      name_this_thread("us-audit");
      hashes->hash(ram.base(), part(i), part(i + 1) - part(i));
    });
  hashes->hash(ram.base(), 0, part(1));
  for (std::thread& helper : helpers) helper.join();
  return hashes;
}

}  // namespace us
