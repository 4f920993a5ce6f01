#include "host/control_server.h"

#include <dirent.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "os/clock.h"
#include "os/socket.h"
#include "os/thread.h"

namespace us {
namespace {

using Json = nlohmann::json;

constexpr size_t kRequestBytesMax = 4096;
constexpr size_t kAnswerBytesMax = 16u << 20;
constexpr int kClientsMax = 16;
constexpr Duration kClientTimeout = Duration::seconds(2);
constexpr std::string_view kSuffix = ".control";

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(ErrorKind::kInput, "the path " + path + " is too long for a socket (" +
                                       std::to_string(sizeof address.sun_path - 1) + " bytes at most)");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Result<UniqueFd> connect_to(const std::string& path) {
  US_ASSIGN(const sockaddr_un address, unix_address(path));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("socket", errno);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno("connect to " + path, errno);
  return fd;
}

// Up to and without the newline.
Result<std::string> read_line(int fd, size_t bytes_max, Duration timeout) {
  const Instant deadline = clock_now() + timeout;
  std::string line;
  char chunk[4096];
  while (line.size() <= bytes_max) {
    if (!wait_readable(fd, deadline)) return fail(ErrorKind::kTimeout, "no answer in time");
    const ssize_t n = ::recv(fd, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("receive", errno);
    if (n == 0) return fail(ErrorKind::kSystem, "the other side closed the connection");
    line.append(chunk, static_cast<size_t>(n));
    if (const size_t end = line.find('\n'); end != std::string::npos) return line.substr(0, end);
  }
  return fail(ErrorKind::kProtocol, "a line of more than " + std::to_string(bytes_max) + " bytes");
}

Status write_line(int fd, const Json& message) {
  const std::string text = message.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  const Instant deadline = clock_now() + kClientTimeout;
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t n = ::send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
      sent += static_cast<size_t>(n);
    else if (errno == EAGAIN) {
      if (!wait_writable(fd, deadline)) return fail(ErrorKind::kTimeout, "the other side does not read");
    } else if (errno != EINTR) {
      return fail_errno("send", errno);
    }
  }
  return {};
}

// A field of an unexpected type is the client's mistake, and no reason to end the VM.
Result<Json> answer_to(const ControlServer::Handler& handler, const Json& request) {
  if (!request.is_object()) return fail(ErrorKind::kInput, "not a JSON object");
  try {
    return handler(request);
  } catch (const Json::exception& error) {
    return fail(ErrorKind::kInput, std::string("the request makes no sense: ") + error.what());
  }
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::string& path, Handler handler) {
  US_ASSIGN(const sockaddr_un address, unix_address(path));
  if (connect_to(path)) return fail(ErrorKind::kRefused, "an understudy of this VM already runs here (" + path + ")");
  ::unlink(path.c_str());  // left behind by one that was killed
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!listener) return fail_errno("socket", errno);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(listener.get(), kClientsMax) != 0)
    return fail_errno("create the control socket " + path, errno);
  US_ASSIGN(EventFd stop, EventFd::create());
  return std::unique_ptr<ControlServer>(
      new ControlServer(path, std::move(listener), std::move(stop), std::move(handler)));
}

ControlServer::ControlServer(std::string path, UniqueFd listener, EventFd stop, Handler handler)
    : path_(std::move(path)),
      listener_(std::move(listener)),
      stop_(std::move(stop)),
      shared_(std::make_shared<Shared>()) {
  shared_->handler = std::move(handler);
  thread_ = std::thread([this] { run(); });
}

ControlServer::~ControlServer() {
  stop_.signal();
  thread_.join();
  ::unlink(path_.c_str());
  // Whoever is being served uses what the handler refers to.
  for (const Instant deadline = clock_now() + kClientTimeout; shared_->clients > 0 && clock_now() < deadline;)
    ::usleep(1000);
}

void ControlServer::run() {
  name_this_thread("us-control");
  for (;;) {
    pollfd waiting[] = {{stop_.fd(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    ::poll(waiting, 2, -1);
    if (waiting[0].revents != 0) return;
    UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client || shared_->clients >= kClientsMax) continue;
    ++shared_->clients;
    std::thread([shared = shared_, fd = client.release()] {
      serve(shared, UniqueFd(fd));
      --shared->clients;
    }).detach();
  }
}

void ControlServer::serve(const std::shared_ptr<Shared>& shared, UniqueFd client) {
  name_this_thread("us-client");
  const Result<std::string> line = read_line(client.get(), kRequestBytesMax, kClientTimeout);
  if (!line) return;
  const Json request = Json::parse(*line, nullptr, false);
  const Result<Json> result = answer_to(shared->handler, request);
  const Json answer =
      result ? Json{{"ok", true}, {"result", *result}} : Json{{"ok", false}, {"error", result.error().message}};
  // A client that went away has no use for the answer.
  static_cast<void>(write_line(client.get(), answer));
}

std::string control_path(const std::string& runtime_directory, const std::string& vm_name) {
  return runtime_directory + "/" + vm_name + std::string(kSuffix);
}

Result<Json> control_request(const std::string& path, const Json& request, Duration timeout) {
  Result<UniqueFd> socket = connect_to(path);
  if (!socket) return fail(ErrorKind::kInput, "no understudy answers at " + path + "; is the VM running on this host?");
  US_TRY(write_line(socket->get(), request));
  US_ASSIGN(const std::string line, read_line(socket->get(), kAnswerBytesMax, timeout));
  const Json answer = Json::parse(line, nullptr, false);
  if (!answer.is_object()) return fail(ErrorKind::kProtocol, "the answer is not JSON");
  if (!answer.value("ok", false)) return fail(ErrorKind::kRefused, answer.value("error", std::string("refused")));
  return answer.value("result", Json());
}

std::vector<std::string> control_names(const std::string& runtime_directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(runtime_directory.c_str()), ::closedir);
  if (!dir) return names;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view file = entry->d_name;
    if (file.ends_with(kSuffix)) names.emplace_back(file.substr(0, file.size() - kSuffix.size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace us
