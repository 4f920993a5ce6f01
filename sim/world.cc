#include "sim/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace us::sim {
namespace {

constexpr size_t kNotesMax = 400;

}  // namespace

const char* to_string(HostId host) {
  switch (host) {
    case HostId::kA:
      return "A";
    case HostId::kB:
      return "B";
    case HostId::kNone:
      return "-";
  }
  return "?";
}

void World::push(Event event) {
  events_.push_back(std::move(event));
  std::push_heap(events_.begin(), events_.end());
}

void World::after(Duration delay, const char* what, Action action) {
  push({now_ + delay, ++order_, HostId::kNone, 0, what, std::move(action)});
}

void World::host_after(HostId host, Duration delay, const char* what, Action action) {
  push({now_ + delay, ++order_, host, processes_[index_of(host)].incarnation, what, std::move(action)});
}

bool World::step() {
  while (!events_.empty()) {
    std::pop_heap(events_.begin(), events_.end());
    Event event = std::move(events_.back());
    events_.pop_back();
    const Process& process = processes_[index_of(event.host)];
    if (event.incarnation != process.incarnation) continue;
    if (event.when < process.frozen_until) {
      event.when = process.frozen_until;  // keeps its place among those that wait with it
      push(std::move(event));
      continue;
    }
    now_ = event.when;
    ++steps_;
    last_event_ = event.what;
    last_host_ = event.host;
    event.action();
    return true;
  }
  return false;
}

void World::freeze(HostId host, Duration length) {
  Process& process = processes_[index_of(host)];
  process.frozen_until = std::max(process.frozen_until, now_ + length);
}

void World::note(HostId host, const char* what, uint64_t a, uint64_t b) {
  const Note note{now_, host, what, a, b};
  if (notes_.size() < kNotesMax) {
    notes_.push_back(note);
  } else {
    notes_[note_next_++ % kNotesMax] = note;
  }
}

std::vector<std::string> World::trace() const {
  std::vector<std::string> lines;
  for (size_t i = 0; i < notes_.size(); ++i) {
    const Note& n = notes_[(note_next_ + i) % notes_.size()];
    lines.push_back(fmt::format("{:12.3f} ms  {}  {} {} {}", static_cast<double>(n.when.to_nanos()) / 1e6,
                                to_string(n.host), n.what, n.a, n.b));
  }
  return lines;
}

}  // namespace us::sim
