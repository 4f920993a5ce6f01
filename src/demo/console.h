// Console: the demo's lines for a person.  Events stay; the progress line below them is rewritten in place on a
// terminal, and printed every few seconds otherwise.
#pragma once

#include <string>

#include "base/time.h"

namespace us::demo {

class Console {
 public:
  Console();
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  // Something happened.  Lines begin with the seconds since the start.
  void event(const std::string& text);
  // The same, in bold where there are colours.
  void headline(const std::string& text);
  // Is it time for a new progress line?  Making one up may cost something.
  bool wants_progress() const;
  void progress(const std::string& text);
  // Printed as it is.
  void plain(const std::string& text) const;

  bool colour() const { return colour_; }

 private:
  void line(const std::string& text, bool bold);
  void clear_progress() const;

  const bool terminal_;
  const bool colour_;  // a terminal, and NO_COLOR (https://no-color.org) is not set
  const Instant start_;
  Instant last_progress_;
  mutable bool progress_shown_ = false;
};

}  // namespace us::demo
