#include "host/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace us {
namespace {

using probes::Finding;
using probes::Verdict;

const Finding kGood{"tap", "the guest's network", Verdict::kOk, "works", ""};
const Finding kSlow{"accelerator", "full speed", Verdict::kDegraded, "TCG", "load kvm_intel"};
const Finding kAbsent{"QEMU", "running the guest", Verdict::kMissing, "no program", "install qemu-system-x86"};

TEST(Doctor, SaysWhatIsWrongWhatForAndWhatToDo) {
  EXPECT_EQ(findings_text({kGood, kAbsent}),
            "ok          tap             works\n"
            "missing     QEMU            no program\n"
            "                            needed for: running the guest\n"
            "                            what to do: install qemu-system-x86\n"
            "\nVMs cannot be protected on this host until this is mended.\n");
}

TEST(Doctor, AHostThatCouldBeBetterIsUsable) {
  EXPECT_THAT(findings_text({kGood, kSlow}),
              testing::EndsWith("\nVMs can be protected on this host; 1 could be better.\n"));
  EXPECT_THAT(findings_text({kGood}), testing::EndsWith("\nVMs can be protected on this host.\n"));
}

TEST(Doctor, JsonHasTheSameFindings) {
  const nlohmann::json json = findings_json({kGood, kAbsent});
  EXPECT_EQ(json.at("usable"), false);
  EXPECT_EQ(json.at("findings").size(), 2u);
  EXPECT_EQ(json.at("findings").at(1), (nlohmann::json{{"probe", "QEMU"},
                                                       {"purpose", "running the guest"},
                                                       {"verdict", "missing"},
                                                       {"evidence", "no program"},
                                                       {"advice", "install qemu-system-x86"}}));
  EXPECT_EQ(findings_json({kGood, kSlow}).at("usable"), true);
}

TEST(Doctor, AFaultyVmFileIsReportedBeforeAnythingIsTried) {
  std::ostringstream out;
  EXPECT_EQ(run_doctor({"/no/such/vm.toml", false}, out), 2);
  EXPECT_EQ(out.str(), "/no/such/vm.toml: there is no such VM file\n");
}

}  // namespace
}  // namespace us
