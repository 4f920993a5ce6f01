"""How the plots look: Okabe and Ito's colours, which colour-blind readers tell apart, and beside the colour always a
marker and a dash of its own, so that a print in grey can be read as well."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import matplotlib  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402

from report_data import order  # noqa: E402, F401

WIDTH = 7.0  # inches: a column of text on A4

# mode: colour, marker, dash, width of the line
MODES = {
    "unprotected": ("#000000", "", (0, (1, 1.2)), 1.4),
    "stock": ("#777777", "", (0, (5, 2)), 1.4),
    "buffered": ("#D55E00", "o", "-", 1.8),
    "ack-guest": ("#CC79A7", "v", (0, (4, 1.5)), 1.1),
    "ack-peer": ("#009E73", "^", (0, (4, 1.5, 1, 1.5)), 1.1),
    "recovery": ("#56B4E9", "D", (0, (2, 1.2)), 1.1),
    "offload": ("#999933", "X", (0, (1, 1)), 1.1),
    "cut-on-output": ("#E69F00", "P", (0, (6, 1.5)), 1.1),
    "accelerated": ("#0072B2", "s", "-", 2.0),
    "colo-off": ("#555555", "x", (0, (3, 1)), 1.2),
    "colo": ("#882255", "*", (0, (3, 1, 1, 1, 1, 1)), 1.4),
}

plt.rcParams.update({
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "legend.frameon": False,
    "lines.markersize": 4.5,
    "svg.hashsalt": "understudy",  # the same data give the same file
    "figure.constrained_layout.use": True,
})


def look(mode):
    """Keyword arguments for a line."""
    colour, marker, dash, width = MODES.get(mode, ("#444444", "+", "-", 1.0))
    return {"color": colour, "marker": marker, "linestyle": dash, "linewidth": width}


def colour(mode):
    return look(mode)["color"]


def plain_log(axis):
    """Plain numbers on a logarithmic axis, also between the powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def figure(rows=1, columns=1, height=2.6, **keywords):
    return plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, **keywords)


def from_zero(axes):
    """From 0 to a little above the highest point, so that no marker is cut off."""
    axes.autoscale_view()
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)


def legend_below(fig, handles, columns=4, labels=None):
    """A legend under all axes; makes room for it."""
    rows = -(-len(handles) // columns)
    share = (0.10 + 0.16 * rows) / fig.get_size_inches()[1]
    fig.get_layout_engine().set(rect=(0, share, 1, 1 - share))
    fig.legend(handles=handles, labels=labels or [h.get_label() for h in handles], loc="lower center", ncols=columns,
               columnspacing=1.4)


def save(fig, directory, name):
    """Writes NAME.svg and NAME.png; returns the name."""
    directory.mkdir(parents=True, exist_ok=True)
    fig.savefig(directory / f"{name}.svg", dpi=200, metadata={"Date": None})
    fig.savefig(directory / f"{name}.png", dpi=180, metadata={"Software": None})
    plt.close(fig)
    return name


def version():
    return matplotlib.__version__
