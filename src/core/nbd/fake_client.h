// The client's side of NBD, for tests and fuzz seeds: bytes of options and requests, and a reader of what comes back.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "core/nbd/protocol.h"
#include "core/nbd/session.h"

namespace us::nbd_client {

inline void append(Bytes& to, const Bytes& bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }
inline Bytes text(std::string_view s) { return Bytes(s.begin(), s.end()); }

inline Bytes flags(uint32_t value = kNbdFlagFixedNewstyle | kNbdFlagNoZeroes) {
  Bytes out;
  ByteWriter(out).be(value);
  return out;
}

inline Bytes option_header(uint32_t number, uint32_t length) {
  Bytes out;
  ByteWriter w(out);
  w.be(kNbdOptionMagic);
  w.be(number);
  w.be(length);
  return out;
}

inline Bytes option(NbdOption number, const Bytes& data = {}) {
  Bytes out = option_header(static_cast<uint32_t>(number), static_cast<uint32_t>(data.size()));
  append(out, data);
  return out;
}

inline Bytes info_data(std::string_view name, std::vector<NbdInfo> wanted = {}) {
  Bytes out;
  ByteWriter w(out);
  w.be(static_cast<uint32_t>(name.size()));
  append(out, text(name));
  w.be(static_cast<uint16_t>(wanted.size()));
  for (const NbdInfo info : wanted) w.be(static_cast<uint16_t>(info));
  return out;
}
inline Bytes go(std::string_view name = "", std::vector<NbdInfo> wanted = {}) {
  return option(NbdOption::kGo, info_data(name, std::move(wanted)));
}

inline Bytes meta_data(std::string_view name, std::vector<std::string> queries) {
  Bytes out;
  ByteWriter w(out);
  w.be(static_cast<uint32_t>(name.size()));
  append(out, text(name));
  w.be(static_cast<uint32_t>(queries.size()));
  for (const std::string& query : queries) {
    w.be(static_cast<uint32_t>(query.size()));
    append(out, text(query));
  }
  return out;
}

inline Bytes request(NbdCommand command, uint64_t cookie, uint64_t offset, uint32_t length, unsigned flags = 0,
                     const Bytes& payload = {}) {
  Bytes out;
  ByteWriter w(out);
  w.be(kNbdRequestMagic);
  w.be(static_cast<uint16_t>(flags));
  w.be(static_cast<uint16_t>(command));
  w.be(cookie);
  w.be(offset);
  w.be(length);
  append(out, payload);
  return out;
}
inline Bytes write(uint64_t cookie, uint64_t offset, const Bytes& payload, unsigned flags = 0) {
  return request(NbdCommand::kWrite, cookie, offset, static_cast<uint32_t>(payload.size()), flags, payload);
}

// Feeds as much as the session wants, in slices of at most `slice`; returns how much that was.
inline size_t feed(NbdSession& session, ByteSpan bytes, size_t slice = SIZE_MAX) {
  size_t at = 0;
  while (at < bytes.size() && session.wants_input()) {
    const auto room = session.room();
    const size_t n = std::min({room.size(), bytes.size() - at, slice});
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at), n, room.begin());
    session.filled(n);
    at += n;
  }
  return at;
}

// Takes at most `limit` bytes of output, in odd pieces.
inline Bytes drain(NbdSession& session, size_t limit = SIZE_MAX) {
  Bytes out;
  std::vector<ByteSpan> pieces;
  while (session.has_output() && out.size() < limit) {
    session.gather(pieces, 3);
    size_t n = 0;
    for (const ByteSpan piece : pieces) {
      const size_t take = std::min(piece.size(), limit - out.size());
      out.insert(out.end(), piece.begin(), piece.begin() + static_cast<ptrdiff_t>(take));
      n += take;
    }
    session.sent(n);
  }
  return out;
}

struct OptionReply {
  NbdOption option{};
  NbdOptionReply type{};
  Bytes data;
};

// Whole option replies at the front of `in`.
inline std::vector<OptionReply> option_replies(ByteReader& in) {
  std::vector<OptionReply> out;
  while (in.remaining() > 0) {
    if (in.be<uint64_t>() != kNbdOptionReplyMagic) return {};
    OptionReply reply{static_cast<NbdOption>(in.be<uint32_t>()), static_cast<NbdOptionReply>(in.be<uint32_t>()), {}};
    const ByteSpan data = in.bytes(in.be<uint32_t>());
    if (!in.ok()) return {};
    reply.data.assign(data.begin(), data.end());
    out.push_back(std::move(reply));
  }
  return out;
}

struct Reply {
  bool structured = false;
  bool done = true;
  NbdChunkType type = NbdChunkType::kNone;
  NbdError error = NbdError::kNone;
  uint64_t cookie = 0;
  Bytes payload;  // of a chunk, whole
};

// Simple replies (none of which is to a successful READ) and chunks.
inline std::vector<Reply> replies(const Bytes& bytes) {
  std::vector<Reply> out;
  ByteReader in(bytes);
  while (in.remaining() > 0) {
    Reply r;
    r.structured = in.be<uint32_t>() == kNbdStructuredReplyMagic;
    if (!r.structured) {
      r.error = static_cast<NbdError>(in.be<uint32_t>());
      r.cookie = in.be<uint64_t>();
    } else {
      r.done = in.be<uint16_t>() == kNbdReplyFlagDone;
      r.type = static_cast<NbdChunkType>(in.be<uint16_t>());
      r.cookie = in.be<uint64_t>();
      const ByteSpan payload = in.bytes(in.be<uint32_t>());
      r.payload.assign(payload.begin(), payload.end());
      if (r.type == NbdChunkType::kError && payload.size() >= 6)
        r.error = static_cast<NbdError>(load_be<uint32_t>(payload.data()));
    }
    if (!in.ok()) return {};
    out.push_back(std::move(r));
  }
  return out;
}

}  // namespace us::nbd_client
