// The bytes of every message, as committed in test/golden/wire/.  A difference means that the protocol has changed:
// that wants a new protocol version, or a bug fixed.  US_GOLDEN_REWRITE=1 in the environment writes the files anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/replica/wire_samples.h"

namespace us {
namespace {

std::filesystem::path golden_path(std::string_view name) {
  return std::filesystem::path(US_SOURCE_DIR) / "test/golden/wire" / (std::string(name) + ".bin");
}

Bytes read_golden(std::string_view name) {
  std::ifstream in(golden_path(name), std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

void compare_with_golden(std::string_view name, const Bytes& bytes) {
  if (std::getenv("US_GOLDEN_REWRITE") != nullptr) {
    std::ofstream out(golden_path(name), std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  EXPECT_EQ(read_golden(name), bytes) << golden_path(name);
}

TEST(WireGolden, EveryMessageIsEncodedAsCommitted) {
  for (const Message& message : wire_samples::messages())
    compare_with_golden(frame_type_name(message_type(message)),
                        encode(message, frame_type_since(message_type(message))));
}

TEST(WireGolden, TheHeartbeatIsEncodedAsCommitted) {
  const auto datagram = encode_heartbeat(wire_samples::heartbeat(), 1);
  compare_with_golden("Heartbeat", Bytes(datagram.begin(), datagram.end()));
}

}  // namespace
}  // namespace us
