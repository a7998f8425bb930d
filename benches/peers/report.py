"""The table: a row for each figure, a column for each system.

With several runs a cell holds the middle one and, in brackets, the least and the largest. A figure
that was not reached in time in some run shows how many were not, and what was missing.
"""

import statistics


def seconds(value):
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def count(value):
    return f"{value:,.0f}"


def small(value):
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def kib(value):
    return f"{value / 1024:,.1f}"


# Scenario, label, key, how to write it, and the key that says how much was missing.
ROWS = (
    ("join", "join: all know all, after the last spawn", "whole_s", seconds, "missing_pairs"),
    ("join", "join: KiB sent a node", "bytes_per_node", kib, None),
    ("join", "join: CPU s, all nodes", "cpu_s", small, None),
    ("idle", "idle: UDP B/s a node", "udp_bytes_per_s_node", count, None),
    ("idle", "idle: TCP B/s a node", "tcp_bytes_per_s_node", count, None),
    ("idle", "idle: datagrams/s a node", "datagrams_per_s_node", small, None),
    ("idle", "idle: CPU ms/s a node", "cpu_ms_per_s_node", small, None),
    ("idle", "idle: RSS MiB a node", "rss_kib", kib, None),
    ("idle", "idle: private MiB a node", "private_kib", kib, None),
    ("idle", "idle: false deaths", "false_deaths", count, None),
    ("late", "late joiner: knows all", "knows_all_s", seconds, "knows_all_missing"),
    ("late", "late joiner: known by all", "known_by_all_s", seconds, "known_by_all_missing"),
    ("kill", "death: known to the first, p50", "first_p50_s", seconds, None),
    ("kill", "death: known everywhere, p50", "everywhere_p50_s", seconds, "missing_pairs"),
    ("kill", "death: known to a member, p50", "p50_s", seconds, "missing_pairs"),
    ("kill", "death: known to a member, p99", "p99_s", seconds, "missing_pairs"),
    ("kill", "death: known to a member, max", "max_s", seconds, "missing_pairs"),
    ("kill", "death: first to last member, max", "spread_max_s", seconds, None),
    ("kill", "kill: false deaths", "false_deaths", count, None),
    ("loss", "UDP loss: false deaths", "false_deaths", count, None),
    ("loss", "UDP loss: healthy members declared dead", "victims", count, None),
    ("loss", "UDP loss: UDP B/s a node", "udp_bytes_per_s_node", count, None),
    ("loss", "UDP loss: TCP B/s a node", "tcp_bytes_per_s_node", count, None),
    ("loss", "UDP loss: whole after it", "whole_s", seconds, "whole_missing_pairs"),
    ("pause", "pauses: false deaths, seen by healthy", "false_deaths_seen_by_healthy", count, None),
    ("pause", "pauses: false deaths, seen by paused", "false_deaths_seen_by_paused", count, None),
    ("pause", "pauses: deaths of the paused", "deaths_of_paused", count, None),
    ("pause", "pauses: whole after the last", "whole_s", seconds, "whole_missing_pairs"),
    ("partition", "partition: split known everywhere", "split_s", seconds, "split_missing_pairs"),
    ("partition", "partition: whole after it", "heal_s", seconds, "heal_missing_pairs"),
    ("partition", "partition: KiB a node to heal", "heal_bytes_per_node", kib, None),
    ("partition", "partition: false deaths in own half", "false_deaths_in_own_half", count, None),
)


def cell(figures, key, write, missing_key):
    """`figures` are those of one scenario in each run that has it."""
    if not figures:
        return "-"
    reached = [figure[key] for figure in figures if figure[key] is not None]
    missing = [figure[missing_key] for figure in figures if missing_key] or [0]
    text = write(statistics.median(reached)) if reached else "not reached"
    if len(reached) > 1:
        text += f" ({write(min(reached))} to {write(max(reached))})"
    if any(missing):
        text += f", {count(max(missing))} pairs missing"
    elif len(reached) < len(figures) and reached:
        text += f", {len(figures) - len(reached)} runs not"
    return text


def table(document):
    runs = document["runs"]
    systems = list(dict.fromkeys(run["system"] for run in runs))
    lines = [["", *(f"{name} {document['versions'][name]}" for name in systems)]]
    for scenario, label, key, write, missing_key in ROWS:
        cells = []
        for name in systems:
            results = [run["results"] for run in runs if run["system"] == name]
            figures = [result[scenario] for result in results if scenario in result]
            cells.append(cell(figures, key, write, missing_key))
        if any(text != "-" for text in cells):
            lines.append([label, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    text = "\n".join(
        "| " + " | ".join(word.ljust(width) for word, width in zip(line, widths)) + " |"
        for line in lines
    )
    errors = "\n".join(
        f"{run['system']}, run {run['repeat'] + 1}: {run['results']['error']}"
        for run in runs
        if "error" in run["results"]
    )
    notes = "\n".join(
        f"{run['system']}, run {run['repeat'] + 1}, {scenario}: "
        f"{figures['missing_pairs_at_start']} pairs were missing at its start"
        for run in runs
        for scenario, figures in run["results"].items()
        if scenario != "error" and figures.get("missing_pairs_at_start")
    )
    return "\n\n".join(part for part in (text, notes, errors) if part)
