#include <csignal>
#include <thread>

#include "services.h"

int main() {
  std::signal(SIGPIPE, SIG_IGN);
  std::thread(us::guest::serve_echo_tcp).detach();
  std::thread(us::guest::serve_echo_udp).detach();
  std::thread(us::guest::serve_http).detach();
  std::thread(us::guest::serve_tcp).detach();
  std::thread(us::guest::serve_dirty).detach();
  std::thread(us::guest::serve_load).detach();
  us::guest::serve_control();
}
