"""Measured against predicted, and the design at higher rates and with more guests."""

from collections import defaultdict

import model
import plots_style as style
from report_data import params_of

MARKERS = {"request": "o", "fetch": "s", "throughput": "D"}
LINKS = {"10": ("#D55E00", "o", "-"), "40": ("#0072B2", "s", (0, (5, 1.5))), "100": ("#009E73", "^", (0, (2, 1.2)))}


def measured_and_predicted(run, directory):
    found = model.predictions(run)
    if not found:
        return None
    kinds = [k for k in ("latency", "throughput") if any((p.quantity == "throughput") == (k == "throughput")
                                                         for p in found)]
    fig, axes = style.figure(1, len(kinds), 3.3, gridspec_kw={"width_ratios": [3, 2][:len(kinds)]})
    handles = {}
    for panel, kind in zip(axes[0], kinds):
        here = [p for p in found if (p.quantity == "throughput") == (kind == "throughput")]
        for p in here:
            handle = panel.plot([p.predicted], [p.measured], linestyle="", marker=MARKERS[p.quantity],
                                color=style.colour(p.figure.mode), markersize=4.5, alpha=0.85,
                                markerfacecolor=style.colour(p.figure.mode) if p.figure.mode != "buffered" else "white")
            handles.setdefault(f"{p.figure.mode}, {p.quantity}", handle[0])
        values = [v for p in here for v in (p.predicted, p.measured)]
        low, high = (0, max(values) * 1.1) if kind == "throughput" else (min(values) * 0.8, max(values) * 1.25)
        panel.plot([low, high], [low, high], linestyle=(0, (1, 1.5)), color="#000000", linewidth=1)
        if kind == "latency":
            panel.set_xscale("log")
            panel.set_yscale("log")
            style.plain_log(panel.xaxis)
            style.plain_log(panel.yaxis)
        panel.set_xlim(low, high)
        panel.set_ylim(low, high)
        panel.set_title({"latency": "Median times, ms", "throughput": "Bulk throughput, Mbit/s"}[kind]
                        + f" ({len(here)} figures)")
        panel.set_xlabel("predicted")
        panel.set_ylabel("measured")
    style.legend_below(fig, list(handles.values()), 4, list(handles))
    return style.save(fig, directory, "model")


def rows_of(run, scenario):
    """A dictionary for each setting: its metrics, and its parameters as `p-NAME`."""
    out = defaultdict(dict)
    for row in run.rows:
        if row.load.scenario == scenario:
            key = (row.load.params, row.mode, row.epoch)
            out[key].update({f"p-{name}": text for name, text in params_of(row.load).items()})
            out[key].update({"mode": row.mode, "epoch": row.epoch, row.load.metric: row.value})
    return list(out.values())


def flow_plot(run, directory):
    rows = rows_of(run, "scale-flow")
    chosen = [{**r, "mb": float(r["p-buffer"].rstrip("M"))} for r in rows if r["p-vary"] == "line"]
    if not chosen:
        return None
    fig, axes = style.figure(1, 3, 2.5)
    quantities = [("throughput", 1e-3, "One connection, Gbit/s"), ("core", 1, "Core of the data path, %"),
                  ("commit", 1, "From cut to commit, ms")]
    buffers = sorted({r["mb"] for r in chosen if r["mode"] == "accelerated"})
    for panel, (metric, factor, title) in zip(axes[0], quantities):
        for line in sorted({r["p-line"] for r in chosen}, key=float):
            colour, marker, dash = LINKS.get(line, ("#444444", "x", "-"))
            points = sorted((r["mb"], r[metric] * factor) for r in chosen
                            if r["p-line"] == line and r["mode"] == "accelerated")
            panel.plot([x for x, _ in points], [y for _, y in points], color=colour, marker=marker, linestyle=dash,
                       linewidth=1.5, label=f"line of {line} Gbit/s")
            free = [r[metric] * factor for r in chosen if r["p-line"] == line and r["mode"] == "unprotected"]
            if free and metric == "throughput":
                panel.axhline(free[0], color=colour, linewidth=0.8, linestyle=(0, (1, 1.5)))
        panel.set_xscale("log", base=2)
        panel.set_xticks(buffers, [f"{b:g}" for b in buffers])
        panel.set_xlabel("buffer of the relay, MB")
        panel.set_title(title)
        panel.set_ylim(bottom=0)
    handles, labels = axes[0][0].get_legend_handles_labels()
    style.legend_below(fig, handles, 4, labels)
    return style.save(fig, directory, "scale-flow")


def host_plot(run, directory):
    rows = rows_of(run, "scale-host")
    if not rows:
        return None
    profiles = list(dict.fromkeys(r["p-profile"] for r in rows))
    fig, axes = style.figure(3, len(profiles), 5.2, sharex=True, sharey="row")
    quantities = [("commit-p50", "cut to commit, ms"), ("paused", "guest paused, %"), ("cores-busy", "cores busy, %")]
    for column, profile in enumerate(profiles):
        for line, (metric, label) in enumerate(quantities):
            panel = axes[line][column]
            for link in sorted({r["p-replication"] for r in rows}, key=float):
                colour, marker, dash = LINKS.get(link, ("#444444", "x", "-"))
                here = sorted((int(r["p-guests"]), r) for r in rows if r["p-profile"] == profile and r["p-replication"] == link)
                sound = [(x, r[metric]) for x, r in here if not r["overloaded"]]
                panel.plot([x for x, _ in sound], [y for _, y in sound], color=colour, marker=marker, linestyle=dash,
                           markersize=3.5, linewidth=1.3, label=f"replication link of {link} Gbit/s")
                lost = [x for x, r in here if r["overloaded"]]
                if lost and sound:
                    panel.plot([sound[-1][0]], [sound[-1][1]], marker="x", markersize=8, color=colour, linestyle="",
                               markeredgewidth=1.8)
            if metric == "commit-p50":
                panel.set_yscale("log")
                style.plain_log(panel.yaxis)
                panel.set_ylim(2, 300)
                panel.set_title(profile)
            else:
                panel.set_ylim(0, 108 if metric == "cores-busy" else 60)
            if column == 0:
                panel.set_ylabel(label)
            if line == len(quantities) - 1:
                panel.set_xlabel("guests")
    handles, labels = axes[0][0].get_legend_handles_labels()
    style.legend_below(fig, handles, 3, labels)
    return style.save(fig, directory, "scale-host")


def plot(run, directory):
    names, missing = [], []
    for name, draw, why in (("model", measured_and_predicted, "nothing was measured that the model predicts"),
                            ("scale-flow", flow_plot, "no simulated connection (step `scale`)"),
                            ("scale-host", host_plot, "no simulated host (step `scale`)")):
        if draw(run, directory):
            names.append(name)
        else:
            missing.append(f"plot {name}: {why}")
    return names, missing
