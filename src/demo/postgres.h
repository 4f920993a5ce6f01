// PgConnection: one connection to a PostgreSQL server, through libpq, used by one thread.
//
// As with Stream (stream.h) a connection that breaks is an error, and so is an answer that does not come for kPatience;
// it never connects again by itself.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"

struct pg_conn;

namespace us::demo {

inline constexpr uint16_t kPostgresPort = 5432;

class PgConnection {
 public:
  using Row = std::vector<std::string>;

  // Connects as user "postgres" to a numeric `address`, in the network namespace of the calling thread.
  // `abort` as in Stream::connect().
  static Result<PgConnection> connect(const std::string& address, const std::string& database,
                                      const std::atomic<bool>& abort);

  // Runs one or more statements, and returns the rows of the last.  Error: the connection broke or hangs, or the server
  // refused a statement; the message says which.
  Result<std::vector<Row>> run(const std::string& sql);

 private:
  struct Close {
    void operator()(pg_conn* connection) const;
  };
  PgConnection(std::unique_ptr<pg_conn, Close> connection, const std::atomic<bool>& abort)
      : connection_(std::move(connection)), abort_(&abort) {}
  Status finish_connect();
  Status send_all();
  Status wait_result();
  Status wait(short events, Instant deadline);

  std::unique_ptr<pg_conn, Close> connection_;
  const std::atomic<bool>* abort_;
};

}  // namespace us::demo
