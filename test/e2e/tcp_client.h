// TcpConnection: the client end of one TCP connection in a test, with a real Linux stack under it.
//
// What it sends is a big file (demo/big_file.h), after a line for the guest's test service (docs/guest.md, port 9000).
// What it receives is compared byte by byte with a big file, or kept as text.  It never reconnects.  A thread of its
// own does the work; the test looks on and steers.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "demo/big_file.h"
#include "demo/lab.h"
#include "demo/netns.h"
#include "os/unique_fd.h"

namespace us::e2e {

inline constexpr uint16_t kTestPort = 9000;
inline constexpr uint16_t kEchoPort = 7;
inline constexpr uint64_t kUntilTold = std::numeric_limits<uint64_t>::max();

enum class Incoming {
  kText,  // kept
  kFile,  // the big file of the plan's seed
  kEcho,  // what was sent: the same file, and never more than `unanswered_max` of it under way
};

struct TcpPlan {
  std::string address = demo::kGuestAddress;
  uint16_t port = kTestPort;
  std::string source = {};   // the client's address; empty: as the kernel chooses
  std::string request = {};  // sent first, with a newline; empty: nothing
  uint64_t seed = 1;
  uint64_t upload_bytes = 0;  // the client then ends its direction, unless keep_open
  bool keep_open = false;
  Incoming incoming = Incoming::kText;
  uint64_t unanswered_max = 256 * 1024;
  uint64_t pace_bytes_per_second = 0;  // 0: none
  int receive_buffer_bytes = 0;        // 0: as the kernel chooses
  std::string congestion = "cubic";
};

enum class TcpEnd {
  kOpen,
  kEnded,   // the other side has ended its direction, and so have we
  kBroken,  // see error()
  kWrong,   // a byte that differs
};

class TcpConnection {
 public:
  // Connects, with as many SYNs as it takes within `limit`, and begins.
  static Result<std::unique_ptr<TcpConnection>> open(const demo::NetNs& ns, TcpPlan plan,
                                                     Duration limit = Duration::seconds(30));
  // The same on a connection that was accepted.
  static Result<std::unique_ptr<TcpConnection>> adopt(UniqueFd fd, TcpPlan plan);
  ~TcpConnection();
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;

  // Steering.
  void upload_to(uint64_t bytes) { upload_limit_ = bytes; }  // never below what was asked for before
  void stop_upload() { stop_ = true; }                       // where it is, and ends our direction
  void end_upload() { keep_open_ = false; }                  // once everything asked for is sent
  void set_reading(bool reading) { reading_ = reading; }

  // "ADDRESS:PORT" of this end, as `understudy flows` shows the peer.
  const std::string& local() const { return local_; }
  uint64_t sent() const { return sent_; }          // of the file
  uint64_t received() const { return received_; }  // not as text
  std::string text() const;
  bool peer_ended() const { return peer_ended_; }  // the other side has ended its direction
  TcpEnd end() const { return end_; }
  int error() const { return error_; }  // errno
  // What the handshake agreed upon: TCPI_OPT_... bits of tcp_info (linux/tcp.h).
  unsigned agreed_options() const;
  // Everything about it in a line, for a failed test.
  std::string describe() const;

 private:
  TcpConnection(UniqueFd fd, TcpPlan plan, std::string local);
  void run();
  bool wants_to_send() const;
  bool send_some();
  bool receive_some();
  bool check_file(ByteSpan bytes);
  bool broken(int error);
  void end_our_direction();

  const UniqueFd fd_;
  const TcpPlan plan_;
  const std::string local_;
  const demo::BigFile file_;
  Bytes outgoing_, incoming_, expected_;
  size_t request_sent_ = 0;
  bool ended_ours_ = false;
  std::atomic<uint64_t> upload_limit_;
  std::atomic<bool> keep_open_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> reading_ = true;
  std::atomic<bool> abort_ = false;
  std::atomic<uint64_t> sent_ = 0;
  std::atomic<uint64_t> received_ = 0;
  std::atomic<bool> peer_ended_ = false;
  std::atomic<TcpEnd> end_ = TcpEnd::kOpen;
  std::atomic<int> error_ = 0;
  mutable std::mutex mutex_;
  std::string text_;  // guarded by mutex_
  std::thread thread_;
};

// A listening socket in the namespace, on all IPv4 addresses.
Result<UniqueFd> listen_in(const demo::NetNs& ns, uint16_t port);

Result<UniqueFd> accept_within(int listener, Duration limit);

bool can_use_congestion_control(const demo::NetNs& ns, const std::string& name);

// Writes a sysctl of the namespace: "net.ipv4.tcp_sack".  Error: it cannot be set.
Status set_sysctl(const demo::NetNs& ns, const std::string& name, const std::string& value);

}  // namespace us::e2e
