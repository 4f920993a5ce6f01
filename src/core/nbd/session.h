// NbdSession: one client's connection to the NBD server: bytes in, requests out, answers in, bytes out.  No I/O.
//
// Source: doc/proto.md of NetworkBlockDevice/nbd, "Handshake", "Transmission", "Terminating the transmission phase".
//
//     socket ──► room(), filled() ──► poll_request() ──► the disk
//     socket ◄── gather(), sent() ◄── complete…()    ◄──┘   in any order
//
//     if (session.wants_input()) { auto room = session.room(); session.filled(read(fd, room.data(), room.size())); }
//     while (auto request = session.poll_request()) …;
//     session.gather(pieces, 64); session.sent(writev(fd, pieces));
//     if (session.finished()) close(fd);
//
// A request the owner gets has been judged (request.h) and must be completed exactly once, whatever becomes of the
// connection; bad requests are answered here.  The payload of a large WRITE is read straight into the buffer that the
// request hands on: at most kNbdInputBytes of it are copied.
//
// Bounded: at most `requests_max` requests are open, and the payloads of WRITEs that are open and of READs that are
// open or not sent yet are at most `bytes_max` together (one request is always let in).  Beyond that, and while the
// client does not read its answers, wants_input() is false and the client waits in its socket.
//
// Ends: DISC and ABORT drain: what is open is completed, then finished().  A breach of protocol that cannot be answered
// (error() says what) drops all output: finished() at once.  Single-threaded.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/aligned_buffer.h"
#include "core/nbd/export.h"
#include "core/nbd/negotiation.h"
#include "core/nbd/output.h"
#include "core/nbd/request.h"

namespace us {

inline constexpr size_t kNbdInputBytes = 16 * 1024;
// Extents of a BLOCK_STATUS reply past this many are left out; the client asks again from there.
inline constexpr size_t kNbdExtentsMax = 4096;

struct NbdLimits {
  uint32_t requests_max = 128;
  uint64_t bytes_max = uint64_t{64} << 20;
  uint32_t payload_bytes_max = kNbdPayloadBytesMax;  // of one READ or WRITE; advertised
};

// Part of the answer to a READ.
struct NbdPiece {
  uint32_t length = 0;
  AlignedBuffer data;  // `length` bytes; empty: all zeroes
};

struct NbdExtent {
  uint64_t length = 0;  // not 0
  uint32_t state = 0;   // kNbdState…
};

class NbdSession {
 public:
  explicit NbdSession(std::vector<NbdExport> exports, const NbdLimits& limits = {});
  NbdSession(const NbdSession&) = delete;
  NbdSession& operator=(const NbdSession&) = delete;

  // ---- bytes from the client ----
  bool wants_input() const { return phase_ < Phase::kDraining && !blocked_; }
  // Where to put them; not empty while wants_input().
  std::span<uint8_t> room();
  // `size` bytes of the last room() have been filled.
  void filled(size_t size);
  // The client has closed its side: a disconnect, if it comes where a request could begin.
  void end_of_input();

  // ---- requests ----
  std::optional<NbdRequest> poll_request();
  // Any failure, and the success of what has no payload to send back.
  void complete(NbdTicket ticket, NbdError error, std::string_view why = {});
  // The pieces' lengths add up to the request's.
  void complete_read(NbdTicket ticket, std::vector<NbdPiece> pieces);
  // At least one extent; consecutive, from the request's offset; they may reach past its end.
  void complete_status(NbdTicket ticket, std::span<const NbdExtent> extents);

  // ---- bytes to the client ----
  bool has_output() const { return !output_.empty(); }
  void gather(std::vector<ByteSpan>& into, size_t pieces_max) const { output_.gather(into, pieces_max); }
  void sent(size_t size);

  // ---- life ----
  // The server is going down: what comes from now on is answered with SHUTDOWN; what is open may still be completed.
  void shut_down();
  bool finished() const;
  // The client has chosen an export: agreement() holds.
  bool in_transmission() const { return transmission_; }
  const NbdAgreement& agreement() const { return negotiation_.agreement(); }
  // Why the session broke off; empty after a tidy end.
  const std::string& error() const { return error_; }

  size_t open_requests() const { return open_.size(); }
  uint64_t bytes_held() const { return bytes_held_; }  // what `bytes_max` bounds

 private:
  enum class Phase : uint8_t {
    kClientFlags,
    kOption,
    kOptionData,
    kSkipOption,
    kRequest,
    kPayload,
    kSkipPayload,
    kDraining,
    kBroken
  };
  struct Open {
    NbdCommand command;
    uint16_t flags;
    uint64_t cookie;
    uint64_t offset;
    uint32_t length;
  };

  void parse();
  bool step();  // false: needs more bytes, or room for another request
  bool step_option();
  bool step_option_data();
  bool step_request();
  bool refuse(const NbdRefusal& refusal);
  bool step_payload();
  bool step_skip();
  void on_next(NbdNegotiation::Next next);
  void start(const NbdRequestHeader& header);
  void reject(const NbdRequestHeader& header, const NbdRefusal& refusal);
  bool has_room_for(const NbdRequestHeader& header) const;
  void break_off(std::string why);

  ByteSpan input() const { return ByteSpan(input_).subspan(begin_, end_ - begin_); }
  bool have(size_t n) const { return end_ - begin_ >= n; }
  Open take_open(NbdTicket ticket);
  void reply_error(uint64_t cookie, NbdError error, std::string_view why, bool is_read);
  void chunk(uint64_t cookie, NbdChunkType type, size_t length, bool last, ByteSpan head);
  void reply_read(const Open& open, std::vector<NbdPiece> pieces);
  const NbdExport& chosen() const { return exports_[negotiation_.agreement().export_index]; }

  const std::vector<NbdExport> exports_;
  const NbdLimits limits_;
  NbdNegotiation negotiation_;
  Phase phase_ = Phase::kClientFlags;
  bool blocked_ = false;
  bool transmission_ = false;
  bool shutting_down_ = false;
  std::string error_;

  std::vector<uint8_t> input_;
  size_t begin_ = 0, end_ = 0;  // of the bytes in input_ that are not parsed yet
  uint32_t option_ = 0, option_length_ = 0;
  uint64_t skip_ = 0;
  NbdRequestHeader header_;            // of the request whose payload comes or is skipped
  std::optional<NbdRefusal> refusal_;  // what to answer after the skipping
  AlignedBuffer payload_;
  size_t payload_filled_ = 0;
  bool direct_ = false;  // the last room() was part of payload_

  uint64_t next_ticket_ = 1;
  std::unordered_map<NbdTicket, Open> open_;
  std::deque<NbdRequest> ready_;
  uint64_t bytes_held_ = 0;
  NbdOutput output_;
};

}  // namespace us
