// Runs the probes on this host.  What is absent or forbidden here is skipped; what is there must do what the design
// relies on.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "probes/arbiter_directory.h"
#include "probes/device_state.h"
#include "probes/host.h"
#include "probes/memory_tracking.h"
#include "probes/network.h"
#include "probes/qemu_program.h"
#include "probes/shared_image.h"

namespace us::probes {
namespace {

using testing::HasSubstr;
using testing::Not;

// A macro, because GTEST_SKIP leaves the function it stands in.
#define EXPECT_HOLDS_HERE(finding)                                                                 \
  do {                                                                                             \
    const Finding here = (finding);                                                                \
    if (here.verdict == Verdict::kMissing || here.verdict == Verdict::kForbidden)                  \
      GTEST_SKIP() << here.probe << " is " << to_text(here.verdict) << " here: " << here.evidence; \
    EXPECT_TRUE(is_usable(here.verdict)) << here.probe << ": " << here.evidence;                   \
    EXPECT_NE(here.evidence, "");                                                                  \
    EXPECT_EQ(here.verdict == Verdict::kOk, here.advice.empty()) << here.advice;                   \
  } while (false)

VmConfig machine(Machine kind) {
  VmConfig config;
  config.name = "probe";
  config.machine = kind;
  return config;
}

TEST(ProbesHere, Kernel) { EXPECT_HOLDS_HERE(probe_kernel()); }
TEST(ProbesHere, Processors) { EXPECT_HOLDS_HERE(probe_processors()); }
TEST(ProbesHere, Memory) { EXPECT_HOLDS_HERE(probe_memory(0)); }
TEST(ProbesHere, Memfd) { EXPECT_HOLDS_HERE(probe_memfd()); }
TEST(ProbesHere, Userfaultfd) { EXPECT_HOLDS_HERE(probe_userfaultfd()); }
TEST(ProbesHere, PagemapScan) { EXPECT_HOLDS_HERE(probe_pagemap_scan()); }
TEST(ProbesHere, Ptrace) { EXPECT_HOLDS_HERE(probe_ptrace()); }
TEST(ProbesHere, DirtyTrackingIsExact) { EXPECT_HOLDS_HERE(probe_dirty_tracking()); }
TEST(ProbesHere, SoftDirtyTrackingIsExact) { EXPECT_HOLDS_HERE(probe_soft_dirty()); }
TEST(ProbesHere, Tap) { EXPECT_HOLDS_HERE(probe_tap()); }
TEST(ProbesHere, Bridge) { EXPECT_HOLDS_HERE(probe_bridge()); }
TEST(ProbesHere, Qemu) { EXPECT_HOLDS_HERE(probe_qemu(machine(Machine::kQ35))); }
TEST(ProbesHere, Firmware) { EXPECT_HOLDS_HERE(probe_firmware(machine(Machine::kQ35))); }

class DeviceStateHere : public testing::TestWithParam<Machine> {};

TEST_P(DeviceStateHere, IsSavedFromOneQemuAndRunsInAnother) {
  const VmConfig config = machine(GetParam());
  if (probe_qemu(config).verdict == Verdict::kMissing) GTEST_SKIP() << "no QEMU here";
  const std::vector<Finding> findings = probe_device_state(config, Accelerator::kTcg);
  for (const Finding& finding : findings) EXPECT_EQ(finding.verdict, Verdict::kOk) << finding.evidence;
  EXPECT_EQ(findings.size(), 3u);
}
INSTANTIATE_TEST_SUITE_P(Machines, DeviceStateHere, testing::Values(Machine::kQ35, Machine::kPc, Machine::kMicrovm),
                         [](const auto& test) { return std::string(to_text(test.param)); });

TEST(ProbeGuest, RunsToItsEndUnderTcg) {
  const auto failure = try_accelerator(Accelerator::kTcg, "qemu-system-x86_64", "qemu64", Duration::seconds(20));
  if (!failure) GTEST_SKIP() << failure.error().message;
  EXPECT_EQ(*failure, std::nullopt);
}

TEST(Probes, MissingQemuIsSaidAsSuchWithThePackage) {
  VmConfig config = machine(Machine::kQ35);
  config.qemu_binary = "/no/such/qemu";
  const Finding finding = probe_qemu(config);
  EXPECT_EQ(finding.verdict, Verdict::kMissing);
  EXPECT_EQ(finding.evidence, "there is no program /no/such/qemu");
  EXPECT_THAT(finding.advice, HasSubstr("qemu-system-x86"));
}

TEST(Probes, AQemuThatRefusesTheMachineIsQuoted) {
  VmConfig config = machine(Machine::kQ35);
  if (probe_qemu(config).verdict == Verdict::kMissing) GTEST_SKIP() << "no QEMU here";
  config.cpu = "no-such-cpu";
  const std::vector<Finding> findings = probe_device_state(config, Accelerator::kTcg);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].verdict, Verdict::kUnexpected);
  EXPECT_THAT(findings[0].evidence, HasSubstr("no-such-cpu"));
}

TEST(Probes, AbsentAndForbiddenAreKeptApart) {
  EXPECT_EQ(verdict_of_errno(ENOENT), Verdict::kMissing);
  EXPECT_EQ(verdict_of_errno(ENOSYS), Verdict::kMissing);
  EXPECT_EQ(verdict_of_errno(ENOTTY), Verdict::kMissing);
  EXPECT_EQ(verdict_of_errno(EPERM), Verdict::kForbidden);
  EXPECT_EQ(verdict_of_errno(EACCES), Verdict::kForbidden);
  EXPECT_EQ(verdict_of_errno(EIO), Verdict::kUnexpected);
}

TEST(Probes, KernelsBefore6Point7AreTooOld) {
  EXPECT_EQ(judge_kernel("6.7.0").verdict, Verdict::kOk);
  EXPECT_EQ(judge_kernel("7.0-rc1").verdict, Verdict::kOk);
  EXPECT_EQ(judge_kernel("6.12.9-amd64").verdict, Verdict::kOk);
  EXPECT_EQ(judge_kernel("6.6.99").verdict, Verdict::kMissing);
  EXPECT_EQ(judge_kernel("6.1.0-50-cloud-amd64").verdict, Verdict::kMissing);
  EXPECT_EQ(judge_kernel("5.15.0").verdict, Verdict::kMissing);
  EXPECT_EQ(judge_kernel("GNU").verdict, Verdict::kUnexpected);
}

TEST(Probes, QemuVersionsAreOldKnownOrUntried) {
  EXPECT_EQ(judge_qemu("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright\n").verdict, Verdict::kOk);
  EXPECT_EQ(judge_qemu("QEMU emulator version 10.0.2\n").verdict, Verdict::kOk);
  EXPECT_EQ(judge_qemu("QEMU emulator version 9.1.0\n").verdict, Verdict::kDegraded);
  EXPECT_EQ(judge_qemu("QEMU emulator version 7.1.0\n").verdict, Verdict::kMissing);
  EXPECT_EQ(judge_qemu("ls (GNU coreutils) 9.1\n").verdict, Verdict::kUnexpected);
  EXPECT_EQ(judge_qemu("").verdict, Verdict::kUnexpected);
}

TEST(Probes, MemoryIsComparedWithWhatAStandbyMayUse) {
  constexpr uint64_t kGiB = 1u << 30;
  EXPECT_EQ(judge_memory(2 * kGiB, kGiB).verdict, Verdict::kOk);
  EXPECT_EQ(judge_memory(kGiB + kGiB / 5, kGiB).verdict, Verdict::kDegraded);
  EXPECT_EQ(judge_memory(kGiB - 1, kGiB).verdict, Verdict::kMissing);
  EXPECT_EQ(judge_memory(0, kGiB).verdict, Verdict::kUnexpected);
  EXPECT_EQ(judge_memory(2 * kGiB, kGiB).evidence, "2048 MiB available, 1280 MiB wanted");
}

const Finding kTracks{"a", "x", Verdict::kOk, "seen", ""};
const Finding kCannotTrack{"b", "x", Verdict::kMissing, "not seen", "upgrade"};
const Finding kTracksWrongly{"c", "x", Verdict::kUnexpected, "wrote 1, said 2", "do not protect a VM on this kernel"};

std::vector<Verdict> judged(const std::vector<Finding>& fast, const Finding& slow,
                            DirtyTrackerChoice choice = DirtyTrackerChoice::kAuto) {
  std::vector<Verdict> out;
  for (const Finding& finding : judge_tracking(fast, slow, choice)) {
    out.push_back(finding.verdict);
    EXPECT_EQ(finding.verdict == Verdict::kOk, finding.advice.empty()) << finding.advice;
  }
  return out;
}

TEST(Probes, OneDirtyTrackerThatWorksIsEnough) {
  using enum Verdict;
  using testing::ElementsAre;
  EXPECT_THAT(judged({kTracks, kTracks}, kTracks), ElementsAre(kOk, kOk, kOk));
  EXPECT_THAT(judged({kTracks, kTracks}, kCannotTrack), ElementsAre(kOk, kOk, kOk));
  EXPECT_THAT(judged({kTracks, kCannotTrack}, kTracks), ElementsAre(kOk, kDegraded, kOk));
  EXPECT_THAT(judged({kTracks, kCannotTrack}, kCannotTrack), ElementsAre(kOk, kMissing, kMissing));
}

TEST(Probes, ADirtyTrackerThatTheVmFileNamesMustWork) {
  using enum Verdict;
  using testing::ElementsAre;
  const auto soft_dirty = DirtyTrackerChoice::kSoftDirty, userfaultfd = DirtyTrackerChoice::kUserfaultfd;
  EXPECT_THAT(judged({kTracks, kCannotTrack}, kTracks, soft_dirty), ElementsAre(kOk, kOk, kOk));
  EXPECT_THAT(judged({kTracks, kTracks}, kCannotTrack, soft_dirty), ElementsAre(kOk, kOk, kMissing));
  EXPECT_THAT(judged({kTracks, kCannotTrack}, kTracks, userfaultfd), ElementsAre(kOk, kMissing, kOk));
  EXPECT_THAT(judged({kTracks, kTracks}, kCannotTrack, userfaultfd), ElementsAre(kOk, kOk, kOk));
}

// The engine would take it, not the one that works.
TEST(Probes, AFastDirtyTrackerThatIsWrongIsNotMadeUpFor) {
  using enum Verdict;
  using testing::ElementsAre;
  EXPECT_THAT(judged({kTracks, kTracksWrongly}, kTracks), ElementsAre(kOk, kUnexpected, kOk));
  EXPECT_THAT(judged({kTracks, kTracksWrongly}, kCannotTrack), ElementsAre(kOk, kUnexpected, kMissing));
  EXPECT_THAT(judged({kTracks, kTracksWrongly}, kTracks, DirtyTrackerChoice::kSoftDirty), ElementsAre(kOk, kOk, kOk));
  const std::vector<Finding> findings = judge_tracking({kTracksWrongly}, kTracks, DirtyTrackerChoice::kAuto);
  EXPECT_THAT(findings[0].advice, HasSubstr("dirty_tracker = \"soft-dirty\""));
  EXPECT_THAT(findings[0].advice, Not(HasSubstr("do not protect"))) << "two answers that contradict each other";
}

TEST(Probes, AcceleratorFallbackIsDegradedUnlessWanted) {
  const ChosenAccelerator tcg{Accelerator::kTcg, "TCG, because."};
  EXPECT_EQ(judge_accelerator(tcg, AcceleratorChoice::kAuto).verdict, Verdict::kDegraded);
  EXPECT_EQ(judge_accelerator(tcg, AcceleratorChoice::kTcg).verdict, Verdict::kOk);
  const ChosenAccelerator kvm{Accelerator::kKvm, "KVM."};
  EXPECT_EQ(judge_accelerator(kvm, AcceleratorChoice::kAuto).verdict, Verdict::kOk);
  EXPECT_EQ(judge_accelerator(fail(ErrorKind::kSystem, "no"), AcceleratorChoice::kKvm).verdict, Verdict::kMissing);
}

TEST(Probes, ArbiterDirectoryIsTriedAndLeftAsItWas) {
  std::string name = (std::filesystem::temp_directory_path() / "understudy-test-XXXXXX").string();
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  EXPECT_TRUE(is_usable(probe_arbiter_directory(name).verdict));
  EXPECT_TRUE(std::filesystem::is_empty(name));
  std::filesystem::remove(name);
  EXPECT_EQ(probe_arbiter_directory(name).verdict, Verdict::kMissing);
  EXPECT_EQ(probe_arbiter_directory("/proc/sys").verdict, Verdict::kMissing);
}

TEST(Probes, ASharedImageIsLockedAndLeftAsItWas) {
  std::string name = (std::filesystem::temp_directory_path() / "understudy-test-XXXXXX").string();
  const int fd = ::mkstemp(name.data());
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::ftruncate(fd, 4096), 0);
  EXPECT_TRUE(is_usable(probe_shared_image(name).verdict));
  struct flock whole {};
  whole.l_type = F_WRLCK;
  ASSERT_EQ(::fcntl(fd, F_OFD_SETLK, &whole), 0);
  EXPECT_TRUE(is_usable(probe_shared_image(name).verdict)) << "a VM uses it";
  ::close(fd);
  std::filesystem::remove(name);
  EXPECT_EQ(probe_shared_image(name).verdict, Verdict::kMissing);
}

}  // namespace
}  // namespace us::probes
