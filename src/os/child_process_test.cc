#include "os/child_process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace us {
namespace {

using testing::HasSubstr;

constexpr int kPatienceMs = 20'000;

bool wait_for_end(int pidfd) {
  pollfd waiting{pidfd, POLLIN, 0};
  return ::poll(&waiting, 1, kPatienceMs) == 1;
}

std::string read_all(int fd) {
  std::string all;
  char chunk[512];
  for (ssize_t n; (n = ::read(fd, chunk, sizeof chunk)) > 0;) all.append(chunk, static_cast<size_t>(n));
  return all;
}

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
  UniqueFd read, write;
};

// What `script` prints.
std::string output_of(const std::string& script, std::vector<std::pair<int, int>> inherited = {}) {
  Pipe out;
  Result<ChildProcess> child = ChildProcess::spawn({{"/bin/sh", "-c", script}, std::move(inherited), out.write.get()});
  EXPECT_TRUE(child) << child.error().message;
  out.write.reset();
  return read_all(out.read.get());
}

TEST(ChildProcess, SaysInWordsHowItEnded) {
  Result<ChildProcess> child = ChildProcess::spawn({{"/bin/sh", "-c", "exit 7"}, {}, -1});
  ASSERT_TRUE(child);
  ASSERT_TRUE(wait_for_end(child->exit_fd()));
  EXPECT_EQ(child->poll_exit(), "exited with status 7");
  EXPECT_EQ(child->poll_exit(), "exited with status 7") << "and again";

  Result<ChildProcess> killed = ChildProcess::spawn({{"/bin/sh", "-c", "kill -9 $$"}, {}, -1});
  ASSERT_TRUE(killed);
  ASSERT_TRUE(wait_for_end(killed->exit_fd()));
  EXPECT_THAT(killed->poll_exit().value_or(""), HasSubstr("signal 9"));
}

TEST(ChildProcess, IsNotOverWhileItRuns) {
  Result<ChildProcess> child = ChildProcess::spawn({{"/bin/sleep", "1000"}, {}, -1});
  ASSERT_TRUE(child);
  EXPECT_FALSE(child->poll_exit());
  child->kill_and_reap();
  EXPECT_TRUE(child->poll_exit());
}

TEST(ChildProcess, AProgramThatIsNotThereIsAnErrorAtOnce) {
  const Result<ChildProcess> child = ChildProcess::spawn({{"/no/such/program"}, {}, -1});
  ASSERT_FALSE(child);
  EXPECT_THAT(child.error().message, HasSubstr("/no/such/program"));
}

TEST(ChildProcess, IsKilledAndReapedWithTheObject) {
  pid_t pid = 0;
  {
    Result<ChildProcess> child = ChildProcess::spawn({{"/bin/sleep", "1000"}, {}, -1});
    ASSERT_TRUE(child);
    pid = child->pid();
    ChildProcess moved = std::move(*child);
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(ChildProcess, DiesWithItsParent) {
  Pipe report;
  const pid_t parent = ::fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    Result<ChildProcess> child = ChildProcess::spawn({{"/bin/sleep", "1000"}, {}, -1});
    const pid_t pid = child ? child->pid() : 0;
    const ssize_t written = ::write(report.write.get(), &pid, sizeof pid);
    ::_exit(written == sizeof pid ? 0 : 1);  // no destructor: as if it had been killed
  }
  pid_t pid = 0;
  ASSERT_EQ(::read(report.read.get(), &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  ASSERT_GT(pid, 0);
  const UniqueFd grandchild(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  ASSERT_EQ(::waitpid(parent, nullptr, 0), parent);
  // Without a pidfd it was gone already.
  EXPECT_TRUE(!grandchild || wait_for_end(grandchild.get()));
}

TEST(ChildProcess, GetsTheDescriptorsItIsGivenUnderTheirNumbersAndNoOthers) {
  Pipe first, second, stray;
  // The numbers of the one are asked for the other: neither may overwrite the other on the way.
  const int a = first.read.get(), b = second.read.get();
  ASSERT_EQ(::write(first.write.get(), "one\n", 4), 4);
  ASSERT_EQ(::write(second.write.get(), "two\n", 4), 4);
  const auto read_line = [](int fd) { return "read x <&" + std::to_string(fd) + "; echo $x; "; };
  EXPECT_EQ(output_of(read_line(a) + read_line(b), {{a, b}, {b, a}}), "two\none\n");
  EXPECT_EQ(output_of("[ -e /proc/self/fd/" + std::to_string(stray.read.get()) + " ] && echo open || echo closed"),
            "closed\n");
}

TEST(ChildProcess, StartsWithNoSignalBlocked) {
  sigset_t all, before;
  sigfillset(&all);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &all, &before), 0);
  const std::string mask = output_of("grep SigBlk /proc/self/status");
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
  EXPECT_THAT(mask, HasSubstr("0000000000000000"));
}

}  // namespace
}  // namespace us
