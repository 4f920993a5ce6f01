// Dialling: a primary looks for a standby, and the two agree on what they are about to replicate.
#pragma once

#include "host/node_context.h"
#include "host/primary_coordinator.h"
#include "host/vm.h"

namespace us {

// The Hello of this node's VM in `generation`; session and version range are filled in by dial_standby().
Hello make_hello(const NodeContext& context, const VmIdentity& identity, Generation generation);

// Connects to `address` and offers the VM.  Errors: nobody there (kSystem, kTimeout), or refused with the standby's
// reason (kRefused).  Takes at most about a second.
Result<StandbyPeer> dial_standby(const NodeContext& context, const SocketAddress& address, Hello hello);

// Standby's side: why this Hello does not fit `context` and `identity`, as verdict and sentence; kAccepted if it does.
HelloReply judge_hello(const Hello& hello, const NodeContext& context, const VmIdentity& identity);

}  // namespace us
