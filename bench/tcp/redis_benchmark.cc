#include "tcp/redis_benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>
#include <sstream>

#include "tcp/program.h"

namespace us::bench {
namespace {

constexpr int kConnections = 50;
constexpr int kProbe = 1000;  // requests that tell how many fit into the time
constexpr int kRequestsMax = 200'000;
constexpr Duration kLimit = Duration::seconds(120);

// "a","b" without quotes in the fields, which redis-benchmark never writes.
std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream in(line);
  for (std::string field; std::getline(in, field, ',');) {
    std::erase_if(field, [](char c) { return c == '"' || c == '\r'; });
    fields.push_back(field);
  }
  return fields;
}

Result<std::vector<RedisFigures>> run(const Client& client, int pipeline, int requests) {
  US_ASSIGN(const std::string text, output_of(client,
                                              {"redis-benchmark", "-h", client.guest, "-t", "set,get", "-d", "64", "-c",
                                               std::to_string(kConnections), "-P", std::to_string(pipeline), "-n",
                                               std::to_string(requests), "--csv"},
                                              kLimit));
  return parse_redis_csv(text);
}

}  // namespace

Result<std::vector<RedisFigures>> parse_redis_csv(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> columns;
  std::vector<RedisFigures> list;
  for (std::string line; std::getline(in, line);) {
    const std::vector<std::string> fields = fields_of(line);
    if (!fields.empty() && fields[0] == "test") {
      columns = fields;
      continue;
    }
    if (columns.empty() || fields.size() != columns.size()) continue;
    std::map<std::string, double> values;
    for (size_t i = 1; i < fields.size(); ++i) values[columns[i]] = std::strtod(fields[i].c_str(), nullptr);
    std::string test = fields[0];
    std::transform(test.begin(), test.end(), test.begin(), [](unsigned char c) { return std::tolower(c); });
    list.push_back({test, values["rps"], values["p50_latency_ms"], values["p99_latency_ms"]});
  }
  if (list.empty()) return fail(ErrorKind::kSystem, "redis-benchmark said: " + text);
  return list;
}

Result<std::vector<RedisFigures>> measure_redis(const Client& client, int pipeline, Duration length) {
  US_ASSIGN(const std::vector<RedisFigures> probe, run(client, pipeline, kProbe));
  const double rate = probe.front().requests_per_second;
  const int requests = static_cast<int>(std::clamp<double>(rate * length.to_seconds(), kProbe, kRequestsMax));
  return run(client, pipeline, requests);
}

}  // namespace us::bench
