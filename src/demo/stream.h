// Stream: the client end of one TCP connection, used by one thread.
//
// It never reconnects: a connection that ends or breaks is an error, and so is one on which nothing arrives for
// kPatience although something is awaited.  That is how the demo's clients notice a lost connection.
#pragma once

#include <atomic>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "os/unique_fd.h"

namespace us::demo {

inline constexpr Duration kPatience = Duration::seconds(30);

class Stream {
 public:
  // `abort`: turns true when the thread should give up; looked at several times a second.
  static Result<Stream> connect(const std::string& address, uint16_t port, const std::atomic<bool>& abort);

  Status send(ByteSpan data);
  Status send(std::string_view text);

  // At least one byte, at most `buffer`; waits for it.
  Result<size_t> receive(std::span<uint8_t> buffer);

  // The same, but zero when nothing has come until `deadline`.
  Result<size_t> receive_until(std::span<uint8_t> buffer, Instant deadline);

 private:
  Stream(UniqueFd fd, const std::atomic<bool>& abort) : fd_(std::move(fd)), abort_(&abort) {}
  Result<bool> wait_readable(Instant until);

  UniqueFd fd_;
  const std::atomic<bool>* abort_;
};

// Reads lines and blocks from a Stream through a buffer.
class LineReader {
 public:
  explicit LineReader(Stream& stream) : stream_(stream), buffer_(256 * 1024) {}

  // Up to and without the next CR LF.
  Result<std::string> line();

  // Between 1 and `limit` bytes, valid until the next call.
  Result<ByteSpan> block(size_t limit);

 private:
  Status fill();

  Stream& stream_;
  Bytes buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace us::demo
