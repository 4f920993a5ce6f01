#include "host/nbd_server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <map>
#include <thread>

#include "core/nbd/session.h"
#include "host/nbd_errno.h"
#include "os/epoll.h"
#include "os/event_fd.h"
#include "os/fd_socket.h"
#include "os/thread.h"

namespace us {
namespace {

constexpr uint64_t kListenerTag = 0;
constexpr uint64_t kStopTag = 1;
constexpr uint64_t kFirstClientTag = 2;
constexpr size_t kClientsMax = 16;
constexpr size_t kPiecesMax = 64;

class Server final : public NbdServer {
 public:
  Server(std::string path, NbdExport disk, BlockFile image, UniqueFd listener, Epoll epoll, EventFd stop)
      : path_(std::move(path)),
        export_(std::move(disk)),
        image_(std::move(image)),
        listener_(std::move(listener)),
        epoll_(std::move(epoll)),
        stop_(std::move(stop)) {}
  ~Server() override {
    stop_.signal();
    if (thread_.joinable()) thread_.join();
    ::unlink(path_.c_str());
  }
  Status begin() {
    US_TRY(epoll_.add(listener_.get(), EPOLLIN, kListenerTag));
    US_TRY(epoll_.add(stop_.fd(), EPOLLIN, kStopTag));
    thread_ = std::thread([this] { run(); });
    return {};
  }

 private:
  struct Client {
    Client(UniqueFd socket, const NbdExport& disk) : fd(std::move(socket)), session({disk}) {}
    UniqueFd fd;
    NbdSession session;
    uint32_t events = 0;
    bool gone = false;
  };

  void run();
  void accept_one();
  void on_client(uint64_t tag, uint32_t events);
  void read_from(Client& client);
  void execute(NbdSession& session, const NbdRequest& request);
  void read_image(NbdSession& session, const NbdRequest& request);
  void block_status(NbdSession& session, const NbdRequest& request);
  int change_image(const NbdRequest& request);
  void write_to(Client& client);
  void settle(uint64_t tag, Client& client);

  std::string path_;
  NbdExport export_;
  BlockFile image_;
  UniqueFd listener_;
  Epoll epoll_;
  EventFd stop_;
  std::map<uint64_t, std::unique_ptr<Client>> clients_;
  uint64_t next_tag_ = kFirstClientTag;
  std::thread thread_;
};

void Server::run() {
  name_this_thread("nbd");
  std::array<epoll_event, 16> buffer;
  for (;;) {
    for (const epoll_event& event : epoll_.wait(buffer, Duration::infinite())) {
      if (event.data.u64 == kStopTag) {
        clients_.clear();
        return;
      }
      if (event.data.u64 == kListenerTag)
        accept_one();
      else
        on_client(event.data.u64, event.events);
    }
  }
}

void Server::accept_one() {
  auto fd = unix_accept(listener_.get());
  if (!fd || !*fd) return;
  if (clients_.size() >= kClientsMax) return;  // closed again
  auto client = std::make_unique<Client>(std::move(*fd), export_);
  const uint64_t tag = next_tag_++;
  client->events = EPOLLIN | EPOLLOUT;
  if (!epoll_.add(client->fd.get(), client->events, tag)) return;
  clients_.emplace(tag, std::move(client));
}

void Server::on_client(uint64_t tag, uint32_t events) {
  const auto it = clients_.find(tag);
  if (it == clients_.end()) return;
  Client& client = *it->second;
  if ((events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && !client.session.wants_input())) client.gone = true;
  if (!client.gone && (events & (EPOLLIN | EPOLLHUP)) != 0) read_from(client);
  while (auto request = client.session.poll_request()) execute(client.session, *request);
  if (!client.gone) write_to(client);
  settle(tag, client);
}

void Server::read_from(Client& client) {
  if (!client.session.wants_input()) return;
  const auto room = client.session.room();
  const ssize_t n = ::recv(client.fd.get(), room.data(), room.size(), MSG_DONTWAIT);
  if (n > 0) return client.session.filled(static_cast<size_t>(n));
  if (n == 0) return client.session.end_of_input();
  if (errno != EAGAIN && errno != EINTR) client.gone = true;
}

void Server::execute(NbdSession& session, const NbdRequest& request) {
  if (request.command == NbdCommand::kRead) return read_image(session, request);
  if (request.command == NbdCommand::kBlockStatus) return block_status(session, request);
  int error = change_image(request);
  if (error == 0 && request.fua) error = image_.sync();
  if (error != 0 && error != EOPNOTSUPP) spdlog::error("nbd {}: {}", path_, std::strerror(error));
  session.complete(request.ticket, to_nbd(error), error == 0 ? "" : std::strerror(error));
}

int Server::change_image(const NbdRequest& r) {
  switch (r.command) {
    case NbdCommand::kWrite:
      return image_.write(r.offset, r.payload.span());
    case NbdCommand::kWriteZeroes:
      return image_.zero(r.offset, r.length, r.may_unmap, r.fast_only);
    case NbdCommand::kTrim: {
      const int error = image_.zero(r.offset, r.length, true, true);
      return error == EOPNOTSUPP ? 0 : error;  // a hint
    }
    case NbdCommand::kFlush:
      return image_.sync();
    default:
      return EINVAL;
  }
}

void Server::read_image(NbdSession& session, const NbdRequest& r) {
  std::vector<NbdPiece> pieces;
  AlignedBuffer data(r.length);
  if (const int error = image_.read(r.offset, data.span()); error != 0) {
    spdlog::error("nbd {}: read: {}", path_, std::strerror(error));
    return session.complete(r.ticket, to_nbd(error), std::strerror(error));
  }
  pieces.push_back({r.length, std::move(data)});
  session.complete_read(r.ticket, std::move(pieces));
}

void Server::block_status(NbdSession& session, const NbdRequest& r) {
  std::vector<NbdExtent> extents;
  for (const BlockFile::Extent& e : image_.extents(r.offset, r.length, r.one_extent ? 1 : kNbdExtentsMax))
    extents.push_back({e.length, e.hole ? kNbdStateHole | kNbdStateZero : 0});
  session.complete_status(r.ticket, extents);
}

void Server::write_to(Client& client) {
  std::vector<ByteSpan> pieces;
  while (client.session.has_output()) {
    client.session.gather(pieces, kPiecesMax);
    std::array<iovec, kPiecesMax> vectors{};
    for (size_t i = 0; i < pieces.size(); ++i) vectors[i] = {const_cast<uint8_t*>(pieces[i].data()), pieces[i].size()};
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = pieces.size();
    const ssize_t n = ::sendmsg(client.fd.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) {
      client.gone = errno != EAGAIN && errno != EINTR;
      return;
    }
    client.session.sent(static_cast<size_t>(n));
    while (auto request = client.session.poll_request()) execute(client.session, *request);
  }
}

// Waits for what the session can use next, or lets the client go.
void Server::settle(uint64_t tag, Client& client) {
  if (client.gone || client.session.finished()) {
    if (!client.session.error().empty()) spdlog::warn("nbd {}: {}", path_, client.session.error());
    epoll_.remove(client.fd.get());
    clients_.erase(tag);
    return;
  }
  const uint32_t events = (client.session.wants_input() ? EPOLLIN : 0u) | (client.session.has_output() ? EPOLLOUT : 0u);
  if (events == client.events) return;
  client.events = events;
  (void)epoll_.modify(client.fd.get(), events, tag);
}

}  // namespace

Result<std::unique_ptr<NbdServer>> NbdServer::start(const std::string& socket_path, const std::string& export_name,
                                                    BlockFile image, bool read_only) {
  NbdExport disk{.name = export_name,
                 .size_bytes = image.size_bytes(),
                 .block_bytes_min = image.block_bytes(),
                 .read_only = read_only,
                 .multi_connection = true};  // one descriptor: a sync covers what came over any connection
  US_ASSIGN(UniqueFd listener, unix_listen(socket_path));
  US_ASSIGN(Epoll epoll, Epoll::create());
  US_ASSIGN(EventFd stop, EventFd::create());
  auto server = std::make_unique<Server>(socket_path, std::move(disk), std::move(image), std::move(listener),
                                         std::move(epoll), std::move(stop));
  US_TRY(server->begin());
  return server;
}

}  // namespace us
