// Arbitration: who may be the next generation of a VM.
//
// When the two hosts lose each other, each asks an arbiter for the generation after the one they shared.  An arbiter
// grants each generation once, to one node, for ever; asking again for what one already holds is granted again.
// This file is the vocabulary; host/directory_arbiter.h is an arbiter.
#pragma once

#include <string>

#include "base/strong.h"

namespace us {

enum class ClaimResult {
  kGranted,      // this node holds the generation
  kTaken,        // another node holds it (or a later one): this node has lost, for good
  kUnavailable,  // no answer; the claim may or may not have been recorded.  Ask again
};

struct ClaimAnswer {
  Generation generation;  // the one that was asked for
  ClaimResult result = ClaimResult::kUnavailable;
  std::string holder;  // who has it, for kTaken
  std::string detail;  // for a person, for kUnavailable
  // For kUnavailable: it is certain that the claim was not recorded and will not be.
  bool not_recorded = false;
};

// Blocking; called on a thread that may wait.  Implementations need not be thread-safe.
class Arbiter {
 public:
  virtual ~Arbiter() = default;
  virtual ClaimAnswer claim(Generation generation) = 0;
};

}  // namespace us
