#include "e2e.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "demo/host_daemon.h"

namespace us::e2e {
namespace {

constexpr uint64_t kDownloadBytes = 8 << 20;
constexpr uint64_t kSeed = 1;
// About once a second: the tests run under load, and each audit stops the guest for some tens of milliseconds.
constexpr uint64_t kAuditEvery = 40;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Where the tests do not run beside the build (test/kvm).
std::string or_default(const char* variable, const char* otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

}  // namespace

std::string program() { return or_default("US_TEST_PROGRAM", US_PROGRAM); }

bool long_run() {
  const char* wanted = std::getenv("US_E2E_LONG");
  return wanted != nullptr && *wanted != '\0';
}

void E2e::SetUp() { ASSERT_EQ(::geteuid(), 0u) << "end-to-end tests make network namespaces and must run as root"; }

void E2e::TearDown() {
  load_.reset();
  for (size_t host = 0; cluster_ && !expects_difference_ && host < demo::kHosts; ++host)
    EXPECT_THAT(log(host), testing::Not(testing::HasSubstr("copy differs"))) << "an audit found a difference";
  if (!cluster_ || !HasFailure()) return;
  cluster_->keep_files();
  for (size_t host = 0; host < demo::kHosts; ++host)
    fmt::print("end of the log of host {}:\n{}", demo::kHostNames[host], demo::log_tail(cluster_->log_file(host), 15));
  for (size_t host = 0; host < demo::kHosts; ++host)
    fmt::print("end of the guest's console on host {}:\n{}", demo::kHostNames[host],
               demo::log_tail(cluster_->serial_log(host), 15));
  fmt::print("logs and files: {}\n", cluster_->directory().string());
}

void E2e::create(demo::ClusterOptions options) {
  static int count = 0;  // of this process's tests, so that the files of one that failed stay
  options.prefix = fmt::format("us-{}-{}", ::getpid(), ++count);
  options.program = program();
  options.guest_dir = or_default("US_TEST_GUEST", US_GUEST_DIR);
  if (options.audit_every == 0) options.audit_every = kAuditEvery;
  has_disk_ = !options.disk_image.empty();
  auto made = Cluster::create(std::move(options));
  ASSERT_OK(made);
  cluster_ = std::move(*made);
}

void E2e::start_protected(demo::ClusterOptions options) {
  ASSERT_NO_FATAL_FAILURE(create(std::move(options)));
  ASSERT_NO_FATAL_FAILURE(protect());
}

void E2e::protect() {
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
}

void E2e::start_load() {
  load_ =
      std::make_unique<demo::Clients>(cluster_->lab().client(), demo::kGuestAddress, kDownloadBytes, kSeed, has_disk_);
  load_->start();
  expect_load_goes_on();
}

void E2e::expect_load_goes_on() {
  const auto before = load_->marks();
  EXPECT_TRUE(cluster_->wait_until("every client being served", patience_, [&]() -> Result<bool> {
    if (const auto why = load_->failure()) return fail(ErrorKind::kProtocol, *why);
    return load_->all_beyond(before);
  })) << load_->failure().value_or("a client is not served");
}

void E2e::expect_load_unharmed() {
  load_->finish(Duration::seconds(60));
  demo::DemoFigures figures;
  load_->report(figures);
  EXPECT_THAT(figures.failures, testing::IsEmpty());
  EXPECT_EQ(figures.connections_survived, figures.connections);
  EXPECT_GT(figures.acknowledged_writes, 0u);
  EXPECT_EQ(figures.acknowledged_writes_lost, 0u);
  EXPECT_TRUE(figures.download_sha256_ok);
  if (!has_disk_) return;
  EXPECT_GT(figures.disk->transactions, 0u);
  EXPECT_EQ(figures.disk->transactions_lost, 0u);
}

void E2e::edit_vm_file(size_t host, const std::string& from, const std::string& to) {
  std::string text = read_file(cluster_->vm_file(host));
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from << " is not in\n" << text;
  text.replace(at, from.size(), to);
  std::ofstream(cluster_->vm_file(host)) << text;
}

std::string E2e::log(size_t host) const { return read_file(cluster_->log_file(host)); }

std::string E2e::role(size_t host) {
  const auto now = cluster_->status(host);
  return now ? now->role : now.error().message;
}

// Its shell answers before its other services listen: redis, http and echo, in hex, in state LISTEN.
Status E2e::wait_services() {
  return cluster_->wait_until("the guest's services", kBoot, [&]() -> Result<bool> {
    const auto listening = cluster_->run_in_guest(
        "cat /proc/net/tcp /proc/net/tcp6 | grep -E ':(18EB|0050|0007) [0-9A-F]+:0000 0A' | sed "
        "'s/.*:\\(18EB\\|0050\\|0007\\) .*/\\1/' "
        "| sort -u | wc -l");
    return listening.has_value() && std::atoi(listening->c_str()) == 3;
  });
}

std::string E2e::boot_id() {
  const auto id = cluster_->run_in_guest("cat /proc/sys/kernel/random/boot_id");
  return id ? *id : "";
}

}  // namespace us::e2e
