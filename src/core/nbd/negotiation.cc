#include "core/nbd/negotiation.h"

#include <algorithm>

#include "base/check.h"

namespace us {
namespace {

using Next = NbdNegotiation::Next;

constexpr std::string_view kAllocation = "base:allocation";

std::string_view as_text(ByteSpan bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
ByteSpan as_bytes(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

void reply_header(Bytes& out, NbdOption option, NbdOptionReply type, size_t length) {
  ByteWriter w(out);
  w.be(kNbdOptionReplyMagic);
  w.be(static_cast<uint32_t>(option));
  w.be(static_cast<uint32_t>(type));
  w.be(static_cast<uint32_t>(length));
}

void acknowledge(Bytes& out, NbdOption option) { reply_header(out, option, NbdOptionReply::kAck, 0); }

// `why` is a sentence for the client's user.
void refuse(Bytes& out, NbdOption option, NbdOptionReply type, std::string_view why) {
  reply_header(out, option, type, why.size());
  ByteWriter(out).bytes(as_bytes(why));
}

// A 32-bit length and that many bytes of text; fails if the text is longer than a string may be.
std::optional<std::string_view> read_string(ByteReader& in) {
  const uint32_t length = in.be<uint32_t>();
  if (!in.ok() || length > kNbdStringBytesMax || length > in.remaining()) return std::nullopt;
  return as_text(in.bytes(length));
}

struct InfoRequest {
  std::string_view name;
  bool wants_name = false, wants_description = false, wants_block_size = false;
};

std::optional<InfoRequest> read_info_request(ByteSpan data) {
  ByteReader in(data);
  const auto name = read_string(in);
  if (!name) return std::nullopt;
  InfoRequest request{.name = *name};
  const uint16_t count = in.be<uint16_t>();
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    const auto info = static_cast<NbdInfo>(in.be<uint16_t>());
    request.wants_name |= info == NbdInfo::kName;
    request.wants_description |= info == NbdInfo::kDescription;
    request.wants_block_size |= info == NbdInfo::kBlockSize;
  }
  if (!in.done()) return std::nullopt;
  return request;
}

struct MetaRequest {
  std::string_view name;
  uint32_t queries = 0;
  bool allocation = false;  // a query names base:allocation
  bool wildcard = false;    // a query is "base:"
};

std::optional<MetaRequest> read_meta_request(ByteSpan data) {
  ByteReader in(data);
  const auto name = read_string(in);
  if (!name) return std::nullopt;
  MetaRequest request{.name = *name, .queries = in.be<uint32_t>()};
  for (uint32_t i = 0; i < request.queries && in.ok(); ++i) {
    const auto query = read_string(in);
    if (!query || query->find(':') == std::string_view::npos) return std::nullopt;
    request.allocation |= *query == kAllocation;
    request.wildcard |= *query == "base:";
  }
  if (!in.done()) return std::nullopt;
  return request;
}

bool is_served(NbdOption option) {
  switch (option) {
    case NbdOption::kExportName:
    case NbdOption::kAbort:
    case NbdOption::kList:
    case NbdOption::kInfo:
    case NbdOption::kGo:
    case NbdOption::kStructuredReply:
    case NbdOption::kListMetaContext:
    case NbdOption::kSetMetaContext:
      return true;
    case NbdOption::kStartTls:
      return false;
  }
  return false;
}

}  // namespace

void NbdNegotiation::greet(Bytes& out) const {
  ByteWriter w(out);
  w.be(kNbdInitMagic);
  w.be(kNbdOptionMagic);
  w.be(static_cast<uint16_t>(kNbdFlagFixedNewstyle | kNbdFlagNoZeroes));
}

Next NbdNegotiation::on_client_flags(uint32_t flags) {
  // "Client flags": a flag that the server has not advertised ends the connection.
  if ((flags & ~uint32_t{kNbdFlagFixedNewstyle | kNbdFlagNoZeroes}) != 0) return Next::kDisconnect;
  fixed_ = (flags & kNbdFlagFixedNewstyle) != 0;
  no_zeroes_ = (flags & kNbdFlagNoZeroes) != 0;
  return Next::kOption;
}

std::optional<size_t> NbdNegotiation::find_export(std::string_view name) const {
  if (name.empty() && exports_.size() == 1) return 0;
  const auto it = std::find_if(exports_.begin(), exports_.end(), [&](const NbdExport& e) { return e.name == name; });
  if (it == exports_.end()) return std::nullopt;
  return static_cast<size_t>(it - exports_.begin());
}

uint16_t NbdNegotiation::transmission_flags(const NbdExport& e) const {
  unsigned flags = kNbdFlagHasFlags | kNbdFlagSendFlush | kNbdFlagSendFua;
  flags |= e.read_only ? kNbdFlagReadOnly : kNbdFlagSendTrim | kNbdFlagSendWriteZeroes | kNbdFlagSendFastZero;
  if (agreement_.structured_replies) flags |= kNbdFlagSendDf;
  if (e.multi_connection) flags |= kNbdFlagCanMultiConn;
  return static_cast<uint16_t>(flags);
}

Next NbdNegotiation::on_option(uint32_t number, ByteSpan data, Bytes& out) {
  const auto option = static_cast<NbdOption>(number);
  if (option == NbdOption::kExportName) return shutting_down_ ? Next::kDisconnect : export_name(data, out);
  // A client that did not ask for the fixed newstyle cannot read a reply to anything else.
  if (!fixed_ || ++options_ > kNbdOptionsMax) return Next::kDisconnect;
  if (option == NbdOption::kAbort) {
    acknowledge(out, option);
    return Next::kFarewell;
  }
  if (shutting_down_) {
    refuse(out, option, NbdOptionReply::kErrShutdown, "the server is going down");
    return Next::kOption;
  }
  switch (option) {
    case NbdOption::kInfo:
    case NbdOption::kGo:
      return info_or_go(option, data, out);
    case NbdOption::kList:
      list(data, out);
      break;
    case NbdOption::kStructuredReply:
      structured_reply(data, out);
      break;
    case NbdOption::kListMetaContext:
    case NbdOption::kSetMetaContext:
      meta_context(option, data, out);
      break;
    default:
      refuse(out, option, NbdOptionReply::kErrUnsup, "this option is not supported");
  }
  return Next::kOption;
}

Next NbdNegotiation::on_oversized_option(uint32_t number, uint32_t length, Bytes& out) {
  const auto option = static_cast<NbdOption>(number);
  // ABORT's data is to be ignored, and what is unknown is unknown at any length.
  if (option == NbdOption::kAbort || !is_served(option)) return on_option(number, {}, out);
  if (!fixed_ || option == NbdOption::kExportName || ++options_ > kNbdOptionsMax) return Next::kDisconnect;
  US_CHECK(length > kNbdOptionBytesMax);
  if (option == NbdOption::kSetMetaContext) allocation_of_.reset();
  refuse(out, option, NbdOptionReply::kErrTooBig, "the option's data is too long");
  return Next::kOption;
}

void NbdNegotiation::agree_on(size_t export_index) {
  agreement_.export_index = export_index;
  agreement_.allocation_context = allocation_of_ == export_index;
}

// "EXPORT_NAME": there is no way to say no but to hang up.
Next NbdNegotiation::export_name(ByteSpan data, Bytes& out) {
  const auto index = find_export(as_text(data));
  if (!index) return Next::kDisconnect;
  agree_on(*index);
  ByteWriter w(out);
  w.be(exports_[*index].size_bytes);
  w.be(transmission_flags(exports_[*index]));
  if (!no_zeroes_) w.zeros(kNbdExportNameZeroes);
  return Next::kTransmission;
}

void NbdNegotiation::list(ByteSpan data, Bytes& out) {
  if (!data.empty()) return refuse(out, NbdOption::kList, NbdOptionReply::kErrInvalid, "LIST takes no data");
  for (const NbdExport& e : exports_) {
    reply_header(out, NbdOption::kList, NbdOptionReply::kServer, 4 + e.name.size() + e.description.size());
    ByteWriter w(out);
    w.be(static_cast<uint32_t>(e.name.size()));
    w.bytes(as_bytes(e.name));
    w.bytes(as_bytes(e.description));
  }
  acknowledge(out, NbdOption::kList);
}

Next NbdNegotiation::info_or_go(NbdOption option, ByteSpan data, Bytes& out) {
  const auto request = read_info_request(data);
  if (!request) {
    refuse(out, option, NbdOptionReply::kErrInvalid, "the option's data is malformed");
    return Next::kOption;
  }
  const auto index = find_export(request->name);
  if (!index) {
    refuse(out, option, NbdOptionReply::kErrUnknown, "there is no export of this name");
    return Next::kOption;
  }
  const NbdExport& e = exports_[*index];
  ByteWriter w(out);
  const auto info = [&](NbdInfo type, size_t length) {
    reply_header(out, option, NbdOptionReply::kInfo, 2 + length);
    w.be(static_cast<uint16_t>(type));
  };
  info(NbdInfo::kExport, 10);
  w.be(e.size_bytes);
  w.be(transmission_flags(e));
  if (request->wants_name) {
    info(NbdInfo::kName, e.name.size());
    w.bytes(as_bytes(e.name));
  }
  if (request->wants_description && !e.description.empty()) {
    info(NbdInfo::kDescription, e.description.size());
    w.bytes(as_bytes(e.description));
  }
  if (request->wants_block_size) {
    info(NbdInfo::kBlockSize, 12);
    w.be(e.block_bytes_min);
    w.be(e.block_bytes_preferred);
    w.be(payload_bytes_max_);
  }
  acknowledge(out, option);
  if (option == NbdOption::kInfo) return Next::kOption;
  agree_on(*index);
  return Next::kTransmission;
}

void NbdNegotiation::structured_reply(ByteSpan data, Bytes& out) {
  const auto option = NbdOption::kStructuredReply;
  if (!data.empty()) return refuse(out, option, NbdOptionReply::kErrInvalid, "STRUCTURED_REPLY takes no data");
  if (agreement_.structured_replies)
    return refuse(out, option, NbdOptionReply::kErrInvalid, "structured replies are agreed on already");
  agreement_.structured_replies = true;
  acknowledge(out, option);
}

void NbdNegotiation::meta_context(NbdOption option, ByteSpan data, Bytes& out) {
  const bool set = option == NbdOption::kSetMetaContext;
  if (set) allocation_of_.reset();  // "replaces all previously-set contexts, including when this command fails"
  if (!agreement_.structured_replies)
    return refuse(out, option, NbdOptionReply::kErrInvalid, "structured replies must be agreed on first");
  const auto request = read_meta_request(data);
  if (!request) return refuse(out, option, NbdOptionReply::kErrInvalid, "the option's data is malformed");
  const auto index = find_export(request->name);
  if (!index) return refuse(out, option, NbdOptionReply::kErrUnknown, "there is no export of this name");
  // Wildcards, and no query at all, list; they do not select.
  const bool match = request->allocation || (!set && (request->wildcard || request->queries == 0));
  if (match) {
    reply_header(out, option, NbdOptionReply::kMetaContext, 4 + kAllocation.size());
    ByteWriter w(out);
    w.be(set ? kNbdAllocationContextId : 0);
    w.bytes(as_bytes(kAllocation));
    if (set) allocation_of_ = *index;
  }
  acknowledge(out, option);
}

}  // namespace us
