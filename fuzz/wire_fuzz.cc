// Replication stream and heartbeats against hostile bytes.  Seeds: test/golden/wire.
//
// The input is taken as a stream of frames twice: as it is, and with magic, version, length and checksum of each frame
// mended, so that the fuzzer gets past them to the messages.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "core/memory/audit_judge.h"
#include "core/memory/copy_audit.h"
#include "core/replica/frame_epoch.h"
#include "core/replica/frame_parser.h"
#include "core/replica/wire.h"
#include "core/replica/wire_heartbeat.h"

using namespace us;

namespace {

Bytes mended(ByteSpan in) {
  Bytes out;
  while (in.size() >= kFrameHeaderBytes) {
    const size_t length = std::min<size_t>(load_le<uint32_t>(in.data() + 8), in.size() - kFrameHeaderBytes);
    const size_t at = out.size();
    out.insert(out.end(), in.begin(), in.begin() + static_cast<ptrdiff_t>(kFrameHeaderBytes + length));
    uint8_t* header = out.data() + at;
    store_le(header, kFrameMagic);
    store_le(header + 4, kProtocolVersionMax);
    store_le(header + 8, static_cast<uint32_t>(length));
    store_le(header + 12, frame_checksum(header, {header + kFrameHeaderBytes, length}));
    in = in.subspan(kFrameHeaderBytes + length);
  }
  return out;
}

class NullSink : public PageSink {
 public:
  void apply(PageIndex page, PageSpan) override { US_CHECK(page.value() < kRamPages); }
  void apply_zero(PageIndex first, uint64_t count) override { US_CHECK(first.value() + count <= kRamPages); }
  static constexpr uint64_t kRamPages = 4096;
};

// Both halves of an audit, of a RAM of two regions and a bit, fed with whatever comes.
class Audits {
 public:
  Audits() : ram_(kPages * kPageSize), audit_(ram_.data(), kPages) {
    auto hashes = std::make_unique<RamHashes>(kPages);
    hashes->hash(ram_.data(), 0, kPages);
    judge_.emplace(Epoch{}, std::move(hashes));
  }
  void on_message(const Message& message) {
    if (const auto* digests = std::get_if<AuditDigests>(&message)) {
      (void)audit_.on_digests(digests->epoch, digests->epoch, digests->regions, digests->first, digests->digests);
      audit_.before_write(PageIndex{digests->first % kPages});
      audit_.step(kPages);
      while (audit_.poll_region()) {
      }
      (void)audit_.poll_verdict();
    } else if (const auto* region = std::get_if<AuditRegion>(&message)) {
      (void)judge_->on_region(region->epoch, region->region, region->hashes);
    } else if (const auto* end = std::get_if<AuditEnd>(&message)) {
      (void)judge_->on_end(end->epoch, end->pages, end->regions_differ);
    }
  }

 private:
  static constexpr uint64_t kPages = 2 * kAuditRegionPages + 3;
  Bytes ram_;
  CopyAudit audit_;
  std::optional<AuditJudge> judge_;
};

void run_stream(ByteSpan in, size_t slice, bool established) {
  FrameParser parser;
  if (established) parser.establish(kProtocolVersionMax);
  StagedEpoch staged(NullSink::kRamPages, 16 << 20);
  std::optional<Audits> audits;
  const auto each = [&staged, &audits](const Frame& frame) -> Status {
    US_ASSIGN(const Message message, decode(frame));
    const Bytes again = encode(message);
    US_CHECK(std::equal(frame.payload.begin(), frame.payload.end(), again.begin() + kFrameHeaderBytes, again.end()));
    if (frame_type_since(frame.type) == kAuditVersion) {
      if (!audits) audits.emplace();
      audits->on_message(message);
    }
    (void)stage_epoch_message(staged, message, frame.checksum);
    if (staged.whole()) {
      NullSink sink;
      staged.apply_to(sink);
      staged.clear();
    }
    return {};
  };
  while (!in.empty()) {
    const size_t n = std::min(slice, in.size());
    if (!parse_frames(parser, in.first(n), each)) return;
    in = in.subspan(n);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteSpan in(data, size);
  const size_t slice = size == 0 ? 1 : 1 + data[size - 1];
  run_stream(in, slice, false);
  run_stream(in, slice, true);
  run_stream(mended(in), slice, true);
  if (const auto heartbeat = decode_heartbeat(in)) {
    const auto again = encode_heartbeat(*heartbeat);
    US_CHECK(std::equal(in.begin(), in.end(), again.begin(), again.end()));
  }
  return 0;
}
