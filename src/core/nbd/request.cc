#include "core/nbd/request.h"

namespace us {
namespace {

using Judgement = std::optional<NbdRefusal>;

uint16_t flags_allowed(NbdCommand command, const NbdAgreement& agreement) {
  switch (command) {
    case NbdCommand::kRead:
      // DF is advertised only with structured replies.
      return kNbdCmdFlagFua | (agreement.structured_replies ? kNbdCmdFlagDf : 0);
    case NbdCommand::kWriteZeroes:
      return kNbdCmdFlagFua | kNbdCmdFlagNoHole | kNbdCmdFlagFastZero;
    case NbdCommand::kBlockStatus:
      return kNbdCmdFlagFua | kNbdCmdFlagReqOne;
    default:
      return kNbdCmdFlagFua;  // "FUA is valid for all commands"
  }
}

bool writes(NbdCommand command) {
  return command == NbdCommand::kWrite || command == NbdCommand::kTrim || command == NbdCommand::kWriteZeroes;
}

Judgement judge_range(const NbdRequestHeader& h, const NbdExport& e) {
  if (h.length > e.size_bytes || h.offset > e.size_bytes - h.length) {
    // "Error values": ENOSPC for what would write there, EINVAL for the rest, TRIM included.
    const bool no_space = h.command == NbdCommand::kWrite || h.command == NbdCommand::kWriteZeroes;
    return NbdRefusal{no_space ? NbdError::kEnospc : NbdError::kEinval, "the range ends after the end of the disk"};
  }
  const uint64_t mask = e.block_bytes_min - 1;
  if ((h.offset & mask) != 0 || (h.length & mask) != 0)
    return NbdRefusal{NbdError::kEinval, "offset or length is no multiple of the minimum block size"};
  return std::nullopt;
}

Judgement judge_read(const NbdRequestHeader& h, const NbdAgreement& agreement, uint32_t payload_bytes_max) {
  if (h.length <= payload_bytes_max) return std::nullopt;
  // EOVERFLOW is documented for structured replies only.
  return NbdRefusal{agreement.structured_replies ? NbdError::kEoverflow : NbdError::kEinval,
                    "the length is over the maximum payload size"};
}

}  // namespace

std::optional<NbdRequestHeader> decode_request_header(const uint8_t* bytes) {
  if (load_be<uint32_t>(bytes) != kNbdRequestMagic) return std::nullopt;
  return NbdRequestHeader{.flags = load_be<uint16_t>(bytes + 4),
                          .command = static_cast<NbdCommand>(load_be<uint16_t>(bytes + 6)),
                          .cookie = load_be<uint64_t>(bytes + 8),
                          .offset = load_be<uint64_t>(bytes + 16),
                          .length = load_be<uint32_t>(bytes + 24)};
}

Judgement judge_request(const NbdRequestHeader& h, const NbdExport& e, const NbdAgreement& agreement,
                        uint32_t payload_bytes_max) {
  switch (h.command) {
    case NbdCommand::kRead:
    case NbdCommand::kWrite:
    case NbdCommand::kFlush:
    case NbdCommand::kTrim:
    case NbdCommand::kWriteZeroes:
    case NbdCommand::kBlockStatus:
      break;
    default:  // CACHE too: it is not advertised
      return NbdRefusal{NbdError::kEinval, "this command is not supported"};
  }
  if ((h.flags & ~flags_allowed(h.command, agreement)) != 0)
    return NbdRefusal{NbdError::kEinval, "a command flag does not go with this command"};
  if (writes(h.command) && e.read_only) return NbdRefusal{NbdError::kEperm, "the disk is read-only"};
  if (h.command == NbdCommand::kFlush) {
    if (h.offset == 0 && h.length == 0) return std::nullopt;
    return NbdRefusal{NbdError::kEinval, "FLUSH takes no range"};
  }
  if (h.command == NbdCommand::kBlockStatus && !agreement.allocation_context)
    return NbdRefusal{NbdError::kEinval, "no metadata context was selected"};
  if (const Judgement bad = judge_range(h, e)) return bad;
  if (h.command == NbdCommand::kRead) {
    if (const Judgement bad = judge_read(h, agreement, payload_bytes_max)) return bad;
  }
  if (h.command == NbdCommand::kWrite && h.length > payload_bytes_max)
    return NbdRefusal{NbdError::kEinval, "the length is over the maximum payload size"};
  // Unspecified by the document, except that it is no reason to disconnect.  An empty extent cannot be reported.
  if (h.length == 0)
    return NbdRefusal{h.command == NbdCommand::kBlockStatus ? NbdError::kEinval : NbdError::kNone,
                      "the range is empty"};
  return std::nullopt;
}

}  // namespace us
