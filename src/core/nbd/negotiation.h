// NbdNegotiation: option haggling of the fixed newstyle handshake, server side.
//
// Source: doc/proto.md of NetworkBlockDevice/nbd, "Fixed newstyle negotiation", "Option types", "Metadata querying".
// The session cuts the stream into options; this class judges each and appends the reply.
//
//   client's flags ──► option … option ──► GO or EXPORT_NAME ──► transmission
//                                     └──► ABORT: acknowledged, then the end
//                                     └──► the end, where the document leaves no error reply
//
// An option that cannot be served is answered with an error reply and a sentence; the haggling goes on.  Served: see
// NbdOption, except STARTTLS, which is answered "unsupported" like everything unknown (the document's NOTLS mode).
// Pure, single-threaded; memory: a few flags.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "core/nbd/export.h"

namespace us {

// An option may carry this much; more is skipped and answered "too big".  A name and two queries of full length fit.
inline constexpr size_t kNbdOptionBytesMax = 12 * 1024 + 256;
// A client that haggles longer than this is hung up on.
inline constexpr uint32_t kNbdOptionsMax = 1024;

class NbdNegotiation {
 public:
  // `exports` outlives this object.
  explicit NbdNegotiation(const std::vector<NbdExport>& exports, uint32_t payload_bytes_max)
      : exports_(exports), payload_bytes_max_(payload_bytes_max) {}

  enum class Next : uint8_t {
    kOption,        // the client may send another
    kTransmission,  // agreement() holds
    kFarewell,      // send what is in `out`, then close
    kDisconnect,    // close at once
  };

  // The server's first words.
  void greet(Bytes& out) const;
  Next on_client_flags(uint32_t flags);
  Next on_option(uint32_t option, ByteSpan data, Bytes& out);
  // An option whose `length` is over kNbdOptionBytesMax; its data has been skipped.
  Next on_oversized_option(uint32_t option, uint32_t length, Bytes& out);

  // From now on every option but ABORT is refused: the server is going down.
  void shut_down() { shutting_down_ = true; }

  // The empty name means the only export.
  std::optional<size_t> find_export(std::string_view name) const;
  uint16_t transmission_flags(const NbdExport& e) const;
  const NbdAgreement& agreement() const { return agreement_; }

 private:
  Next export_name(ByteSpan data, Bytes& out);
  void list(ByteSpan data, Bytes& out);
  Next info_or_go(NbdOption option, ByteSpan data, Bytes& out);
  void structured_reply(ByteSpan data, Bytes& out);
  void meta_context(NbdOption option, ByteSpan data, Bytes& out);
  void agree_on(size_t export_index);

  const std::vector<NbdExport>& exports_;
  const uint32_t payload_bytes_max_;
  bool fixed_ = false;
  bool no_zeroes_ = false;
  bool shutting_down_ = false;
  uint32_t options_ = 0;
  std::optional<size_t> allocation_of_;  // the export for which base:allocation is selected
  NbdAgreement agreement_;
};

}  // namespace us
