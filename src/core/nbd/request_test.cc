#include "core/nbd/request.h"

#include <gtest/gtest.h>

#include "core/nbd/fake_client.h"

namespace us {
namespace {

constexpr uint32_t kPayloadMax = 64 * 1024;

class RequestTest : public testing::Test {
 protected:
  // kNone also for what the owner is to answer; `asked` tells them apart.
  NbdError judge(NbdCommand command, uint64_t offset, uint32_t length, unsigned flags = 0) {
    const auto refusal =
        judge_request({.flags = static_cast<uint16_t>(flags), .command = command, .offset = offset, .length = length},
                      disk, agreement, kPayloadMax);
    asked = !refusal;
    EXPECT_TRUE(asked || !refusal->why.empty());
    return refusal ? refusal->error : NbdError::kNone;
  }

  NbdExport disk{.name = "a", .size_bytes = 1 << 20, .block_bytes_min = 512};
  NbdAgreement agreement{.structured_replies = true, .allocation_context = true};
  bool asked = false;
};

constexpr NbdCommand kRanged[] = {NbdCommand::kRead, NbdCommand::kWrite, NbdCommand::kTrim, NbdCommand::kWriteZeroes,
                                  NbdCommand::kBlockStatus};

TEST_F(RequestTest, DecodesWhatAClientSends) {
  const Bytes bytes = nbd_client::request(NbdCommand::kTrim, 0x1122334455667788, 0x99aabbccddeeff00, 0x12345678, 1);
  ASSERT_EQ(bytes.size(), kNbdRequestHeaderBytes);
  const auto h = decode_request_header(bytes.data());
  ASSERT_TRUE(h);
  EXPECT_EQ(h->command, NbdCommand::kTrim);
  EXPECT_EQ(h->cookie, 0x1122334455667788u);
  EXPECT_EQ(h->offset, 0x99aabbccddeeff00u);
  EXPECT_EQ(h->length, 0x12345678u);
  EXPECT_EQ(h->flags, 1u);
}

TEST_F(RequestTest, RefusesAnyOtherMagic) {
  Bytes bytes = nbd_client::request(NbdCommand::kRead, 1, 0, 512);
  for (size_t i = 0; i < 32; ++i) {
    bytes[i / 8] ^= static_cast<uint8_t>(1 << i % 8);
    EXPECT_FALSE(decode_request_header(bytes.data()));
    bytes[i / 8] ^= static_cast<uint8_t>(1 << i % 8);
  }
}

TEST_F(RequestTest, LetsThroughWhatIsWithinTheDisk) {
  for (const NbdCommand command : kRanged) {
    judge(command, 0, 512);
    EXPECT_TRUE(asked);
    judge(command, (1 << 20) - 512, 512);
    EXPECT_TRUE(asked);
  }
  judge(NbdCommand::kFlush, 0, 0);
  EXPECT_TRUE(asked);
}

TEST_F(RequestTest, PastTheEndIsNoSpaceForWritesAndInvalidForTheRest) {
  for (const NbdCommand command : kRanged) {
    const bool write = command == NbdCommand::kWrite || command == NbdCommand::kWriteZeroes;
    const NbdError expected = write ? NbdError::kEnospc : NbdError::kEinval;
    EXPECT_EQ(judge(command, 1 << 20, 512), expected);
    EXPECT_EQ(judge(command, (1 << 20) - 512, 1024), expected);
    EXPECT_EQ(judge(command, ~uint64_t{0} - 511, 512), expected) << "the end wraps around";
    EXPECT_EQ(judge(command, ~uint64_t{0} - 511, 1024), expected);
  }
}

TEST_F(RequestTest, MisalignedIsInvalid) {
  for (const NbdCommand command : kRanged) {
    EXPECT_EQ(judge(command, 1, 512), NbdError::kEinval);
    EXPECT_EQ(judge(command, 512, 511), NbdError::kEinval);
  }
}

TEST_F(RequestTest, AnEmptyRangeSucceedsExceptThatItHasNoStatus) {
  for (const NbdCommand command : kRanged) {
    const bool status = command == NbdCommand::kBlockStatus;
    EXPECT_EQ(judge(command, 512, 0), status ? NbdError::kEinval : NbdError::kNone);
    EXPECT_FALSE(asked);
  }
}

TEST_F(RequestTest, AReadOnlyDiskPermitsNoWrites) {
  disk.read_only = true;
  for (const NbdCommand command : {NbdCommand::kWrite, NbdCommand::kTrim, NbdCommand::kWriteZeroes})
    EXPECT_EQ(judge(command, 0, 512), NbdError::kEperm);
  for (const NbdCommand command : {NbdCommand::kRead, NbdCommand::kBlockStatus}) {
    judge(command, 0, 512);
    EXPECT_TRUE(asked);
  }
}

TEST_F(RequestTest, OverThePayloadLimitReadsOverflowAndRangesWithoutPayloadAreFine) {
  EXPECT_EQ(judge(NbdCommand::kRead, 0, kPayloadMax + 512), NbdError::kEoverflow);
  EXPECT_EQ(judge(NbdCommand::kWrite, 0, kPayloadMax + 512), NbdError::kEinval);
  agreement.structured_replies = false;
  EXPECT_EQ(judge(NbdCommand::kRead, 0, kPayloadMax + 512), NbdError::kEinval);
  for (const NbdCommand command : {NbdCommand::kTrim, NbdCommand::kWriteZeroes, NbdCommand::kBlockStatus}) {
    judge(command, 0, kPayloadMax + 512);
    EXPECT_TRUE(asked);
  }
}

TEST_F(RequestTest, EveryFlagGoesOnlyWithItsCommand) {
  struct Case {
    NbdCommand command;
    unsigned allowed;
  };
  for (const Case& c :
       {Case{NbdCommand::kRead, kNbdCmdFlagFua | kNbdCmdFlagDf}, Case{NbdCommand::kWrite, kNbdCmdFlagFua},
        Case{NbdCommand::kTrim, kNbdCmdFlagFua},
        Case{NbdCommand::kWriteZeroes, kNbdCmdFlagFua | kNbdCmdFlagNoHole | kNbdCmdFlagFastZero},
        Case{NbdCommand::kBlockStatus, kNbdCmdFlagFua | kNbdCmdFlagReqOne}, Case{NbdCommand::kFlush, kNbdCmdFlagFua}}) {
    for (unsigned bit = 0; bit < 16; ++bit) {
      const uint32_t length = c.command == NbdCommand::kFlush ? 0 : 512;
      const NbdError error = judge(c.command, 0, length, 1u << bit);
      if ((c.allowed & (1u << bit)) != 0)
        EXPECT_TRUE(asked) << bit;
      else
        EXPECT_EQ(error, NbdError::kEinval) << bit;
    }
  }
  agreement.structured_replies = false;
  EXPECT_EQ(judge(NbdCommand::kRead, 0, 512, kNbdCmdFlagDf), NbdError::kEinval) << "DF was not advertised";
}

TEST_F(RequestTest, CacheAndUnknownCommandsAreInvalid) {
  for (const unsigned command : {5u, 8u, 9u, 0xffffu})
    EXPECT_EQ(judge(static_cast<NbdCommand>(command), 0, 512), NbdError::kEinval);
}

TEST_F(RequestTest, StatusNeedsASelectedContextAndFlushTakesNoRange) {
  agreement.allocation_context = false;
  EXPECT_EQ(judge(NbdCommand::kBlockStatus, 0, 512), NbdError::kEinval);
  EXPECT_EQ(judge(NbdCommand::kFlush, 512, 0), NbdError::kEinval);
  EXPECT_EQ(judge(NbdCommand::kFlush, 0, 512), NbdError::kEinval);
}

}  // namespace
}  // namespace us
