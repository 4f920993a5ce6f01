#include "core/tcp/relay_record.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/tcp/relay_sample.h"

namespace us {
namespace {

Bytes encoded(const RelayRecord& record) {
  Bytes bytes;
  ByteWriter out(bytes);
  encode(record, out);
  return bytes;
}

Result<RelayRecord> decoded(ByteSpan bytes) {
  ByteReader in(bytes);
  return decode_relay_record(in);
}

// The bytes as committed in test/golden/relay/.  A difference means that the protocol has changed.  US_GOLDEN_REWRITE=1
// in the environment writes the files anew.
void compare_with_golden(const std::string& name, const Bytes& bytes) {
  const auto path = std::filesystem::path(US_SOURCE_DIR) / "test/golden/relay" / (name + ".bin");
  if (std::getenv("US_GOLDEN_REWRITE") != nullptr) {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  std::ifstream in(path, std::ios::binary);
  EXPECT_EQ(Bytes(std::istreambuf_iterator<char>(in), {}), bytes) << path;
}

TEST(RelayRecord, EveryKindComesBackAsItWas) {
  for (const RelayRecord& record : relay_sample::records()) {
    const Bytes bytes = encoded(record);
    ByteReader in(bytes);
    const Result<RelayRecord> back = decode_relay_record(in);
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_TRUE(in.done());
    EXPECT_EQ(back->index(), record.index());
    EXPECT_EQ(encoded(*back), bytes);
  }
}

TEST(RelayRecord, AnIngressRecordNamesTheFinInItsRange) {
  const IngressRecord sent{1, FlowId(2), {SeqNum(10), SeqNum(16)}, true, relay_sample::kData};
  const Bytes bytes = encoded(sent);
  const auto back = std::get<IngressRecord>(*decoded(bytes));
  EXPECT_EQ(back.stored, sent.stored);
  EXPECT_TRUE(back.fin);
  EXPECT_EQ(Bytes(back.bytes.begin(), back.bytes.end()),
            Bytes(std::begin(relay_sample::kData), std::end(relay_sample::kData)));
}

TEST(RelayRecord, AFinMayComeAlone) {
  const Result<RelayRecord> back = decoded(encoded(IngressRecord{1, FlowId(2), {SeqNum(10), SeqNum(11)}, true, {}}));
  ASSERT_TRUE(back);
  EXPECT_EQ(std::get<IngressRecord>(*back).stored, (SeqRange{SeqNum(10), SeqNum(11)}));
}

TEST(RelayRecord, IsRefusedWhenTruncatedAnywhere) {
  for (const RelayRecord& record : relay_sample::records()) {
    const Bytes bytes = encoded(record);
    for (size_t n = 0; n < bytes.size(); ++n) {
      const auto cut = decoded(ByteSpan(bytes).first(n));
      ASSERT_FALSE(cut) << record.index() << " cut to " << n;
      EXPECT_EQ(cut.error().kind, ErrorKind::kProtocol);
    }
  }
}

TEST(RelayRecord, ThatIsEmptyOrTooLongIsRefused) {
  constexpr size_t kLengthAt = 16;
  const Bytes data(kRelayRecordBytesMax + 1);
  for (const RelayRecord& record :
       {RelayRecord(IngressRecord{1, FlowId(2), {SeqNum(10), SeqNum(15)}, false, relay_sample::kData}),
        RelayRecord(EgressRecord{1, FlowId(2), SeqNum(10), relay_sample::kData})}) {
    Bytes bytes = encoded(record);
    bytes.insert(bytes.end(), data.begin(), data.end());
    const auto with_length = [&bytes](uint32_t length) {
      store_le(bytes.data() + kLengthAt, length);
      return decoded(bytes).has_value();
    };
    EXPECT_TRUE(with_length(5));
    EXPECT_TRUE(with_length(kRelayRecordBytesMax));
    EXPECT_FALSE(with_length(kRelayRecordBytesMax + 1));
    EXPECT_FALSE(with_length(0));
  }
}

TEST(RelayRecord, OfAnUnknownKindOrWithUnknownFlagsIsRefused) {
  Bytes bytes = encoded(ClockBoundRecord{1, FlowId(2), 3});
  const auto with = [&bytes](size_t at, uint8_t value) {
    Bytes changed = bytes;
    changed[at] = value;
    return decoded(changed).has_value();
  };
  EXPECT_TRUE(with(0, 4));
  EXPECT_FALSE(with(0, 0));
  EXPECT_FALSE(with(0, 5));
  EXPECT_FALSE(with(2, 1)) << "only ingress has a FIN";
  EXPECT_FALSE(with(3, 1));
}

TEST(RelayRecord, IsEncodedAsCommitted) {
  Bytes all;
  for (const RelayRecord& record : relay_sample::records()) {
    const Bytes bytes = encoded(record);
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  compare_with_golden("records", all);
  compare_with_golden("cut", encode(relay_sample::cut()));
}

TEST(RelayCut, ComesBackAsItWas) {
  const Result<RelayCut> back = decode_relay_cut(encode(relay_sample::cut()));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, relay_sample::cut());
}

TEST(RelayCut, IsRefusedWhenTruncatedAnywhereOrWithBytesLeftOver) {
  Bytes bytes = encode(relay_sample::cut());
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(decode_relay_cut(ByteSpan(bytes).first(n))) << n;
  bytes.push_back(0);
  EXPECT_FALSE(decode_relay_cut(bytes));
}

TEST(RelayCut, WithMoreEntriesThanBytesIsRefusedBeforeMemoryIsTaken) {
  for (const size_t count_at : {10, 14}) {
    Bytes bytes = encode(relay_sample::cut());
    store_le(bytes.data() + count_at, uint32_t{0xffffffff});
    EXPECT_FALSE(decode_relay_cut(bytes));
  }
}

TEST(RelayCut, WithNicsOutOfOrderIsRefused) {
  RelayCut cut = relay_sample::cut();
  cut.nics[1].nic = 0;
  EXPECT_FALSE(decode_relay_cut(encode(cut)));
}

}  // namespace
}  // namespace us
