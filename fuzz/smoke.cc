// Stands in for libFuzzer in the normal build, so that every test run gives each fuzz target some thousand inputs: its
// seeds, random bytes, and seeds that were cut, doubled and flipped.  It looks for no new paths; `./do fuzz` does.
//
//     NAME_fuzz_smoke [SEEDS: FILE OR DIRECTORY]
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/bytes.h"
#include "base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;
using us::Bytes;

constexpr int kInputs = 5000;
constexpr size_t kBytesMax = 4096;
constexpr auto kTimeMax = std::chrono::seconds(2);

std::vector<Bytes> read_seeds(const char* path) {
  std::vector<Bytes> seeds;
  const auto add = [&](const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  };
  if (!fs::is_directory(path)) {
    add(path);
    return seeds;
  }
  for (const auto& entry : fs::directory_iterator(path)) add(entry.path());
  return seeds;
}

Bytes random_bytes(us::Rng& rng) {
  Bytes out(rng.below(kBytesMax >> rng.below(10)));
  for (uint8_t& byte : out) byte = static_cast<uint8_t>(rng.next());
  return out;
}

void mutate(Bytes& bytes, us::Rng& rng) {
  for (uint64_t n = rng.below(8); n > 0 && !bytes.empty(); --n) {
    const size_t at = rng.below(bytes.size());
    const size_t length = rng.below(std::min<size_t>(bytes.size() - at, 64)) + 1;
    const auto from = bytes.begin() + static_cast<ptrdiff_t>(at);
    switch (rng.below(4)) {
      case 0:
        bytes[at] = static_cast<uint8_t>(bytes[at] ^ (1u << rng.below(8)));
        break;
      case 1:
        bytes[at] = static_cast<uint8_t>(rng.next());
        break;
      case 2:
        bytes.erase(from, from + static_cast<ptrdiff_t>(length));
        break;
      default: {
        const Bytes piece(from, from + static_cast<ptrdiff_t>(length));
        bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(rng.below(bytes.size() + 1)), piece.begin(), piece.end());
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Bytes> seeds;
  if (argc > 1) seeds = read_seeds(argv[1]);
  for (const Bytes& seed : seeds) LLVMFuzzerTestOneInput(seed.data(), seed.size());
  LLVMFuzzerTestOneInput(nullptr, 0);
  us::Rng rng(1);
  const auto end = std::chrono::steady_clock::now() + kTimeMax;
  int inputs = 0;
  for (; inputs < kInputs && std::chrono::steady_clock::now() < end; ++inputs) {
    Bytes bytes = seeds.empty() || rng.chance(0.2) ? random_bytes(rng) : seeds[rng.below(seeds.size())];
    mutate(bytes, rng);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%zu seeds, %d other inputs, no fault\n", seeds.size(), inputs);
}
