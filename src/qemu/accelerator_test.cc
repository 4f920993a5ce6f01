#include "qemu/accelerator.h"

#include <gtest/gtest.h>

namespace us {
namespace {

TEST(AcceleratorProbe, ImageIs64KibWithAJumpToItsStartAtTheResetVector) {
  const std::string image = probe_guest_image();
  ASSERT_EQ(image.size(), 0x10000u);
  EXPECT_EQ(image[0], '\xfa');  // cli
  // 0xfff3 + 0x000d wraps to 0 in a 16-bit segment.
  EXPECT_EQ(image.substr(0xfff0, 3), std::string("\xe9\x0d\x00", 3));
}

}  // namespace
}  // namespace us
