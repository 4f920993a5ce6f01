// Names and priorities of threads.
#pragma once

namespace us {

// As shown by ps and gdb; at most 15 characters.
void name_this_thread(const char* name);

// For threads that do little work and must do it on time (heartbeats, acknowledgements): SCHED_FIFO where permitted,
// else a better nice value, else nothing.  Never for a thread that can be busy for long.
void make_this_thread_urgent();

}  // namespace us
