// The guest's own services; each function runs for ever in a thread of its own.
#pragma once

namespace us::guest {

// Port 7, TCP and UDP: sends back what it receives.
void serve_echo_tcp();
void serve_echo_udp();

// Port 80: `GET /big?bytes=N&seed=S` answers N bytes of the BigFile of that seed (src/demo/big_file.h), `GET /` a line
// of text.  HTTP/1.1 with keep-alive.
void serve_http();

// Port 9000: for tests of TCP; the first line says what becomes of the connection (docs/guest.md).
void serve_tcp();

// Port 9001: for benchmarks of TCP; the first line says what becomes of the connection (docs/guest.md).
void serve_load();

// Port 9002: writes to so many pages a second (docs/guest.md).
void serve_dirty();

// Port 9999: runs one shell line and sends back what it prints, then closes.  For tests only: there is no password.
void serve_control();

}  // namespace us::guest
