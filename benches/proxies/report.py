"""The table, a row for each figure and a column for each system, and the gates of ours.

A cell holds the middle of all repeats and, in brackets, the least and the largest.
"""

import statistics


def count(value):
    return f"{value:,.0f}"


def microseconds(value):
    return f"{value:,.0f} µs" if value < 10_000 else f"{value / 1000:,.1f} ms"


def small(value):
    return f"{value:.1f}"


def percent(value):
    return f"{value * 100:.0f} %"


def mebibytes(value):
    return f"{value / 1024:.1f} MiB"


# For the loads of a scenario, by the start of their names: label, key, how to write it.
HTTP_ROWS = (
    ("requests/s", "rps", count),
    ("p50", "p50_us", microseconds),
    ("p50 added to direct", "added_p50_us", microseconds),
    ("p99", "p99_us", microseconds),
    ("CPU a request", "cpu_us", lambda value: f"{value:.1f} µs"),
    ("errors and other statuses", "bad", count),
    ("RSS", "rss_kib", mebibytes),
)
ROWS = (
    ("get", HTTP_ROWS),
    ("post", HTTP_ROWS),
    (
        "sse",
        (
            ("first event p50", "first_p50_us", microseconds),
            ("first event p50 added to direct", "added_first_us", microseconds),
            ("first event p99", "first_p99_us", microseconds),
            ("age of later events p50", "age_p50_us", microseconds),
            ("age of later events p99", "age_p99_us", microseconds),
            ("coalesced frames", "coalesced", count),
            ("split frames", "split", count),
            ("streams failed", "failed", count),
        ),
    ),
    (
        "kill",
        (
            ("errors at the client", "errors", count),
            ("begun twice", "begun_twice", count),
            ("throughput kept", "throughput_kept", percent),
            ("p99", "p99_us", microseconds),
            ("longest", "max_us", microseconds),
        ),
    ),
    (
        "3 x",
        (
            ("goodput of capacity", "goodput", percent),
            ("good p99", "good_p99_us", microseconds),
            ("refused", "refused", count),
            ("refused p50", "refused_p50_us", microseconds),
            ("refused p99", "refused_p99_us", microseconds),
            ("refused without Retry-After", "refused_without_retry_after", count),
            ("no answer", "faults", count),
            ("RSS before", "rss_before_kib", mebibytes),
            ("RSS at most", "rss_max_kib", mebibytes),
        ),
    ),
    ("instructions", (("a request", "instructions", count),)),
)
PEERS = ("haproxy", "nginx")


class Figures:
    """(load, system, key) -> the values of all repeats."""

    def __init__(self, records):
        self.values = {}
        self.loads = list(dict.fromkeys(record["load"] for record in records))
        self.systems = list(dict.fromkeys(record["system"] for record in records))
        for record in records:
            figures = dict(record["figures"])
            if "statuses" in figures and "errors" in figures:
                figures["bad"] = figures["errors"] + figures["statuses"]
            for key, value in figures.items():
                if isinstance(value, (int, float)):
                    place = (record["load"], record["system"], key)
                    self.values.setdefault(place, []).append(value)
        self._subtract("p50_us", "added_p50_us")
        self._subtract("first_p50_us", "added_first_us")

    def _subtract(self, key, added):
        """What a system adds to direct, repeat by repeat."""
        for load in self.loads:
            base = self.values.get((load, "direct", key))
            for system in self.systems:
                own = self.values.get((load, system, key))
                if base and own and system != "direct":
                    self.values[load, system, added] = [a - b for a, b in zip(own, base)]

    def cell(self, load, system, key, write):
        values = self.values.get((load, system, key))
        if not values:
            return "-"
        text = write(statistics.median(values))
        if len(values) > 1 and min(values) != max(values):
            text += f" ({write(min(values))} to {write(max(values))})"
        return text

    def middle(self, load, system, key):
        values = self.values.get((load, system, key))
        return statistics.median(values) if values else None

    def worst(self, load, system, key):
        values = self.values.get((load, system, key))
        return max(values) if values else None


def table(document):
    figures = Figures(document["records"])
    systems = list(dict.fromkeys(name for name in document["versions"] if name in figures.systems))
    lines = [["", *(f"{name} {document['versions'][name]}".strip() for name in systems)]]
    for load in figures.loads:
        [rows] = [rows for start, rows in ROWS if load.startswith(start)]
        for label, key, write in rows:
            cells = [figures.cell(load, system, key, write) for system in systems]
            if any(cell != "-" for cell in cells):
                lines.append([f"{load}: {label}", *cells])
    parts = [layout(lines)]
    if "astromesh" in systems:
        parts.append(layout(gates(figures)))
    errors = [f"{error['scenario']}: {error['error']}" for error in document["errors"]]
    return "\n\n".join([*parts, *errors])


def layout(lines):
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines = [lines[0], ["-" * width for width in widths], *lines[1:]]
    return "\n".join(
        "| " + " | ".join(word.ljust(width) for word, width in zip(line, widths)) + " |"
        for line in lines
    )


def gates(figures):
    """What is asked of astromesh beside the peers that were measured."""
    lines = [["gate", "asked", "is", "met"]]

    def row(name, asked, value, write, is_met):
        if value is not None:
            lines.append([name, asked, write(value), "yes" if is_met(value) else "no"])

    def times(value):
        return f"{value:.2f} x"

    for load in figures.loads:
        if load.startswith(("get", "post")) and not load.endswith("c1"):
            for peer in PEERS:
                for key, asked, is_met in (
                    ("rps", "at least 1.25 x", lambda value: value >= 1.25),
                    ("cpu_us", "at most 0.8 x", lambda value: value <= 0.8),
                ):
                    ours = figures.middle(load, "astromesh", key)
                    theirs = figures.middle(load, peer, key)
                    value = ours / theirs if ours and theirs else None
                    what = "requests/s" if key == "rps" else "CPU a request"
                    row(f"{load}: {what} of {peer}'s", asked, value, times, is_met)
        elif load.startswith(("get", "post")):
            added = figures.middle(load, "astromesh", "added_p50_us")
            for peer in PEERS:
                theirs = figures.middle(load, peer, "added_p50_us")
                if theirs is not None:
                    asked = f"at most {peer}'s {microseconds(theirs)}"
                    row(f"{load}: p50 added", asked, added, microseconds, lambda v: v <= theirs)
            row(f"{load}: p50 added", "target 40 µs", added, microseconds, lambda v: v <= 40)
        elif load.startswith("sse"):
            added = figures.middle(load, "astromesh", "added_first_us")
            if load.startswith("sse c1 "):
                asked = "at most 100 µs"
                row(f"{load}: first event added", asked, added, microseconds, lambda v: v <= 100)
            frames = figures.worst(load, "astromesh", "coalesced")
            row(f"{load}: coalesced frames", "0", frames, count, lambda v: v == 0)
        elif load == "kill -9 get":
            errors = figures.worst(load, "astromesh", "errors")
            row(f"{load}: lost", "0", errors, count, lambda v: v == 0)
        elif load == "kill -9 post":
            twice = figures.worst(load, "astromesh", "begun_twice")
            row(f"{load}: begun twice", "0", twice, count, lambda v: v == 0)
        elif load.startswith("3 x"):
            goodput = figures.middle(load, "astromesh", "goodput")
            row(f"{load}: goodput", "at least 95 %", goodput, percent, lambda v: v >= 0.95)
            refused = figures.middle(load, "astromesh", "refused_p50_us")
            row(f"{load}: refused p50", "at most 5 ms", refused, microseconds, lambda v: v <= 5000)
    return lines
