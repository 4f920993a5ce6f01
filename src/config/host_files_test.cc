#include "config/host_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace us {
namespace {

namespace fs = std::filesystem;

class HostFiles : public testing::Test {
 protected:
  HostFiles() {
    std::string name = (fs::temp_directory_path() / "understudy-test-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    fs::create_directories(root_ / "sys/class/net/br0/bridge");
    fs::create_directories(root_ / "sys/class/net/eth0");
    fs::create_directory(root_ / "shared");
    std::ofstream(root_ / "kernel") << "k";
    std::ofstream(root_ / "qemu") << "#!/bin/sh\n";
    fs::permissions(root_ / "qemu", fs::perms::owner_all);
    config_.file_name = "web.toml";
    config_.kernel = path("kernel");
    config_.qemu_binary = path("qemu").path;
    config_.arbiter.directory = path("shared");
    NicConfig nic;
    nic.bridge = "br0";
    config_.nics.push_back(nic);
  }
  ~HostFiles() override { fs::remove_all(root_); }

  HostPath path(const std::string& name) const { return {name, (root_ / name).string()}; }
  std::string faults() const {
    const Status status = check_host_files(config_, (root_ / "sys").string());
    return status ? "" : status.error().message;
  }

  fs::path root_;
  VmConfig config_;
};

TEST_F(HostFiles, AcceptsAHostThatHasEverything) { EXPECT_EQ(faults(), ""); }

TEST_F(HostFiles, NamesEveryMissingThingAndWhatToDo) {
  config_.kernel = path("nope");
  config_.initrd = path("shared");
  config_.disks.push_back({path("no.img"), "raw"});
  config_.qemu_binary = "/no/qemu";
  config_.nics.at(0).bridge = "br7";
  config_.arbiter.directory = path("kernel");
  config_.serial_log = path("no/serial.log");
  const std::string root = root_.string();
  EXPECT_EQ(faults(),
            fmt::format("web.toml: kernel: {0}/nope cannot be read: No such file or directory\n"
                        "web.toml: initrd: {0}/shared is a directory, not a file\n"
                        "web.toml: disk[0].file: {0}/no.img cannot be read: No such file or directory\n"
                        "web.toml: qemu_binary: there is no program /no/qemu; install the Debian package "
                        "qemu-system-x86\n"
                        "web.toml: nic[0].bridge: there is no bridge br7 on this host; make it with: ip link add br7 "
                        "type bridge && ip link set br7 up\n"
                        "web.toml: arbiter.path: {0}/kernel is not a directory; mount the one that the hosts share\n"
                        "web.toml: serial_log: {0}/no is not a directory",
                        root));
}

TEST_F(HostFiles, TellsAnInterfaceFromABridge) {
  config_.nics.at(0).bridge = "eth0";
  EXPECT_EQ(faults(), "web.toml: nic[0].bridge: eth0 is a network interface but not a bridge");
}

TEST_F(HostFiles, FindsProgramsAsTheShellWould) {
  EXPECT_EQ(find_program(path("qemu").path), path("qemu").path);
  EXPECT_EQ(find_program(path("kernel").path), "");
  EXPECT_THAT(find_program("sh"), testing::EndsWith("/sh"));
  EXPECT_EQ(find_program("no-such-program-here"), "");
}

}  // namespace
}  // namespace us
