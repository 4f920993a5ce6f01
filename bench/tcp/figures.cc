#include "tcp/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace us::bench {
namespace {

using nlohmann::json;

constexpr int kMtu = 1500;
constexpr const char* kGuestCc = "cubic";

bool same_load(const Load& a, const Load& b) {
  return a.scenario == b.scenario && a.direction == b.direction && a.wire == b.wire && a.rtt_ms == b.rtt_ms &&
         a.loss == b.loss;
}

std::string number(double value) { return value < 10 ? fmt::format("{:.2f}", value) : fmt::format("{:.1f}", value); }

std::string cell(const Figure* figure) {
  if (figure == nullptr) return "-";
  const auto ratio = figure->ratio();
  return ratio ? fmt::format("{} ({:.2f})", number(figure->value()), *ratio) : number(figure->value());
}

std::string title(const Figure& figure) {
  Load load = figure.load;
  load.scenario = figure.scenario;
  return fmt::format("{}  [{}]", describe(load), figure.unit);
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Figure::value() const { return median(values); }

std::optional<double> Figure::reference() const {
  if (unprotected.size() != values.size()) return std::nullopt;
  return median(unprotected);
}

std::optional<double> Figure::ratio() const {
  if (unprotected.size() != values.size()) return std::nullopt;
  std::vector<double> ratios;
  for (size_t i = 0; i < values.size(); ++i)
    if (unprotected[i] > 0) ratios.push_back(values[i] / unprotected[i]);
  if (ratios.empty()) return std::nullopt;
  return median(ratios);
}

const Figure* Figures::find(const std::string& scenario, const Load& load, const Setting& setting) const {
  for (const Figure& figure : figures_)
    if (figure.scenario == scenario && same_load(figure.load, load) && figure.setting.mode == setting.mode &&
        figure.setting.epoch_ms == setting.epoch_ms)
      return &figure;
  return nullptr;
}

void Figures::add(const Load& load, const Setting& setting, const std::vector<Quantity>& measured,
                  const std::vector<Quantity>& unprotected) {
  for (const Quantity& quantity : measured) {
    const std::string scenario = load.scenario + quantity.name;
    if (find(scenario, load, setting) == nullptr) figures_.push_back({scenario, load, setting, quantity.unit, {}, {}});
    Figure& figure = const_cast<Figure&>(*find(scenario, load, setting));
    figure.values.push_back(quantity.value);
    for (const Quantity& reference : unprotected)
      if (reference.name == quantity.name) figure.unprotected.push_back(reference.value);
  }
}

json Figures::records(const std::string& cc) const {
  json list = json::array();
  for (const Figure& figure : figures_) {
    const auto [low, high] = std::minmax_element(figure.values.begin(), figure.values.end());
    const auto reference = figure.reference(), ratio = figure.ratio();
    list.push_back({{"scenario", figure.scenario},
                    {"mode", figure.setting.mode},
                    {"epoch_ms", figure.setting.epoch_ms == 0 ? json() : json(figure.setting.epoch_ms)},
                    {"direction", to_text(figure.load.direction)},
                    {"mtu", kMtu},
                    {"rtt_ms", figure.load.rtt_ms},
                    {"loss", figure.load.loss},
                    {"cc", figure.load.direction == Direction::kFromGuest ? kGuestCc : cc},
                    {"value", figure.value()},
                    {"unit", figure.unit},
                    {"unprotected", reference ? json(*reference) : json()},
                    {"ratio", ratio ? json(*ratio) : json()},
                    {"n", figure.values.size()},
                    {"spread", {*low, *high}}});
  }
  return list;
}

std::string Figures::table() const {
  std::string out;
  std::set<int> epochs;
  for (const Figure& figure : figures_)
    if (is_protected(figure.setting)) epochs.insert(figure.setting.epoch_ms);
  std::vector<const Figure*> shown;  // one for each block
  for (const Figure& figure : figures_) {
    const bool done = std::any_of(shown.begin(), shown.end(), [&](const Figure* other) {
      return other->scenario == figure.scenario && same_load(other->load, figure.load);
    });
    if (done) continue;
    shown.push_back(&figure);
    out += "\n" + title(figure) + "\n";
    for (const char* mode : {"unprotected", "stock"})
      if (const Figure* found = find(figure.scenario, figure.load, {mode, 0})) {
        const auto [low, high] = std::minmax_element(found->values.begin(), found->values.end());
        out += fmt::format("  {:<14}{:<18}{} .. {}\n", mode, cell(found), number(*low), number(*high));
      }
    std::string heading = fmt::format("  {:<14}", "epoch"), rows;
    for (const int epoch : epochs) heading += fmt::format("{:<18}", fmt::format("{} ms", epoch));
    for (const std::string& mode : mode_names()) {
      std::string row;
      bool any = false;
      for (const int epoch : epochs) {
        const Figure* found = find(figure.scenario, figure.load, {mode, epoch});
        any |= found != nullptr;
        row += fmt::format("{:<18}", cell(found));
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
    const auto said = [&](bool reached, const std::string& text) {
      out += fmt::format("  {} {}, epoch {} ms: {}\n", reached ? "reached" : "MISSED ", describe(figure.load),
                         figure.setting.epoch_ms, text);
    };
    const auto of_load = [&](const char* name) {
      const Figure* found = find(figure.load.scenario + name, figure.load, figure.setting);
      return found == nullptr ? 0.0 : found->value();
    };
    const double wait = of_load("-pause") + of_load("-commit");
    if (figure.load.kind == Kind::kBulk && figure.load.wire && figure.scenario == figure.load.scenario &&
        figure.ratio())
      said(*figure.ratio() >= 0.95, fmt::format("{:.3f} of unprotected (0.95)", *figure.ratio()));
    if (figure.scenario == "request-p50")
      said(figure.value() <= wait + 2,
           fmt::format("{:.2f} ms (pause + commit + 2 ms = {:.2f} ms)", figure.value(), wait + 2));
    if (figure.load.kind == Kind::kFetch && figure.scenario == figure.load.scenario && figure.reference())
      said(figure.value() <= *figure.reference() + 2 * wait,
           fmt::format("{:.2f} ms (unprotected + 2 pauses and commits = {:.2f} ms)", figure.value(),
                       *figure.reference() + 2 * wait));
  }
  return out;
}

}  // namespace us::bench
