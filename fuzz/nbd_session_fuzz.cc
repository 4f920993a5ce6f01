// The NBD server's session against hostile bytes.
//
// The first byte picks limits and whether the handshake is done for the fuzzer; then come slices of one length byte
// each (0: the client reads all answers).  The disk is an array; requests are completed in an order drawn from the
// input's length.  Checked: the limits hold, requests are within the disk and well-formed, nothing hangs, and every
// open request can still be completed after the end.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "core/nbd/fake_client.h"
#include "core/nbd/session.h"

using namespace us;

namespace {

constexpr uint64_t kDiskBytes = 1 << 20;

void judge(const NbdRequest& r) {
  US_CHECK(r.length <= kDiskBytes && r.offset <= kDiskBytes - r.length);
  US_CHECK((r.length > 0) == (r.command != NbdCommand::kFlush));
  US_CHECK(r.payload.size() == (r.command == NbdCommand::kWrite ? r.length : 0));
}

void complete(NbdSession& session, const NbdRequest& r) {
  if (r.offset % 7 == 3) return session.complete(r.ticket, NbdError::kEio, "fuzz");
  if (r.command == NbdCommand::kRead) {
    std::vector<NbdPiece> pieces;
    const uint32_t hole = r.length / 2;
    if (hole > 0) pieces.push_back({hole, {}});
    pieces.push_back({r.length - hole, AlignedBuffer::zeroed(r.length - hole)});
    return session.complete_read(r.ticket, std::move(pieces));
  }
  if (r.command == NbdCommand::kBlockStatus) {
    const NbdExtent extents[] = {{1 + r.offset % 4096, kNbdStateHole}, {kDiskBytes, 0}};
    return session.complete_status(r.ticket, extents);
  }
  session.complete(r.ticket, NbdError::kNone);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t how = data[0];
  NbdLimits limits;
  if ((how & 1) != 0) limits = {.requests_max = 2, .bytes_max = 4096, .payload_bytes_max = 65536};
  NbdSession session({{.name = "d", .size_bytes = kDiskBytes, .block_bytes_min = (how & 2) != 0 ? 512u : 1u},
                      {.name = "e", .size_bytes = 4096, .read_only = true}},
                     limits);
  if ((how & 4) != 0) {
    nbd_client::feed(session, nbd_client::flags());
    if ((how & 8) != 0) nbd_client::feed(session, nbd_client::option(NbdOption::kStructuredReply));
    nbd_client::feed(session,
                     nbd_client::option(NbdOption::kSetMetaContext, nbd_client::meta_data("d", {"base:allocation"})));
    nbd_client::feed(session, nbd_client::go("d"));
  }
  std::vector<NbdRequest> waiting;
  Rng rng(size);
  const auto collect = [&] {
    while (auto request = session.poll_request()) {
      judge(*request);
      waiting.push_back(std::move(*request));
    }
  };
  const auto complete_some = [&](bool all) {
    while (!waiting.empty() && (all || rng.chance(0.6))) {
      const size_t i = rng.below(waiting.size());
      std::swap(waiting[i], waiting.back());
      const NbdRequest r = std::move(waiting.back());
      waiting.pop_back();
      complete(session, r);
      collect();
    }
  };
  ByteReader in(ByteSpan(data + 1, size - 1));
  while (in.remaining() > 0 && !session.finished()) {
    const size_t slice = std::min<size_t>(in.le<uint8_t>(), in.remaining());
    if (slice == 0) nbd_client::drain(session);
    nbd_client::feed(session, in.bytes(slice));
    collect();
    complete_some(false);
    US_CHECK(session.open_requests() <= limits.requests_max);
    US_CHECK(session.bytes_held() <= std::max<uint64_t>(limits.bytes_max, limits.payload_bytes_max));
  }
  session.end_of_input();
  do {
    complete_some(true);
    nbd_client::drain(session);
    collect();
  } while (!waiting.empty());
  US_CHECK(session.finished());
  return 0;
}
