#!/usr/bin/python3
"""Makes the report of an evaluation from its raw data (docs/evaluation-data.md), and nothing else.

    report.py DIR                          writes DIR/report/report.md, report.html and the plots (SVG, PNG)
    report.py DIR --into PAGE …            also fills the sections of these pages (docs/evaluation.md, docs/model.md)
                                           between their markers, <!-- begin NAME --> and <!-- end NAME -->, and copies the plots
                                           that they show to evaluation/ beside them

Exit status: 0 the report was written (whatever the verdicts are), 1 it could not be, 2 wrong usage.
"""

import argparse
import html
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report_claims
import report_data
import report_text

CAPTIONS = {
    "sequence": "Single connections, segment by segment, as the client's interface saw them; of each mode the connection of "
                "median length.",
    "sequence-fetch": "A page of 100 KB on a new connection, segment by segment.",
    "throughput": "Bulk throughput as a ratio to the unprotected guest of the same round; bars: least and greatest round.",
    "throughput-both": "Bulk transfers in both directions at once.",
    "throughput-unlimited": "Without a line: only the processors limit the rate.",
    "connections-100": "100 connections at once.",
    "fetch": "Time of an HTTP fetch on a new connection.",
    "fetch-kept": "Time of an HTTP fetch on a connection that is kept.",
    "incast": "20 clients that are answered at once.",
    "redis": "redis-benchmark.",
    "latency": "Distribution of the time of a request.",
    "wide-area": "Long and lossy lines.",
    "stall-split": "The silence of a takeover, and its parts; left medians, right every takeover.",
    "takeover-timeline": "One takeover over time, as its clients saw it.",
    "pauses": "What an epoch costs.",
    "colo": "QEMU's COLO and Understudy, each beside the unprotected guest.",
    "model": "Measured against predicted (docs/model.md); the dotted line is where they agree.",
    "scale-flow": "One connection through the product's relay in virtual time; dotted: without epochs.",
    "scale-host": "Hosts of 16 cores with many guests in virtual time; a cross: beyond it the log or the relay alone wants more than "
                  "there is.",
}


# Beside every measurement; in the report, but not in a page's sections.
COSTS = ("pause", "commit", "paused")


def make_plots(run, directory):
    """Names of the plots that there are, and sentences about those that are missing."""
    try:
        import plots_model
        import plots_protection
        import plots_sequence
        import plots_tcp
    except ImportError as error:
        return [], [f"no plots: {error} (Debian: python3-matplotlib)"]
    names, missing = [], []
    for module in (plots_sequence, plots_tcp, plots_protection, plots_model):
        drawn, absent = module.plot(run, directory)
        names += drawn
        missing += absent
    return names, missing


def picture(name, directory=""):
    return f"![{CAPTIONS.get(name, name)}]({directory}{name}.svg)\n\n*{CAPTIONS.get(name, name)}*\n"


def sections(run, judged, plots, missing, picture_directory=""):
    """The parts of the report by name, in order."""
    absent = [f"* {text}" for text in missing] + [f"* data: {text}" for text in run.problems]
    return {
        "machine": report_text.machine(run),
        "claims": report_text.verdicts(judged),
        "plots": "\n".join(picture(name, picture_directory) for name in plots),
        "takeovers": report_text.takeovers(run) or "No takeover was measured.\n",
        "figures": report_text.figures(run) or "Nothing was measured.\n",
        "disks": report_text.disks(run) or "No disk was measured.\n",
        "model": report_text.model_table(run) or "Nothing was measured that the model predicts.\n",
        "scale-flow": report_text.scale_flow_table(run) or "No connection was simulated.\n",
        "distributions": report_text.percentiles(run) or "No distribution was recorded.\n",
        "steps": report_text.steps(run) or "run.json names no steps.\n",
        "missing": "\n".join(absent) + "\n" if absent else "Nothing.\n",
    }


TITLES = {
    "machine": "Machine", "claims": "What was claimed, and what was found", "plots": "Plots", "takeovers": "Takeovers",
    "figures": "Figures", "disks": "Disks", "model": "Measured against predicted", "scale-flow": "One simulated connection, Gbit/s",
    "distributions": "Distributions", "steps": "Steps", "missing": "What is missing",
}
INTRODUCTION = ("Median of the rounds (least–greatest); bold: the median of the rounds' ratios to the unprotected guest "
                "of the same round, with their least and greatest.\n")


def whole_report(parts):
    text = "# Evaluation\n\n" + INTRODUCTION
    for name, part in parts.items():
        text += f"\n## {TITLES[name]}\n\n{part}"
    return text


# ---- into a page of the documentation ----

def fill(page, parts):
    """The page with what stands between the markers of each known part replaced.  ValueError: a marker without its end."""
    for begin in re.findall(r"<!-- begin ([\w-]+) -->", page):
        if begin not in parts:
            raise ValueError(f"the page has a marker for {begin!r}, which the report does not have")
        pattern = re.compile(rf"(<!-- begin {begin} -->\n).*?(<!-- end {begin} -->)", re.DOTALL)
        page, count = pattern.subn(lambda match: match[1] + parts[begin] + match[2], page)  # noqa: B023
        if count != 1:
            raise ValueError(f"the page has {count} pairs of markers for {begin!r}")
    return page


def fill_page(page_file, run, judged, plots, missing, plot_directory):
    page = Path(page_file)
    pictures = page.parent / "evaluation"
    shown = set(re.findall(r"<!-- begin plot-([\w-]+) -->", page.read_text(encoding="utf-8")))
    parts = sections(run, judged, plots, missing, "evaluation/")
    parts.update({f"plot-{name}": picture(name, "evaluation/") for name in CAPTIONS if name in plots})
    parts.update({f"plot-{name}": f"(No data for the plot `{name}` in this run.)\n" for name in CAPTIONS
                  if name not in plots})
    parts.update(scenario_parts(run))
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"<!-- begin figures-([\w-]+) -->", text):
        parts.setdefault(f"figures-{name}", f"(`{name}` was not measured in this run.)\n")
    page.write_text(fill(text, parts), encoding="utf-8")
    pictures.mkdir(exist_ok=True)
    for name in shown.intersection(plots):
        shutil.copy(plot_directory / f"{name}.svg", pictures / f"{name}.svg")


def scenario_parts(run):
    """`figures-SCENARIO`: the tables of one scenario."""
    found = {}
    for figure in run.figures():
        if figure.load.metric in COSTS and figure.load.scenario != "price":
            continue
        found.setdefault(figure.load.scenario, {}).setdefault((figure.load.metric, figure.unit), []).append(figure)
    return {f"figures-{scenario}": "\n".join(f"**{scenario}: {metric}, {unit}**\n\n{report_text.figure_table(figures)}"
                                             for (metric, unit), figures in tables.items())
            for scenario, tables in found.items()}


# ---- HTML: just enough of Markdown ----

def inline(text):
    text = html.escape(text, quote=False)
    text = re.sub(r"!\[(.*?)\]\((.*?)\)", lambda m: f'<img alt="{m[1]}" src="{m[2]}">', text)
    text = re.sub(r"`(.*?)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*(.*?)\*\*", r"<b>\1</b>", text)
    return re.sub(r"(?<![\w*])\*([^*]+)\*(?![\w*])", r"<i>\1</i>", text)


def to_html(markdown):
    out, in_table, in_list = [], False, False
    for line in markdown.splitlines():
        if in_table and not line.startswith("|"):
            out.append("</table>")
            in_table = False
        if in_list and not line.startswith("* "):
            out.append("</ul>")
            in_list = False
        if line.startswith("|"):
            cells = [inline(c.strip()) for c in line.strip("|").split("|")]
            if not in_table:
                out.append("<table><tr>" + "".join(f"<th>{c}</th>" for c in cells) + "</tr>")
                in_table = True
            elif not set(line) <= set("|-"):
                out.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
        elif line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            out.append(f"<h{level}>{inline(line.lstrip('# '))}</h{level}>")
        elif line.startswith("* "):
            out.append(("" if in_list else "<ul>") + f"<li>{inline(line[2:])}</li>")
            in_list = True
        elif line:
            out.append(f"<p>{inline(line)}</p>")
    if in_table:
        out.append("</table>")
    if in_list:
        out.append("</ul>")
    style = ("body{font:15px/1.45 sans-serif;max-width:62em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;"
             "font-size:13px}td,th{border-bottom:1px solid #ccc;padding:2px 8px;text-align:left;vertical-align:top}"
             "img{max-width:100%}")
    return f'<!doctype html><meta charset="utf-8"><title>Evaluation</title><style>{style}</style>\n' + "\n".join(out) + "\n"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--into", metavar="PAGE", nargs="+", default=[], help="pages whose marked sections are filled")
    options = parser.parse_args(arguments)
    if not Path(options.directory).is_dir():
        parser.error(f"{options.directory} is not a directory")
    run = report_data.Run(options.directory)
    out = Path(options.directory) / "report"
    try:
        out.mkdir(exist_ok=True)
        plots, missing = make_plots(run, out)
        judged = report_claims.judge(run)
        text = whole_report(sections(run, judged, plots, missing))
        (out / "report.md").write_text(text, encoding="utf-8")
        (out / "report.html").write_text(to_html(text), encoding="utf-8")
        for page in options.into:
            fill_page(page, run, judged, plots, missing, out)
    except (OSError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    words = [v.word for v in judged]
    print(f"{out}/report.md: {len(plots)} plots; claims: {words.count(report_claims.HOLDS)} hold, "
          f"{words.count(report_claims.FAILS)} do not, {words.count(report_claims.NO_DATA)} without data")
    return 0


if __name__ == "__main__":
    sys.exit(main())
