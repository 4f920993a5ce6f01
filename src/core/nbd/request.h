// NbdRequest: one command of the transmission phase, and the judgement of its header.
//
// Source: doc/proto.md of NetworkBlockDevice/nbd, "Request message", "Request types", "Command flags", "Error values".
#pragma once

#include <optional>
#include <string_view>

#include "base/aligned_buffer.h"
#include "base/strong.h"
#include "core/nbd/export.h"

namespace us {

// Names a request between session and owner.  (The client's cookie does not: nothing stops it from using one twice.)
using NbdTicket = Strong<struct NbdTicketTag>;

struct NbdRequestHeader {
  uint16_t flags = 0;  // kNbdCmdFlag…
  NbdCommand command = NbdCommand::kRead;
  uint64_t cookie = 0;
  uint64_t offset = 0;
  uint32_t length = 0;
};

// What the owner gets: within the export, aligned, permitted, of a served command and with flags that go with it.
struct NbdRequest {
  NbdTicket ticket;
  NbdCommand command = NbdCommand::kRead;  // kRead, kWrite, kFlush, kTrim, kWriteZeroes or kBlockStatus
  uint64_t offset = 0;
  uint32_t length = 0;    // not 0, except that of kFlush
  AlignedBuffer payload;  // of kWrite: `length` bytes

  bool fua = false;         // what it wrote is to be durable before it is answered
  bool may_unmap = false;   // kWriteZeroes, kTrim: a hole will do
  bool fast_only = false;   // kWriteZeroes: answer ENOTSUP at once unless it is faster than writing zeroes
  bool one_extent = false;  // kBlockStatus
};

// Why a request is answered without asking the owner.
struct NbdRefusal {
  NbdError error;
  std::string_view why;  // a sentence for the client's user
};

// From kNbdRequestHeaderBytes bytes; nullopt: not the magic number of a request.
std::optional<NbdRequestHeader> decode_request_header(const uint8_t* bytes);

// nullopt: the owner shall answer it.  kDisc is the session's business and not judged here.
std::optional<NbdRefusal> judge_request(const NbdRequestHeader& header, const NbdExport& e,
                                        const NbdAgreement& agreement, uint32_t payload_bytes_max);

}  // namespace us
