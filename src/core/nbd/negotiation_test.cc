#include "core/nbd/negotiation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/nbd/fake_client.h"

namespace us {
namespace {

using namespace nbd_client;
using Next = NbdNegotiation::Next;
using testing::ElementsAre;

constexpr uint32_t kPayloadMax = 1u << 20;

class NegotiationTest : public testing::Test {
 protected:
  NegotiationTest() { EXPECT_EQ(n.on_client_flags(kNbdFlagFixedNewstyle | kNbdFlagNoZeroes), Next::kOption); }

  Next send(NbdOption option, const Bytes& data = {}) {
    Bytes out;
    const Next next = n.on_option(static_cast<uint32_t>(option), data, out);
    raw = out;
    ByteReader in(raw);
    replies = option_replies(in);
    for (const OptionReply& reply : replies) EXPECT_EQ(reply.option, option);
    return next;
  }
  std::vector<NbdOptionReply> types() const {
    std::vector<NbdOptionReply> out;
    for (const OptionReply& reply : replies) out.push_back(reply.type);
    return out;
  }
  Bytes info(NbdInfo type) const {
    for (const OptionReply& r : replies)
      if (r.type == NbdOptionReply::kInfo && load_be<uint16_t>(r.data.data()) == static_cast<uint16_t>(type))
        return Bytes(r.data.begin() + 2, r.data.end());
    return {};
  }
  uint16_t flags_of_go() {
    send(NbdOption::kInfo, info_data("a"));
    return load_be<uint16_t>(info(NbdInfo::kExport).data() + 8);
  }

  std::vector<NbdExport> exports{
      {.name = "a", .description = "the disk", .size_bytes = 0x123456789a000, .block_bytes_min = 512},
      {.name = "b", .size_bytes = 4096, .read_only = true, .multi_connection = true}};
  NbdNegotiation n{exports, kPayloadMax};
  std::vector<OptionReply> replies;
  Bytes raw;
};

TEST_F(NegotiationTest, GreetsWithBothMagicsAndItsFlags) {
  Bytes out;
  n.greet(out);
  EXPECT_EQ(out, (Bytes{'N', 'B', 'D', 'M', 'A', 'G', 'I', 'C', 'I', 'H', 'A', 'V', 'E', 'O', 'P', 'T', 0, 3}));
}

TEST_F(NegotiationTest, AnUnknownClientFlagEndsTheConnection) {
  for (const uint32_t flags : {4u, 0x80000000u, 7u}) EXPECT_EQ(n.on_client_flags(flags), Next::kDisconnect) << flags;
}

TEST_F(NegotiationTest, WithoutFixedNewstyleOnlyExportNameIsServed) {
  n.on_client_flags(0);
  EXPECT_EQ(send(NbdOption::kList), Next::kDisconnect);
  EXPECT_TRUE(raw.empty());
  EXPECT_EQ(send(NbdOption::kExportName, text("a")), Next::kTransmission);
}

TEST_F(NegotiationTest, ExportNameIsAnsweredWithSizeFlagsAndZeroesUnlessTheyWereDeclined) {
  EXPECT_EQ(send(NbdOption::kExportName, text("b")), Next::kTransmission);
  const Bytes brief = raw;
  ASSERT_EQ(brief.size(), 10u);
  EXPECT_EQ(load_be<uint64_t>(brief.data()), 4096u);
  EXPECT_EQ(load_be<uint16_t>(brief.data() + 8),
            kNbdFlagHasFlags | kNbdFlagSendFlush | kNbdFlagSendFua | kNbdFlagReadOnly | kNbdFlagCanMultiConn);
  EXPECT_EQ(n.agreement().export_index, 1u);
  n.on_client_flags(kNbdFlagFixedNewstyle);
  send(NbdOption::kExportName, text("b"));
  EXPECT_EQ(raw.size(), 10u + 124u);
}

TEST_F(NegotiationTest, ExportNameOfAnUnknownExportHangsUp) {
  EXPECT_EQ(send(NbdOption::kExportName, text("c")), Next::kDisconnect);
  EXPECT_EQ(send(NbdOption::kExportName), Next::kDisconnect) << "two exports: there is no default";
  EXPECT_TRUE(raw.empty());
}

TEST_F(NegotiationTest, TheEmptyNameMeansTheOnlyExport) {
  exports.pop_back();
  EXPECT_EQ(send(NbdOption::kExportName), Next::kTransmission);
  EXPECT_EQ(send(NbdOption::kGo, info_data("")), Next::kTransmission);
}

TEST_F(NegotiationTest, ListNamesEveryExportThenAcknowledges) {
  EXPECT_EQ(send(NbdOption::kList), Next::kOption);
  ASSERT_THAT(types(), ElementsAre(NbdOptionReply::kServer, NbdOptionReply::kServer, NbdOptionReply::kAck));
  EXPECT_EQ(replies[0].data, (Bytes{0, 0, 0, 1, 'a', 't', 'h', 'e', ' ', 'd', 'i', 's', 'k'}));
  EXPECT_EQ(replies[1].data, (Bytes{0, 0, 0, 1, 'b'}));
  send(NbdOption::kList, Bytes(1));
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrInvalid));
}

TEST_F(NegotiationTest, AbortIsAcknowledgedEvenWithData) {
  EXPECT_EQ(send(NbdOption::kAbort, Bytes(3)), Next::kFarewell);
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kAck));
}

TEST_F(NegotiationTest, StartTlsAndUnknownOptionsAreUnsupported) {
  for (const uint32_t number : {5u, 4u, 11u, 0u, 0xffffffffu}) {
    EXPECT_EQ(send(static_cast<NbdOption>(number), Bytes(5)), Next::kOption);
    EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrUnsup));
    EXPECT_FALSE(replies[0].data.empty()) << "says why";
  }
}

TEST_F(NegotiationTest, InfoTellsWhatWasAskedAndStaysInTheHandshake) {
  using enum NbdInfo;
  EXPECT_EQ(send(NbdOption::kInfo, info_data("a", {kName, kDescription, kBlockSize, static_cast<NbdInfo>(77)})),
            Next::kOption);
  using enum NbdOptionReply;
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kInfo, NbdOptionReply::kInfo, NbdOptionReply::kInfo,
                                   NbdOptionReply::kInfo, kAck));
  const Bytes e = info(kExport);
  ASSERT_EQ(e.size(), 10u);
  EXPECT_EQ(load_be<uint64_t>(e.data()), 0x123456789a000u);
  EXPECT_EQ(info(NbdInfo::kName), text("a"));
  EXPECT_EQ(info(kDescription), text("the disk"));
  EXPECT_EQ(info(kBlockSize), (Bytes{0, 0, 2, 0, 0, 0, 16, 0, 0, 16, 0, 0}));
}

TEST_F(NegotiationTest, GoEntersTransmissionAndInfoOfTheExportAloneIsEnough) {
  EXPECT_EQ(send(NbdOption::kGo, info_data("b")), Next::kTransmission);
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kInfo, NbdOptionReply::kAck));
  EXPECT_EQ(n.agreement().export_index, 1u);
  EXPECT_FALSE(n.agreement().structured_replies);
}

TEST_F(NegotiationTest, GoWithAnUnknownNameIsAnsweredAndTheClientMayTryAgain) {
  EXPECT_EQ(send(NbdOption::kGo, info_data("c")), Next::kOption);
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrUnknown));
  EXPECT_EQ(send(NbdOption::kGo, info_data("a")), Next::kTransmission);
}

TEST_F(NegotiationTest, MalformedInfoAndGoAreInvalidAtEveryTruncation) {
  const Bytes whole = info_data("a", {NbdInfo::kName, NbdInfo::kBlockSize});
  for (const NbdOption option : {NbdOption::kInfo, NbdOption::kGo}) {
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_EQ(send(option, Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size))), Next::kOption);
      EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrInvalid)) << size;
    }
    Bytes longer = whole;
    longer.push_back(0);
    send(option, longer);
    EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrInvalid));
  }
}

TEST_F(NegotiationTest, ANameLongerThanAStringMayBeIsInvalid) {
  send(NbdOption::kInfo, info_data(std::string(kNbdStringBytesMax, 'x')));
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrUnknown));
  send(NbdOption::kInfo, info_data(std::string(kNbdStringBytesMax + 1, 'x')));
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrInvalid));
}

TEST_F(NegotiationTest, StructuredRepliesAreAgreedOnOnceAndBringDf) {
  EXPECT_EQ(flags_of_go() & kNbdFlagSendDf, 0);
  send(NbdOption::kStructuredReply, Bytes(1));
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrInvalid));
  send(NbdOption::kStructuredReply);
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kAck));
  EXPECT_NE(flags_of_go() & kNbdFlagSendDf, 0);
  send(NbdOption::kStructuredReply);
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrInvalid));
  EXPECT_TRUE(n.agreement().structured_replies);
}

TEST_F(NegotiationTest, AWritableExportOffersTrimAndZeroes) {
  EXPECT_EQ(flags_of_go(), kNbdFlagHasFlags | kNbdFlagSendFlush | kNbdFlagSendFua | kNbdFlagSendTrim |
                               kNbdFlagSendWriteZeroes | kNbdFlagSendFastZero);
}

TEST_F(NegotiationTest, MetaContextsNeedStructuredReplies) {
  for (const NbdOption option : {NbdOption::kListMetaContext, NbdOption::kSetMetaContext}) {
    send(option, meta_data("a", {"base:allocation"}));
    EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrInvalid));
  }
}

TEST_F(NegotiationTest, ListsBaseAllocationForItsNameTheWildcardAndNoQuery) {
  send(NbdOption::kStructuredReply);
  for (const std::vector<std::string>& queries :
       {std::vector<std::string>{}, {"base:"}, {"x:y", "base:allocation"}, {"base:", "base:allocation"}}) {
    send(NbdOption::kListMetaContext, meta_data("a", queries));
    ASSERT_THAT(types(), ElementsAre(NbdOptionReply::kMetaContext, NbdOptionReply::kAck));
    Bytes expected(4);
    append(expected, text("base:allocation"));
    EXPECT_EQ(replies[0].data, expected);
  }
  for (const std::string query : {"base:other", "qemu:allocation", "x:"}) {
    send(NbdOption::kListMetaContext, meta_data("a", {query}));
    EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kAck)) << query;
  }
  send(NbdOption::kSetMetaContext, meta_data("a", {}));
  send(NbdOption::kGo, info_data("a"));
  EXPECT_FALSE(n.agreement().allocation_context) << "listing selects nothing";
}

TEST_F(NegotiationTest, SetSelectsByNameOnly) {
  send(NbdOption::kStructuredReply);
  for (const std::vector<std::string>& queries : {std::vector<std::string>{}, {"base:"}, {"base:other"}}) {
    send(NbdOption::kSetMetaContext, meta_data("a", queries));
    EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kAck));
  }
  send(NbdOption::kSetMetaContext, meta_data("a", {"base:allocation"}));
  ASSERT_THAT(types(), ElementsAre(NbdOptionReply::kMetaContext, NbdOptionReply::kAck));
  EXPECT_EQ(load_be<uint32_t>(replies[0].data.data()), kNbdAllocationContextId);
  send(NbdOption::kGo, info_data("a"));
  EXPECT_TRUE(n.agreement().allocation_context);
}

TEST_F(NegotiationTest, AContextOfAnotherExportIsNotForThisOne) {
  send(NbdOption::kStructuredReply);
  send(NbdOption::kSetMetaContext, meta_data("a", {"base:allocation"}));
  send(NbdOption::kGo, info_data("b"));
  EXPECT_FALSE(n.agreement().allocation_context);
}

TEST_F(NegotiationTest, AFailedSetForgetsWhatWasSelectedBefore) {
  send(NbdOption::kStructuredReply);
  const Bytes good = meta_data("a", {"base:allocation"});
  for (int how = 0; how < 3; ++how) {
    send(NbdOption::kSetMetaContext, good);
    Bytes out;
    if (how == 0) send(NbdOption::kSetMetaContext, Bytes(1));
    if (how == 1) send(NbdOption::kSetMetaContext, meta_data("c", {"base:allocation"}));
    if (how == 2) n.on_oversized_option(10, kNbdOptionBytesMax + 1, out);
    send(NbdOption::kGo, info_data("a"));
    EXPECT_FALSE(n.agreement().allocation_context) << how;
  }
}

TEST_F(NegotiationTest, MalformedMetaOptionsAreInvalidAtEveryTruncation) {
  send(NbdOption::kStructuredReply);
  const Bytes whole = meta_data("a", {"base:allocation", "x:y"});
  for (size_t size = 0; size < whole.size(); ++size) {
    send(NbdOption::kSetMetaContext, Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)));
    EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrInvalid)) << size;
  }
  send(NbdOption::kSetMetaContext, meta_data("a", {"no namespace"}));
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrInvalid));
  send(NbdOption::kListMetaContext, meta_data("c", {}));
  EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrUnknown));
}

TEST_F(NegotiationTest, AnOversizedOptionIsTooBigOrUnsupportedAndExportNameHangsUp) {
  const auto reply_to = [&](uint32_t number, Next expected) {
    Bytes out;
    EXPECT_EQ(n.on_oversized_option(number, kNbdOptionBytesMax + 1, out), expected) << number;
    ByteReader in(out);
    const auto r = option_replies(in);
    return r.empty() ? NbdOptionReply{} : r[0].type;
  };
  for (const uint32_t number : {3u, 6u, 7u, 8u, 9u, 10u})
    EXPECT_EQ(reply_to(number, Next::kOption), NbdOptionReply::kErrTooBig);
  EXPECT_EQ(reply_to(5, Next::kOption), NbdOptionReply::kErrUnsup);
  EXPECT_EQ(reply_to(99, Next::kOption), NbdOptionReply::kErrUnsup);
  EXPECT_EQ(reply_to(2, Next::kFarewell), NbdOptionReply::kAck);
  reply_to(1, Next::kDisconnect);
}

TEST_F(NegotiationTest, AServerGoingDownRefusesAllButAbort) {
  n.shut_down();
  for (const NbdOption option : {NbdOption::kList, NbdOption::kGo, NbdOption::kStructuredReply}) {
    EXPECT_EQ(send(option), Next::kOption);
    EXPECT_THAT(types(), ElementsAre(NbdOptionReply::kErrShutdown));
  }
  EXPECT_EQ(send(NbdOption::kExportName, text("a")), Next::kDisconnect);
  EXPECT_EQ(send(NbdOption::kAbort), Next::kFarewell);
}

TEST_F(NegotiationTest, EndlessHagglingIsCutOff) {
  for (uint32_t i = 0; i < kNbdOptionsMax; ++i) ASSERT_EQ(send(NbdOption::kList), Next::kOption);
  EXPECT_EQ(send(NbdOption::kList), Next::kDisconnect);
}

}  // namespace
}  // namespace us
