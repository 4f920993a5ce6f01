#include "os/thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

namespace us {

void name_this_thread(const char* name) { ::pthread_setname_np(::pthread_self(), name); }

void make_this_thread_urgent() {
  sched_param parameter{};
  parameter.sched_priority = 10;
  // SCHED_RESET_ON_FORK: children do not inherit it.
  if (::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter) == 0) return;
  ::setpriority(PRIO_PROCESS, 0, -15);
}

}  // namespace us
