"""The steps of the evaluation: what `./do bench` runs, in which order, and what is left out.

A step is one run of one program, a few minutes at most, and the unit in which a run is resumed.  Which modes and epoch
lengths a step of the TCP comparison covers is its slice (bench/tcp/plan.h); docs/benchmarks.md has the reasons.
"""

from dataclasses import dataclass
from pathlib import Path

ROUNDS = 5


@dataclass(frozen=True)
class Step:
    name: str  # of its files
    scenario: str  # what a person asks for
    program: str  # below the build directory
    arguments: tuple = ()
    seconds: float = 60  # if the program does not say how long it takes

    def recorded(self):
        """What makes two runs of this step the same measurement, wherever program and data lie."""
        return [self.program, *self.arguments]

    def command(self, build, results):
        return [str(Path(build) / self.program), *self.arguments, "--results", str(results), "--step", self.name]

    def estimate_command(self, build):
        return [str(Path(build) / self.program), *self.arguments, "--estimate"]


def tcp(name, scenario, *arguments):
    return Step(name, scenario, "bench/tcp_bench", ("--rounds", str(ROUNDS), *arguments))


def loads(*names):
    """Options that name several loads of tcp_bench."""
    return tuple(word for name in names for word in ("--scenario", name))


FETCHES = loads("fetch-10K", "fetch-100K", "fetch-1M")
FETCHES_KEPT = loads("fetch-10K-kept", "fetch-100K-kept", "fetch-1M-kept")

FULL = [
    Step("wire", "wire", "bench/wire_bench", ("--rounds", str(ROUNDS)), 90),
    tcp("bulk-from-guest", "bulk", *loads("bulk"), "--direction", "guest-to-client"),
    tcp("bulk-to-guest", "bulk", *loads("bulk"), "--direction", "client-to-guest"),
    tcp("both-ways", "both-ways", *loads("both-ways")),
    tcp("connections", "connections", *loads("connections-100")),
    tcp("request", "request", *loads("request-1")),
    tcp("request-1K", "request", *loads("request-1K")),
    tcp("fetch", "fetch", *FETCHES),
    tcp("fetch-kept", "fetch", *FETCHES_KEPT),
    tcp("wide-area-20", "wide-area", *loads("wide-area"), "--rtt", "20"),
    tcp("wide-area-80", "wide-area", *loads("wide-area"), "--rtt", "80"),
    tcp("incast", "incast", *loads("incast")),
    tcp("redis", "redis", *loads("redis", "redis-pipelined")),
    tcp("datagrams", "datagrams", *loads("udp", "udp-load", "icmp")),
    tcp("mtu-9000", "mtu-9000", *loads("bulk", "fetch-1M"), "--mtu", "9000", "--settings", "pair"),
    tcp("bbr-bulk", "bbr", *loads("bulk"), "--direction", "client-to-guest", "--cc", "bbr", "--settings", "pair"),
    tcp("bbr-wide-area", "bbr", *loads("wide-area"), "--direction", "client-to-guest", "--cc", "bbr", "--rtt", "80",
        "--loss", "0", "--loss", "0.01"),
    tcp("unlimited", "unlimited", *loads("bulk-unlimited")),
    Step("idle-flows", "idle-flows", "bench/tcp_bench", ("--rounds", "1", *loads("idle-flows"))),
    Step("takeover", "takeover", "bench/takeover_bench", ("--kills", "30"), 430),
    Step("price", "price", "bench/price_bench", ("--rounds", str(ROUNDS)), 900),
    Step("colo", "colo", "bench/colo_bench", ("--rounds", str(ROUNDS)), 800),
    Step("sequence", "sequence", "bench/sequence_bench", (), 90),
    Step("scale", "scale", "sim/understudy_scale", (), 30),
]

# Only when they are named: they are no part of the comparison, and need more than it does.
EXTRA = [
    Step("disk", "disk", "bench/disk_bench", (), 600),
]

QUICK_LOADS = loads("bulk", "both-ways", "connections-100", "request-1", "fetch-100K", "incast", "redis", "udp")

QUICK = [
    Step("wire", "wire", "bench/wire_bench", ("--quick",), 10),
    Step("tcp", "tcp", "bench/tcp_bench", ("--quick", "--rounds", "1", *QUICK_LOADS)),
    Step("takeover", "takeover", "bench/takeover_bench", ("--quick",), 60),
    Step("price", "price", "bench/price_bench", ("--quick",), 35),
    Step("sequence", "sequence", "bench/sequence_bench", ("--rounds", "1"), 42),
    Step("scale", "scale", "sim/understudy_scale", ("--quick",), 10),
]


def steps(quick, names=()):
    """The steps of a run; `names` of scenarios or steps choose among them.

    Raises ValueError for a name that is neither.
    """
    plan = QUICK if quick else FULL + (EXTRA if names else [])
    known = {name for step in plan for name in (step.scenario, step.name)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no scenario or step is called {', '.join(unknown)}; there are: {', '.join(scenarios(plan))}")
    return [step for step in plan if not names or step.scenario in names or step.name in names]


def scenarios(steps_of_plan):
    return list(dict.fromkeys(step.scenario for step in steps_of_plan))
