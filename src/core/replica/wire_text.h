// Texts on the wire: what a peer sends ends up in logs, terminals and JSON, so it must be UTF-8 (RFC 3629) without
// control characters, newline and tab excepted.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace us {

bool is_clean_text(std::string_view text);

// The nearest clean text of at most `bytes_max` bytes: every offending byte becomes '?', the end is cut between
// characters.
std::string clean_text(std::string_view text, size_t bytes_max);

}  // namespace us
