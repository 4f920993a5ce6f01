#include <sys/socket.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "demo/big_file.h"
#include "net.h"
#include "services.h"

namespace us::guest {
namespace {

constexpr size_t kLineMax = 8192;
constexpr size_t kChunk = 256 * 1024;

// The number after "name=" in the query, or `otherwise`.
uint64_t query_number(const std::string& target, const std::string& name, uint64_t otherwise) {
  const size_t query = target.find('?');
  const size_t at = query == std::string::npos ? query : target.find(name + "=", query);
  return at == std::string::npos ? otherwise : std::strtoull(target.c_str() + at + name.size() + 1, nullptr, 10);
}

// Leaves with the beginning of the body, as from any web server that is meant to be fast.
bool send_head(int fd, const char* status, const char* type, uint64_t length) {
  return send_all(fd,
                  std::string("HTTP/1.1 ") + status + "\r\nContent-Type: " + type +
                      "\r\nContent-Length: " + std::to_string(length) + "\r\n\r\n",
                  length > 0);
}

bool send_text(int fd, const char* status, const std::string& text) {
  return send_head(fd, status, "text/plain", text.size()) && send_all(fd, text);
}

bool send_big(int fd, const std::string& target) {
  const uint64_t length = query_number(target, "bytes", 64u << 20);
  const demo::BigFile file(query_number(target, "seed", 1));
  if (!send_head(fd, "200 OK", "application/octet-stream", length)) return false;
  std::vector<uint8_t> chunk(kChunk);
  for (uint64_t at = 0; at < length;) {
    const std::span part = std::span(chunk).first(std::min<uint64_t>(kChunk, length - at));
    file.read(at, part);
    if (!send_all(fd, part)) return false;
    at += part.size();
  }
  return true;
}

bool answer(int fd, const std::string& request_line) {
  const size_t begin = request_line.find(' ');
  const size_t end = request_line.find(' ', begin + 1);
  if (begin == std::string::npos || end == std::string::npos || request_line.compare(0, begin, "GET") != 0) {
    return send_text(fd, "400 Bad Request", "only GET\n");
  }
  const std::string target = request_line.substr(begin + 1, end - begin - 1);
  if (target == "/") return send_text(fd, "200 OK", "Understudy guest\n");
  if (target.starts_with("/big")) return send_big(fd, target);
  return send_text(fd, "404 Not Found", "no such page\n");
}

void serve(int fd) {
  for (std::string request, header; read_line(fd, request, kLineMax);) {
    do {
      if (!read_line(fd, header, kLineMax)) return;
    } while (header != "\r" && !header.empty());
    if (!answer(fd, request)) return;
  }
}

}  // namespace

void serve_http() { accept_loop(open_port(80, SOCK_STREAM), serve); }

}  // namespace us::guest
