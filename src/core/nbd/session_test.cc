#include "core/nbd/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "core/nbd/fake_client.h"

namespace us {
namespace {

using namespace nbd_client;

constexpr uint64_t kDiskBytes = 1 << 20;
constexpr size_t kGreetingBytes = 18;

Bytes pattern(size_t n, uint8_t seed = 1) {
  Bytes out(n);
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(seed + i * 7 + i / 251);
  return out;
}

class SessionTest : public testing::Test {
 protected:
  // Through the handshake; what was said there is checked in negotiation_test.cc.
  void connect(bool structured = true, NbdLimits limits = {},
               NbdExport disk = {.name = "d", .size_bytes = kDiskBytes}) {
    s.emplace(std::vector<NbdExport>{std::move(disk)}, limits);
    send(flags());
    if (structured) {
      send(option(NbdOption::kStructuredReply));
      send(option(NbdOption::kSetMetaContext, meta_data("d", {"base:allocation"})));
    }
    send(go("d"));
    ASSERT_TRUE(s->in_transmission());
    drain(*s);
  }
  size_t send(const Bytes& bytes) { return feed(*s, bytes); }
  NbdRequest next() {
    auto request = s->poll_request();
    EXPECT_TRUE(request);
    return request ? std::move(*request) : NbdRequest{};
  }
  std::vector<Reply> answers() { return replies(drain(*s)); }
  NbdError only_error() {
    const auto r = answers();
    EXPECT_EQ(r.size(), 1u);
    return r.empty() ? NbdError::kNone : r[0].error;
  }
  static std::vector<NbdPiece> one_piece(const Bytes& data) {
    std::vector<NbdPiece> out;
    out.push_back({static_cast<uint32_t>(data.size()), AlignedBuffer::copy_of(data)});
    return out;
  }

  std::optional<NbdSession> s;
};

TEST_F(SessionTest, SpeaksFirst) {
  s.emplace(std::vector<NbdExport>{{.name = "d", .size_bytes = kDiskBytes}});
  EXPECT_EQ(drain(*s).size(), kGreetingBytes);
}

TEST_F(SessionTest, HandsOnEveryCommandWithItsFlags) {
  connect();
  send(request(NbdCommand::kRead, 1, 4096, 512));
  send(write(2, 8192, pattern(600), kNbdCmdFlagFua));
  send(request(NbdCommand::kFlush, 3, 0, 0));
  send(request(NbdCommand::kTrim, 4, 0, 4096));
  send(request(NbdCommand::kWriteZeroes, 5, 0, 4096, kNbdCmdFlagNoHole | kNbdCmdFlagFastZero));
  send(request(NbdCommand::kWriteZeroes, 6, 0, 4096));
  send(request(NbdCommand::kBlockStatus, 7, 0, 4096, kNbdCmdFlagReqOne));
  NbdRequest r = next();
  EXPECT_EQ(r.command, NbdCommand::kRead);
  EXPECT_EQ(r.offset, 4096u);
  EXPECT_EQ(r.length, 512u);
  EXPECT_FALSE(r.fua);
  r = next();
  EXPECT_EQ(r.command, NbdCommand::kWrite);
  EXPECT_TRUE(r.fua);
  EXPECT_TRUE(std::ranges::equal(r.payload.span(), pattern(600)));
  EXPECT_EQ(next().command, NbdCommand::kFlush);
  r = next();
  EXPECT_EQ(r.command, NbdCommand::kTrim);
  EXPECT_TRUE(r.may_unmap);
  r = next();
  EXPECT_FALSE(r.may_unmap);
  EXPECT_TRUE(r.fast_only);
  r = next();
  EXPECT_TRUE(r.may_unmap);
  EXPECT_FALSE(r.fast_only);
  EXPECT_TRUE(next().one_extent);
  EXPECT_FALSE(s->poll_request());
  EXPECT_EQ(s->open_requests(), 7u);
}

TEST_F(SessionTest, ALargePayloadIsReadStraightIntoTheRequestsBuffer) {
  connect();
  const Bytes data = pattern(100'000);
  send(request(NbdCommand::kWrite, 1, 0, 100'000));
  const auto room = s->room();
  ASSERT_EQ(room.size(), 100'000u);
  std::ranges::copy(data, room.begin());
  s->filled(room.size());
  const NbdRequest r = next();
  EXPECT_EQ(r.payload.data(), room.data());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(r.payload.data()) % AlignedBuffer::kAlignment, 0u);
  EXPECT_TRUE(std::ranges::equal(r.payload.span(), data));
}

TEST_F(SessionTest, SimpleRepliesCarryErrorCookieAndData) {
  connect(false);
  send(request(NbdCommand::kRead, 0x1234, 0, 512));
  const Bytes data = pattern(512);
  s->complete_read(next().ticket, one_piece(data));
  Bytes expected{0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34};
  append(expected, data);
  EXPECT_EQ(drain(*s), expected);
  send(request(NbdCommand::kRead, 0x1234, 0, 512));
  s->complete(next().ticket, NbdError::kEio, "bad sector");
  EXPECT_EQ(drain(*s), (Bytes{0x67, 0x44, 0x66, 0x98, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0x12, 0x34}));
}

TEST_F(SessionTest, SimpleRepliesSpellZeroesOut) {
  connect(false);
  send(request(NbdCommand::kRead, 1, 0, 200'000));
  std::vector<NbdPiece> pieces;
  pieces.push_back({150'000, {}});
  pieces.push_back({50'000, AlignedBuffer::copy_of(pattern(50'000))});
  s->complete_read(next().ticket, std::move(pieces));
  Bytes out = drain(*s);
  ASSERT_EQ(out.size(), 16u + 200'000u);
  out.erase(out.begin(), out.begin() + 16);
  Bytes expected(150'000);
  append(expected, pattern(50'000));
  EXPECT_EQ(out, expected);
  EXPECT_EQ(s->bytes_held(), 0u);
}

TEST_F(SessionTest, StructuredReadsNameDataAndHoles) {
  connect();
  send(request(NbdCommand::kRead, 9, 8192, 3 * 4096));
  std::vector<NbdPiece> pieces;
  pieces.push_back({4096, AlignedBuffer::copy_of(pattern(4096))});
  pieces.push_back({8192, {}});
  s->complete_read(next().ticket, std::move(pieces));
  const auto r = answers();
  ASSERT_EQ(r.size(), 2u);
  EXPECT_EQ(r[0].type, NbdChunkType::kOffsetData);
  EXPECT_FALSE(r[0].done);
  EXPECT_EQ(load_be<uint64_t>(r[0].payload.data()), 8192u);
  EXPECT_EQ(Bytes(r[0].payload.begin() + 8, r[0].payload.end()), pattern(4096));
  EXPECT_EQ(r[1].type, NbdChunkType::kOffsetHole);
  EXPECT_TRUE(r[1].done);
  EXPECT_EQ(r[1].payload, (Bytes{0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0x20, 0}));
  EXPECT_EQ(s->bytes_held(), 0u);
}

TEST_F(SessionTest, AReadThatMustNotBeFragmentedComesInOneChunk) {
  connect();
  send(request(NbdCommand::kRead, 9, 4096, 8192, kNbdCmdFlagDf));
  std::vector<NbdPiece> pieces;
  pieces.push_back({4096, {}});
  pieces.push_back({4096, AlignedBuffer::copy_of(pattern(4096))});
  s->complete_read(next().ticket, std::move(pieces));
  const auto r = answers();
  ASSERT_EQ(r.size(), 1u);
  EXPECT_EQ(r[0].type, NbdChunkType::kOffsetData);
  Bytes expected(4096);
  append(expected, pattern(4096));
  EXPECT_EQ(Bytes(r[0].payload.begin() + 8, r[0].payload.end()), expected);
  EXPECT_EQ(s->bytes_held(), 0u);
}

TEST_F(SessionTest, StructuredErrorsSayWhyAndSuccessWithoutPayloadIsSimple) {
  connect();
  send(write(1, 0, pattern(512)));
  send(write(2, 0, pattern(512)));
  s->complete(next().ticket, NbdError::kEnospc, "the disk is full");
  s->complete(next().ticket, NbdError::kNone);
  const auto r = answers();
  ASSERT_EQ(r.size(), 2u);
  EXPECT_EQ(r[0].type, NbdChunkType::kError);
  EXPECT_EQ(r[0].error, NbdError::kEnospc);
  EXPECT_EQ(r[0].cookie, 1u);
  EXPECT_EQ(Bytes(r[0].payload.begin() + 6, r[0].payload.end()), text("the disk is full"));
  EXPECT_FALSE(r[1].structured);
  EXPECT_EQ(r[1].error, NbdError::kNone);
  EXPECT_EQ(r[1].cookie, 2u);
}

TEST_F(SessionTest, EveryErrorOfTheDiskReachesTheClient) {
  for (const bool structured : {false, true}) {
    connect(structured);
    for (const NbdError error : {NbdError::kEperm, NbdError::kEio, NbdError::kEnomem, NbdError::kEinval,
                                 NbdError::kEnospc, NbdError::kEoverflow, NbdError::kEnotsup, NbdError::kEshutdown}) {
      for (const NbdCommand command : {NbdCommand::kRead, NbdCommand::kTrim, NbdCommand::kWriteZeroes}) {
        send(request(command, 1, 0, 512));
        s->complete(next().ticket, error);
        EXPECT_EQ(only_error(), error);
      }
    }
  }
}

TEST_F(SessionTest, StatusIsClippedToTheRequestAndReqOneToOneExtent) {
  connect();
  const NbdExtent extents[] = {{4096, kNbdStateHole | kNbdStateZero}, {4096, 0}, {1ull << 40, kNbdStateZero}};
  send(request(NbdCommand::kBlockStatus, 1, 0, 16384));
  s->complete_status(next().ticket, extents);
  send(request(NbdCommand::kBlockStatus, 2, 0, 2048, kNbdCmdFlagReqOne));
  s->complete_status(next().ticket, extents);
  const auto r = answers();
  ASSERT_EQ(r.size(), 2u);
  EXPECT_EQ(r[0].type, NbdChunkType::kBlockStatus);
  EXPECT_EQ(r[0].payload,
            (Bytes{0, 0, 0, 1, 0, 0, 16, 0, 0, 0, 0, 3, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 2}));
  EXPECT_EQ(r[1].payload, (Bytes{0, 0, 0, 1, 0, 0, 8, 0, 0, 0, 0, 3}));
}

TEST_F(SessionTest, AStatusOfVeryManyExtentsIsCutShort) {
  connect();
  const std::vector<NbdExtent> extents(kNbdExtentsMax + 10, NbdExtent{1, 0});
  send(request(NbdCommand::kBlockStatus, 1, 0, kDiskBytes));
  s->complete_status(next().ticket, extents);
  EXPECT_EQ(answers()[0].payload.size(), 4 + 8 * kNbdExtentsMax);
}

TEST_F(SessionTest, RepliesMayComeInAnyOrderAndCookiesMayRepeat) {
  connect();
  for (int i = 0; i < 3; ++i) send(request(NbdCommand::kTrim, 5, static_cast<uint64_t>(i) * 4096, 4096));
  const NbdRequest a = next(), b = next(), c = next();
  s->complete(c.ticket, NbdError::kNone);
  s->complete(a.ticket, NbdError::kEio);
  s->complete(b.ticket, NbdError::kNone);
  const auto r = answers();
  ASSERT_EQ(r.size(), 3u);
  EXPECT_EQ(r[1].error, NbdError::kEio);
}

TEST_F(SessionTest, ABadRequestIsAnsweredWithoutTheOwnerAndTheNextIsServed) {
  for (const bool structured : {false, true}) {
    connect(structured);
    send(request(NbdCommand::kRead, 1, kDiskBytes, 512));
    send(request(NbdCommand::kCache, 2, 0, 512));
    send(write(3, kDiskBytes - 4, pattern(70'000)));  // its payload is skipped
    send(request(NbdCommand::kFlush, 4, 0, 0));
    EXPECT_EQ(next().command, NbdCommand::kFlush);
    const auto r = answers();
    ASSERT_EQ(r.size(), 3u);
    EXPECT_EQ(r[0].structured, structured);
    EXPECT_EQ(r[0].error, NbdError::kEinval);
    EXPECT_EQ(r[1].error, NbdError::kEinval);
    EXPECT_EQ(r[2].error, NbdError::kEnospc);
    EXPECT_EQ(s->bytes_held(), 0u);
  }
}

TEST_F(SessionTest, AnEmptyReadIsAnsweredInTheAgreedForm) {
  connect();
  send(request(NbdCommand::kRead, 1, 0, 0));
  const auto r = answers();
  ASSERT_EQ(r.size(), 1u);
  EXPECT_TRUE(r[0].structured) << "never a simple reply to READ once structured replies are agreed on";
  EXPECT_EQ(r[0].type, NbdChunkType::kNone);
  connect(false);
  send(request(NbdCommand::kRead, 1, 0, 0));
  EXPECT_EQ(drain(*s).size(), kNbdSimpleReplyBytes);
}

TEST_F(SessionTest, AWriteOverThePayloadLimitIsSkippedAndAMonstrousOneEndsTheSession) {
  connect(true, {.payload_bytes_max = 4096});
  send(write(1, 0, pattern(8192)));
  EXPECT_EQ(only_error(), NbdError::kEinval);
  EXPECT_FALSE(s->finished());
  send(request(NbdCommand::kWrite, 2, 0, kNbdPayloadBytesMax + 1));
  EXPECT_TRUE(s->finished());
  EXPECT_NE(s->error(), "");
}

TEST_F(SessionTest, GarbageEndsTheSession) {
  connect();
  send(request(NbdCommand::kTrim, 1, 0, 512));
  const NbdRequest r = next();
  send(Bytes(kNbdRequestHeaderBytes, 0x5a));
  EXPECT_TRUE(s->finished());
  EXPECT_FALSE(s->wants_input());
  EXPECT_TRUE(s->room().empty());
  s->complete(r.ticket, NbdError::kNone);
  EXPECT_FALSE(s->has_output());
  s.emplace(std::vector<NbdExport>{{.name = "d", .size_bytes = kDiskBytes}});
  send(flags());
  send(Bytes(kNbdOptionHeaderBytes, 'x'));
  EXPECT_TRUE(s->finished());
  s.emplace(std::vector<NbdExport>{{.name = "d", .size_bytes = kDiskBytes}});
  send(flags(1u << 7));
  EXPECT_TRUE(s->finished());
}

TEST_F(SessionTest, ALongOptionIsSkippedAndAMonstrousOneEndsTheSession) {
  s.emplace(std::vector<NbdExport>{{.name = "d", .size_bytes = kDiskBytes}});
  send(flags());
  drain(*s);
  send(option(static_cast<NbdOption>(77), Bytes(100'000)));
  send(option(NbdOption::kInfo, Bytes(100'000)));
  const Bytes out = drain(*s);
  ByteReader in(out);
  const auto r = option_replies(in);
  ASSERT_EQ(r.size(), 2u);
  EXPECT_EQ(r[0].type, NbdOptionReply::kErrUnsup);
  EXPECT_EQ(r[1].type, NbdOptionReply::kErrTooBig);
  send(option_header(77, 0x80000000));
  EXPECT_TRUE(s->finished());
}

TEST_F(SessionTest, DiscFinishesOnceWhatIsOpenHasBeenAnsweredAndSent) {
  connect();
  send(request(NbdCommand::kTrim, 1, 0, 512));
  send(request(NbdCommand::kDisc, 2, 0, 0));
  send(request(NbdCommand::kTrim, 3, 0, 512));
  EXPECT_FALSE(s->wants_input());
  const NbdRequest r = next();
  EXPECT_FALSE(s->poll_request()) << "nothing counts after DISC";
  EXPECT_FALSE(s->finished());
  s->complete(r.ticket, NbdError::kNone);
  EXPECT_FALSE(s->finished());
  EXPECT_EQ(answers().size(), 1u);
  EXPECT_TRUE(s->finished());
  EXPECT_EQ(s->error(), "");
}

TEST_F(SessionTest, AbortFinishesOnceItsAcknowledgementIsSent) {
  s.emplace(std::vector<NbdExport>{{.name = "d", .size_bytes = kDiskBytes}});
  send(flags());
  send(option(NbdOption::kAbort));
  EXPECT_FALSE(s->finished());
  EXPECT_EQ(drain(*s).size(), kGreetingBytes + 20);
  EXPECT_TRUE(s->finished());
  EXPECT_EQ(s->error(), "");
}

TEST_F(SessionTest, TheEndOfInputIsTidyBetweenMessagesAndABreachWithinOne) {
  connect();
  s->end_of_input();
  EXPECT_TRUE(s->finished());
  EXPECT_EQ(s->error(), "");
  const Bytes bytes = write(1, 0, pattern(100));
  for (size_t n = 1; n < bytes.size(); ++n) {
    connect();
    send(Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n)));
    s->end_of_input();
    EXPECT_TRUE(s->finished());
    EXPECT_NE(s->error(), "") << n;
    EXPECT_FALSE(s->poll_request());
  }
}

TEST_F(SessionTest, OnlySoManyRequestsAreOpen) {
  connect(true, {.requests_max = 3});
  Bytes five;
  for (uint64_t i = 0; i < 5; ++i) append(five, request(NbdCommand::kTrim, i, i * 512, 512));
  EXPECT_EQ(send(five), five.size());
  EXPECT_FALSE(s->wants_input());
  EXPECT_EQ(s->open_requests(), 3u);
  s->complete(next().ticket, NbdError::kNone);
  EXPECT_EQ(s->open_requests(), 3u) << "the fourth has been let in";
  EXPECT_FALSE(s->wants_input());
  s->complete(next().ticket, NbdError::kNone);
  EXPECT_TRUE(s->wants_input());
  for (const uint64_t offset : {1024u, 1536u, 2048u}) EXPECT_EQ(next().offset, offset);
}

TEST_F(SessionTest, OnlySoManyBytesAreHeldUntilReadsHaveBeenSent) {
  connect(true, {.bytes_max = 8192});
  send(request(NbdCommand::kRead, 1, 0, 8192));
  send(write(2, 0, pattern(512)));
  EXPECT_FALSE(s->wants_input());
  s->complete_read(next().ticket, one_piece(pattern(8192)));
  EXPECT_FALSE(s->wants_input()) << "completed, but not sent";
  drain(*s, 20 + 8 + 8191);
  EXPECT_FALSE(s->wants_input());
  drain(*s);
  EXPECT_TRUE(s->wants_input());
  EXPECT_EQ(next().payload.size(), 512u);
  EXPECT_EQ(s->bytes_held(), 512u);
}

TEST_F(SessionTest, OneRequestIsAlwaysLetIn) {
  connect(true, {.bytes_max = 1});
  send(write(1, 0, pattern(100'000)));
  const NbdRequest r = next();
  EXPECT_EQ(r.length, 100'000u);
  s->complete(r.ticket, NbdError::kNone);
  EXPECT_EQ(s->bytes_held(), 0u);
}

TEST_F(SessionTest, AClientThatDoesNotReadItsAnswersIsNotReadFrom) {
  connect();
  const Bytes bad = request(NbdCommand::kCache, 1, 0, 512);
  size_t fed = 0;
  while (s->wants_input() && fed < (64u << 20)) fed += send(bad);
  EXPECT_LT(fed, 1u << 20);
  const auto r = answers();
  EXPECT_GT(r.size(), 100u);
  EXPECT_TRUE(s->wants_input());
}

TEST_F(SessionTest, AServerGoingDownAnswersOpenRequestsAndRefusesNewOnes) {
  connect();
  send(request(NbdCommand::kTrim, 1, 0, 512));
  s->shut_down();
  send(write(2, 0, pattern(512)));
  s->complete(next().ticket, NbdError::kNone);
  const auto r = answers();
  ASSERT_EQ(r.size(), 2u);
  EXPECT_EQ(r[0].error, NbdError::kEshutdown);
  EXPECT_EQ(r[1].error, NbdError::kNone);
}

}  // namespace
}  // namespace us
