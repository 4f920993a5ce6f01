"""What the product is supposed to reach, each as a rule that is evaluated on the rows.

A Claim's rule yields Checks, one for each load and setting that has the data; the verdict follows from them.  Without
data there is no verdict, and the report says so.  Nothing here knows what the figures ought to be beyond the bounds
that the texts name.
"""

from collections import namedtuple

from report_data import REFERENCE, Load, epoch_number, params_of, telling_params

# `figure`: the measured value in words; `holds`: whether it is within the bound.
Check = namedtuple("Check", "subject figure holds")
Claim = namedtuple("Claim", "name text rule")
Verdict = namedtuple("Verdict", "claim word checks")

NO_DATA, HOLDS, FAILS = "no data", "holds", "does not hold"
LONGEST_EPOCH_OF_CUT = 1.25


def subject(figure):
    """Load and setting in a few words."""
    load = figure.load
    words = [load.scenario]
    if load.direction:
        words.append(load.direction.replace("-", " "))
    if load.rtt_ms:
        words.append(f"{load.rtt_ms:g} ms")
    if load.loss:
        words.append(f"{load.loss * 100:g} % loss")
    if load.mtu not in (0, 1500):
        words.append(f"MTU {load.mtu}")
    if load.cc not in ("", "cubic"):
        words.append(load.cc)
    words += [f"{k} {v}" for k, v in telling_params(load).items()]
    if figure.epoch:
        words.append(f"epoch {figure.epoch} ms" if epoch_number(figure.epoch) else f"epoch {figure.epoch}")
    return ", ".join(words)


def number(value):
    """Three digits, as far as they say something."""
    if value is None:
        return "-"
    if value != 0 and abs(value) < 0.01:
        return f"{value:.2g}"
    if abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"


def ratio_at_least(scenarios, metric, bound, mode="accelerated"):
    def rule(run):
        for scenario in scenarios:
            for figure in run.figures(scenario, metric):
                if figure.mode == mode and figure.ratio:
                    yield Check(subject(figure), f"{figure.ratio.median:.3f}", figure.ratio.median >= bound)
    return rule


def cost_of_cut(run, load, mode, epoch):
    """Median pause + median commit of the epochs of this very measurement, or None."""
    parts = []
    for metric in ("pause", "commit"):
        figure = run.figure(load._replace(metric=metric), mode, epoch)
        if figure is None:
            return None
        parts.append(figure.value.median)
    return sum(parts)


def within_cuts(scenario_prefix, metric, cuts, slack_ms, beside_unprotected, wanted=lambda load: True):
    """At most `cuts` pauses and commits, and `slack_ms`, more than unprotected (or than nothing)."""
    def rule(run):
        for figure in run.figures(metric=metric):
            if figure.mode != "accelerated" or not figure.load.scenario.startswith(scenario_prefix):
                continue
            if not wanted(figure.load):
                continue
            cost = cost_of_cut(run, figure.load, figure.mode, figure.epoch)
            reference = run.figure(figure.load, REFERENCE, "") if beside_unprotected else None
            if cost is None or (beside_unprotected and reference is None):
                continue
            bound = cuts * cost + slack_ms + (reference.value.median if reference else 0)
            value = figure.value.median
            yield Check(subject(figure), f"{number(value)} ms, bound {number(bound)} ms", value <= bound)
    return rule


def independent_of_epoch(scenario_prefix, metric):
    """The greatest over the least of the medians at the fixed epoch lengths."""
    def rule(run):
        medians = {}
        for figure in run.figures(metric=metric):
            if (figure.mode == "accelerated" and epoch_number(figure.epoch)
                    and figure.load.scenario.startswith(scenario_prefix)):
                medians.setdefault(figure.load, {})[figure.epoch] = (figure, figure.value.median)
        for by_epoch in medians.values():
            if len(by_epoch) < 2:
                continue
            values = [value for _, value in by_epoch.values()]
            if min(values) <= 0:
                continue
            epochs = "/".join(sorted(by_epoch, key=float))
            figure = next(iter(by_epoch.values()))[0]._replace(epoch="")
            yield Check(f"{subject(figure)}, epochs {epochs} ms",
                        f"{number(min(values))} to {number(max(values))} ms",
                        max(values) <= LONGEST_EPOCH_OF_CUT * min(values))
    return rule


def problem_is_there(run):
    for figure in run.figures("bulk", "throughput"):
        if figure.mode == "buffered" and figure.epoch == "100" and figure.ratio:
            yield Check(subject(figure), f"{figure.ratio.median:.3f}", figure.ratio.median <= 0.8)


def not_worse_than_buffered(scenario, metric, slack):
    """Of what is no TCP, `accelerated` against `buffered` at the same epoch length, the median of the rounds."""
    def rule(run):
        figures = {(f.load, f.mode, f.epoch): f for f in run.figures(scenario, metric)}
        for (load, mode, epoch), figure in figures.items():
            other = figures.get((load, "buffered", epoch))
            if mode != "accelerated" or other is None:
                continue
            yield Check(subject(figure),
                        f"{number(figure.value.median)}, buffered {number(other.value.median)} {figure.unit}",
                        figure.value.median <= other.value.median * 1.05 + slack)
    return rule


def takeover_rule(bound_ms, fault):
    """The median silence of the ping client beyond the detection time."""
    def rule(run):
        groups = {}
        for row in run.rows:
            if row.load.scenario == "takeover" and row.load.metric in ("stall", "detection"):
                params = params_of(row.load)
                if params.get("client", "ping") == "ping" and params.get("fault", "kill") == fault:
                    groups.setdefault((row.load._replace(metric=""), row.epoch), {}).setdefault(
                        row.round, {})[row.load.metric] = row.value
        for (load, epoch), rounds in groups.items():
            beyond = sorted(r["stall"] - r["detection"] for r in rounds.values() if len(r) == 2)
            if beyond:
                middle = beyond[len(beyond) // 2]
                yield Check(f"takeover, {load.params.replace(';', ', ').replace('=', ' ')}, epoch {epoch} ms",
                            f"{number(middle)} ms beyond detection, n = {len(beyond)}", middle <= bound_ms)
    return rule


def disk_rule(bound):
    """Operations or transactions a second of `replicated` against `stock`."""
    def rule(run):
        for figure in run.figures():
            if (figure.load.scenario.startswith("disk-") and figure.load.metric in ("iops", "transactions")
                    and figure.mode == "replicated" and figure.ratio):
                yield Check(figure.load.scenario, f"{figure.ratio.median:.3f}", figure.ratio.median >= bound)
    return rule


def is_new(load: Load):
    return not load.scenario.endswith("-kept")


CLAIMS = [
    Claim("problem", "Plain output commit costs bulk transfers throughput: `buffered` at epochs of 100 ms reaches at most "
          "0.80 of unprotected", problem_is_there),
    Claim("bulk", "`accelerated` bulk reaches at least 0.95 of unprotected at every epoch length",
          ratio_at_least(["bulk", "both-ways"], "throughput", 0.95)),
    Claim("wide-area", "`accelerated` reaches at least 0.95 of unprotected on wide-area lines, with and without losses",
          ratio_at_least(["wide-area"], "throughput", 0.95)),
    Claim("connections-100", "100 connections at once share the line under `accelerated` at least 0.95 times as fairly (Jain's index) as "
          "unprotected", ratio_at_least(["connections-100"], "fairness", 0.95)),
    Claim("data-path", "Without epochs the data path is as fast as QEMU's own: `stock` is at most 1/0.95 of unprotected on "
          "the line", lambda run: (
              Check(subject(f), f"{f.ratio.median:.3f}", f.ratio.median <= 1 / 0.95)
              for f in run.figures("bulk", "throughput") if f.mode == "stock" and f.ratio)),
    Claim("request", "A request of one byte takes, in the median, at most a pause, a commit and 2 ms",
          within_cuts("request-1", "latency-p50", 1, 2.0, False)),
    Claim("request-epoch", "The median of a request does not depend on the epoch length (greatest at most 1.25 of the least)",
          independent_of_epoch("request-1", "latency-p50")),
    Claim("fetch", "A fetch on a new connection takes at most unprotected plus two pauses and commits",
          within_cuts("fetch", "latency-p50", 2, 0.0, True, is_new)),
    Claim("disks", "A replicated disk reaches at least 0.85 of the rate that QEMU's own file driver has, in the guest's time, which stands "
          "still in a pause", disk_rule(0.85)),
    Claim("udp", "UDP loses no more under `accelerated` than under `buffered`", not_worse_than_buffered("udp", "lost", 0.1)),
    Claim("icmp", "A ping takes no longer under `accelerated` than under `buffered`",
          not_worse_than_buffered("icmp", "latency-p50", 1.0)),
    Claim("takeover", "When the host dies, the ping client's silence is, in the median, at most 100 ms longer than the "
          "detection took", takeover_rule(100.0, "kill")),
]


def judge(run, claims=None):
    """A Verdict for each claim."""
    out = []
    for claim in claims or CLAIMS:
        checks = list(claim.rule(run))
        word = NO_DATA if not checks else HOLDS if all(c.holds for c in checks) else FAILS
        out.append(Verdict(claim, word, checks))
    return out


def sentence(verdict):
    """The verdict in words, with its figures."""
    checks = verdict.checks
    if not checks:
        return "no data"
    failed = [c for c in checks if not c.holds]
    if not failed:
        return f"holds ({len(checks)} of {len(checks)})"
    return f"**does not hold** ({len(checks) - len(failed)} of {len(checks)} hold)"
