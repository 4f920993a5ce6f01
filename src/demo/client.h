// Client: a program that talks to the guest over one connection for as long as the demo lasts, in a thread of its own
// in the client's namespace.  Three kinds are below, the fourth in ledger_client.h; each checks every byte that it
// gets.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "demo/netns.h"
#include "demo/reply_times.h"
#include "demo/stream.h"

namespace us::demo {

class Client {
 public:
  // `address` and `port` of the service.
  Client(std::string name, std::string address, uint16_t port);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  virtual ~Client();

  // `ns` must outlive the client.  Call once; a derived class must call finish() in its destructor.
  void start(const NetNs& ns);

  // Lets it complete what it has begun, at most for `limit`, and ends the thread.
  void finish(Duration limit);

  const std::string& name() const { return name_; }
  uint64_t progress() const { return progress_; }  // answers or bytes so far; grows while the connection lives
  std::optional<std::string> failure() const;      // why the connection was lost or what was wrong with an answer

 protected:
  // Connects once and talks until stopping(), then returns with nothing outstanding.
  virtual Status talk() = 0;
  Result<Stream> connect() const { return Stream::connect(address_, port_, abort_); }
  const std::string& address() const { return address_; }
  const std::atomic<bool>& aborted() const { return abort_; }  // true: whatever waits must end with an error
  bool stopping() const { return stopping_; }
  void advance(uint64_t by) { progress_ += by; }

 private:
  Status run(const NetNs& ns);

  const std::string name_;
  const std::string address_;
  const uint16_t port_;
  std::atomic<uint64_t> progress_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> abort_ = false;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
  mutable std::mutex mutex_;
  std::optional<std::string> failure_;  // guarded by mutex_
};

// `INCR key`, several commands under way at once.  Each answer must be the previous one plus 1: a write that was
// acknowledged and then lost or done twice shows as a jump.
class RedisClient final : public Client {
 public:
  RedisClient(std::string address, std::string key) : Client("redis", std::move(address), 6379), key_(std::move(key)) {}
  ~RedisClient() override { finish(Duration::nanos(0)); }

  const std::string& key() const { return key_; }
  uint64_t sent() const { return sent_; }
  uint64_t acknowledged() const { return progress(); }
  uint64_t lost() const { return lost_; }  // acknowledged writes that a later answer showed to be gone

 private:
  Status talk() override;
  Status take_answer(uint64_t value);

  const std::string key_;
  std::atomic<uint64_t> lost_ = 0;
  std::atomic<uint64_t> sent_ = 0;
};

// Reads the counter over a new connection.  Runs in a thread of its own.
Result<uint64_t> read_redis_counter(const NetNs& ns, const std::string& address, const std::string& key);

// Downloads one big file after another over one HTTP connection and checks the SHA-256 of each.
class DownloadClient final : public Client {
 public:
  DownloadClient(std::string address, uint64_t file_bytes, uint64_t seed)
      : Client("download", std::move(address), 80), file_bytes_(file_bytes), seed_(seed) {}
  ~DownloadClient() override { finish(Duration::nanos(0)); }

  uint64_t bytes() const { return progress(); }
  uint64_t files_verified() const { return files_verified_; }
  bool has_wrong_file() const { return has_wrong_file_; }

 private:
  Status talk() override;
  Status download(Stream& stream, LineReader& reader, uint64_t seed);

  const uint64_t file_bytes_;
  const uint64_t seed_;
  std::atomic<uint64_t> files_verified_ = 0;
  std::atomic<bool> has_wrong_file_ = false;
};

// Sends a number every 5 ms and expects all of them back in order: shows how long the guest was silent.
class PingClient final : public Client {
 public:
  explicit PingClient(std::string address) : Client("ping-pong", std::move(address), 7) {}
  ~PingClient() override { finish(Duration::nanos(0)); }

  const ReplyTimes& replies() const { return replies_; }
  void measure_round_trips(bool wanted) { replies_.measure_round_trips(wanted); }

 private:
  Status talk() override;
  Status take_replies(ByteSpan data, Instant now);
  Status send_next(Stream& stream, Instant now);

  ReplyTimes replies_;
  std::vector<Instant> sent_at_;  // by number
  Bytes partial_;                 // of the next reply
  uint64_t received_ = 0;
};

}  // namespace us::demo
