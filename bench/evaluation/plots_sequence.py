"""Time-sequence plots of single connections (step `sequence`): every segment as the client's interface saw it."""

from collections import defaultdict

import plots_style as style

MODES = ["unprotected", "buffered", "accelerated"]
TITLES = {
    "download": "From the guest, {mb:g} MB",
    "upload": "To the guest, {mb:g} MB",
    "fetch": "A page of {kb:g} KB",
}
PAUSED, UNCOMMITTED = "#9a9a9a", "#e2e2e2"


class Connection:
    """Series of one round, by metric."""

    def __init__(self):
        self.points = defaultdict(list)
        self.epoch_ms = ""

    def end(self, sender):
        data = self.points["data-" + sender]
        return data[-1][0] if data else 0.0


def _params(load):
    return dict(part.split("=", 1) for part in load.params.split(";") if "=" in part)


def connections(run):
    """{transfer: {mode: {round: Connection}}} and {transfer: its parameters}."""
    found = defaultdict(lambda: defaultdict(lambda: defaultdict(Connection)))
    about = {}
    for point in run.series:
        if point.load.scenario != "sequence":
            continue
        params = _params(point.load)
        about[params.get("transfer", "")] = (params, point.load)
        connection = found[params.get("transfer", "")][point.mode][point.round]
        connection.points[point.load.metric].append((point.t_ms, point.value))
        connection.epoch_ms = point.epoch
    return found, about


def median_round(rounds, sender):
    """The connection whose length is the median one (the upper one of two), so that the plot shows no odd case."""
    ordered = sorted(rounds.values(), key=lambda c: c.end(sender))
    return ordered[len(ordered) // 2]


def draw_epochs(axes, connection):
    """Dark: the guest stands still; light: from there until the standby holds the epoch."""
    ends = {kind: dict((epoch, t) for t, epoch in connection.points["epoch-" + kind])
            for kind in ("stopped", "resumed", "committed")}
    for epoch, stopped in ends["stopped"].items():
        resumed = ends["resumed"].get(epoch)
        committed = ends["committed"].get(epoch)
        if resumed is not None and committed is not None and committed > resumed:
            axes.axvspan(resumed, committed, color=UNCOMMITTED, linewidth=0)
        if resumed is not None:
            axes.axvspan(stopped, resumed, color=PAUSED, linewidth=0)


def draw_connection(axes, mode, connection, sender, scale):
    receiver = "client" if sender == "guest" else "guest"
    draw_epochs(axes, connection)
    acks = connection.points["ack-" + receiver]
    axes.step([t for t, _ in acks], [b / scale for _, b in acks], where="post", color="#111111", linewidth=0.9,
              zorder=3)
    data = connection.points["data-" + sender]
    axes.plot([t for t, _ in data], [b / scale for _, b in data], linestyle="", marker="o", markersize=1.9,
              markeredgewidth=0, color=style.colour(mode), zorder=4, rasterized=len(data) > 1000)


def draw_column(column, transfer, about, modes, by_mode):
    params, load = about
    sender = "client" if load.direction == "client-to-guest" else "guest"
    size = float(params.get("bytes", 0))
    scale, unit = (1e6, "MB") if size >= 1e6 else (1e3, "KB")
    chosen = {mode: median_round(by_mode[mode], sender) for mode in modes}
    last = max(connection.end(sender) for connection in chosen.values()) * 1.03
    for axes, mode in zip(column, modes):
        connection = chosen[mode]
        draw_connection(axes, mode, connection, sender, scale)
        axes.set_xlim(-0.01 * last, last)
        axes.set_ylim(0, size / scale * 1.06)
        axes.grid(axis="x", visible=False)
        low = connection.end(sender) < 0.6 * last  # where the curve leaves room
        ends = sorted(c.end(sender) for c in by_mode[mode].values())
        epoch = f", epochs of {connection.epoch_ms} ms" if connection.epoch_ms else ", no epochs"
        axes.text(0.985 if low else 0.015, 0.07 if low else 0.96, f"{mode}{epoch}\n{connection.end(sender):.0f} ms"
                  + (f" ({ends[0]:.0f}–{ends[-1]:.0f}, n = {len(ends)})" if len(ends) > 1 else ""),
                  transform=axes.transAxes, ha="right" if low else "left", va="bottom" if low else "top",
                  fontsize=7.5, color=style.colour(mode),
                  bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}, zorder=6)
        axes.set_ylabel(f"sequence, {unit}")
    column[0].set_title(TITLES.get(transfer, transfer).format(mb=size / 1e6, kb=size / 1e3)
                        + f" ({params.get('mbit', '?')} Mbit/s, round trip {load.rtt_ms:g} ms)")
    column[-1].set_xlabel("time since the client's SYN, ms")


def legend(fig):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    handles = [Line2D([], [], linestyle="", marker="o", markersize=3, color="#0072B2", label="segment with data"),
               Line2D([], [], color="#111111", linewidth=0.9, label="acknowledged by the receiver"),
               Patch(color=PAUSED, label="guest stopped (cut)"),
               Patch(color=UNCOMMITTED, label="until the standby has the epoch")]
    style.legend_below(fig, handles)


def plot(run, directory):
    """The names of the plots, and why others are missing."""
    found, about = connections(run)
    if not found:
        return [], ["time-sequence plots: no captured connection (step `sequence`)"]
    names, missing = [], []
    for name, transfers in (("sequence", ["download", "upload"]), ("sequence-fetch", ["fetch"])):
        transfers = [t for t in transfers if t in found]
        modes = [m for m in MODES if transfers and all(m in found[t] for t in transfers)]
        if not modes:
            missing.append(f"plot {name}: no captured connection")
            continue
        fig, axes = style.figure(len(modes), len(transfers), 1.5 * len(modes) + 0.7, sharex="col", sharey="col")
        for column, transfer in enumerate(transfers):
            draw_column(axes[:, column], transfer, about[transfer], modes, found[transfer])
        legend(fig)
        names.append(style.save(fig, directory, name))
    return names, missing
