// Properties of NbdSession: how the bytes are cut into slices makes no difference; what the client reads back is what a
// plain array of bytes says.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

#include "base/rng.h"
#include "core/nbd/fake_client.h"
#include "core/nbd/session.h"

namespace us {
namespace {

using namespace nbd_client;

constexpr uint32_t kDiskBytes = 64 * 1024;

// A server over an array, at which requests are completed in an order drawn from a seed.
class ArrayServer {
 public:
  explicit ArrayServer(NbdLimits limits = {}, uint64_t seed = 1)
      : rng_(seed), session({{.name = "d", .size_bytes = kDiskBytes}}, limits) {}

  // Everything the client gets back.
  Bytes run(ByteSpan in, size_t slice, bool reorder) {
    Bytes out;
    size_t at = 0;
    do {
      const size_t n = feed(session, in.subspan(at, std::min(slice, in.size() - at)));
      at += n;
      collect();
      if (!reorder || rng_.chance(0.5) || n == 0) serve(reorder);
      append(out, drain(session));
      collect();  // what had to wait for room
    } while ((at < in.size() || !waiting_.empty()) && !session.finished());
    return out;
  }

  Bytes disk = Bytes(kDiskBytes);

 private:
  void collect() {
    while (auto request = session.poll_request()) waiting_.push_back(std::move(*request));
  }
  void serve(bool reorder) {
    while (!waiting_.empty()) {
      const auto i = static_cast<ptrdiff_t>(reorder ? rng_.below(waiting_.size()) : 0);
      const NbdRequest r = std::move(waiting_[static_cast<size_t>(i)]);
      waiting_.erase(waiting_.begin() + i);
      execute(r);
      if (reorder && rng_.chance(0.3)) return;
    }
  }
  void execute(const NbdRequest& r) {
    const auto at = disk.begin() + static_cast<ptrdiff_t>(r.offset);
    if (r.command == NbdCommand::kRead) {
      std::vector<NbdPiece> pieces;
      pieces.push_back({r.length, AlignedBuffer::copy_of(ByteSpan(disk).subspan(r.offset, r.length))});
      return session.complete_read(r.ticket, std::move(pieces));
    }
    if (r.command == NbdCommand::kBlockStatus) {
      const NbdExtent extent{r.length, 0};
      return session.complete_status(r.ticket, {&extent, 1});
    }
    if (r.command == NbdCommand::kWrite) std::ranges::copy(r.payload.span(), at);
    if (r.command == NbdCommand::kWriteZeroes) std::fill_n(at, r.length, uint8_t{0});
    session.complete(r.ticket, NbdError::kNone);
  }

  Rng rng_;
  std::vector<NbdRequest> waiting_;

 public:
  NbdSession session;
};

Bytes handshake() {
  Bytes out = flags();
  append(out, option(NbdOption::kList));
  append(out, option(static_cast<NbdOption>(99), Bytes(13'000)));
  append(out, option(NbdOption::kStructuredReply));
  append(out, option(NbdOption::kSetMetaContext, meta_data("d", {"base:allocation"})));
  append(out, go("d", {NbdInfo::kBlockSize, NbdInfo::kName}));
  return out;
}

Bytes random_conversation(Rng& rng) {
  Bytes out = handshake();
  for (uint64_t i = 0; i < 60; ++i) {
    const uint64_t offset = rng.below(kDiskBytes + 100);
    const auto length = static_cast<uint32_t>(rng.below(400));
    const auto flags = static_cast<unsigned>(rng.chance(0.2) ? rng.below(32) : 0);
    const auto command = static_cast<NbdCommand>(rng.below(9));
    if (command == NbdCommand::kDisc) continue;
    Bytes payload(command == NbdCommand::kWrite ? length : 0, static_cast<uint8_t>(i + 1));
    append(out, request(command, i, offset, length, flags, payload));
  }
  return out;
}

// The output with its replies in the order of their cookies: what is refused is answered at once, the rest later.
Bytes in_order(const Bytes& output) {
  static const size_t kGreeting = ArrayServer().run(handshake(), SIZE_MAX, false).size();
  const auto middle = output.begin() + static_cast<ptrdiff_t>(std::min(kGreeting, output.size()));
  std::vector<Reply> sorted = replies(Bytes(middle, output.end()));
  std::ranges::stable_sort(sorted, {}, &Reply::cookie);
  Bytes out(output.begin(), middle);
  for (const Reply& r : sorted) {
    ByteWriter w(out);
    w.le(r.cookie);
    w.le(static_cast<uint32_t>(r.type));
    w.le(static_cast<uint32_t>(r.error));
    w.le(static_cast<uint32_t>(r.done));
    append(out, r.payload);
  }
  return out;
}

TEST(NbdSessionProperty, TheAnswersAreTheSameWhereverTheInputIsSplit) {
  Rng rng(7);
  const Bytes in = random_conversation(rng);
  const Bytes expected = in_order(ArrayServer().run(in, in.size(), false));
  ASSERT_GT(expected.size(), 3000u);
  // Inside the long unknown option every 97th place will do.
  for (size_t split = 0; split <= in.size(); split += split > 300 && split < 13'000 ? 97 : 1) {
    ArrayServer server;
    Bytes out = server.run(ByteSpan(in).first(split), SIZE_MAX, false);
    append(out, server.run(ByteSpan(in).subspan(split), SIZE_MAX, false));
    ASSERT_EQ(in_order(out), expected) << split;
  }
  EXPECT_EQ(in_order(ArrayServer().run(in, 1, false)), expected);
}

RC_GTEST_PROP(NbdSessionProperty, SlicesAndTightLimitsMakeNoDifference, (uint64_t seed)) {
  Rng rng(seed);
  const Bytes in = random_conversation(rng);
  ArrayServer whole;
  const Bytes expected = in_order(whole.run(in, SIZE_MAX, false));
  ArrayServer tight({.requests_max = 1 + static_cast<uint32_t>(rng.below(3)), .bytes_max = 1 + rng.below(4000)});
  RC_ASSERT((in_order(tight.run(in, 1 + rng.below(5000), false)) == expected));
  RC_ASSERT((tight.disk == whole.disk));
  RC_ASSERT(tight.session.bytes_held() == 0u);
  RC_ASSERT(tight.session.open_requests() == 0u);
}

RC_GTEST_PROP(NbdSessionProperty, EveryRequestIsAnsweredOnceInWhateverOrderTheDiskIsDone, (uint64_t seed)) {
  Rng rng(seed);
  Bytes in = handshake();
  constexpr uint64_t kRequests = 40;
  for (uint64_t i = 0; i < kRequests; ++i) {
    const Bytes payload(1 + rng.below(600), 3);
    append(in, rng.chance(0.5) ? write(i, rng.below(kDiskBytes), payload)
                               : request(NbdCommand::kRead, i, rng.below(kDiskBytes), 100));
  }
  ArrayServer server({}, seed);
  const size_t greeting = ArrayServer().run(handshake(), SIZE_MAX, false).size();
  Bytes out = server.run(in, 1 + rng.below(900), true);
  out.erase(out.begin(), out.begin() + static_cast<ptrdiff_t>(greeting));
  std::map<uint64_t, int> seen;
  for (const Reply& reply : replies(out))
    if (reply.done) ++seen[reply.cookie];
  RC_ASSERT(seen.size() == kRequests);
  for (const auto& [cookie, times] : seen) RC_ASSERT(times == 1);
}

RC_GTEST_PROP(NbdSessionProperty, DamagedInputNeverHangsNorGrows, (uint64_t seed)) {
  Rng rng(seed);
  Bytes in = random_conversation(rng);
  for (int i = 0; i < 8; ++i) in[rng.below(in.size())] = static_cast<uint8_t>(rng.next());
  ArrayServer server({.requests_max = 4, .bytes_max = 8192}, seed);
  server.run(in, 1 + rng.below(2000), true);
  RC_ASSERT(server.session.bytes_held() <= 8192u + kNbdPayloadBytesMax);
}

}  // namespace
}  // namespace us
