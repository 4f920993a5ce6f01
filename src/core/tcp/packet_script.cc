#include "core/tcp/packet_script.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <deque>

namespace us {

namespace {

std::vector<std::string> split(std::string_view text, std::string_view separators) {
  std::vector<std::string> out;
  size_t at = 0;
  while ((at = text.find_first_not_of(separators, at)) != std::string_view::npos) {
    const size_t end = std::min(text.find_first_of(separators, at), text.size());
    out.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

std::optional<uint32_t> number(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "A:B" as two numbers.
std::optional<std::pair<uint32_t, uint32_t>> number_pair(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto a = number(text.substr(0, colon));
  const auto b = number(text.substr(colon + 1));
  if (!a || !b) return std::nullopt;
  return std::pair{*a, *b};
}

tl::unexpected<Error> bad(std::string_view what, std::string_view text) {
  return fail(ErrorKind::kInput, fmt::format("{} `{}`", what, text));
}

Status parse_option(std::string_view text, ScriptSegment& out) {
  const std::vector<std::string> words = split(text, " \t");
  if (words.empty()) return {};
  const std::string& name = words[0];
  const auto argument = [&](size_t i) { return i < words.size() ? number(words[i]) : std::nullopt; };
  if (name == "sackok") {
    out.sack_permitted = true;
  } else if (name == "mss" && argument(1)) {
    out.mss = argument(1);
  } else if (name == "wscale" && argument(1)) {
    out.window_scale = argument(1);
  } else if (name == "ts" && argument(1) && argument(2)) {
    out.timestamps = {*argument(1), *argument(2)};
  } else if (name == "sack") {
    out.sack_blocks.emplace();
    for (size_t i = 1; i < words.size() && words[1] != "none"; ++i) {
      const auto block = number_pair(words[i]);
      if (!block) return bad("not a SACK block:", words[i]);
      out.sack_blocks->push_back(*block);
    }
  } else {
    return bad("unknown option", text);
  }
  return {};
}

// "1:1001(1000)"; the length in parentheses must agree.
Status parse_range(std::string_view word, ScriptSegment& out) {
  const size_t open = word.find('(');
  const auto range = number_pair(word.substr(0, open));
  const auto length = open == std::string_view::npos || word.back() != ')'
                          ? std::nullopt
                          : number(word.substr(open + 1, word.size() - open - 2));
  if (!range || !length || range->second - range->first != *length) return bad("not first:end(length):", word);
  out.seq = range->first;
  out.length = *length;
  return {};
}

std::optional<Duration> parse_duration(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  if (error != std::errc{}) return std::nullopt;
  const double nanos = unit == "ns" ? 1 : unit == "us" ? 1e3 : unit == "ms" ? 1e6 : unit == "s" ? 1e9 : -1;
  if (nanos < 0) return std::nullopt;
  return Duration::nanos(static_cast<int64_t>(value * nanos + 0.5));
}

}  // namespace

Result<ScriptSegment> parse_script_segment(std::string_view text) {
  ScriptSegment out;
  const size_t open = text.find('<');
  if (open != std::string_view::npos) {
    const size_t close = text.find('>', open);
    if (close == std::string_view::npos) return bad("no > in", text);
    for (const std::string& option : split(text.substr(open + 1, close - open - 1), ","))
      US_TRY(parse_option(option, out));
  }
  const std::vector<std::string> words = split(text.substr(0, open), " \t");
  if (words.empty() || words[0].find_first_not_of(".EFPRSUW-") != std::string::npos) return bad("no flags in", text);
  out.flags = words[0] == "-" ? "" : words[0];
  std::sort(out.flags.begin(), out.flags.end());
  for (size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    const auto next = i + 1 < words.size() ? number(words[i + 1]) : std::nullopt;
    if (word == "ack" && next) {
      out.ack = next;
      ++i;
    } else if (word == "win" && next) {
      out.window = next;
      ++i;
    } else if (word == "ect1" || word == "ect0" || word == "ce") {
      out.ecn = word == "ect1" ? uint8_t{1} : word == "ect0" ? uint8_t{2} : uint8_t{3};
    } else {
      US_TRY(parse_range(word, out));
    }
  }
  return out;
}

std::string to_string(const ScriptSegment& s) {
  std::string out = s.flags.empty() ? "-" : s.flags;
  if (s.seq) out += fmt::format(" {}:{}({})", *s.seq, *s.seq + s.length, s.length);
  if (s.ack) out += fmt::format(" ack {}", *s.ack);
  if (s.window) out += fmt::format(" win {}", *s.window);
  if (s.ecn) out += *s.ecn == 1 ? " ect1" : *s.ecn == 2 ? " ect0" : *s.ecn == 3 ? " ce" : "";
  std::string options;
  if (s.mss) options += fmt::format(", mss {}", *s.mss);
  if (s.window_scale) options += fmt::format(", wscale {}", *s.window_scale);
  if (s.sack_permitted.value_or(false)) options += ", sackok";
  if (s.timestamps) options += fmt::format(", ts {} {}", s.timestamps->first, s.timestamps->second);
  if (s.sack_blocks && !s.sack_blocks->empty()) {
    options += ", sack";
    for (const auto& [first, end] : *s.sack_blocks) options += fmt::format(" {}:{}", first, end);
  }
  if (!options.empty()) out += " <" + options.substr(2) + ">";
  return out;
}

std::string difference(const ScriptSegment& expected, const ScriptSegment& sent) {
  for (const char flag : std::string_view(".EFRSUW"))
    if (expected.has(flag) != sent.has(flag)) return fmt::format("flag {}", flag);
  if (expected.has('P') && !sent.has('P')) return "flag P";
  if (expected.seq && (sent.seq != expected.seq || sent.length != expected.length)) return "sequence range";
  if (!expected.seq && sent.length != 0) return "data where none is expected";
  if (expected.ack && sent.ack != expected.ack) return "ack";
  if (expected.window && sent.window != expected.window) return "window";
  if (expected.ecn && sent.ecn != expected.ecn) return "ecn";
  if (expected.mss && sent.mss != expected.mss) return "mss";
  if (expected.window_scale && sent.window_scale != expected.window_scale) return "window scale";
  if (expected.sack_permitted && sent.sack_permitted != expected.sack_permitted) return "sackok";
  if (expected.timestamps && sent.timestamps != expected.timestamps) return "timestamps";
  if (expected.sack_blocks &&
      sent.sack_blocks.value_or(std::vector<std::pair<uint32_t, uint32_t>>{}) != *expected.sack_blocks)
    return "SACK blocks";
  return "";
}

namespace {

class Runner {
 public:
  Runner(ScriptSubject& subject, const ScriptOptions& options)
      : subject_(subject), options_(options), now_(options.start), line_time_(options.start) {}

  std::string run(std::string_view script) {
    size_t number = 0;
    while (!script.empty()) {
      ++number;
      const size_t end = std::min(script.find('\n'), script.size());
      std::string_view line = script.substr(0, end);
      script.remove_prefix(std::min(end + 1, script.size()));
      line = line.substr(0, line.find('#'));
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      const std::string failure = step(line);
      if (!failure.empty()) return fmt::format("line {}: `{}`: {}", number, line, failure);
    }
    return left_over();
  }

 private:
  struct Sent {
    Instant at;
    ScriptSegment segment;
  };

  std::string step(std::string_view line) {
    const std::vector<std::string> words = split(line, " \t\r");
    if (words.size() < 2) return "no verb";
    if (!set_line_time(words[0])) return "not a time";
    const std::string& verb = words[1];
    const std::string_view rest = line.substr(line.find(verb, line.find(words[0]) + words[0].size()) + verb.size());
    if (verb == "out") return expect(rest);
    if (std::string stuck = advance(line_time_); !stuck.empty()) return stuck;
    if (verb == "check") return subject_.on_check({words.begin() + 2, words.end()});
    if (std::string extra = left_over(); !extra.empty()) return extra;
    if (verb == "none") return "";
    if (verb == "in") {
      const auto segment = parse_script_segment(rest);
      if (!segment) return segment.error().message;
      subject_.on_segment(*segment, now_);
    } else if (verb == "do") {
      const std::string failure = subject_.on_command({words.begin() + 2, words.end()}, now_);
      if (!failure.empty()) return failure;
    } else {
      return "unknown verb";
    }
    collect();
    return "";
  }

  bool set_line_time(std::string_view text) {
    if (text == "=") return true;
    const bool relative = text.starts_with('+');
    const auto length = parse_duration(relative ? text.substr(1) : text);
    if (!length) return false;
    const Instant time = (relative ? line_time_ : options_.start) + *length;
    if (time < line_time_) return false;
    line_time_ = time;
    return true;
  }

  // Fires every deadline up to `to`.
  std::string advance(Instant to) {
    int fired_at_once = 0;
    for (auto deadline = subject_.next_deadline(); deadline && *deadline <= to; deadline = subject_.next_deadline()) {
      fired_at_once = *deadline <= now_ ? fired_at_once + 1 : 0;
      if (fired_at_once > 1000) return "the same deadline fires again and again";
      now_ = std::max(now_, *deadline);
      subject_.on_deadline(now_);
      collect();
    }
    now_ = std::max(now_, to);
    return "";
  }

  void collect() {
    while (auto segment = subject_.poll(now_)) sent_.push_back({now_, std::move(*segment)});
  }

  std::string expect(std::string_view text) {
    const auto expected = parse_script_segment(text);
    if (!expected) return expected.error().message;
    if (sent_.empty())
      if (std::string stuck = advance(line_time_ + options_.tolerance); !stuck.empty()) return stuck;
    if (sent_.empty()) return "nothing was sent";
    const Sent sent = std::move(sent_.front());
    sent_.pop_front();
    if (const std::string what = difference(*expected, sent.segment); !what.empty())
      return fmt::format("{} differs, sent was {}", what, show(sent));
    if (sent.at < line_time_ - options_.tolerance || sent.at > line_time_ + options_.tolerance)
      return fmt::format("the time differs, sent was {}", show(sent));
    return "";
  }

  std::string show(const Sent& sent) const {
    return fmt::format("{}ms {}", (sent.at - options_.start).to_millis_f(), to_string(sent.segment));
  }
  std::string left_over() const { return sent_.empty() ? "" : "was not expected: " + show(sent_.front()); }

  ScriptSubject& subject_;
  const ScriptOptions& options_;
  Instant now_;
  Instant line_time_;
  std::deque<Sent> sent_;
};

}  // namespace

std::string run_script(ScriptSubject& subject, std::string_view script, const ScriptOptions& options) {
  return Runner(subject, options).run(script);
}

}  // namespace us
