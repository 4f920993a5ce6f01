"""Plots of what protection costs and of takeovers: pauses, the split of the stall, one takeover over time, COLO."""

from collections import defaultdict
from statistics import median

import plots_style as style
from report_data import REFERENCE, epoch_order, params_of, quantile

PARTS = ["quiet-before", "detection", "arbitration", "restore", "announcement", "first-byte"]
PART_LOOK = {"detection": ("#0072B2", ""), "arbitration": ("#E69F00", "xx"),
             "restore": ("#56B4E9", "//"), "announcement": ("#CC79A7", "++"), "first-byte": ("#bbbbbb", "\\\\")}
EVENTS = {"at-last-heard": "last heard", "at-decided": "decided", "at-granted": "granted", "at-restored": "restored",
          "at-announced": "announced", "at-resumed": "guest runs"}
DIRTY = "price"


# ---- takeovers ----

def _case(load):
    params = params_of(load)
    return params.get("fault", "kill"), params.get("load", "")


def takeover_cases(run):
    """[(fault, load, epoch)] and {case: {part: [ms]}} of the ping client."""
    parts = defaultdict(lambda: defaultdict(list))
    for row in run.rows:
        if row.load.scenario == "takeover" and row.load.metric in PARTS + ["stall"]:
            client = params_of(row.load).get("client", "ping")
            name = row.load.metric if row.load.metric != "stall" else "stall " + client
            parts[(*_case(row.load), row.epoch)][name].append(row.value)
    return sorted(parts, key=lambda c: (c[0] != "kill", c[1] == "loaded", epoch_order(c[2]))), parts


def case_name(case):
    fault, load, epoch = case
    words = [w for w in (load, "" if fault == "kill" else "cables cut") if w]
    return ", ".join(words) + f"\n{epoch} ms epochs" if epoch else ", ".join(words)


def stall_split(run, directory):
    cases, parts = takeover_cases(run)
    cases = [c for c in cases if any(parts[c][p] for p in PARTS)]
    if not cases:
        return None
    fig, axes = style.figure(1, 2, 0.5 * len(cases) + 1.2, sharey=True, gridspec_kw={"width_ratios": [3, 2]})
    bars, dots = axes[0]
    for y, case in enumerate(cases):
        left = 0
        for part in PARTS[1:]:
            values = parts[case][part]
            width = median(values) if values else 0
            colour, hatch = PART_LOOK[part]
            bars.barh(y, width, left=left, height=0.6, color=colour, hatch=hatch, edgecolor="#333333", linewidth=0.4,
                      label=part if y == 0 else None)
            left += width
        if parts[case]["quiet-before"]:
            bars.vlines(-median(parts[case]["quiet-before"]), y - 0.4, y + 0.4, color="#D55E00", linewidth=1.8,
                        label="last answer before" if y == 0 else None)
        stalls = sorted(parts[case]["stall ping"])
        if stalls:
            dots.plot(stalls, [y + 0.5 * ((i * 7 % 11) / 11 - 0.5) for i in range(len(stalls))], linestyle="",
                      marker="o", markersize=2.2, color="#555555", alpha=0.7, markeredgewidth=0)
            dots.plot([median(stalls)], [y], marker="|", markersize=16, color="#D55E00", markeredgewidth=2)
            dots.text(0.99, y - 0.46, f"median {median(stalls):.0f}, n = {len(stalls)}", fontsize=6.5, ha="right",
                      va="center", transform=dots.get_yaxis_transform())
    bars.set_yticks(range(len(cases)), [case_name(c) for c in cases])
    bars.set_ylim(len(cases) - 0.5, -0.7)
    bars.set_xlabel("time since the host died, ms (medians of the parts)")
    bars.set_title("What the silence consists of")
    dots.set_title("Each takeover")
    dots.set_xlabel("silence the ping client met, ms")
    dots.set_xlim(left=0)
    for panel in (bars, dots):
        panel.grid(axis="y", visible=False)
    handles, labels = bars.get_legend_handles_labels()
    style.legend_below(fig, handles, 6, labels)
    return style.save(fig, directory, "stall-split")


class OneTakeover:
    def __init__(self):
        self.received = defaultdict(list)  # client: [(ms, bytes)]
        self.events = {}


def takeovers_over_time(run):
    found = defaultdict(OneTakeover)
    for point in run.series:
        if point.load.scenario != "takeover":
            continue
        takeover = found[(*_case(point.load), point.epoch, point.round)]
        if point.load.metric == "received":
            takeover.received[params_of(point.load).get("client", "client")].append((point.t_ms, point.value))
        elif point.load.metric in EVENTS:
            takeover.events[point.load.metric] = point.t_ms
    return found


def silence(received, runs):
    """The time without a byte around the instant at which the guest ran again: (begin, end), or None."""
    times = [t for t, count in received if count > 0]
    return next(((a, b) for a, b in zip(times, times[1:]) if a <= runs < b), None)


def runs_again(takeover):
    return max(takeover.events.get("at-resumed", 0.0), takeover.events.get("at-announced", 0.0))


def choose_takeover(found):
    """Of the loaded ones, if there are any, the one whose ping was silent for the median time."""
    candidates = {k: t for k, t in found.items() if t.received and t.events}
    loaded = {k: t for k, t in candidates.items() if k[1] == "loaded" and k[0] == "kill"}
    candidates = loaded or candidates
    lengths = []
    for key, takeover in candidates.items():
        gap = silence(takeover.received.get("ping") or next(iter(takeover.received.values())), runs_again(takeover))
        if gap:
            lengths.append((gap[1] - gap[0], key))
    lengths.sort()
    return lengths[len(lengths) // 2][1] if lengths else None


def timeline(run, directory):
    found = takeovers_over_time(run)
    key = choose_takeover(found)
    if not key:
        return None
    takeover = found[key]
    clients = sorted(takeover.received, key=lambda c: (c != "bulk", c))
    gaps = [g for g in (silence(takeover.received[c], runs_again(takeover)) for c in clients) if g]
    end = max(g[1] for g in gaps)
    fig, axes = style.figure(len(clients), 1, 1.15 * len(clients) + 1.1, sharex=True)
    for panel, client in zip(axes[:, 0], clients):
        draw_received(panel, client, takeover.received[client], runs_again(takeover))
        for metric, at in takeover.events.items():
            panel.axvline(at, color="#0072B2", linewidth=0.8, linestyle=(0, (4, 2)))
        panel.axvline(0, color="#D55E00", linewidth=1.6)
        panel.set_xlim(-80, end + 120)
        panel.grid(axis="x", visible=False)
    label_events(axes[0, 0], {"at-fault": 0.0, **takeover.events}, 0.09 * (end + 200))
    axes[-1, 0].set_xlabel("time since the primary's host died, ms" if key[0] == "kill" else "time since the cut, ms")
    fig.suptitle(f"One takeover ({key[1]}, epochs of {key[2]} ms; the one of median silence among "
                 f"{len([k for k in found if k[:3] == key[:3]])} recorded)", fontsize=8.5)
    return style.save(fig, directory, "takeover-timeline")


def draw_received(panel, client, received, runs):
    """Bytes in bins of 5 ms as a rate, or single arrivals where there are few."""
    bins = defaultdict(float)
    for t, count in received:
        bins[t // 5 * 5] += count
    rates = [bins[t] * 8 / 5e3 for t in sorted(bins)]
    if max(rates) >= 1:
        panel.fill_between(sorted(bins), rates, step="post", color="#888888", linewidth=0)
        panel.set_ylabel(f"{client}\nMbit/s")
    else:
        panel.vlines([t for t, count in received if count > 0], 0, 1, color="#333333", linewidth=0.7)
        panel.set_yticks([])
        panel.set_ylabel(f"{client}\nanswers")
    panel.set_ylim(bottom=0)
    gap = silence(received, runs)
    if gap and gap[1] - gap[0] >= 20:
        panel.axvspan(*gap, color="#fbe3d6", linewidth=0, zorder=0)
        panel.text(sum(gap) / 2, 0.5, f"{gap[1] - gap[0]:.0f} ms of silence", ha="center", va="center", fontsize=7.5,
                   transform=panel.get_xaxis_transform(), bbox={"facecolor": "#fbe3d6", "edgecolor": "none", "pad": 1})


def label_events(panel, events, apart):
    """Above the first panel; what lies closer together than `apart` shares a place."""
    names = {"at-fault": "host dies", **EVENTS}
    groups = []
    for metric, at in sorted(events.items(), key=lambda item: item[1]):
        words = names[metric] if metric == "at-fault" else f"{names[metric]} {at:.0f}"
        if groups and at - groups[-1][0] < apart:
            groups[-1][1].append(words)
        else:
            groups.append((at, [words]))
    for at, words in groups:
        panel.annotate("\n".join(words), (at, 1.0), xycoords=panel.get_xaxis_transform(), xytext=(0, 3),
                       textcoords="offset points", ha="center", va="bottom", fontsize=6.2,
                       color="#D55E00" if "host dies" in words else "#0072B2")


# ---- the price of protection ----

def dirty_rate(load):
    """Pages a second that the guest was made to dirty; 0 for an idle one, None for any other load."""
    kind = params_of(load).get("load", "")
    if kind == "idle":
        return 0.0
    try:
        return float(kind.removeprefix("dirty-")) if kind.startswith("dirty-") else None
    except ValueError:
        return None


def pause_points(run):
    """{memory: {metric: [(dirty rate, median, low, high)]}} and what low and high are.  Samples of single epochs where there
    are enough to be recorded, else the means of the rounds."""
    bins = defaultdict(lambda: defaultdict(int))
    for sample in run.samples:
        load = sample.load
        if load.scenario == DIRTY and load.metric in ("pause", "commit") and dirty_rate(load) is not None:
            bins[load][sample.value] += sample.count
    points = defaultdict(lambda: defaultdict(list))
    for load, found in bins.items():
        ordered = sorted(found.items())
        points[params_of(load).get("memory", "?")][load.metric].append(
            (dirty_rate(load), *(quantile(ordered, q) for q in (0.5, 0.1, 0.9))))
    if points:
        return points, "median; 10 % to 90 % of the epochs"
    for metric in ("pause", "commit"):
        for figure in run.figures(DIRTY, metric):
            if dirty_rate(figure.load) is not None:
                points[params_of(figure.load).get("memory", "?")][metric].append(
                    (dirty_rate(figure.load), figure.value.median, figure.value.low, figure.value.high))
    return points, "mean of the epochs; least to greatest round"


def pauses(run, directory):
    by_memory, what = pause_points(run)
    if not by_memory:
        return None
    fig, axes = style.figure(1, 2, 2.7)
    markers, shades = "osD^v", ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#555555"]
    for number, memory in enumerate(sorted(by_memory, key=memory_bytes)):
        for panel, metric in zip(axes[0], ("pause", "commit")):
            points = sorted(by_memory[memory][metric])
            x, y = [p[0] for p in points], [p[1] for p in points]
            bars = [[m - low for _, m, low, _ in points], [high - m for _, m, _, high in points]]
            panel.errorbar(x, y, yerr=bars, marker=markers[number % 5], color=shades[number % 5], capsize=2,
                           elinewidth=0.8, linewidth=1.2, label=f"guest of {memory}")
    for panel, title in zip(axes[0], ("Pause", "Commit: from the cut to the standby's word")):
        panel.set_title(title)
        panel.set_xlabel("pages the guest dirties a second")
        panel.set_ylabel("ms")
        style.from_zero(panel)
    fig.suptitle(f"({what})", fontsize=7.5)
    handles, labels = axes[0][0].get_legend_handles_labels()
    style.legend_below(fig, handles, 5, labels)
    return style.save(fig, directory, "pauses")


def memory_bytes(text):
    units = {"M": 1 << 20, "G": 1 << 30, "K": 1 << 10}
    try:
        return float(text.rstrip("MGKB")) * units.get(text.rstrip("B")[-1:], 1)
    except ValueError:
        return 0.0


# ---- COLO ----

def colo(run, directory):
    figures = [f for f in run.figures() if f.ratio and f.load.metric in ("throughput", "latency-p50", "latency-p99")]
    loads = list(dict.fromkeys(f.load for f in figures if f.mode == "colo"))
    if not loads:
        return None
    kinds = [(title, [x for x in loads if (x.metric == "throughput") == is_rate])
             for title, is_rate in (("Throughput (more is better)", True), ("Time of a request (less is better)", False))]
    kinds = [kind for kind in kinds if kind[1]]
    fig, axes = style.figure(1, len(kinds), 0.42 * max(len(rows) for _, rows in kinds) + 1.3)
    handles = {}
    for panel, (title, rows) in zip(axes[0], kinds):
        draw_ratios(panel, [f for f in figures if f.load in rows and f.mode != REFERENCE], rows)
        panel.set_title(title)
        handles.update(dict(reversed(pair) for pair in zip(*panel.get_legend_handles_labels())))
    style.legend_below(fig, list(handles.values()), 4, list(handles))
    return style.save(fig, directory, "colo")


def draw_ratios(panel, figures, rows):
    settings = sorted({(f.mode, f.epoch) for f in figures}, key=lambda s: (style.order([f.mode for f in figures]).index(
        s[0]), epoch_order(s[1])))
    for number, (mode, epoch) in enumerate(settings):
        shift = (number - (len(settings) - 1) / 2) * 0.7 / len(settings)
        here = [(rows.index(f.load) + shift, f.ratio) for f in figures if (f.mode, f.epoch) == (mode, epoch)]
        look = style.look(mode)
        panel.errorbar([r.median for _, r in here], [y for y, _ in here],
                       xerr=[[r.median - r.low for _, r in here], [r.high - r.median for _, r in here]], linestyle="",
                       marker=look["marker"] or "d", color=look["color"], capsize=2, elinewidth=0.8,
                       label=f"{mode} {epoch} ms" if epoch else mode)
    panel.axvline(1, color="#000000", linestyle=(0, (1, 1.2)))
    panel.set_xscale("log")
    style.plain_log(panel.xaxis)
    directions = {"guest-to-client": ", from the guest", "client-to-guest": ", to the guest"}
    panel.set_yticks(range(len(rows)), [x.scenario + directions.get(x.direction, "")
                                        + (f"\n{x.metric.removeprefix('latency-p')} %" if x.metric != "throughput" else "")
                                        for x in rows])
    panel.invert_yaxis()
    panel.set_xlabel("ratio to unprotected")


def plot(run, directory):
    names, missing = [], []
    for name, draw, why in (("stall-split", stall_split, "no takeovers"),
                            ("takeover-timeline", timeline, "no series of a takeover"),
                            ("pauses", pauses, "no `pause` with a dirty rate"),
                            ("colo", colo, "no measurement of COLO")):
        if draw(run, directory):
            names.append(name)
        else:
            missing.append(f"plot {name}: {why}")
    return names, missing


