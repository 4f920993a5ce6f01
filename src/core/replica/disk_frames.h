// Between DiskSource and DiskReplica and the wire: frames of what they have to say, and messages given to them.
//
// What comes is untrusted: errors are ErrorKind::kProtocol or kRefused, and the session must end.  A message of another
// kind, or of a disk that the peer cannot mean, is the caller's business: disk_of().  Pure.
#pragma once

#include <optional>
#include <vector>

#include "core/disk/disk_replica.h"
#include "core/disk/disk_source.h"
#include "core/replica/wire.h"

namespace us {

// Of a message about a disk; nullopt: it is about something else.
std::optional<DiskIndex> disk_of(const Message& message);

// ---- primary ----
Bytes offer_frame(const DiskSource& source, Epoch first, uint16_t version);
// Appends frames with about `bytes_max` of the stream, in order.
void take_stream_frames(DiskSource& source, uint16_t version, size_t bytes_max, std::vector<Bytes>& out);
// DiskAnswer (a refusal is an error with its reason), DiskMarks, DiskSumAnswers, DiskProgress.
Status deliver(DiskSource& source, const Message& message);

// ---- standby ----
DiskReplica::Offer to_offer(const DiskOffer& offer, Generation generation, SessionId session);
// DiskAnswer and DiskMarks.
std::vector<Bytes> answer_frames(DiskIndex disk, const DiskReplica::Answer& answer, uint16_t version);
// DiskRecords, DiskSums.
Status deliver(DiskReplica& replica, const Message& message);
// DiskSumAnswers and DiskProgress, as far as there is something to say.
std::vector<Bytes> take_reply_frames(DiskIndex disk, DiskReplica& replica, uint16_t version);

}  // namespace us
