// The answers of NbdSession: simple replies and structured reply chunks.
//
// Once structured replies are agreed on, READ, BLOCK_STATUS and every failure are answered with chunks, and the success
// of anything else with a simple reply, which is shorter ("Structured reply message").
#include <algorithm>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "core/nbd/session.h"

namespace us {
namespace {

ByteSpan as_bytes(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

Bytes simple_reply(uint64_t cookie, NbdError error) {
  Bytes out;
  ByteWriter w(out);
  w.be(kNbdSimpleReplyMagic);
  w.be(static_cast<uint32_t>(error));
  w.be(cookie);
  return out;
}

// An answer to READ in one piece, for DF.
std::vector<NbdPiece> join(const std::vector<NbdPiece>& pieces, uint32_t length) {
  NbdPiece whole{length, AlignedBuffer(length)};
  size_t at = 0;
  for (const NbdPiece& piece : pieces) {
    if (piece.data.empty())
      std::memset(whole.data.data() + at, 0, piece.length);
    else
      std::memcpy(whole.data.data() + at, piece.data.data(), piece.length);
    at += piece.length;
  }
  std::vector<NbdPiece> out;
  out.push_back(std::move(whole));
  return out;
}

}  // namespace

void NbdSession::reject(const NbdRequestHeader& h, const NbdRefusal& refusal) {
  reply_error(h.cookie, refusal.error, refusal.why, h.command == NbdCommand::kRead);
}

// `error` may be kNone: the success of a request without payload in its reply.
void NbdSession::reply_error(uint64_t cookie, NbdError error, std::string_view why, bool is_read) {
  if (phase_ == Phase::kBroken) return;
  if (!agreement().structured_replies || (error == NbdError::kNone && !is_read))
    return output_.append(simple_reply(cookie, error));
  if (error == NbdError::kNone) return chunk(cookie, NbdChunkType::kNone, 0, true, {});
  Bytes head;
  ByteWriter w(head);
  w.be(static_cast<uint32_t>(error));
  why = why.substr(0, kNbdStringBytesMax);
  w.be(static_cast<uint16_t>(why.size()));
  w.bytes(as_bytes(why));
  chunk(cookie, NbdChunkType::kError, head.size(), true, head);
}

// `length` is that of the payload, of which `head` is the first part.
void NbdSession::chunk(uint64_t cookie, NbdChunkType type, size_t length, bool last, ByteSpan head) {
  Bytes out;
  ByteWriter w(out);
  w.be(kNbdStructuredReplyMagic);
  w.be(static_cast<uint16_t>(last ? kNbdReplyFlagDone : 0));
  w.be(static_cast<uint16_t>(type));
  w.be(cookie);
  w.be(static_cast<uint32_t>(length));
  w.bytes(head);
  output_.append(out);
}

NbdSession::Open NbdSession::take_open(NbdTicket ticket) {
  const auto it = open_.find(ticket);
  US_CHECK(it != open_.end());
  const Open open = it->second;
  open_.erase(it);
  return open;
}

void NbdSession::complete(NbdTicket ticket, NbdError error, std::string_view why) {
  const Open open = take_open(ticket);
  const bool has_payload = open.command == NbdCommand::kRead || open.command == NbdCommand::kBlockStatus;
  US_CHECK(error != NbdError::kNone || !has_payload);
  if (open.command == NbdCommand::kRead || open.command == NbdCommand::kWrite) bytes_held_ -= open.length;
  reply_error(open.cookie, error, why, open.command == NbdCommand::kRead);
  if (blocked_) parse();
}

void NbdSession::complete_read(NbdTicket ticket, std::vector<NbdPiece> pieces) {
  const Open open = take_open(ticket);
  US_CHECK(open.command == NbdCommand::kRead);
  uint64_t total = 0;
  for (const NbdPiece& piece : pieces) {
    US_CHECK(piece.length > 0 && (piece.data.empty() || piece.data.size() == piece.length));
    total += piece.length;
  }
  US_CHECK(total == open.length);
  if (phase_ == Phase::kBroken)
    bytes_held_ -= open.length;
  else
    reply_read(open, std::move(pieces));
  if (blocked_) parse();
}

void NbdSession::reply_read(const Open& open, std::vector<NbdPiece> pieces) {
  const bool structured = agreement().structured_replies;
  if (!structured)
    output_.append(simple_reply(open.cookie, NbdError::kNone));
  else if ((open.flags & kNbdCmdFlagDf) != 0 && pieces.size() > 1)
    pieces = join(pieces, open.length);
  uint64_t offset = open.offset;
  for (NbdPiece& piece : pieces) {
    const bool last = &piece == &pieces.back();
    const bool hole = structured && piece.data.empty();
    if (structured) {
      Bytes head;
      ByteWriter w(head);
      w.be(offset);
      if (hole) w.be(piece.length);
      const auto type = hole ? NbdChunkType::kOffsetHole : NbdChunkType::kOffsetData;
      chunk(open.cookie, type, hole ? head.size() : head.size() + piece.length, last, head);
    }
    // What takes no memory in the output is paid back now, the rest once it has been sent.
    if (hole)
      bytes_held_ -= piece.length;
    else if (piece.data.empty())
      output_.append_zeroes(piece.length);
    else
      output_.append(std::move(piece.data));
    offset += piece.length;
  }
}

void NbdSession::complete_status(NbdTicket ticket, std::span<const NbdExtent> extents) {
  const Open open = take_open(ticket);
  US_CHECK(open.command == NbdCommand::kBlockStatus && !extents.empty());
  const bool one = (open.flags & kNbdCmdFlagReqOne) != 0;
  Bytes head;
  ByteWriter w(head);
  w.be(kNbdAllocationContextId);
  uint64_t left = open.length;  // only the last extent may reach past the request, and not at all with REQ_ONE
  for (const NbdExtent& extent : extents.first(std::min(extents.size(), one ? 1 : kNbdExtentsMax))) {
    US_CHECK(extent.length > 0);
    if (left == 0) break;
    const uint64_t length = std::min(extent.length, left);
    w.be(static_cast<uint32_t>(length));
    w.be(extent.state);
    left -= length;
  }
  if (phase_ != Phase::kBroken) chunk(open.cookie, NbdChunkType::kBlockStatus, head.size(), true, head);
  if (blocked_) parse();
}

}  // namespace us
