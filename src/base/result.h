// Result<T>: a value or an Error.  Two of the project's three kinds of failure travel in it:
// somebody else misbehaved (kInput, kRefused, kProtocol) or the environment failed (kSystem, kTimeout).
// The third kind, a bug of ours, is a US_CHECK (check.h).
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace us {

enum class ErrorKind {
  kInput,     // what a user wrote (file, flag, value) cannot be used
  kRefused,   // the other side or a policy said no
  kProtocol,  // bytes from a guest or a peer make no sense
  kSystem,    // an operation on this host failed; the message names it and the errno text
  kTimeout,   // somebody did not answer in time
};

struct Error {
  ErrorKind kind;
  std::string message;  // one sentence for a person: what failed, and where possible what to do
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> fail(ErrorKind kind, std::string message) {
  return tl::unexpected<Error>(Error{kind, std::move(message)});
}

// For os/ only: turns the current errno into an Error.  `operation` reads like "open /dev/net/tun".
inline tl::unexpected<Error> fail_errno(std::string_view operation, int error_number) {
  return fail(ErrorKind::kSystem, std::string(operation) + ": " + std::strerror(error_number));
}

}  // namespace us

// Leaves the function with the error of `expression`, if it has one.
#define US_TRY(expression)                                                    \
  do {                                                                        \
    if (auto us_try_result = (expression); !us_try_result)                    \
      return ::tl::unexpected<::us::Error>(std::move(us_try_result).error()); \
  } while (0)

// US_ASSIGN(auto x, f());  declares x as the value of f(), or leaves with its error.
#define US_ASSIGN_CAT2(a, b) a##b
#define US_ASSIGN_CAT(a, b) US_ASSIGN_CAT2(a, b)
#define US_ASSIGN(declaration, expression) US_ASSIGN_IMPL(US_ASSIGN_CAT(us_assign_, __LINE__), declaration, expression)
#define US_ASSIGN_IMPL(name, declaration, expression)                       \
  auto name = (expression);                                                 \
  if (!name) return ::tl::unexpected<::us::Error>(std::move(name).error()); \
  declaration = std::move(name).value()
