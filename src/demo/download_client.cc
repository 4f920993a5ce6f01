#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include "demo/big_file.h"
#include "demo/client.h"

namespace us::demo {
namespace {

class Sha256 {
 public:
  using Digest = std::array<uint8_t, 32>;

  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(ByteSpan data) { EVP_DigestUpdate(context_.get(), data.data(), data.size()); }
  Digest finish() {
    Digest digest{};
    EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr);
    return digest;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

// Reads the response's head; the length of its body.
Result<uint64_t> read_head(LineReader& reader) {
  US_ASSIGN(const std::string status, reader.line());
  if (!status.starts_with("HTTP/1.1 200 ")) return fail(ErrorKind::kProtocol, "the web server answered " + status);
  uint64_t length = 0;
  for (;;) {
    US_ASSIGN(const std::string header, reader.line());
    if (header.empty()) return length;
    constexpr std::string_view kLength = "Content-Length: ";
    if (header.starts_with(kLength))
      std::from_chars(header.data() + kLength.size(), header.data() + header.size(), length);
  }
}

std::string first_difference(ByteSpan got, ByteSpan expected, uint64_t offset) {
  const auto at = std::mismatch(got.begin(), got.end(), expected.begin()).first - got.begin();
  return fmt::format("the first wrong byte is at {}", offset + static_cast<uint64_t>(at));
}

}  // namespace

Status DownloadClient::download(Stream& stream, LineReader& reader, uint64_t seed) {
  US_TRY(stream.send(fmt::format("GET /big?bytes={}&seed={} HTTP/1.1\r\nHost: guest\r\n\r\n", file_bytes_, seed)));
  US_ASSIGN(const uint64_t length, read_head(reader));
  if (length != file_bytes_)
    return fail(ErrorKind::kProtocol, fmt::format("the web server sends {} bytes instead of {}", length, file_bytes_));
  const BigFile file(seed);
  Sha256 got, expected;
  Bytes should_be;
  std::string difference;
  for (uint64_t offset = 0; offset < length;) {
    US_ASSIGN(const ByteSpan block, reader.block(length - offset));
    should_be.resize(block.size());
    file.read(offset, should_be);
    got.add(block);
    expected.add(should_be);
    if (difference.empty() && !std::equal(block.begin(), block.end(), should_be.begin()))
      difference = first_difference(block, should_be, offset);
    offset += block.size();
    advance(block.size());
  }
  if (got.finish() == expected.finish()) {
    ++files_verified_;
    return {};
  }
  has_wrong_file_ = true;
  return fail(ErrorKind::kProtocol, fmt::format("the download's SHA-256 is wrong; {} of {}", difference, length));
}

Status DownloadClient::talk() {
  US_ASSIGN(Stream stream, connect());
  LineReader reader(stream);
  for (uint64_t seed = seed_; !stopping(); ++seed) US_TRY(download(stream, reader, seed));
  return {};
}

}  // namespace us::demo
