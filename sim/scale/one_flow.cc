#include "sim/scale/one_flow.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <memory>

#include "base/check.h"
#include "core/epoch/epoch_policy.h"
#include "core/replica/primary_core.h"
#include "core/tcp/relay.h"
#include "sim/scale/bulk_end.h"
#include "sim/scale/server.h"
#include "sim/world.h"

namespace us::sim::scale {
namespace {

constexpr double kWorkingSet = 4096;  // pages: 16 MB of buffers and what handles them
constexpr int kTurnFrames = 16;       // of the guest, in one turn of the data path
constexpr Duration kStandbyHalfRoundTrip = Duration::micros(25);
constexpr Duration kLogTurn = Duration::micros(20);  // from a record to its frame on the link, with nothing ahead of it

Duration seconds(double s) { return Duration::nanos(static_cast<int64_t>(s * 1e9)); }

RelayLimits limits_of(const FlowLoad& load) {
  RelayLimits limits;
  limits.handshake.egress_capacity = limits.handshake.ingress_capacity =
      static_cast<uint32_t>(load.buffer_mb * 1048576);
  limits.buffer_bytes_max = size_t{4} << 30;
  return limits;
}

class Lab {
 public:
  Lab(const Parameters& costs, const FlowLoad& load)
      : costs_(costs),
        load_(load),
        line_(load.gbit),
        replication_(load.replication_gbit),
        relay_(0, limits_of(load), 1, log_),
        core_({}, Generation{1}),
        policy_(EpochPolicyConfig{}) {
    world_.after(Duration::seconds(1), "begin", [] {});
    world_.step();
    EpochPolicyConfig config;
    config.length = seconds(load.epoch_ms / 1e3);
    policy_.set_config(config);
    relay_.set_options({}, now());
  }

  FlowResult run() {
    handshake();
    if (load_.is_protected) protect();
    wake();
    const Duration warm = seconds(load_.seconds / 3);
    run_until(now() + warm);
    const uint64_t before = client_.bytes_received;
    begin_ = now();
    paused_ = cpu_busy_ = commits_ms_ = Duration();
    epochs_ = commits_ = 0;
    const double replicated = replication_.bytes();
    run_until(begin_ + seconds(load_.seconds));
    return result(static_cast<double>(client_.bytes_received - before), replication_.bytes() - replicated);
  }

 private:
  Instant now() const { return world_.now(); }
  void run_until(Instant end) {
    while (now() < end && world_.step()) {
    }
  }
  void at(Instant when, const char* what, World::Action action) {
    world_.after(std::max(Duration(), when - now()), what, std::move(action));
  }

  FlowResult result(double bytes, double replicated) const {
    FlowResult r;
    const double s = load_.seconds;
    r.gbit = bytes * 8 / s / 1e9;
    r.buffer_mb = static_cast<double>(buffer_max_) / 1e6;
    r.log_backlog_mb = static_cast<double>(backlog_max_) / 1e6;
    r.core_share = std::min(1.0, cpu_busy_.to_seconds() / s);
    r.replication_share = std::min(1.0, replicated * 8 / (load_.replication_gbit * 1e9 * s));
    r.pause_share = paused_.to_seconds() / s;
    r.epochs_per_second = static_cast<double>(epochs_) / s;
    r.commit_ms = commits_ == 0 ? 0 : commits_ms_.to_millis_f() / static_cast<double>(commits_);
    return r;
  }

  // ---- endpoints ----

  void handshake() {
    give(false, client_.frame(tcp_flag::kSyn, 0));
    guest_.expect(client_);
    give(true, guest_.frame(tcp_flag::kSyn | tcp_flag::kAck, 0));
    client_.expect(guest_);
    // The relay may never offer the guest less than the client did: a client begins with little.
    client_.offers = BulkEnd::kFirstOffer;
    give(false, client_.frame(tcp_flag::kAck, 0));
    client_.offers = 0xffff;
    guest_.window = uint64_t{BulkEnd::kFirstOffer} << BulkEnd::kScale;
  }
  void give(bool from_guest, const BulkEnd::Frame& frame) {
    if (from_guest) {
      const auto taken = relay_.on_guest_frame(frame.vnet, frame.bytes, now());
      if (taken == Relay::Disposition::kTaken && relay_.guest_said() == GuestSaid::kResponse) note_waiting();
    } else {
      relay_.on_uplink_frame(frame.vnet, frame.bytes, now());
    }
  }

  // ---- the data path: one core ----

  void wake() {
    if (planned_) return;
    planned_ = true;
    at(std::max(now(), cpu_free_), "data path", [this] { turn(); });
  }
  void charge(uint32_t payload) {
    const Duration cost = micros((costs_.relay_frame_us + costs_.relay_byte_ns * 1e-3 * payload) / 2);
    cpu_free_ = std::max(cpu_free_, now()) + cost;
    cpu_busy_ += cost;
  }

  // As the data path does: what the standby has not acknowledged is bounded.
  bool guest_speaks() const { return !stopped_ && guest_.may_send() && !log_.full(); }

  // Half of a frame's cost is charged where it comes in, half where it goes out.
  void turn() {
    planned_ = false;
    relay_.on_deadline(now());
    bool more = false;
    for (int i = 0; i < kTurnFrames && guest_speaks(); ++i) {
      const auto frame = guest_.frame(tcp_flag::kAck, BulkEnd::kSuperSegment);
      charge(BulkEnd::kSuperSegment);
      give(true, frame);
      more = true;
    }
    for (; !acks_.empty(); acks_.pop_front()) give(false, acks_.front());
    if (!stopped_)
      while (const auto frame = relay_.poll_to_guest(now())) guest_.take(*frame);
    for (int i = 0; i < kTurnFrames; ++i) {
      const auto frame = relay_.poll_to_uplink(now());
      if (!frame) break;
      charge(static_cast<uint32_t>(frame->payload.size()));
      to_client(*frame);
      more = true;
    }
    buffer_max_ = std::max(buffer_max_, relay_.pool_bytes());
    ship_log();
    if (more || guest_speaks()) return wake();
    if (const Instant next = relay_.next_deadline(); next != Instant::far_future() && next < timer_) {
      timer_ = next;
      at(next, "relay's time", [this] {
        timer_ = Instant::far_future();
        wake();
      });
    }
  }

  void to_client(const FlowFrame& frame) {
    const double wire = frame.header.length + static_cast<double>(frame.payload.size());
    const Instant arrives = line_.send(std::max(now(), cpu_free_), wire) + seconds(load_.rtt_ms / 2e3);
    // The segment is read now: its payload is the relay's until the next input.
    const auto seen = client_.look(frame);
    at(arrives, "at the client", [this, seen] {
      client_.note(seen);
      if (seen.payload == 0) return;
      const auto ack = client_.frame(tcp_flag::kAck, 0);
      at(now() + seconds(load_.rtt_ms / 2e3), "ack", [this, ack] {
        acks_.push_back(ack);
        wake();
      });
    });
  }

  // ---- replication ----

  void ship_log() {
    if (!log_.enabled() || log_planned_) return;
    log_planned_ = true;
    world_.after(kLogTurn, "log", [this] {
      log_planned_ = false;
      send_log();
    });
  }
  void send_log() {
    const LogPosition position = log_.position();
    double bytes = 0;
    for (const Bytes& frame : log_.take_frames()) bytes += static_cast<double>(frame.size());
    backlog_max_ = std::max(backlog_max_, log_.backlog_bytes());
    if (bytes == 0) return;
    const Instant arrives = replication_.send(now(), bytes) + kStandbyHalfRoundTrip * 2;
    at(arrives, "log acknowledged", [this, position] {
      US_CHECK(log_.on_ack(position, [this](const DurableRecord& record) {
        if (record.kind == RelayRecordKind::kOpen) relay_.on_open_durable(record.flow, now());
        if (record.kind == RelayRecordKind::kIngress) relay_.on_ingress_durable(record.flow, record.range, now());
        if (record.kind == RelayRecordKind::kClockBound)
          relay_.on_clock_bound_durable(record.flow, record.bound, now());
      }));
      wake();
    });
  }

  void protect() {
    core_.on_link_up(now());
    relay_.set_solo(false, now());
    log_.begin_session();
    relay_.begin_session(now());
    resumed_ = now();
    policy_.on_resumed(now(), Duration());
    plan_cut();
  }

  void note_waiting() {
    if (!waiting_.any) waiting_.first = now();
    waiting_.any = true;
    waiting_.last = now();
    if (load_.is_protected) plan_cut();
  }
  void plan_cut() {
    const Instant when = policy_.next_cut(waiting_);
    if (when == cut_at_) return;
    cut_at_ = when;
    at(when, "cut", [this, when] {
      if (cut_at_ == when && !stopped_) stop();
    });
  }

  void stop() {
    if (!core_.may_cut()) {
      blocked_ = true;
      return;
    }
    stopped_ = true;
    const Instant begun = now();
    const double mbytes = static_cast<double>(guest_.bytes_sent - sent_before_) / 1e6;
    sent_before_ = guest_.bytes_sent;
    // The guest uses its socket's and card's buffers again and again.
    const double written =
        mbytes * costs_.pages_per_mbyte + costs_.idle_pages_per_second * (begun - resumed_).to_seconds();
    const double pages = kWorkingSet * (1 - std::exp(-written / kWorkingSet));
    std::vector<FlowState> changed;
    std::vector<FlowId> ended;
    relay_.on_cut(next_, now(), changed, ended);
    const Duration pause = micros(costs_.pause_base_ms * 1e3 + costs_.pause_page_us * pages);
    world_.after(pause, "captured", [this, begun, pages] { run_on(begun, pages); });
  }

  void run_on(Instant begun, double pages) {
    core_.on_cut(next_, now());
    policy_.on_cut(begun);
    policy_.on_resumed(now(), now() - begun);
    paused_ += now() - begun;
    ++epochs_;
    const Epoch epoch = next_;
    ++next_;
    stopped_ = false;
    resumed_ = now();
    waiting_ = {};
    cut_at_ = Instant();
    plan_cut();
    wake();
    // The log up to the cut goes before the epoch's end.
    world_.after(micros(costs_.encode_page_us * pages), "encoded", [this, epoch, begun, pages] {
      send_log();
      const double bytes = costs_.device_state_bytes + costs_.page_wire_bytes * pages;
      const Duration applied = micros(costs_.apply_page_us * pages) + seconds(costs_.commit_fixed_ms / 1e3);
      at(replication_.send(now(), bytes) + kStandbyHalfRoundTrip * 2 + applied, "committed",
         [this, epoch, begun] { commit(epoch, begun); });
    });
  }

  void commit(Epoch epoch, Instant begun) {
    core_.on_heard(now(), now() - kStandbyHalfRoundTrip * 2);
    US_CHECK(core_.on_ack(epoch, now()));
    commits_ms_ += now() - begun;
    ++commits_;
    relay_.on_commit(epoch, now());
    if (std::exchange(blocked_, false)) stop();
    wake();
  }

  const Parameters& costs_;
  const FlowLoad& load_;
  World world_{1};
  Line line_, replication_;
  RelayLog log_;
  Relay relay_;
  PrimaryCore core_;
  EpochPolicy policy_;
  BulkEnd guest_{1, 80, 2, 40000}, client_{2, 40000, 1, 80};
  std::deque<BulkEnd::Frame> acks_;
  bool planned_ = false, log_planned_ = false, stopped_ = false, blocked_ = false;
  Instant cpu_free_, timer_ = Instant::far_future(), cut_at_, resumed_, begin_;
  Duration cpu_busy_, paused_, commits_ms_;
  EpochPolicy::Waiting waiting_;
  Epoch next_{1};
  uint64_t sent_before_ = 0, epochs_ = 0, commits_ = 0;
  size_t buffer_max_ = 0, backlog_max_ = 0;
};

}  // namespace

FlowResult run_flow(const Parameters& costs, const FlowLoad& load) { return Lab(costs, load).run(); }

}  // namespace us::sim::scale
