// Client: counts up by one with each request, one request at a time, and repeats a request until it is answered.
// A reply that does not continue its count is a violation: an acknowledged request was lost, or done twice.
#pragma once

#include "sim/guest.h"
#include "sim/world.h"

namespace us::sim {

struct Lab;

class Client {
 public:
  Client(Lab& lab, uint32_t number) : lab_(lab), number_(number) {}
  void start();
  void on_reply(const GuestOutput& reply);
  uint64_t answered() const { return answered_; }

 private:
  void send();

  Lab& lab_;
  uint32_t number_;
  uint64_t request_ = 1;
  uint64_t answered_ = 0;
  uint64_t tries_ = 0;
};

}  // namespace us::sim
