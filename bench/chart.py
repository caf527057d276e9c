"""Draw results.svg with nothing but text and rectangles."""

from html import escape
from typing import Any

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
COLOURS = {"satsuma": "#f2711c", "control": "#9aa5b1", "asyncpg": "#4c8bf5"}
NAMES = {
    "satsuma": "Satsuma: five contexts, five databases, saga, outbox, idempotency",
    "control": "one plain Django view, one database",
    "asyncpg": "FastAPI + asyncpg on Satsuma's tables",
}
PANEL_WIDTH, PANEL_HEIGHT, BAR, COLUMNS, MARGIN = 300, 190, 30, 3, 40
TITLES = {
    "orders": "Orders per second, every event handled", "list": "Lists of 20 products per second",
    "detail": "Product pages per second", "search": "Searches per second", "cart": "Cart changes per second",
}  # fmt: skip


Json = dict[str, Any]  # a part of results.json, whose keys the report module defines
Results = Json


def draw(results: Results) -> str:
    """Draw the whole picture as SVG."""
    operations = sorted({row["operation"] for row in results["rows"]}, key=list(TITLES).index)
    panels, y = [], 100
    for first in range(0, len(operations), COLUMNS):
        line = operations[first : first + COLUMNS]
        panels += [_panel(results["rows"], name, MARGIN + n * (PANEL_WIDTH + 20), y) for n, name in enumerate(line)]
        y += PANEL_HEIGHT + 74
    height = y + 50 + 26 * len(results["targets"])
    width = 2 * MARGIN + COLUMNS * PANEL_WIDTH + (COLUMNS - 1) * 20
    body = [_heading(results), *panels, _targets(results["targets"], y, width)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" fill="{INK}">\n<rect width="{width}" height="{height}" fill="white"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _text(
    x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", colour: str = INK, weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" fill="{colour}"/>'


def _heading(results: Results) -> str:
    layout, data, machine = results["layout"], results["data"], results["machine"]
    engine = "engine in the workers" if layout["engine"] == "embedded" else "engine in a separate process"
    description = (
        f"{layout['workers']} workers of {layout['threads']} threads, {engine}; "
        f"{data['products']:,} products, {data['orders']:,} orders; "
        f"loader, server and PostgreSQL on {machine['cpus']} cores of {machine['model']}"
    )
    title = _text(MARGIN, 36, "Satsuma, compared with one plain Django view", size=20, weight=600)
    parts = [title, _text(MARGIN, 56, description, colour=FAINT)]
    x = MARGIN
    for system, name in NAMES.items():
        parts += [_box(x, 69, 12, 12, COLOURS[system]), _text(x + 18, 79, name)]
        x += 420 if system == "satsuma" else 250
    return "\n".join(parts)


def _panel(rows: list[Json], operation: str, x: float, y: float) -> str:
    """Draw bars of throughput for each number of clients, with median and 99th percentile of the latency below."""
    shown = [row for row in rows if row["operation"] == operation and row["system"] in COLOURS]
    clients = sorted({row["clients"] for row in shown})
    top = max(row["per_second"] for row in shown)
    parts = [_text(x, y + 12, TITLES[operation], size=13, weight=600), _box(x, y + PANEL_HEIGHT, PANEL_WIDTH, 1, GRID)]
    step = PANEL_WIDTH / len(clients)
    for n, number in enumerate(clients):
        group = [row for row in shown if row["clients"] == number]
        left, gap = x + n * step + step / 2 - (BAR + 14) * len(group) / 2, BAR + 14
        name = f"{number} client{'s'[: number != 1]}"
        parts.append(_text(x + (n + 0.5) * step, y + PANEL_HEIGHT + 16, name, anchor="middle"))
        parts += [_bar(row, left + m * gap + 7, y, top) for m, row in enumerate(group)]
    return "\n".join(parts)


def _bar(row: Json, x: float, y: float, top: float) -> str:
    length = (PANEL_HEIGHT - 50) * row["per_second"] / top
    base = y + PANEL_HEIGHT
    return "\n".join([
        _box(x, base - length, BAR, length, COLOURS[row["system"]]),
        _text(x + BAR / 2, base - length - 4, _short(row["per_second"]), size=11, anchor="middle", weight=600),
        _text(x + BAR / 2, base + 30, f"{row['p50']:,.0f} ms", size=9, anchor="middle", colour=FAINT),
        _text(x + BAR / 2, base + 41, f"{row['p99']:,.0f} ms", size=9, anchor="middle", colour=FAINT),
    ])  # fmt: skip


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def _targets(targets: list[Json], y: float, width: float) -> str:
    """Draw a line for each target: a mark for the target, a bar for the measured value."""
    legend = "mark: target; bar: measured value; below the bars above: median and 99th percentile"
    parts = [
        _text(MARGIN, y + 4, "Targets", size=13, weight=600),
        _text(MARGIN + 70, y + 4, legend, colour=FAINT),
    ]
    left, room = MARGIN + 330, width - 2 * MARGIN - 330 - 150
    for n, target in enumerate(targets, 1):
        line = y + 4 + 26 * n
        scale = room / (1.25 * max(target["value"], target["limit"]))
        colour = "#2f9e44" if target["reached"] else "#e03131"
        sign = "≥" if target["at_least"] else "≤"
        parts += [
            _text(MARGIN, line, target["name"]),
            _box(left, line - 11, room, 14, GRID),
            _box(left, line - 11, scale * max(0.0, target["value"]), 14, colour),
            _box(left + scale * target["limit"] - 1, line - 14, 2, 20, INK),
            _text(left + room + 12, line, f"{target['value']:.2f}, target {sign} {target['limit']:g}"),
        ]
    return "\n".join(parts)
