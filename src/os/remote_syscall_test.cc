#include "os/remote_syscall.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <atomic>
#include <csignal>

#include "os/traced_child.h"

namespace us {
namespace {

using testing::HasSubstr;

#define SKIP_WITHOUT_PTRACE(remote) \
  if (!(remote)) GTEST_SKIP() << "ptrace is not allowed here: " << (remote).error().message

std::atomic<uint64_t> signals_seen;

TEST(RemoteSyscalls, RunInTheOtherProcess) {
  TracedChild child([](uint64_t command) { return command + 1; });
  {
    auto remote = RemoteSyscalls::attach(child.pid());
    SKIP_WITHOUT_PTRACE(remote);
    EXPECT_EQ((*remote)->call("getpid", SYS_getpid, {}).value(), static_cast<uint64_t>(child.pid()));
    EXPECT_EQ((*remote)->call("getppid", SYS_getppid, {}).value(), static_cast<uint64_t>(::getpid()));
  }
  EXPECT_EQ(child.ask(41), 42u) << "it goes on where it was, in the middle of a read";
}

TEST(RemoteSyscalls, TakeAndGiveDataThroughScratchSpace) {
  TracedChild child([](uint64_t command) { return command; });
  auto remote = RemoteSyscalls::attach(child.pid());
  SKIP_WITHOUT_PTRACE(remote);
  const Bytes name = {'a', 'b', 0};
  const uint64_t at = (*remote)->scratch(name).value();
  Bytes back(name.size());
  ASSERT_TRUE((*remote)->read(at, back));
  EXPECT_EQ(back, name);
  const Result<uint64_t> fd = (*remote)->call("memfd_create", SYS_memfd_create, {at, 0});
  ASSERT_TRUE(fd) << fd.error().message;
  EXPECT_NE(::access(("/proc/" + std::to_string(child.pid()) + "/fd/" + std::to_string(*fd)).c_str(), F_OK), -1);
  EXPECT_FALSE((*remote)->scratch(Bytes(1025)));
}

TEST(RemoteSyscalls, AFailedCallIsAnErrorWithItsName) {
  TracedChild child([](uint64_t command) { return command; });
  auto remote = RemoteSyscalls::attach(child.pid());
  SKIP_WITHOUT_PTRACE(remote);
  const Result<uint64_t> result = (*remote)->call("close", SYS_close, {~uint64_t{0}});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("close"));
  EXPECT_THAT(result.error().message, HasSubstr("Bad file descriptor"));
}

TEST(RemoteSyscalls, AProcessThatIsGoneIsAnError) {
  pid_t gone = 0;
  {
    TracedChild child([](uint64_t command) { return command; });
    gone = child.pid();
  }
  EXPECT_FALSE(RemoteSyscalls::attach(gone));
}

// A signal may arrive at any instruction.  The target must still run nothing of its own meanwhile, and get the signal
// afterwards.
TEST(RemoteSyscalls, AreNotDisturbedBySignalsAndLoseNone) {
  TracedChild child([](uint64_t command) {
    if (command == 0) {
      struct sigaction action {};
      action.sa_handler = [](int) { ++signals_seen; };
      action.sa_flags = SA_RESTART;
      ::sigaction(SIGALRM, &action, nullptr);
      ::sigaction(SIGUSR1, &action, nullptr);
      const itimerval often{{0, 50}, {0, 50}};
      ::setitimer(ITIMER_REAL, &often, nullptr);
    } else {
      const itimerval never{};
      ::setitimer(ITIMER_REAL, &never, nullptr);
    }
    return signals_seen.load();
  });
  child.ask(0);
  for (int round = 0; round < 20; ++round) {
    auto remote = RemoteSyscalls::attach(child.pid());
    SKIP_WITHOUT_PTRACE(remote);
    for (int i = 0; i < 50; ++i) {
      const Result<uint64_t> pid = (*remote)->call("getpid", SYS_getpid, {});
      ASSERT_TRUE(pid) << pid.error().message;
      ASSERT_EQ(*pid, static_cast<uint64_t>(child.pid()));
    }
  }
  const uint64_t seen = child.ask(1);
  ASSERT_NE(seen, ~uint64_t{0}) << "the target has crashed";
  {
    auto remote = RemoteSyscalls::attach(child.pid());
    SKIP_WITHOUT_PTRACE(remote);
    ASSERT_EQ(::kill(child.pid(), SIGUSR1), 0);
    ASSERT_TRUE((*remote)->call("getpid", SYS_getpid, {}));
  }
  EXPECT_EQ(child.ask(1), seen + 1);
}

}  // namespace
}  // namespace us
