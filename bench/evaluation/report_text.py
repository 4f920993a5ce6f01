"""The report's parts in Markdown: machine, verdicts, tables."""

import math

import model
from report_claims import FAILS, NO_DATA, number, sentence
from report_data import (DIRECTIONS, DISK_REFERENCE, REFERENCE, epoch_order, is_disk, order, params_of, reference_of, titles,
                         words_of)

TAKEOVER_ORDER = ["stall", "quiet-before", "detection", "arbitration", "restore", "announcement", "first-byte"]
HIDDEN = ("sequence", "takeover", "scale-flow", "scale-host")  # drawn, or listed in another way
CHECKS_SHOWN = 40
SAMPLES_ABOVE = 5  # a percentile is shown when so many samples lie above it


def table(header, rows):
    if not rows:
        return ""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def spread_text(spread):
    """median (least to greatest)"""
    if spread is None:
        return "-"
    if spread.n == 1 or spread.low == spread.high:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.low)}–{number(spread.high)})"


def cell(figure):
    """Value, and the ratio to unprotected where there is one."""
    if figure is None:
        return ""
    text = spread_text(figure.value)
    if figure.ratio and figure.mode != reference_of(figure.load):
        text += f"; **{figure.ratio.median:.2f}**"
        if figure.ratio.n > 1:
            text += f" ({figure.ratio.low:.2f}–{figure.ratio.high:.2f})"
    return text


def load_title(load):
    return ", ".join(words_of(load).values())


# ---- machine and steps ----

def machine(run):
    m = run.machine
    rows = [[key.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else value]
            for key, value in m.items()]
    commits = sorted({s.get("commit", "") for s in run.steps if s.get("status") == "done"} - {""})
    rows.append(["commit", run.info.get("commit", "not known") + (" with local changes" if run.info.get("dirty") else "")])
    text = table(["", ""], rows)
    if len(commits) > 1:
        text += f"\n**The steps were made with {len(commits)} different commits**: {', '.join(commits)}.\n"
    if not run.info.get("complete", False):
        text += "\n**This run is not complete**; what is missing is listed under Steps.\n"
    return text


def steps(run):
    rows = []
    for step in run.steps:
        rows.append([step.get("name", "?"), step.get("status", "?"), f"{step['seconds']:.0f}" if step.get("seconds") else "-",
                     f"{step['busy_before']:.0f} %" if "busy_before" in step else "-",
                     " ".join(str(step.get("note") or "").replace("|", "/").split())[-300:]])
    return table(["step", "status", "s", "busy before", "note"], rows)


# ---- verdicts ----

def verdicts(judged):
    text = table(["claim", "", "figures"],
                 [[v.claim.text, sentence(v), claim_figures(v)] for v in judged])
    failed = [v for v in judged if v.word == FAILS]
    if failed:
        text += "\nWhere they do not hold:\n\n"
        for v in failed:
            misses = [c for c in v.checks if not c.holds]
            text += f"* {v.claim.name}: " + "; ".join(f"{c.subject}: {c.figure}" for c in misses[:CHECKS_SHOWN])
            text += f"; and {len(misses) - CHECKS_SHOWN} more\n" if len(misses) > CHECKS_SHOWN else "\n"
    missing = [v.claim.name for v in judged if v.word == NO_DATA]
    if missing:
        text += f"\nNot judged, because nothing of it was measured: {', '.join(missing)}.\n"
    return text


def claim_figures(verdict):
    if len(verdict.checks) == 1:
        return verdict.checks[0].figure
    plain = []
    for check in verdict.checks:
        try:
            plain.append(float(check.figure))
        except ValueError:
            return f"{len(verdict.checks)} checks" if verdict.checks else ""
    return f"{min(plain):.3f} to {max(plain):.3f}" if plain else ""


# ---- tables of figures ----

def figures(run):
    """One table for each scenario and metric: a line for each load and mode, a column for each epoch length."""
    by_table = {}
    for figure in run.figures():
        if figure.load.scenario not in HIDDEN and not is_disk(figure.load):
            by_table.setdefault((figure.load.scenario, figure.load.metric, figure.unit), []).append(figure)
    parts = []
    for (scenario, metric, unit), found in by_table.items():
        parts.append(f"### {scenario}: {metric}, {unit}\n\n" + figure_table(found))
    return "\n".join(parts)


def figure_table(found):
    epochs = sorted({f.epoch for f in found if f.epoch}, key=epoch_order)
    loads = sorted({f.load for f in found}, key=lambda x: (x.rtt_ms, x.loss, x.mtu, x.cc != "cubic", x.cc, x.params,
                                                           x.direction != "guest-to-client", x.step))
    common, own = titles(loads)
    rows = []
    for load, title in zip(loads, own):
        if own.count(title) > 1:
            title = ", ".join(filter(None, [title, f"step {load.step}"]))
        here = [f for f in found if f.load == load]
        for mode in order({f.mode for f in here}):
            of_mode = {f.epoch: f for f in here if f.mode == mode}
            counts = sorted({f.value.n for f in of_mode.values()})
            rows.append([title, f"`{mode}`" if mode else "", cell(of_mode.get("")), *(cell(of_mode.get(e)) for e in epochs),
                         "–".join(map(str, [counts[0], counts[-1]] if len(counts) > 1 else counts))])
            title = ""  # once is enough
    header = ["load", "mode", "no epochs", *(e if e == "adaptive" else f"{e} ms" for e in epochs), "n"]
    keep = [i for i in range(len(header)) if any(row[i] for row in rows)]
    text = table([header[i] for i in keep], [[row[i] for i in keep] for row in rows])
    return (f"All: {common}.\n\n" if common else "") + text


def takeovers(run):
    """Median and spread of each part, a column for each case."""
    values = {}
    for row in run.rows:
        if row.load.scenario == "takeover":
            params = params_of(row.load)
            case = (params.get("fault", "kill"), params.get("load", ""), row.epoch)
            name = row.load.metric + (f", {params['client']}" if row.load.metric == "stall" and "client" in params else "")
            values.setdefault(name, {}).setdefault(case, []).append(row.value)
    cases = sorted({c for by_case in values.values() for c in by_case}, key=lambda c: (c[0], c[1], epoch_order(c[2])))
    if not cases:
        return ""
    names = sorted(values, key=lambda n: (TAKEOVER_ORDER.index(n.split(",")[0])
                                          if n.split(",")[0] in TAKEOVER_ORDER else 99, n))
    rows = [[name, *(takeover_cell(values[name].get(case)) for case in cases)] for name in names]
    header = ["ms", *(f"{load}, {fault}, {epoch} ms" for fault, load, epoch in cases)]
    return table(header, rows)


def takeover_cell(values):
    if not values:
        return ""
    ordered = sorted(values)
    def at(share):
        return number(ordered[int(share * (len(ordered) - 1) + 0.5)])
    return f"{at(0.5)} ({at(0)}–{at(1)}; 90 %: {at(0.9)}; n = {len(ordered)})"


def disks(run):
    """A line for each load and mode: the rate, its ratio in the guest's time and by the wall clock, and the pauses."""
    found = {}
    for figure in run.figures():
        if is_disk(figure.load):
            found.setdefault((figure.load.scenario, figure.load.params), {})[(figure.load.metric, figure.mode)] = figure
    rows = []
    for (scenario, params), figures in found.items():
        metric = disk_metric({metric for metric, _ in figures})
        title = ", ".join(filter(None, [scenario.removeprefix("disk-"), params.replace("=", " ")]))
        for mode in sorted(order({mode for _, mode in figures}), key=lambda mode: mode != DISK_REFERENCE):
            rate = figures.get((metric, mode))
            if rate is None:
                continue
            paused = figures.get(("paused", mode))
            rows.append([title, f"`{mode}`", f"{spread_text(rate.value)} {rate.unit}", ratio_text(rate),
                         ratio_text(figures.get((f"{metric}-wall", mode))) if paused else "",
                         f"{number(paused.value.median)} %" if paused else "", rate.value.n])
            title = ""
    return table(["load", "mode", "rate", "of `stock`", "by the wall", "paused", "n"], rows)


def disk_metric(metrics):
    """What counts of a load: its operations, or transactions, a second."""
    return "transactions" if "transactions" in metrics else "iops"


def ratio_text(figure):
    if figure is None or figure.ratio is None or figure.mode == reference_of(figure.load):
        return ""
    text = f"**{figure.ratio.median:.2f}**"
    return text + (f" ({figure.ratio.low:.2f}–{figure.ratio.high:.2f})" if figure.ratio.n > 1 else "")


def percentiles(run):
    """Of every distribution: what the tables of medians do not show."""
    from report_data import quantile
    groups = {}
    for sample in run.samples:
        key = (sample.load, sample.mode, sample.epoch, sample.unit)
        bins = groups.setdefault(key, {})
        bins[sample.value] = bins.get(sample.value, 0) + sample.count
    rows = []
    for (load, mode, epoch, unit), bins in groups.items():
        ordered = sorted(bins.items())
        total = sum(bins.values())
        rows.append([load_title(load), load.metric, f"`{mode}`" + (f" {epoch} ms" if epoch else ""),
                     *(number(quantile(ordered, share)) if total * (1 - share) >= SAMPLES_ABOVE else "too few"
                       for share in (0.5, 0.9, 0.99, 0.999)), total, unit])
    return table(["load", "of", "mode", "50 %", "90 %", "99 %", "99.9 %", "n", "unit"], rows)


# ---- the model ----

def model_table(run):
    """Measured over predicted: least and greatest of each kind of figure and mode, and where the furthest one is."""
    found = {}
    for p in model.predictions(run):
        found.setdefault((p.figure.load.scenario, p.figure.load.direction, p.figure.mode), []).append(p)
    rows = []
    for (scenario, direction, mode), predictions in found.items():
        ratios = [p.measured / p.predicted for p in predictions]
        worst = max(predictions, key=lambda p: abs(math.log(p.measured / p.predicted)))
        rows.append([scenario + (f", {DIRECTIONS.get(direction, direction)}" if direction else ""), f"`{mode}`",
                     f"{min(ratios):.2f}–{max(ratios):.2f}" if len(ratios) > 1 else f"{ratios[0]:.2f}", len(ratios),
                     f"{worst.figure.epoch} ms: {number(worst.measured)}, predicted {number(worst.predicted)} "
                     f"{worst.figure.unit}"])
    return table(["figure", "mode", "measured / predicted", "settings", "furthest"], rows)


def scale_flow_table(run):
    """Gbit/s of one simulated connection: a line for each rate, a column for each buffer."""
    values = {}
    for row in run.rows:
        params = params_of(row.load)
        if row.load.scenario == "scale-flow" and row.load.metric == "throughput" and params.get("vary") == "line":
            column = params["buffer"].rstrip("M") if row.mode != REFERENCE else ""
            values.setdefault(params["line"], {})[column] = row.value / 1000
    columns = sorted({c for by_buffer in values.values() for c in by_buffer}, key=lambda c: float(c or 0))
    return table(["line", *(f"{c} MB" if c else "without epochs" for c in columns)],
                 [[f"{line} Gbit/s", *(number(by_buffer[c]) if c in by_buffer else "" for c in columns)]
                  for line, by_buffer in values.items()])
