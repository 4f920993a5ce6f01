#include "demo/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "os/clock.h"

namespace us::demo {
namespace {

constexpr Duration kTerminalInterval = Duration::millis(200);
constexpr Duration kFileInterval = Duration::seconds(3);

}  // namespace

Console::Console()
    : terminal_(::isatty(STDOUT_FILENO) == 1),
      colour_(terminal_ && std::getenv("NO_COLOR") == nullptr),
      start_(clock_now()),
      last_progress_(start_) {}

Console::~Console() { clear_progress(); }

void Console::event(const std::string& text) { line(text, false); }
void Console::headline(const std::string& text) { line(text, true); }

void Console::line(const std::string& text, bool bold) {
  clear_progress();
  const bool paint = bold && colour_;
  fmt::print("{:7.2f} s  {}{}{}\n", (clock_now() - start_).to_seconds(), paint ? "\033[1m" : "", text,
             paint ? "\033[0m" : "");
  std::fflush(stdout);
}

bool Console::wants_progress() const {
  return clock_now() - last_progress_ >= (terminal_ ? kTerminalInterval : kFileInterval);
}

void Console::progress(const std::string& text) {
  last_progress_ = clock_now();
  if (terminal_) {
    fmt::print("\r\033[K{:7.2f} s    {}", (last_progress_ - start_).to_seconds(), text);
    progress_shown_ = true;
  } else {
    fmt::print("{:7.2f} s    {}\n", (last_progress_ - start_).to_seconds(), text);
  }
  std::fflush(stdout);
}

void Console::plain(const std::string& text) const {
  clear_progress();
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

void Console::clear_progress() const {
  if (progress_shown_) std::fputs("\r\033[K", stdout);
  progress_shown_ = false;
}

}  // namespace us::demo
