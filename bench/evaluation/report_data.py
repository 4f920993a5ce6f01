"""The raw data of an evaluation, read and judged (docs/evaluation-data.md is the format).

A Run holds every row, sample and point of a directory, and `problems`: what could not be read, in words for a person.
A line that is not as the format says is left out and becomes a problem; it never becomes a figure.

Ratios are formed within a round of a step, against the row of the same load whose mode is `unprotected`, for disks
`stock`; a row without such a partner gives none.
"""

import copy
import csv
import json
import math
from collections import defaultdict, namedtuple
from pathlib import Path
from statistics import median

KEY = ["scenario", "params", "mode", "epoch_ms", "direction", "mtu", "rtt_ms", "loss", "cc", "round"]
TAIL = {"rows": ["metric", "value", "unit"],
        "samples": ["metric", "value", "count", "unit"],
        "series": ["metric", "t_ms", "value", "unit"]}
REFERENCE = "unprotected"
DISK_REFERENCE = "stock"  # of disks: QEMU's own file driver
# Parameters that are the same for all of a scenario, or that its name says.
SILENT_PARAMS = ("line", "mbit", "queue", "bytes", "pipeline")
PROBLEMS_SHOWN_PER_FILE = 3
MODES = ["unprotected", "stock", "buffered", "ack-guest", "ack-peer", "recovery", "offload", "cut-on-output", "accelerated",
         "replicated", "shared", "colo-off", "colo"]
DIRECTIONS = {"guest-to-client": "from the guest", "client-to-guest": "to the guest", "both": "both ways at once"}

# What is measured, without how the machine was set (mode, epoch) and without the round.
Load = namedtuple("Load", "step scenario params direction mtu rtt_ms loss cc metric")
Row = namedtuple("Row", "load mode epoch round value unit")
Sample = namedtuple("Sample", "load mode epoch round value count unit")
Point = namedtuple("Point", "load mode epoch round t_ms value unit")
# Median, least and greatest of `n` values.
Spread = namedtuple("Spread", "median low high n")
# `ratio` is a Spread of the rounds' ratios, or None where there is no partner.
Figure = namedtuple("Figure", "load mode epoch unit value ratio")


def spread(values):
    """None when there are no values."""
    values = list(values)
    return Spread(median(values), min(values), max(values), len(values)) if values else None


def params_of(load):
    """The parameters of a load as a dictionary of texts."""
    return dict(part.split("=", 1) for part in load.params.split(";") if "=" in part)


def telling_params(load):
    """Those that are worth a word in a title."""
    return {k: v for k, v in params_of(load).items() if k not in SILENT_PARAMS}


def is_disk(load):
    return load.scenario.startswith("disk-")


def reference_of(load):
    """The mode that a load's other modes are compared with."""
    return DISK_REFERENCE if is_disk(load) else REFERENCE


def order(modes):
    """From no protection to full; unknown ones last."""
    return sorted(modes, key=lambda mode: (MODES.index(mode) if mode in MODES else len(MODES), mode))


def words_of(load):
    """{field: how a person says it}, of the fields that apply."""
    words = {"scenario": load.scenario, "direction": DIRECTIONS.get(load.direction, load.direction),
             "rtt_ms": f"{load.rtt_ms:g} ms" if load.rtt_ms else "", "loss": f"loss {load.loss * 100:g} %" if load.loss else "",
             "mtu": f"MTU {load.mtu}" if load.mtu else "", "cc": f"client {load.cc}" if load.cc else ""}
    words.update({f"p-{name}": f"{name} {value}" for name, value in telling_params(load).items()})
    return {field: word for field, word in words.items() if word}


def titles(loads):
    """(what all of them have in common, what tells each from the others): texts."""
    words = [words_of(load) for load in loads]
    common = {field: word for field, word in words[0].items() if all(w.get(field) == word for w in words)} if words else {}
    own = [", ".join(word for field, word in w.items() if field not in common) for w in words]
    return ", ".join(word for field, word in common.items() if field != "scenario"), own


def epoch_number(epoch):
    """Milliseconds, or None for `adaptive` and for a mode without epochs."""
    try:
        return float(epoch)
    except ValueError:
        return None


def epoch_order(epoch):
    number = epoch_number(epoch)
    return (number is None and epoch != "", number if number is not None else -1)


class Run:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.problems = []
        self.info = self._read_info()
        self.rows = self._read("rows", self._row)
        self.samples = self._read("samples", self._sample)
        self.series = self._read("series", self._point)
        self._check_repeated()
        self._figures = {}

    @property
    def machine(self):
        return self.info.get("machine", {})

    @property
    def steps(self):
        return self.info.get("steps", [])

    # ---- reading ----

    def _read_info(self):
        file = self.directory / "run.json"
        try:
            info = json.loads(file.read_text(encoding="utf-8"))
        except OSError:
            self.problems.append("run.json is missing: nothing is known of the machine and of the steps")
            return {}
        except ValueError as error:
            self.problems.append(f"run.json cannot be read: {error}")
            return {}
        if not isinstance(info, dict):
            self.problems.append("run.json is not an object")
            return {}
        if info.get("format") != 1:
            self.problems.append(f"run.json has format {info.get('format')!r}; this program knows format 1")
        return info

    def _read(self, kind, make):
        out = []
        for file in sorted((self.directory / kind).glob("*.csv")):
            out.extend(self._read_file(file, kind, make))
        return out

    def _read_file(self, file, kind, make):
        name = f"{kind}/{file.name}"
        good, bad = [], []
        try:
            with open(file, newline="", encoding="utf-8") as stream:
                lines = csv.reader(stream)
                header = next(lines, [])
                if header != KEY + TAIL[kind]:
                    self.problems.append(f"{name}: the first line does not name the columns of {kind}; left out")
                    return []
                for fields in lines:
                    try:
                        good.append(make(file.stem, fields))
                    except ValueError as error:
                        bad.append(f"{name}, line {lines.line_num}: {error}")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            bad.append(f"{name}: {error}")
        self.problems.extend(bad[:PROBLEMS_SHOWN_PER_FILE])
        if len(bad) > PROBLEMS_SHOWN_PER_FILE:
            self.problems.append(f"{name}: {len(bad) - PROBLEMS_SHOWN_PER_FILE} more lines like these")
        return good

    @staticmethod
    def _key(step, fields, columns, metric):
        if len(fields) != columns:
            raise ValueError(f"{len(fields)} fields instead of {columns}")
        if not metric:
            raise ValueError("no metric")
        load = Load(step, fields[0], fields[1], fields[4], int(fields[5] or 0), _number(fields[6] or "0"),
                    _number(fields[7] or "0"), fields[8], metric)
        return load, fields[2], fields[3], int(fields[9])

    def _row(self, step, f):
        load, mode, epoch, number = self._key(step, f, 13, f[10] if len(f) > 10 else "")
        return Row(load, mode, epoch, number, _number(f[11]), f[12])

    def _sample(self, step, f):
        load, mode, epoch, number = self._key(step, f, 14, f[10] if len(f) > 10 else "")
        count = int(f[12])
        if count < 1:
            raise ValueError("a count below 1")
        return Sample(load, mode, epoch, number, _number(f[11]), count, f[13])

    def _point(self, step, f):
        load, mode, epoch, number = self._key(step, f, 14, f[10] if len(f) > 10 else "")
        return Point(load, mode, epoch, number, _number(f[11]), _number(f[12]), f[13])

    def _check_repeated(self):
        """A measurement that is there twice: the later one counts."""
        latest = {}
        for row in self.rows:
            latest[(row.load, row.mode, row.epoch, row.round)] = row
        repeated = len(self.rows) - len(latest)
        if repeated:
            self.problems.append(f"{repeated} rows have the same key as a later one, which counts")
            self.rows = list(latest.values())

    # ---- asking ----

    def figures(self, scenario=None, metric=None):
        """One Figure for each load and setting, in the order in which they were measured."""
        if (scenario, metric) not in self._figures:
            self._figures[(scenario, metric)] = self._make_figures(scenario, metric)
        return self._figures[(scenario, metric)]

    def _make_figures(self, scenario, metric):
        groups = defaultdict(dict)
        for row in self.rows:
            if scenario in (None, row.load.scenario) and metric in (None, row.load.metric):
                groups[(row.load, row.mode, row.epoch, row.unit)][row.round] = row.value
        out = []
        for (load, mode, epoch, unit), rounds in groups.items():
            reference = groups.get((load, reference_of(load), "", unit), {})
            ratios = [value / reference[number] for number, value in rounds.items() if reference.get(number)]
            out.append(Figure(load, mode, epoch, unit, spread(rounds.values()), spread(ratios)))
        return out

    def figure(self, load, mode, epoch):
        """The Figure of one load and setting, or None."""
        for figure in self.figures(load.scenario, load.metric):
            if (figure.load, figure.mode, figure.epoch) == (load, mode, epoch):
                return figure
        return None

    def distribution(self, load, mode, epoch):
        """Sorted (value, count) of all rounds."""
        bins = defaultdict(int)
        for sample in self.samples:
            if (sample.load, sample.mode, sample.epoch) == (load, mode, epoch):
                bins[sample.value] += sample.count
        return sorted(bins.items())

    def without(self, mode):
        """A view of this run without the steps in which `mode` was measured."""
        steps = {row.load.step for row in self.rows if row.mode == mode}
        view = copy.copy(self)
        view.rows = [row for row in self.rows if row.load.step not in steps]
        view.samples = [sample for sample in self.samples if sample.load.step not in steps]
        view._figures = {}
        return view

    def loads(self, kind, scenario=None, metric=None):
        """The loads of `rows`, `samples` or `series`, in the order of the files."""
        out = {}
        for entry in getattr(self, kind):
            if scenario in (None, entry.load.scenario) and metric in (None, entry.load.metric):
                out[entry.load] = None
        return list(out)


def quantile(bins, share):
    """The value that `share` of the samples do not exceed; None without samples."""
    total = sum(count for _, count in bins)
    seen = 0
    for value, count in bins:
        seen += count
        if seen >= share * total:
            return value
    return None


def _number(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value
