"""Plots of what TCP gets: throughput ratios, latency distributions, times of fetches, wide-area lines, incast."""

from collections import defaultdict

import plots_style as style
from report_data import DIRECTIONS, REFERENCE, epoch_order, titles

# name of the plot, scenarios, metric, what is on the y axis, "ratio" or "value", logarithmic
AGAINST_EPOCH = [
    ("throughput", ["bulk"], "throughput", "throughput / unprotected", "ratio", False),
    ("throughput-both", ["both-ways"], "throughput", "throughput / unprotected", "ratio", False),
    ("throughput-unlimited", ["bulk-unlimited"], "throughput", "throughput / unprotected", "ratio", False),
    ("connections-100", ["connections-100"], "throughput", "throughput / unprotected", "ratio", False),
    ("fetch", ["fetch-10K", "fetch-100K", "fetch-1M"], "latency-p50", "median time, ms", "value", True),
    ("fetch-kept", ["fetch-10K-kept", "fetch-100K-kept", "fetch-1M-kept"], "latency-p50", "median time, ms", "value",
     True),
    ("incast", ["incast"], "latency-p50", "median time of a round, ms", "value", True),
    ("redis", ["redis", "redis-pipelined"], "set-rate", "SETs a second / unprotected", "ratio", False),
]
DODGE = 0.055  # of the distance between two epoch lengths


def differing(loads):
    """A title for the panel of each load."""
    _, own = titles(loads)
    return [text or DIRECTIONS.get(load.direction, load.scenario) for text, load in zip(own, loads)]


def grid(count, height):
    """The figure, its panels, and those of them that are leftmost."""
    columns = 1 if count == 1 else 3 if count % 3 == 0 else 2
    rows = -(-count // columns)
    fig, axes = style.figure(rows, columns, height * rows + 0.5)
    flat = list(axes.flat)
    for unused in flat[count:]:
        unused.set_visible(False)
    return fig, flat[:count], flat[:count:columns]


def draw_against_epoch(axes, figures, kind):
    """Lines over epoch lengths for the protected modes, and level ones for those without epochs."""
    epochs = sorted({f.epoch for f in figures if f.epoch}, key=epoch_order)
    place = {epoch: i for i, epoch in enumerate(epochs)}
    beside = style.order({f.mode for f in figures if f.epoch})  # so that markers do not hide each other
    for mode in style.order({f.mode for f in figures}):
        of_mode = [(f, f.value if kind == "value" else f.ratio) for f in figures if f.mode == mode]
        of_mode = [(f, s) for f, s in of_mode if s is not None]
        level = [s for f, s in of_mode if not f.epoch]
        if level and not (kind == "ratio" and mode == REFERENCE):
            axes.axhline(level[0].median, label=mode, **{**style.look(mode), "marker": ""})
        points = sorted((place[f.epoch], s) for f, s in of_mode if f.epoch)
        if points:
            x = [p + DODGE * (beside.index(mode) - (len(beside) - 1) / 2) for p, _ in points]
            y = [s.median for _, s in points]
            spread = [[s.median - s.low for _, s in points], [s.high - s.median for _, s in points]]
            axes.errorbar(x, y, yerr=spread, capsize=2, elinewidth=0.8, label=mode, **style.look(mode))
    axes.set_xticks(range(len(epochs)), [e if e == "adaptive" else f"{e}" for e in epochs])
    axes.margins(x=0.06)


def rounds_text(figures):
    counts = sorted({f.value.n for f in figures})
    if not counts:
        return ""
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"


def handles_of(all_axes):
    found = {}
    for axes in all_axes:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            found.setdefault(label, handle)
    labels = style.order(found)
    return [found[label] for label in labels], labels


def against_epoch(run, directory, name, scenarios, metric, label, kind, logarithmic):
    figures = [f for s in scenarios for f in run.figures(s, metric)]
    if kind == "ratio":
        figures = [f for f in figures if f.ratio]
    # Ratios were formed within a step; here it does not matter any more which it was.
    figures = [f._replace(load=f.load._replace(step="")) for f in figures]
    loads = sorted({f.load for f in figures if f.epoch}, key=lambda x: (scenarios.index(x.scenario), x.mtu, x.cc != "cubic",
                                                                        x.cc, x.params, x.direction != "guest-to-client"))
    if not loads:
        return None
    fig, panels, leftmost = grid(len(loads), 2.2)
    for axes, load, title in zip(panels, loads, differing(loads)):
        here = [f for f in figures if f.load == load]
        if logarithmic:
            axes.set_yscale("log")
            style.plain_log(axes.yaxis)
        draw_against_epoch(axes, here, kind)
        if kind == "ratio":
            axes.axhline(1, **{**style.look(REFERENCE), "marker": ""}, label=REFERENCE, zorder=1)
            style.from_zero(axes)
        axes.set_title(f"{title} ({rounds_text(here)})")
        axes.set_xlabel("epoch length, ms")
    for axes in leftmost:
        axes.set_ylabel(label)
    handles, labels = handles_of(panels)
    style.legend_below(fig, handles, 5, labels)
    return style.save(fig, directory, name)


# ---- distributions ----

def draw_distribution(axes, bins, mode):
    total = sum(count for _, count in bins)
    x, y, seen = [bins[0][0]], [0.0], 0
    for value, count in bins:
        seen += count
        x.append(value)
        y.append(seen / total)
    look = {**style.look(mode), "markevery": 0.22}
    axes.plot(x, y, drawstyle="steps-post", label=mode, **look)


def latency(run, directory):
    loads = [load for load in run.loads("samples", metric="latency") if load.scenario.startswith("request")]
    if not loads:
        return None
    groups = defaultdict(lambda: defaultdict(int))
    for sample in run.samples:
        if sample.load in loads:
            groups[(sample.load, sample.mode, sample.epoch)][sample.value] += sample.count
    panels = []
    for load in loads:
        epochs = sorted({e for l, _, e in groups if l == load and e}, key=epoch_order)
        panels += [(load, epoch) for epoch in epochs if epoch in ("25", "100", "adaptive") or len(epochs) <= 3]
    if not panels:
        return None
    fig, all_axes, leftmost = grid(len(panels), 2.2)
    titles = differing(loads) if len(loads) > 1 else [""] * len(loads)
    for axes, (load, epoch) in zip(all_axes, panels):
        counts = set()
        for mode in style.order({m for l, m, e in groups if l == load and e in ("", epoch)}):
            key = next(((load, mode, e) for e in ("", epoch) if (load, mode, e) in groups), None)
            bins = sorted(groups[key].items())
            counts.add(sum(c for _, c in bins))
            draw_distribution(axes, bins, mode)
        axes.set_xscale("log")
        style.plain_log(axes.xaxis)
        axes.set_ylim(0, 1.02)
        title = titles[loads.index(load)]
        axes.set_title(f"{title + ', ' if title else ''}epoch {epoch} ms (n = {min(counts)} to {max(counts)})")
        axes.set_xlabel("time of a request, ms")
    for axes in leftmost:
        axes.set_ylabel("share of requests")
    handles, labels = handles_of(all_axes)
    style.legend_below(fig, handles, 5, labels)
    return style.save(fig, directory, "latency")


# ---- wide area ----

def wide_area(run, directory):
    figures = [f for f in run.figures("wide-area", "throughput") if f.ratio and f.mode != REFERENCE]
    if not figures:
        return None
    directions = list(dict.fromkeys(f.load.direction for f in figures))
    lines = sorted({(f.load.rtt_ms, f.load.loss) for f in figures})
    settings = sorted({(f.mode, f.epoch) for f in figures},
                      key=lambda s: (style.order({m for m, _ in {(f.mode, f.epoch) for f in figures}}).index(s[0]),
                                     epoch_order(s[1])))
    fig, axes = style.figure(1, len(directions), 2.9, sharey=True)
    for panel, direction in zip(axes[0], directions):
        for number, (mode, epoch) in enumerate(settings):
            shift = (number - (len(settings) - 1) / 2) * 0.7 / max(1, len(settings))
            here = [(lines.index((f.load.rtt_ms, f.load.loss)) + shift, f.ratio) for f in figures
                    if (f.load.direction, f.mode, f.epoch) == (direction, mode, epoch)]
            if not here:
                continue
            filled = sorted({e for m, e in settings if m == mode}, key=epoch_order).index(epoch) == 0
            look = style.look(mode)
            panel.errorbar([x for x, _ in here], [r.median for _, r in here],
                           yerr=[[r.median - r.low for _, r in here], [r.high - r.median for _, r in here]],
                           linestyle="", marker=look["marker"] or "_", color=look["color"], capsize=2,
                           elinewidth=0.8, markerfacecolor=look["color"] if filled else "white",
                           label=f"{mode} {epoch} ms" if epoch else mode)
        panel.axhline(1, **{**style.look(REFERENCE), "marker": ""})
        panel.set_xticks(range(len(lines)), [f"{rtt:g} ms\n{loss * 100:g} %" for rtt, loss in lines])
        panel.set_title(f"{DIRECTIONS.get(direction, direction)} ({rounds_text(figures)})")
        panel.set_xlabel("round trip and loss of the line")
        style.from_zero(panel)
        panel.grid(axis="x", visible=False)
    axes[0][0].set_ylabel("throughput / unprotected")
    found = {}
    for panel in axes[0]:
        for handle, text in zip(*panel.get_legend_handles_labels()):
            found.setdefault(text, handle)
    style.legend_below(fig, list(found.values()), 4, list(found))
    return style.save(fig, directory, "wide-area")


def plot(run, directory):
    run = run.without("colo")  # which has a plot of its own
    names, missing = [], []
    for what in AGAINST_EPOCH:
        name = against_epoch(run, directory, *what)
        if name:
            names.append(name)
        else:
            missing.append(f"plot {what[0]}: no `{what[2]}` of {' or '.join(what[1])}")
    for name, draw, why in (("latency", latency, "no samples of `latency` of a request"),
                            ("wide-area", wide_area, "no `throughput` of wide-area")):
        if draw(run, directory):
            names.append(name)
        else:
            missing.append(f"plot {name}: {why}")
    return names, missing
