// The NBD server against other people's clients: libnbd's nbdinfo and nbdcopy, QEMU's qemu-io and qemu-img.
#include "host/nbd_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/rng.h"
#include "core/nbd/fake_client.h"

namespace us {
namespace {

constexpr uint64_t kBytes = 8 << 20;

// Output (stdout and stderr) and status of a shell command.
struct Outcome {
  int status = -1;
  std::string output;
};
Outcome run(const std::string& command) {
  Outcome out;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer;
  while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) out.output.append(buffer.data(), n);
  out.status = ::pclose(pipe);
  return out;
}
bool installed(const char* program) { return run(std::string("command -v ") + program).status == 0; }

class NbdServerTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "nbd_server_test_XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir = std::filesystem::absolute(name);
    fill_image();
    start(false);
  }
  void TearDown() override {
    server.reset();
    std::filesystem::remove_all(dir);
  }
  // Data, a hole, data.
  void fill_image() {
    Rng rng(5);
    content.assign(kBytes, 0);
    for (size_t i = 0; i < 3 << 20; ++i) content[i] = static_cast<char>(rng.next());
    for (size_t i = 6 << 20; i < kBytes; ++i) content[i] = static_cast<char>(rng.next());
    std::ofstream file(image(), std::ios::binary);
    file.write(content.data(), 3 << 20);
    file.seekp(6 << 20);
    file.write(content.data() + (6 << 20), 2 << 20);
  }
  void start(bool read_only) {
    server.reset();
    auto file = BlockFile::open(image(), {.read_only = read_only});
    ASSERT_TRUE(file) << file.error().message;
    auto started = NbdServer::start(socket(), "disk", std::move(*file), read_only);
    ASSERT_TRUE(started) << started.error().message;
    server = std::move(*started);
  }
  std::string image() const { return dir + "/image"; }
  std::string socket() const { return dir + "/nbd"; }
  std::string uri() const { return "'nbd+unix:///disk?socket=" + socket() + "'"; }
  static std::string read_all(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  // One or more qemu-io commands.
  Outcome qemu_io(const std::string& commands) { return run("qemu-io -f raw " + commands + " " + uri()); }

  std::string dir, content;
  std::unique_ptr<NbdServer> server;
};

TEST_F(NbdServerTest, NbdinfoLearnsTheDiskAndItsHoles) {
  if (!installed("nbdinfo")) GTEST_SKIP() << "nbdinfo is not installed";
  const Outcome info = run("nbdinfo --json " + uri());
  EXPECT_EQ(info.status, 0) << info.output;
  for (const char* expected :
       {"\"protocol\": \"newstyle-fixed\"", "\"structured\": true", "\"export-size\": 8388608", "\"base:allocation\"",
        "\"can_flush\": true", "\"can_fua\": true", "\"can_trim\": true", "\"can_zero\": true", "\"can_df\": true",
        "\"can_multi_conn\": true", "\"can_fast_zero\": true", "\"can_cache\": false", "\"is_read_only\": false"})
    EXPECT_NE(info.output.find(expected), std::string::npos) << expected << " in " << info.output;
  const Outcome map = run("nbdinfo --map " + uri());
  EXPECT_EQ(map.status, 0) << map.output;
  EXPECT_NE(map.output.find("3145728     3145728    3  hole,zero"), std::string::npos) << map.output;
  EXPECT_EQ(run("nbdinfo --list 'nbd+unix://?socket=" + socket() + "'").status, 0);
  EXPECT_NE(run("nbdinfo 'nbd+unix:///other?socket=" + socket() + "'").status, 0) << "no such export";
}

TEST_F(NbdServerTest, NbdcopyReadsTheSameBytesOverOneConnectionOrFour) {
  if (!installed("nbdcopy")) GTEST_SKIP() << "nbdcopy is not installed";
  for (const char* how : {"--connections=1", "--connections=4 --request-size=65536", "--synchronous"}) {
    const Outcome copy = run(std::string("nbdcopy ") + how + " " + uri() + " " + dir + "/copy");
    EXPECT_EQ(copy.status, 0) << copy.output;
    EXPECT_TRUE(read_all(dir + "/copy") == content) << how;
    std::filesystem::remove(dir + "/copy");
  }
}

TEST_F(NbdServerTest, NbdcopyWritesAnImageAndHolesStayHoles) {
  if (!installed("nbdcopy")) GTEST_SKIP() << "nbdcopy is not installed";
  std::filesystem::copy(image(), dir + "/source");
  {
    std::ofstream file(dir + "/source", std::ios::binary | std::ios::in);
    file.seekp(1 << 20);
    file.write("changed", 7);
  }
  EXPECT_EQ(run("nbdcopy --flush " + dir + "/source " + uri()).status, 0);
  EXPECT_TRUE(read_all(image()) == read_all(dir + "/source"));
  struct stat st {};
  ASSERT_EQ(::stat(image().c_str(), &st), 0);
  EXPECT_LE(st.st_blocks * 512, (5 << 20) + (64 << 10));
}

TEST_F(NbdServerTest, QemuIoWritesZeroesTrimsAndFlushes) {
  if (!installed("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  const Outcome io = qemu_io(
      "-c 'write -P 0xab 1M 64k' -c 'write -f -P 0xcd 2M 4k' -c 'write -z 0 64k' -c 'write -z -u 64k 64k' "
      "-c 'discard 128k 64k' -c flush -c 'read -P 0xab 1M 64k' -c 'read -P 0 0 128k' -c 'read -P 0 128k 64k' "
      "-c 'read -P 0xcd 2M 4k'");
  EXPECT_EQ(io.status, 0) << io.output;
  EXPECT_EQ(io.output.find("ailed"), std::string::npos) << io.output;
  const std::string now = read_all(image());
  EXPECT_EQ(now.substr(1 << 20, 64 << 10), std::string(64 << 10, '\xab'));
  EXPECT_EQ(now.substr(0, 192 << 10), std::string(192 << 10, '\0'));
  EXPECT_TRUE(now.substr(3 << 20) == content.substr(3 << 20)) << "the rest is untouched";
}

TEST_F(NbdServerTest, QemuMapsTheHoles) {
  if (!installed("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  const Outcome map = run("qemu-img map --output=json " + uri());
  EXPECT_EQ(map.status, 0) << map.output;
  const size_t at = map.output.find("\"start\": 3145728, \"length\": 3145728");
  ASSERT_NE(at, std::string::npos) << map.output;
  EXPECT_NE(map.output.substr(at, 120).find("\"zero\": true, \"data\": false"), std::string::npos) << map.output;
}

TEST_F(NbdServerTest, AnErrorOfTheImageReachesTheClient) {
  if (!installed("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  std::filesystem::resize_file(image(), 1 << 20);
  const Outcome io = qemu_io("-c 'read 0 64k' -c 'read 4M 64k'");
  EXPECT_NE(io.output.find("read 65536/65536 bytes at offset 0"), std::string::npos) << io.output;
  EXPECT_NE(io.output.find("read failed: Input/output error"), std::string::npos) << io.output;
}

TEST_F(NbdServerTest, AReadOnlyDiskIsReadOnlyToQemu) {
  if (!installed("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  start(true);
  EXPECT_NE(qemu_io("-c 'write 0 4k'").status, 0);
  EXPECT_EQ(run("qemu-io -r -f raw -c 'read 0 4k' " + uri()).status, 0);
  EXPECT_TRUE(read_all(image()) == content);
}

TEST_F(NbdServerTest, GarbageEndsOneConnectionAndLosesNothing) {
  for (int round = 0; round < 20; ++round) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket().copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    Rng rng(static_cast<uint64_t>(round));
    Bytes bytes = nbd_client::flags();
    if (round % 2 == 0) nbd_client::append(bytes, nbd_client::go("disk"));
    for (int i = 0; i < 2000; ++i) bytes.push_back(static_cast<uint8_t>(rng.next()));
    (void)::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    std::array<char, 4096> buffer;
    while (::recv(fd, buffer.data(), buffer.size(), 0) > 0) {
    }
    ::close(fd);  // the server has hung up
  }
  EXPECT_TRUE(read_all(image()) == content);
}

}  // namespace
}  // namespace us
