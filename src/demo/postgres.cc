#include "demo/postgres.h"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <string_view>
#include <utility>

#include "demo/stream.h"
#include "os/clock.h"

namespace us::demo {
namespace {

constexpr Duration kAbortCheck = Duration::millis(100);
constexpr Duration kConnectLimit = Duration::seconds(10);

struct ClearResult {
  void operator()(PGresult* result) const { ::PQclear(result); }
};
using PgResult = std::unique_ptr<PGresult, ClearResult>;

// libpq's messages end with a line feed.
std::string words(const char* message) {
  std::string_view text = message;
  while (text.ends_with('\n')) text.remove_suffix(1);
  return std::string(text);
}

tl::unexpected<Error> broken(pg_conn* connection) {
  return fail(ErrorKind::kProtocol, "the database connection broke: " + words(::PQerrorMessage(connection)));
}

std::vector<PgConnection::Row> rows_of(const PGresult* result) {
  std::vector<PgConnection::Row> out;
  for (int row = 0; row < ::PQntuples(result); ++row) {
    PgConnection::Row& fields = out.emplace_back();
    for (int field = 0; field < ::PQnfields(result); ++field) fields.emplace_back(::PQgetvalue(result, row, field));
  }
  return out;
}

}  // namespace

void PgConnection::Close::operator()(pg_conn* connection) const { ::PQfinish(connection); }

Result<PgConnection> PgConnection::connect(const std::string& address, const std::string& database,
                                           const std::atomic<bool>& abort) {
  const std::string settings = fmt::format(
      "hostaddr={} port={} user=postgres dbname={} sslmode=disable gssencmode=disable application_name=understudy",
      address, kPostgresPort, database);
  std::unique_ptr<pg_conn, Close> connection(::PQconnectStart(settings.c_str()));
  if (!connection) return fail(ErrorKind::kSystem, "libpq is out of memory");
  PgConnection out(std::move(connection), abort);
  US_TRY(out.finish_connect());
  // What Linux uses by default, whatever this machine has been told to use.
  ::setsockopt(::PQsocket(out.connection_.get()), IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
  ::PQsetnonblocking(out.connection_.get(), 1);
  return out;
}

// The loop that "PQconnectStart" of libpq's manual asks for.
Status PgConnection::finish_connect() {
  pg_conn* const connection = connection_.get();
  const Instant deadline = clock_now() + kConnectLimit;
  if (::PQstatus(connection) == CONNECTION_BAD) return broken(connection);
  for (PostgresPollingStatusType state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK;) {
    US_TRY(wait(state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline));
    state = ::PQconnectPoll(connection);
    if (state == PGRES_POLLING_FAILED) return broken(connection);
  }
  return {};
}

Status PgConnection::wait(short events, Instant deadline) {
  for (;;) {
    if (*abort_) return fail(ErrorKind::kTimeout, "given up while waiting for the database");
    pollfd waiting{::PQsocket(connection_.get()), events, 0};
    if (::poll(&waiting, 1, static_cast<int>(kAbortCheck.to_millis())) > 0) return {};
    if (clock_now() >= deadline) return fail(ErrorKind::kTimeout, "the database connection hangs");
  }
}

Status PgConnection::send_all() {
  const Instant deadline = clock_now() + kPatience;
  for (int left = ::PQflush(connection_.get()); left != 0; left = ::PQflush(connection_.get())) {
    if (left < 0) return broken(connection_.get());
    US_TRY(wait(POLLIN | POLLOUT, deadline));
    if (::PQconsumeInput(connection_.get()) == 0) return broken(connection_.get());
  }
  return {};
}

Status PgConnection::wait_result() {
  const Instant deadline = clock_now() + kPatience;
  while (::PQisBusy(connection_.get()) != 0) {
    US_TRY(wait(POLLIN, deadline));
    if (::PQconsumeInput(connection_.get()) == 0) return broken(connection_.get());
  }
  return {};
}

Result<std::vector<PgConnection::Row>> PgConnection::run(const std::string& sql) {
  if (::PQsendQuery(connection_.get(), sql.c_str()) == 0) return broken(connection_.get());
  US_TRY(send_all());
  std::vector<Row> rows;
  std::string refused;
  for (;;) {
    US_TRY(wait_result());
    const PgResult result(::PQgetResult(connection_.get()));
    if (!result) break;
    const ExecStatusType status = ::PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) refused = words(::PQresultErrorMessage(result.get()));
    rows = rows_of(result.get());
  }
  if (::PQstatus(connection_.get()) != CONNECTION_OK) return broken(connection_.get());
  if (!refused.empty()) return fail(ErrorKind::kRefused, "the database says: " + refused);
  return rows;
}

}  // namespace us::demo
