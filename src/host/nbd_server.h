// NbdServer: serves one image over a unix socket, as it is: no epochs, no standby.  For tests of the protocol against
// other people's clients, for looking into an image, and as the pattern for the server of a protected VM.
//
// One thread with an epoll loop; several clients, one request at a time on the image.  A client that does not read or
// write stops only itself (NbdSession bounds what it may hold).  Errors of the image reach the client as NBD errors.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "os/block_file.h"

namespace us {

class NbdServer {
 public:
  // Listens when it returns.  The socket is the current user's alone (0600).
  static Result<std::unique_ptr<NbdServer>> start(const std::string& socket_path, const std::string& export_name,
                                                  BlockFile image, bool read_only);
  // Open requests are answered, then the connections are closed.
  virtual ~NbdServer() = default;
};

}  // namespace us
