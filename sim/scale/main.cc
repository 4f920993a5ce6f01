// understudy_scale: where the design stops scaling, and why: the product's cores in virtual time with measured costs.
// docs/model.md describes what is simulated and what is assumed.
//
//     understudy_scale [--parameters FILE] [--results DIR [--step NAME]] [--quick]
//
// Exit status: 0 done, 1 a file could not be written, 2 wrong usage or parameters.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "sim/scale/command.h"

int main(int argc, char** argv) {
  CLI::App app{"Simulates fast lines and hosts with many guests from measured costs."};
  std::string parameters = US_PARAMETERS, directory, step = "scale";
  bool quick = false, estimate = false;
  int rounds = 1;
  app.add_option("--parameters", parameters, "what things cost")->capture_default_str();
  app.add_option("--results", directory, "directory of the evaluation's data");
  app.add_option("--step", step, "name of its files")->capture_default_str();
  app.add_flag("--quick", quick, "fewer of everything");
  app.add_flag("--estimate", estimate, "print how many seconds it takes, and do nothing");
  app.add_option("--rounds", rounds, "without effect: the simulation gives the same each time");
  CLI11_PARSE(app, argc, argv);
  if (estimate) {
    fmt::print("{}\n", quick ? 15 : 60);
    return 0;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::ifstream in(parameters);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto costs = us::sim::scale::parse_parameters(text);
  if (!costs) {
    fmt::print(stderr, "understudy_scale: {}: {}\n", parameters, costs.error().message);
    return 2;
  }
  us::bench::Results results = us::bench::Results::nowhere();
  if (!directory.empty()) {
    auto opened = us::bench::Results::open(directory, step);
    if (!opened) {
      fmt::print(stderr, "understudy_scale: {}\n", opened.error().message);
      return 2;
    }
    results = std::move(*opened);
  }
  us::sim::scale::run_all(*costs, quick, results);
  if (const us::Status written = results.status(); !written) {
    fmt::print(stderr, "understudy_scale: {}\n", written.error().message);
    return 1;
  }
  return 0;
}
