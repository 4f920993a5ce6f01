// StandbyTrouble: what the standby says of its disk (DiskTrouble), and whether the guest has waited for it long enough.
//
// Pure; the caller's lock guards it.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/time.h"

namespace us {

class StandbyTrouble {
 public:
  // What it is now; empty: none.
  const std::string& text() const { return text_; }

  // A report; empty: the disk can be written again.  True if that is news.
  bool report(std::string text, Instant now) {
    const bool news = text.empty() != text_.empty();
    if (news) since_ = text.empty() ? Instant::far_future() : now;
    text_ = std::move(text);
    return news;
  }
  void clear() { *this = {}; }

  // The trouble, once, when it has lasted for `patience`.
  std::optional<std::string> take_failure(Instant now, Duration patience) {
    if (text_.empty() || since_ == Instant::far_future() || now - since_ < patience) return std::nullopt;
    since_ = Instant::far_future();
    return text_;
  }

 private:
  std::string text_;
  Instant since_ = Instant::far_future();
};

}  // namespace us
