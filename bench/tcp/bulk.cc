// measure_bulk(): runs iperf3 and reads its report.

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "os/child_process.h"
#include "os/clock.h"
#include "tcp/load.h"

namespace us::bench {
namespace {

using Json = nlohmann::json;

// Its handshake with the server takes some ten round trips, under epochs of 100 ms and with losses.
constexpr double kStartAndEndSeconds = 40;
constexpr int kTries = 4;
constexpr useconds_t kRetryPauseUs = 1'500'000;

// What a program that can be interrupted prints, by way of a file without a name.
Result<std::string> output_of(const Client& client, const std::vector<std::string>& argv, Duration limit) {
  std::FILE* file = std::tmpfile();
  if (file == nullptr) return fail_errno("make a temporary file", errno);
  const UniqueFd fd(::dup(::fileno(file)));
  std::fclose(file);
  US_ASSIGN(ChildProcess child, ChildProcess::spawn({.argv = argv, .inherited = {}, .output_fd = fd.get()}));
  const Instant end = clock_now() + limit;
  while (!child.poll_exit()) {
    if (client.interrupted) return fail(ErrorKind::kRefused, "interrupted");
    if (clock_now() > end) return fail(ErrorKind::kTimeout, "iperf3 does not end");
    pollfd ended{child.exit_fd(), POLLIN, 0};
    ::poll(&ended, 1, 100);
  }
  std::string text;
  char chunk[16384];
  ::lseek(fd.get(), 0, SEEK_SET);
  for (ssize_t n; (n = ::read(fd.get(), chunk, sizeof chunk)) > 0;) text.append(chunk, static_cast<size_t>(n));
  return text;
}

Result<double> rate_after(const Json& report, double skip_s) {
  double bytes = 0, seconds = 0;
  for (const Json& interval : report.value("intervals", Json::array())) {
    const Json& sum = interval["sum"];
    if (sum.value("start", 0.0) < skip_s - 0.05) continue;
    bytes += sum.value("bytes", 0.0);
    seconds += sum.value("seconds", 0.0);
  }
  if (seconds < 1) return fail(ErrorKind::kProtocol, "iperf3 ended early");
  return bytes * 8 / seconds;
}

}  // namespace

Result<double> measure_bulk(const Client& client, bool from_guest, int flows, double skip_s, double length_s) {
  // From the guest the guest's own stack is the sender, and it has CUBIC.
  std::vector<std::string> argv =
      client.ns.wrap({"iperf3", "-J", "-c", client.guest, "-t", fmt::format("{:.0f}", skip_s + length_s), "-C",
                      from_guest ? "cubic" : client.cc});
  argv.insert(argv.end(), {"-P", std::to_string(flows)});
  if (from_guest) argv.emplace_back("-R");
  for (int tries = 1;; ++tries) {
    US_ASSIGN(const std::string text,
              output_of(client, argv,
                        Duration::millis(static_cast<int64_t>((skip_s + length_s + kStartAndEndSeconds) * 1000))));
    const Json report = Json::parse(text, nullptr, false);
    const bool whole = report.is_object() && report.contains("end") && !report.contains("error");
    if (whole) return rate_after(report, skip_s);
    // The server serves one client at a time and needs a moment to notice that the one before is gone.
    if (tries == kTries)
      return fail(ErrorKind::kSystem, "iperf3: " + (report.is_object() ? report.value("error", text) : text));
    ::usleep(kRetryPauseUs);
  }
}

}  // namespace us::bench
