"""What output commit should cost, in formulas (docs/model.md derives them).  All times in ms.

Nothing is fitted: a prediction takes the epoch length that was set, the mean pause and commit of the very measurement, and what
the unprotected guest did in the same rounds.
"""

import math
from collections import namedtuple

from report_data import REFERENCE, epoch_number, params_of

MSS = 1448  # bytes of payload in a segment of 1500 with timestamps
INITIAL_WINDOW = 10  # segments, RFC 6928
QUIET = 0.3  # ms: EpochPolicyConfig::quiet
CUBIC_BETA = 0.7  # RFC 9438, section 4.6
QUEUE = 1000  # packets of the line, where `params` does not say
MBIT = 150.0
FETCH_BYTES = {"10K": 10_000, "100K": 100_000, "1M": 1_000_000}
# Cuts that a fetch waits for: SYN-ACK, beginning of the response, and for more than an initial window the rest of it.
CUTS_OF_FETCH = {"10K": 2, "100K": 3, "1M": 3}

Prediction = namedtuple("Prediction", "figure quantity measured predicted")


def cycle(epoch, pause):
    """The guest runs for an epoch, then stands."""
    return epoch + pause


def open_wait(epoch, pause, commit):
    """(least, mean, greatest) time that an output waits when it comes at any time: uniform over one cycle."""
    low = pause + commit
    return low, low + cycle(epoch, pause) / 2, low + cycle(epoch, pause)


def closed_round_trip(epoch, pause, commit, unprotected):
    """Request after request under output commit: each leaves when the answer before it has come, a little after a commit,
    so each takes whole cycles."""
    used = commit + unprotected
    return cycle(epoch, pause) * max(1, math.ceil(used / epoch)) if epoch > 0 else unprotected


def cut_round_trip(pause, commit, unprotected, quiet=QUIET):
    """With a cut on output the answer waits for the guest's quiet, the pause and the commit, whatever the epoch length."""
    return unprotected + quiet + pause + commit


def slow_start_rounds(size, per_round_max=math.inf, mss=MSS):
    """Round trips that a sender without losses needs for `size` bytes: 10 segments, then twice as many each time, until a
    round carries as much as the line does in the same time."""
    window, sent, rounds = INITIAL_WINDOW * mss, 0, 0
    while sent < size:
        sent += min(window, per_round_max)
        window *= 2
        rounds += 1
    return rounds


def buffered_fetch(size, epoch, pause, mbit=MBIT):
    """A cycle for the SYN-ACK, then one for each round of slow start."""
    line = mbit * 1e6 / 8 * cycle(epoch, pause) / 1e3
    return (1 + slow_start_rounds(size, line)) * cycle(epoch, pause)


def accelerated_fetch(unprotected, cuts, pause, commit, quiet=QUIET):
    return unprotected + cuts * (quiet + pause + commit)


def buffered_throughput(epoch, pause, unprotected_mbit, queue=QUEUE, mss=MSS):
    """A window leaves in one burst each cycle; what the line's queue does not hold is lost, and CUBIC goes on with 0.7 of the
    window.  The mean of its sawtooth is taken as (1 + 0.7) / 2 of the peak."""
    peak = queue * mss * 8 / 1e6 / (cycle(epoch, pause) / 1e3)
    return min(unprotected_mbit, (1 + CUBIC_BETA) / 2 * peak)


def lossy_throughput(epoch, pause, commit, rtt, unprotected_mbit):
    """Where losses alone limit the rate it goes with 1 / round trip (Mathis et al. 1997), here: whole cycles for the line's."""
    return unprotected_mbit * min(1.0, rtt / closed_round_trip(epoch, pause, commit, rtt))


def relayed_throughput(epoch, pause, commit, rtt, unprotected_mbit, buffer_bytes=8 << 20):
    """The relay keeps a byte from the guest's saying it until the client has it."""
    held = cycle(epoch, pause) + commit + rtt
    return min(unprotected_mbit, buffer_bytes * 8 / 1e6 / (held / 1e3))


# ---- beside the data ----

def costs_of(run, figure):
    """(pause, commit) of the same measurement, medians of its rounds; None where it has none."""
    parts = [run.figure(figure.load._replace(metric=metric), figure.mode, figure.epoch) for metric in ("pause", "commit")]
    return None if None in parts else tuple(part.value.median for part in parts)


def predict(run, figure):
    """A Prediction for one figure, or None: there is no formula for it, or what it needs was not measured."""
    load, epoch = figure.load, epoch_number(figure.epoch)
    reference = run.figure(load, REFERENCE, "")
    if epoch is None or reference is None or figure.mode not in ("buffered", "cut-on-output", "accelerated"):
        return None
    value = _formula(run, figure, epoch, reference.value.median)
    return value and Prediction(figure, _quantity(load), figure.value.median, value)


def _quantity(load):
    return "throughput" if load.metric == "throughput" else load.scenario.split("-")[0]


def _formula(run, figure, epoch, unprotected):
    load = figure.load
    params = params_of(load)
    mbit, queue = float(params.get("mbit", MBIT)), float(params.get("queue", QUEUE))
    costs = costs_of(run, figure)
    if load.scenario in ("bulk", "wide-area") and load.metric == "throughput":
        # The throughput hardly depends on the costs: 2 ms are taken where they were not recorded.
        pause, commit = costs or (2.0, 1.0)
        if figure.mode == "buffered" and load.loss:
            return lossy_throughput(epoch, pause, commit, load.rtt_ms, unprotected)
        if figure.mode == "buffered":
            return buffered_throughput(epoch, pause, unprotected, queue)
        if figure.mode == "accelerated":
            return relayed_throughput(epoch, pause, commit, load.rtt_ms, unprotected)
        return None
    if costs is None or load.metric != "latency-p50":
        return None
    pause, commit = costs
    if load.scenario == "request-1":
        if figure.mode == "buffered":
            return closed_round_trip(epoch, pause, commit, unprotected)
        return cut_round_trip(pause, commit, unprotected)
    size = load.scenario.removeprefix("fetch-")
    if load.scenario.startswith("fetch-") and size in FETCH_BYTES:
        if figure.mode == "buffered":
            return buffered_fetch(FETCH_BYTES[size], epoch, pause, mbit)
        if figure.mode == "accelerated":
            return accelerated_fetch(unprotected, CUTS_OF_FETCH[size], pause, commit)
    return None


def predictions(run):
    found = (predict(run, figure) for figure in run.figures())
    return [p for p in found if p]
