// Audits: equal copies are found equal under load, and a page that was lost is found and named.
#include <nlohmann/json.hpp>

#include "demo/command.h"
#include "e2e.h"

namespace us::e2e {
namespace {

using Json = nlohmann::json;

class Audit : public E2e {
 protected:
  // What `understudy audit --json` says, and its exit status.
  std::pair<int, Json> audit(size_t host) {
    const auto ran = demo::run_command(
        cluster_->lab().host(host).wrap({program(), "audit", demo::kVmName, "--json", "--runtime-dir",
                                         (cluster_->vm_file(host).parent_path() / "runtime").string()}),
        Duration::seconds(60));
    if (!ran) return {-1, ran.error().message};
    return {ran->exit_status, Json::parse(ran->output, nullptr, false)};
  }
};

TEST_F(Audit, FindsBothCopiesEqualUnderLoadBeforeAndAfterATakeover) {
  demo::ClusterOptions options;
  options.cpus = 2;
  ASSERT_NO_FATAL_FAILURE(start_protected(options));
  start_load();
  for (int i = 0; i < 5; ++i) {
    const auto [status, result] = audit(0);
    EXPECT_EQ(status, 0) << result;
    EXPECT_EQ(result.value("pages", 0), 512 * 256);
    RecordProperty("pause_ms", std::to_string(result.value("pause_ms", 0.0)));
    expect_load_goes_on();
  }
  ASSERT_OK(cluster_->wait_until("audits of their own accord", kSoon, [this]() -> Result<bool> {
    US_ASSIGN(const DaemonStatus now, cluster_->status(0));
    return now.audits >= 7;
  }));
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  ASSERT_OK(cluster_->power_on(0));
  ASSERT_OK(cluster_->start_standby(0));
  ASSERT_OK(cluster_->wait_protected(1, kSync));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(audit(1).first, 0);
  expect_load_goes_on();
  expect_load_unharmed();
}

TEST_F(Audit, NamesAPageThatTheEngineMissedAndProtectionBeginsAnew) {
  demo::ClusterOptions options;
  options.audit_every = 1'000'000'000;  // only the one that is asked for
  ASSERT_NO_FATAL_FAILURE(create(options));
  expects_difference_ = true;
  ASSERT_OK(cluster_->start_primary(0, {"--inject", "drop-dirty-page=20"}));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  start_load();
  ASSERT_OK(cluster_->wait_until("the fault", kSoon, [this]() -> Result<bool> {
    return log(0).find("injected fault: page ") != std::string::npos;
  }));
  const std::string text = log(0);
  const uint64_t page = std::stoull(text.substr(text.find("injected fault: page ") + 21));

  // The guest may write the page and leave it as it was; not for long.
  Json result;
  ASSERT_OK(cluster_->wait_until("an audit finding the page", kSoon, [&]() -> Result<bool> {
    auto [status, answer] = audit(0);
    result = std::move(answer);
    return status == 1;
  }));
  EXPECT_EQ(result.value("differences", 0), 1);
  ASSERT_EQ(result["differing"].size(), 1u);
  const Json& found = result["differing"][0];
  EXPECT_EQ(found.value("block", ""), "mem");
  EXPECT_EQ(found.value("page", uint64_t{0}), page);
  EXPECT_EQ(found.value("last_writer", ""), "guest");
  EXPECT_TRUE(found["guest_physical"].is_string());
  EXPECT_THAT(log(0), testing::HasSubstr("the standby's copy differs: block mem, page " + std::to_string(page)));

  // The wrong copy is dropped, and a new one made; nobody notices.
  ASSERT_OK(cluster_->wait_until("the standby dropping its copy", kSoon, [this]() -> Result<bool> {
    return log(0).find("the standby has dropped its wrong copy") != std::string::npos;
  }));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  const auto now = cluster_->status(0);
  ASSERT_OK(now);
  EXPECT_EQ(now->generation, 1u) << "no arbiter was needed";
  EXPECT_EQ(audit(0).first, 0);
  expect_load_goes_on();
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  expect_load_goes_on();
  expect_load_unharmed();
}

TEST_F(Audit, NeedsAProtectedVm) {
  ASSERT_NO_FATAL_FAILURE(create());
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(cluster_->wait_guest(kBoot));
  EXPECT_EQ(audit(0).first, 2);
}

}  // namespace
}  // namespace us::e2e
