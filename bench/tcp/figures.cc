#include "tcp/figures.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/statistics.h"

namespace us::bench {
namespace {

constexpr double kBulkGoal = 0.95;   // of unprotected
constexpr double kRequestSlack = 2;  // ms
const std::vector<std::string> kEpochs = {"10", "25", "50", "100", "adaptive"};

std::string number(double value) { return value < 10 ? fmt::format("{:.2f}", value) : fmt::format("{:.1f}", value); }

std::string cell(const Figure* figure) {
  if (figure == nullptr) return "-";
  const auto ratio = figure->ratio();
  return ratio ? fmt::format("{} ({:.2f})", number(figure->value()), *ratio) : number(figure->value());
}

std::string spread(const Figure& figure) {
  const auto [low, high] = std::minmax_element(figure.values.begin(), figure.values.end());
  return fmt::format("{} .. {}", number(*low), number(*high));
}

}  // namespace

double Figure::value() const { return median(values); }

std::optional<double> Figure::reference() const {
  std::vector<double> known;
  for (const auto& value : unprotected)
    if (value) known.push_back(*value);
  if (known.empty()) return std::nullopt;
  return median(known);
}

std::optional<double> Figure::ratio() const {
  std::vector<double> ratios;
  for (size_t i = 0; i < values.size(); ++i)
    if (unprotected[i] && *unprotected[i] > 0) ratios.push_back(values[i] / *unprotected[i]);
  if (ratios.empty()) return std::nullopt;
  return median(ratios);
}

const Figure* Figures::find(const Load& load, const std::string& metric, const Setting& setting) const {
  for (const Figure& figure : figures_)
    if (figure.metric == metric && figure.setting.mode == setting.mode && figure.setting.epoch == setting.epoch &&
        describe(figure.load) == describe(load))
      return &figure;
  return nullptr;
}

void Figures::add(const Load& load, const Setting& setting, const std::vector<Quantity>& measured,
                  const std::vector<Quantity>& unprotected) {
  for (const Quantity& quantity : measured) {
    if (find(load, quantity.metric, setting) == nullptr)
      figures_.push_back({load, quantity.metric, setting, quantity.unit, {}, {}});
    Figure& figure = const_cast<Figure&>(*find(load, quantity.metric, setting));
    const auto reference = std::find_if(unprotected.begin(), unprotected.end(),
                                        [&](const Quantity& other) { return other.metric == quantity.metric; });
    figure.values.push_back(quantity.value);
    figure.unprotected.push_back(reference == unprotected.end() ? std::nullopt : std::optional(reference->value));
  }
}

std::string Figures::table() const {
  std::string out;
  std::vector<std::string> shown;  // one title for each block
  for (const Figure& figure : figures_) {
    const std::string title = fmt::format("{}: {} [{}]", describe(figure.load), figure.metric, figure.unit);
    if (std::find(shown.begin(), shown.end(), title) != shown.end()) continue;
    shown.push_back(title);
    out += "\n" + title + "\n";
    for (const char* mode : {"unprotected", "stock"})
      if (const Figure* found = find(figure.load, figure.metric, {mode, ""}))
        out += fmt::format("  {:<14}{:<18}{}\n", mode, cell(found), spread(*found));
    std::string heading = fmt::format("  {:<14}", "epoch"), rows;
    for (const std::string& epoch : kEpochs) heading += fmt::format("{:<16}", epoch);
    for (const std::string& mode : mode_names()) {
      std::string row;
      bool any = false;
      for (const std::string& epoch : kEpochs) {
        const Figure* found = find(figure.load, figure.metric, {mode, epoch});
        any |= found != nullptr;
        row += fmt::format("{:<16}", cell(found));
      }
      if (any) rows += fmt::format("  {:<14}{}\n", mode, row);
    }
    if (!rows.empty()) out += heading + "\n" + rows;
  }
  return out;
}

std::string Figures::goals() const {
  std::string out;
  for (const Figure& figure : figures_) {
    if (figure.setting.mode != "accelerated") continue;
    const Load& load = figure.load;
    const auto said = [&](bool reached, const std::string& text) {
      out += fmt::format("  {} {}, epoch {}: {}\n", reached ? "reached" : "MISSED ", describe(load),
                         figure.setting.epoch, text);
    };
    const auto of_load = [&](const char* metric) {
      const Figure* found = find(load, metric, figure.setting);
      return found == nullptr ? 0.0 : found->value();
    };
    const double wait = of_load("pause") + of_load("commit");
    if (load.kind == Kind::kStreams && load.wire && load.flows < 100 && figure.metric == "throughput" && figure.ratio())
      said(*figure.ratio() >= kBulkGoal, fmt::format("{:.3f} of unprotected ({})", *figure.ratio(), kBulkGoal));
    if (load.kind == Kind::kRequest && figure.metric == "latency-p50")
      said(figure.value() <= wait + kRequestSlack,
           fmt::format("{:.2f} ms (pause + commit + 2 ms = {:.2f} ms)", figure.value(), wait + kRequestSlack));
    if (load.kind == Kind::kFetch && figure.metric == "latency-p50" && figure.reference())
      said(figure.value() <= *figure.reference() + 2 * wait,
           fmt::format("{:.2f} ms (unprotected + 2 pauses and commits = {:.2f} ms)", figure.value(),
                       *figure.reference() + 2 * wait));
  }
  return out;
}

}  // namespace us::bench
