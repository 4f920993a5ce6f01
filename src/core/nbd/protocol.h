// The numbers of the NBD protocol that this server speaks.
//
// Source: doc/proto.md of the NetworkBlockDevice/nbd repository, sections "Fixed newstyle negotiation", "Transmission"
// and "Values".  All integers on the wire are big endian.  The names are the document's without the NBD_ prefix.
#pragma once

#include <cstddef>
#include <cstdint>

namespace us {

// ---- magic numbers ----

inline constexpr uint64_t kNbdInitMagic = 0x4e42444d41474943;    // "NBDMAGIC"
inline constexpr uint64_t kNbdOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
inline constexpr uint64_t kNbdOptionReplyMagic = 0x0003e889045565a9;
inline constexpr uint32_t kNbdRequestMagic = 0x25609513;
inline constexpr uint32_t kNbdSimpleReplyMagic = 0x67446698;
inline constexpr uint32_t kNbdStructuredReplyMagic = 0x668e33ef;

// ---- sizes ----

inline constexpr size_t kNbdClientFlagsBytes = 4;
inline constexpr size_t kNbdOptionHeaderBytes = 16;
inline constexpr size_t kNbdRequestHeaderBytes = 28;
inline constexpr size_t kNbdSimpleReplyBytes = 16;
inline constexpr size_t kNbdChunkHeaderBytes = 20;
inline constexpr size_t kNbdStringBytesMax = 4096;          // "Values": strings
inline constexpr uint32_t kNbdPayloadBytesMax = 32u << 20;  // "Size constraints": what every server should accept
inline constexpr size_t kNbdExportNameZeroes = 124;         // after EXPORT_NAME, unless NO_ZEROES was agreed

// ---- handshake ----

inline constexpr uint16_t kNbdFlagFixedNewstyle = 1u << 0;
inline constexpr uint16_t kNbdFlagNoZeroes = 1u << 1;

enum class NbdOption : uint32_t {
  kExportName = 1,
  kAbort = 2,
  kList = 3,
  kStartTls = 5,
  kInfo = 6,
  kGo = 7,
  kStructuredReply = 8,
  kListMetaContext = 9,
  kSetMetaContext = 10,
};

enum class NbdOptionReply : uint32_t {
  kAck = 1,
  kServer = 2,
  kInfo = 3,
  kMetaContext = 4,
  kErrUnsup = (1u << 31) + 1,
  kErrInvalid = (1u << 31) + 3,
  kErrUnknown = (1u << 31) + 6,
  kErrShutdown = (1u << 31) + 7,
  kErrTooBig = (1u << 31) + 9,
};

enum class NbdInfo : uint16_t { kExport = 0, kName = 1, kDescription = 2, kBlockSize = 3 };

// Transmission flags, in the answer to EXPORT_NAME, INFO and GO.
inline constexpr uint16_t kNbdFlagHasFlags = 1u << 0;
inline constexpr uint16_t kNbdFlagReadOnly = 1u << 1;
inline constexpr uint16_t kNbdFlagSendFlush = 1u << 2;
inline constexpr uint16_t kNbdFlagSendFua = 1u << 3;
inline constexpr uint16_t kNbdFlagSendTrim = 1u << 5;
inline constexpr uint16_t kNbdFlagSendWriteZeroes = 1u << 6;
inline constexpr uint16_t kNbdFlagSendDf = 1u << 7;
inline constexpr uint16_t kNbdFlagCanMultiConn = 1u << 8;
inline constexpr uint16_t kNbdFlagSendFastZero = 1u << 11;

// ---- transmission ----

enum class NbdCommand : uint16_t {
  kRead = 0,
  kWrite = 1,
  kDisc = 2,
  kFlush = 3,
  kTrim = 4,
  kCache = 5,
  kWriteZeroes = 6,
  kBlockStatus = 7,
};

inline constexpr uint16_t kNbdCmdFlagFua = 1u << 0;
inline constexpr uint16_t kNbdCmdFlagNoHole = 1u << 1;
inline constexpr uint16_t kNbdCmdFlagDf = 1u << 2;
inline constexpr uint16_t kNbdCmdFlagReqOne = 1u << 3;
inline constexpr uint16_t kNbdCmdFlagFastZero = 1u << 4;

inline constexpr uint16_t kNbdReplyFlagDone = 1u << 0;

enum class NbdChunkType : uint16_t {
  kNone = 0,
  kOffsetData = 1,
  kOffsetHole = 2,
  kBlockStatus = 5,
  kError = (1u << 15) + 1,
};

// State flags of the context base:allocation.
inline constexpr uint32_t kNbdStateHole = 1u << 0;
inline constexpr uint32_t kNbdStateZero = 1u << 1;

// "Error values".  Everything else a disk can say is one of these to the client.
enum class NbdError : uint32_t {
  kNone = 0,
  kEperm = 1,
  kEio = 5,
  kEnomem = 12,
  kEinval = 22,
  kEnospc = 28,
  kEoverflow = 75,
  kEnotsup = 95,
  kEshutdown = 108,
};

}  // namespace us
