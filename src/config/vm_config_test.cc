#include "config/vm_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace us {
namespace {

constexpr std::string_view kSmall = R"(name = "web"
memory = "512M"
kernel = "vmlinuz"
[replication]
hosts = ["10.0.0.1:7400", "10.0.0.2:7400"]
[arbiter]
path = "/mnt/shared"
)";

TEST(VmConfig, FillsInEveryDefault) {
  const auto config = parse_vm_config(kSmall, "/etc/us/web.toml");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->name, "web");
  EXPECT_EQ(config->memory_bytes, 512u << 20);
  EXPECT_EQ(config->cpus, 1);
  EXPECT_EQ(config->machine, Machine::kQ35);
  EXPECT_EQ(config->kernel->path, "/etc/us/vmlinuz");
  EXPECT_EQ(config->epoch_length, Duration::millis(25));
  EXPECT_EQ(config->replication.hosts.at(1).text(), "10.0.0.2:7400");
  EXPECT_EQ(config->arbiter.primary_delay, Duration::millis(300));
  EXPECT_EQ(config->gate_bytes_max, 64u << 20);
}

}  // namespace
}  // namespace us
