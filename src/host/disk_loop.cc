#include "host/disk_loop.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "host/disk_limits.h"
#include "host/nbd_errno.h"
#include "os/clock.h"
#include "os/epoll.h"
#include "os/event_fd.h"
#include "os/fd_socket.h"
#include "os/thread.h"

namespace us {
namespace {

constexpr uint64_t kListenerTag = 0;
constexpr uint64_t kWakeTag = 1;
constexpr uint64_t kIoTag = 2;
constexpr uint64_t kFirstClientTag = 3;
constexpr size_t kPiecesMax = 64;
// Reads in a row from one client before the rest of the loop gets its turn.
constexpr int kReadsMax = 8;
// The same for what the role begins and ends without waiting.
constexpr int kReapsMax = 4;

class Loop final : public DiskLoop {
 public:
  Loop(DiskLoopOptions options, std::unique_ptr<DiskIo> io, UniqueFd listener, Epoll epoll, EventFd wake)
      : options_(std::move(options)),
        io_(std::move(io)),
        listener_(std::move(listener)),
        epoll_(std::move(epoll)),
        wake_(std::move(wake)) {}
  ~Loop() override { Loop::stop(); }
  void stop() override {
    if (!thread_.joinable()) return;
    stop_ = true;
    wake_.signal();
    thread_.join();
    ::unlink(options_.socket_path.c_str());
  }
  Status begin() {
    US_TRY(epoll_.add(listener_.get(), EPOLLIN, kListenerTag));
    US_TRY(epoll_.add(wake_.fd(), EPOLLIN, kWakeTag));
    US_TRY(epoll_.add(io_->event_fd(), EPOLLIN, kIoTag));
    thread_ = std::thread([this] { thread(); });
    return {};
  }

  void set_role(DiskRole* role) override {
    run([this, role] { role_ = role; });
    wake();
  }
  void run(const std::function<void()>& work) override;
  void wake() override { wake_.signal(); }

  DiskIo& io() override { return *io_; }
  void complete(DiskReply reply, int error) override {
    if (NbdSession* session = session_of(reply))
      session->complete(reply.ticket, to_nbd(error), error == 0 ? "" : std::strerror(error));
  }
  void complete_read(DiskReply reply, AlignedBuffer data) override {
    NbdSession* session = session_of(reply);
    if (session == nullptr) return;
    const auto length = static_cast<uint32_t>(data.size());
    std::vector<NbdPiece> pieces;
    pieces.push_back({length, std::move(data)});
    session->complete_read(reply.ticket, std::move(pieces));
  }
  void complete_status(DiskReply reply, std::span<const NbdExtent> extents) override {
    if (NbdSession* session = session_of(reply)) session->complete_status(reply.ticket, extents);
  }

 private:
  struct Client {
    Client(UniqueFd socket, const DiskLoopOptions& options)
        : fd(std::move(socket)), session({options.disk}, options.limits) {}
    UniqueFd fd;
    NbdSession session;
    uint32_t events = EPOLLIN;
    bool gone = false;
  };
  struct Errand {
    const std::function<void()>* work;
    std::shared_ptr<std::promise<void>> done;  // shared: the waiter may be gone before set_value() returns
  };

  void thread();
  void turn(std::span<const epoll_event> events);
  void do_errands();
  void accept_one();
  void read_from(uint64_t tag, Client& client);
  // Whether there were any.
  bool start_requests(uint64_t tag, Client& client);
  void write_to(Client& client);
  // Sends what is ready, waits for what the session can use next, or lets the client go.
  void settle();
  NbdSession* session_of(DiskReply reply) {
    const auto it = clients_.find(reply.client);
    return it == clients_.end() ? nullptr : &it->second->session;
  }

  const DiskLoopOptions options_;
  std::unique_ptr<DiskIo> io_;
  UniqueFd listener_;
  Epoll epoll_;
  EventFd wake_;
  DiskRole* role_ = nullptr;
  std::map<uint64_t, std::unique_ptr<Client>> clients_;
  uint64_t next_tag_ = kFirstClientTag;
  std::mutex errands_mutex_;
  std::vector<Errand> errands_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

void Loop::run(const std::function<void()>& work) {
  auto done = std::make_shared<std::promise<void>>();
  std::future<void> finished = done->get_future();
  {
    const std::lock_guard lock(errands_mutex_);
    errands_.push_back({&work, std::move(done)});
  }
  wake();
  finished.wait();
}

void Loop::do_errands() {
  std::vector<Errand> errands;
  {
    const std::lock_guard lock(errands_mutex_);
    errands.swap(errands_);
  }
  for (const Errand& errand : errands) {
    (*errand.work)();
    errand.done->set_value();
  }
}

void Loop::thread() {
  name_this_thread("us-disk");
  std::array<epoll_event, 16> buffer;
  while (!stop_) turn(epoll_.wait(buffer, io_->ready() ? Duration::millis(0) : kDiskTick));
  do_errands();
  role_ = nullptr;
  clients_.clear();
  io_.reset();  // waits for what has begun; its owner's buffers are still there
}

void Loop::turn(std::span<const epoll_event> events) {
  bool woken = events.empty() && !io_->ready();
  for (const epoll_event& event : events) {
    const uint64_t tag = event.data.u64;
    if (tag == kWakeTag) {
      wake_.drain();
      do_errands();
      woken = true;
    } else if (tag == kIoTag) {
      io_->reap();
    } else if (tag == kListenerTag) {
      accept_one();
    } else if (const auto it = clients_.find(tag); it != clients_.end()) {
      Client& client = *it->second;
      if ((event.events & EPOLLERR) != 0 || ((event.events & EPOLLHUP) != 0 && !client.session.wants_input()))
        client.gone = true;
      if (!client.gone && (event.events & (EPOLLIN | EPOLLHUP)) != 0) read_from(tag, client);
    }
  }
  if (woken && role_ != nullptr) role_->on_wake();
  settle();
  // A synchronisation of what is in the page cache would go on here for long.
  for (int i = 0; i < kReapsMax && io_->ready(); ++i) {
    io_->reap();
    settle();
  }
}

void Loop::accept_one() {
  auto fd = unix_accept(listener_.get());
  if (!fd || !*fd) return;
  for (const auto& [tag, client] : clients_)
    if (!client->gone) return spdlog::warn("disk {}: a second client was refused", options_.name);
  set_send_buffer(fd->get(), kDiskSendBufferBytes);
  auto client = std::make_unique<Client>(std::move(*fd), options_);
  const uint64_t tag = next_tag_++;
  if (!epoll_.add(client->fd.get(), client->events, tag)) return;
  clients_.emplace(tag, std::move(client));
}

void Loop::read_from(uint64_t tag, Client& client) {
  for (int i = 0; i < kReadsMax && client.session.wants_input(); ++i) {
    const auto room = client.session.room();
    const ssize_t n = ::recv(client.fd.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (n < 0) {
      client.gone = errno != EAGAIN && errno != EINTR;
      return;
    }
    if (n == 0) return client.session.end_of_input();
    client.session.filled(static_cast<size_t>(n));
    start_requests(tag, client);
    if (static_cast<size_t>(n) < room.size()) return;
  }
}

bool Loop::start_requests(uint64_t tag, Client& client) {
  bool any = false;
  while (role_ != nullptr) {
    auto request = client.session.poll_request();
    if (!request) break;
    any = true;
    const DiskReply reply{tag, request->ticket};
    role_->start(std::move(*request), reply);
  }
  return any;
}

void Loop::write_to(Client& client) {
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
  }
}

void Loop::settle() {
  for (auto it = clients_.begin(); it != clients_.end();) {
    const uint64_t tag = it->first;
    Client& client = *it->second;
    ++it;
    // Sending may make room for requests that have been read already.
    do
      if (!client.gone) write_to(client);
    while (start_requests(tag, client));
    if (!client.gone) write_to(client);
    if (!client.gone && client.session.finished()) client.gone = true;
    if (client.gone) {
      if (!client.session.error().empty()) spdlog::warn("disk {}: {}", options_.name, client.session.error());
      epoll_.remove(client.fd.get());
      clients_.erase(tag);  // answers to what it still has open find nobody
      continue;
    }
    const uint32_t events =
        (client.session.wants_input() ? EPOLLIN : 0u) | (client.session.has_output() ? EPOLLOUT : 0u);
    if (events == client.events) continue;
    client.events = events;
    (void)epoll_.modify(client.fd.get(), events, tag);
  }
}

}  // namespace

Result<std::unique_ptr<DiskLoop>> DiskLoop::start(DiskLoopOptions options, std::unique_ptr<DiskIo> io) {
  US_ASSIGN(UniqueFd listener, unix_listen(options.socket_path));
  US_ASSIGN(Epoll epoll, Epoll::create());
  US_ASSIGN(EventFd wake, EventFd::create());
  auto loop =
      std::make_unique<Loop>(std::move(options), std::move(io), std::move(listener), std::move(epoll), std::move(wake));
  US_TRY(loop->begin());
  return loop;
}

}  // namespace us
