#include "core/replica/wire_text.h"

#include <cstdint>

namespace us {
namespace {

bool is_tail(std::string_view text, size_t at, uint8_t low, uint8_t high) {
  if (at >= text.size()) return false;
  const auto b = static_cast<uint8_t>(text[at]);
  return b >= low && b <= high;
}

// Bytes of the clean character that starts at `at`; 0 if there is none.  The ranges are those of RFC 3629, section 4.
size_t character_bytes(std::string_view text, size_t at) {
  const auto b = static_cast<uint8_t>(text[at]);
  if (b < 0x80) return (b >= 0x20 && b != 0x7f) || b == '\n' || b == '\t' ? 1 : 0;
  if (b == 0xc2) return is_tail(text, at + 1, 0xa0, 0xbf) ? 2 : 0;  // below are the C1 controls
  if (b >= 0xc3 && b <= 0xdf) return is_tail(text, at + 1, 0x80, 0xbf) ? 2 : 0;
  const bool tail2 = is_tail(text, at + 2, 0x80, 0xbf);
  if (b >= 0xe0 && b <= 0xef) {
    const uint8_t low = b == 0xe0 ? 0xa0 : 0x80;
    const uint8_t high = b == 0xed ? 0x9f : 0xbf;
    return is_tail(text, at + 1, low, high) && tail2 ? 3 : 0;
  }
  if (b >= 0xf0 && b <= 0xf4) {
    const uint8_t low = b == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = b == 0xf4 ? 0x8f : 0xbf;
    return is_tail(text, at + 1, low, high) && tail2 && is_tail(text, at + 3, 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool is_clean_text(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t n = character_bytes(text, at);
    if (n == 0) return false;
    at += n;
  }
  return true;
}

std::string clean_text(std::string_view text, size_t bytes_max) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t n = character_bytes(text, at);
    if (out.size() + (n == 0 ? 1 : n) > bytes_max) break;
    if (n == 0) {
      out += '?';
      ++at;
    } else {
      out += text.substr(at, n);
      at += n;
    }
  }
  return out;
}

}  // namespace us
