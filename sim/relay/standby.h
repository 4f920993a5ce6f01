// Standby: follows one session of the primary, as host/standby.cc does: frames in order, a cut is held against the log
// before it is acknowledged, then committed.  It has the stream's delays in it.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "core/tcp/relay_replica.h"
#include "sim/relay/lab.h"

namespace us::sim::relay {

class Standby {
 public:
  Standby(Lab& lab, HostId id);

  // The primary puts something into the stream.
  void send(Bytes log_frame);
  void send_end(Epoch epoch, Bytes side, std::shared_ptr<const Guest> guest);

  void stall(Duration length) { stalled_until_ = std::max(stalled_until_, lab_.now() + length); }
  // Nothing of what is on its way arrives any more.  Before this object goes, too.
  void drop_stream() { lab_.world.kill(id_); }

  HostId id() const { return id_; }
  const std::shared_ptr<const Guest>& committed() const { return committed_; }
  std::vector<RestoredFlow> restored() const { return replica_.take_over(); }

  // The client's bytes that are here: from `from` on without a gap; all of them.
  uint64_t durable(size_t connection, uint64_t from) const { return ingress_[connection].reach(from); }
  void add_durable(size_t connection, Spans& out) const {
    for (const auto& [start, end] : ingress_[connection].all()) out.add(start, end);
  }

 private:
  Duration travel(Instant& last);
  void take_log(const Bytes& frame);
  void take_end(Epoch epoch, const Bytes& side, const std::shared_ptr<const Guest>& guest);
  void note(const RelayRecord& record);
  void answer(const char* what, std::function<void(Primary&)> action);

  Lab& lab_;
  HostId id_;
  uint64_t session_;
  RelayReplica replica_;
  std::shared_ptr<const Guest> committed_;
  std::vector<Spans> ingress_;  // offsets in the client's stream
  std::map<uint64_t, size_t> connection_of_;
  Instant there_last_, back_last_, stalled_until_;
};

}  // namespace us::sim::relay
