// A database on a replicated disk, through the deaths of its hosts: Debian with PostgreSQL, the ledger from outside,
// and pgbench inside the guest.
#include "base/rng.h"
#include "demo/disk_check.h"
#include "e2e.h"
#include "os/clock.h"

namespace us::e2e {
namespace {

constexpr Duration kShutdown = Duration::seconds(60);
constexpr int64_t kMomentMinMs = 500;
constexpr int64_t kMomentMaxMs = 3000;

class Database : public E2e {
 protected:
  void start() {
    demo::ClusterOptions options;
    options.disk_image = US_DISK_IMAGE;
    ASSERT_NO_FATAL_FAILURE(start_protected(std::move(options)));
    // First, for the clients leave it little of the guest's one processor.
    ASSERT_NO_FATAL_FAILURE(start_pgbench());
    start_load();
  }

  // For as long as the guest runs, unless it is stopped.
  void start_pgbench() {
    ASSERT_OK(cluster_->run_in_guest(
        "pgbench --username=postgres --host=/run/postgresql --no-vacuum --client=4 --time=100000 --progress=1 bench "
        "</dev/null >/run/pgbench.log 2>&1 &"));
    ASSERT_OK(cluster_->wait_until("pgbench's first transaction", kSoon, [this]() -> Result<bool> {
      US_ASSIGN(const std::string any, ask_pgbench("SELECT EXISTS (SELECT FROM pgbench_history)"));
      return any == "t\n";
    }));
  }

  void stop_pgbench() {
    ASSERT_OK(cluster_->run_in_guest("killall pgbench; while pidof pgbench >/dev/null; do usleep 100000; done"));
    const auto said = cluster_->run_in_guest("grep -v '^progress:' /run/pgbench.log");
    ASSERT_OK(said);
    EXPECT_THAT(*said, testing::Not(testing::HasSubstr("aborted")));
    EXPECT_THAT(*said, testing::Not(testing::HasSubstr("ERROR")));
  }

  Result<std::string> ask_pgbench(const std::string& query) {
    return cluster_->run_in_guest(
        "psql --username=postgres --host=/run/postgresql --tuples-only --no-align bench --command='" + query +
        "' 2>&1");
  }

  // Each of pgbench's transactions adds one number to an account, a teller and a branch, and enters it in the history.
  void expect_pgbench_adds_up() {
    const auto sums = ask_pgbench(
        "SELECT count(*) > 0, sum(delta) = (SELECT sum(abalance) FROM pgbench_accounts),"
        " sum(delta) = (SELECT sum(tbalance) FROM pgbench_tellers),"
        " sum(delta) = (SELECT sum(bbalance) FROM pgbench_branches) FROM pgbench_history");
    ASSERT_OK(sums);
    EXPECT_EQ(*sums, "t|t|t|t\n");
  }

  void kill_primary_and_bring_it_back() {
    ASSERT_OK(cluster_->power_off(primary_));
    const size_t old = std::exchange(primary_, 1 - primary_);
    ASSERT_OK(cluster_->wait_role(primary_, "primary", kSoon));
    expect_load_goes_on();
    ASSERT_OK(cluster_->power_on(old));
    ASSERT_OK(cluster_->start_standby(old));
    ASSERT_OK(cluster_->wait_protected(primary_, kSync));
  }

  void shut_down() {
    ASSERT_OK(cluster_->tell_guest("poweroff"));
    for (size_t host = 0; host < demo::kHosts; ++host) ASSERT_OK(cluster_->wait_exit(host, kShutdown));
  }

  void expect_good_images() {
    for (size_t host = 0; host < demo::kHosts; ++host) {
      const Status clean = demo::check_file_system(*cluster_, host);
      EXPECT_TRUE(clean) << clean.error().message;
    }
    const Status equal = demo::compare_images(*cluster_);
    EXPECT_TRUE(equal) << equal.error().message;
  }

  size_t primary_ = 0;
};

TEST_F(Database, NoCommittedTransactionIsLostThroughRandomKills) {
  ASSERT_NO_FATAL_FAILURE(start());
  Rng rng(20);
  for (int round = 0; round < (long_run() ? 20 : 3); ++round) {
    ASSERT_OK(cluster_->sleep(Duration::millis(rng.between(kMomentMinMs, kMomentMaxMs))));
    ASSERT_NO_FATAL_FAILURE(kill_primary_and_bring_it_back()) << "in round " << round;
  }
  ASSERT_NO_FATAL_FAILURE(stop_pgbench());
  expect_load_unharmed();
  expect_pgbench_adds_up();
  const Status database = demo::check_database(*cluster_);
  EXPECT_TRUE(database) << database.error().message;
  ASSERT_NO_FATAL_FAILURE(shut_down());
  expect_good_images();
}

}  // namespace
}  // namespace us::e2e
