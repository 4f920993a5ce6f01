#include "core/nbd/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace us {
namespace {

// A client that lets more than this of replies without payload pile up is not read from.
constexpr size_t kOutputBytesMax = 256 * 1024;
// Longer data of an option is a denial of service, not an option.
constexpr uint32_t kSkippedOptionBytesMax = 1u << 20;

uint64_t payload_cost(NbdCommand command, uint32_t length) {
  return command == NbdCommand::kRead || command == NbdCommand::kWrite ? length : 0;
}

}  // namespace

NbdSession::NbdSession(std::vector<NbdExport> exports, const NbdLimits& limits)
    : exports_(std::move(exports)),
      limits_(limits),
      negotiation_(exports_, limits.payload_bytes_max),
      input_(kNbdInputBytes) {
  US_CHECK(limits.requests_max > 0 && limits.payload_bytes_max > 0 && limits.payload_bytes_max <= kNbdPayloadBytesMax);
  for (const NbdExport& e : exports_) {
    US_CHECK(e.name.size() <= kNbdStringBytesMax && e.description.size() <= kNbdStringBytesMax);
    US_CHECK(e.block_bytes_min > 0 && e.size_bytes % e.block_bytes_min == 0);
  }
  Bytes greeting;
  negotiation_.greet(greeting);
  output_.append(greeting);
}

std::span<uint8_t> NbdSession::room() {
  if (!wants_input()) return {};
  direct_ = phase_ == Phase::kPayload && begin_ == end_;
  if (direct_) return payload_.span().subspan(payload_filled_);
  if (begin_ > 0) {
    std::memmove(input_.data(), input_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return std::span(input_).subspan(end_);
}

void NbdSession::filled(size_t size) {
  if (direct_) {
    US_CHECK(size <= payload_.size() - payload_filled_);
    payload_filled_ += size;
    direct_ = false;
  } else {
    US_CHECK(size <= input_.size() - end_);
    end_ += size;
  }
  parse();
}

void NbdSession::end_of_input() {
  if (phase_ >= Phase::kDraining) return;
  const bool between = (phase_ == Phase::kRequest || phase_ == Phase::kOption) && begin_ == end_;
  if (!between && !blocked_) return break_off("the client hung up in the middle of a message");
  phase_ = Phase::kDraining;
}

void NbdSession::parse() {
  blocked_ = false;
  while (phase_ < Phase::kDraining) {
    if (output_.header_bytes() >= kOutputBytesMax) {
      blocked_ = true;
      return;
    }
    if (!step()) return;
  }
}

bool NbdSession::step() {
  switch (phase_) {
    case Phase::kClientFlags:
      if (!have(kNbdClientFlagsBytes)) return false;
      begin_ += kNbdClientFlagsBytes;
      on_next(negotiation_.on_client_flags(load_be<uint32_t>(input_.data() + begin_ - kNbdClientFlagsBytes)));
      return true;
    case Phase::kOption:
      return step_option();
    case Phase::kOptionData:
      return step_option_data();
    case Phase::kRequest:
      return step_request();
    case Phase::kPayload:
      return step_payload();
    case Phase::kSkipOption:
    case Phase::kSkipPayload:
      return step_skip();
    case Phase::kDraining:
    case Phase::kBroken:
      break;
  }
  return false;
}

bool NbdSession::step_option() {
  if (!have(kNbdOptionHeaderBytes)) return false;
  const uint8_t* header = input().data();
  if (load_be<uint64_t>(header) != kNbdOptionMagic) {
    break_off("an option does not start with the magic number");
    return false;
  }
  option_ = load_be<uint32_t>(header + 8);
  option_length_ = load_be<uint32_t>(header + 12);
  if (option_length_ > kSkippedOptionBytesMax) {
    break_off(fmt::format("an option of {} bytes", option_length_));
    return false;
  }
  begin_ += kNbdOptionHeaderBytes;
  phase_ = option_length_ <= kNbdOptionBytesMax ? Phase::kOptionData : Phase::kSkipOption;
  skip_ = option_length_;
  return true;
}

bool NbdSession::step_option_data() {
  if (!have(option_length_)) return false;
  Bytes out;
  const ByteSpan data = input().first(option_length_);
  begin_ += option_length_;
  const auto next = negotiation_.on_option(option_, data, out);
  output_.append(out);
  on_next(next);
  return true;
}

void NbdSession::on_next(NbdNegotiation::Next next) {
  switch (next) {
    case NbdNegotiation::Next::kOption:
      phase_ = Phase::kOption;
      return;
    case NbdNegotiation::Next::kTransmission:
      phase_ = Phase::kRequest;
      transmission_ = true;
      return;
    case NbdNegotiation::Next::kFarewell:
      phase_ = Phase::kDraining;
      return;
    case NbdNegotiation::Next::kDisconnect:
      return break_off("the handshake failed: unknown client flags, an unknown export, or too many options");
  }
}

bool NbdSession::step_skip() {
  const size_t n = std::min<uint64_t>(skip_, end_ - begin_);
  begin_ += n;
  skip_ -= n;
  if (skip_ > 0) return false;
  if (phase_ == Phase::kSkipOption) {
    Bytes out;
    const auto next = negotiation_.on_oversized_option(option_, option_length_, out);
    output_.append(out);
    on_next(next);
  } else {
    phase_ = Phase::kRequest;
    reject(header_, *refusal_);
  }
  return true;
}

bool NbdSession::has_room_for(const NbdRequestHeader& h) const {
  if (open_.size() >= limits_.requests_max) return false;
  return bytes_held_ == 0 || bytes_held_ + payload_cost(h.command, h.length) <= limits_.bytes_max;
}

bool NbdSession::step_request() {
  if (!have(kNbdRequestHeaderBytes)) return false;
  const auto header = decode_request_header(input().data());
  if (!header) {
    break_off("a request does not start with the magic number");
    return false;
  }
  if (header->command == NbdCommand::kDisc) {
    phase_ = Phase::kDraining;
    return false;
  }
  auto refusal = judge_request(*header, chosen(), agreement(), limits_.payload_bytes_max);
  if (!refusal && shutting_down_) refusal = NbdRefusal{NbdError::kEshutdown, "the server is going down"};
  if (!refusal && !has_room_for(*header)) {
    blocked_ = true;  // judged again when there is room
    return false;
  }
  begin_ += kNbdRequestHeaderBytes;
  header_ = *header;
  if (refusal) return refuse(*refusal);
  if (header->command != NbdCommand::kWrite) {
    start(*header);
    return true;
  }
  payload_ = AlignedBuffer(header->length);
  payload_filled_ = 0;
  bytes_held_ += header->length;
  phase_ = Phase::kPayload;
  return true;
}

bool NbdSession::refuse(const NbdRefusal& refusal) {
  if (header_.command != NbdCommand::kWrite || header_.length == 0) {
    reject(header_, refusal);
    return true;
  }
  // "Size constraints": a payload that is no denial of service is skipped, and then the request is answered.
  if (header_.length > kNbdPayloadBytesMax) {
    break_off(fmt::format("a WRITE of {} bytes", header_.length));
    return false;
  }
  refusal_ = refusal;
  skip_ = header_.length;
  phase_ = Phase::kSkipPayload;
  return true;
}

bool NbdSession::step_payload() {
  const size_t n = std::min(payload_.size() - payload_filled_, end_ - begin_);
  if (n > 0) std::memcpy(payload_.data() + payload_filled_, input().data(), n);
  begin_ += n;
  payload_filled_ += n;
  if (payload_filled_ < payload_.size()) return false;
  phase_ = Phase::kRequest;
  start(header_);
  return true;
}

void NbdSession::start(const NbdRequestHeader& h) {
  const NbdTicket ticket(next_ticket_++);
  if (h.command == NbdCommand::kRead) bytes_held_ += h.length;
  open_.emplace(ticket, Open{h.command, h.flags, h.cookie, h.offset, h.length});
  NbdRequest request{.ticket = ticket, .command = h.command, .offset = h.offset, .length = h.length, .payload = {}};
  request.fua = (h.flags & kNbdCmdFlagFua) != 0;
  request.may_unmap =
      h.command == NbdCommand::kTrim || (h.command == NbdCommand::kWriteZeroes && (h.flags & kNbdCmdFlagNoHole) == 0);
  request.fast_only = (h.flags & kNbdCmdFlagFastZero) != 0;
  request.one_extent = (h.flags & kNbdCmdFlagReqOne) != 0;
  if (h.command == NbdCommand::kWrite) request.payload = std::move(payload_);
  ready_.push_back(std::move(request));
}

std::optional<NbdRequest> NbdSession::poll_request() {
  if (ready_.empty()) return std::nullopt;
  NbdRequest request = std::move(ready_.front());
  ready_.pop_front();
  return request;
}

void NbdSession::sent(size_t size) {
  bytes_held_ -= output_.sent(size);
  if (blocked_) parse();
}

void NbdSession::shut_down() {
  shutting_down_ = true;
  negotiation_.shut_down();
}

bool NbdSession::finished() const {
  if (phase_ == Phase::kBroken) return true;
  return phase_ == Phase::kDraining && open_.empty() && output_.empty();
}

void NbdSession::break_off(std::string why) {
  error_ = std::move(why);
  phase_ = Phase::kBroken;
  output_.clear();
}

}  // namespace us
