"""A run's timeline as HTML: a row per step, bars where time went, and a dot for each request of a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from html import escape

from troupe.view.intervals import Interval
from troupe.view.runview import Asked, RunView, StepView
from troupe.view.words import duration, line, money

KINDS = {
    "work": "work",
    "failed": "attempt that failed",
    "review": "review at the gate",
    "wait": "pause before the next attempt",
    "person": "a person is waited for",
}
"""Every kind of bar, in words."""
_ROWS = 400


def gantt(view: RunView) -> str:
    """The timeline; steps on the critical path are marked by a diamond."""
    bars = view.intervals()
    start = min([view.started or 0.0, *(one.started for one in bars)]) if bars else view.started or 0.0
    end = max([view.ended or view.last, *(one.ended for one in bars)]) if bars else view.last
    span = max(end - start, 0.001)
    if view.status == "running":  # room to grow, so that bars stay where they are for a while
        span = next(s * 10.0**e for e in range(-3, 9) for s in (1, 1.5, 2, 3, 4, 6, 8) if s * 10.0**e >= span)
    steps = view.steps
    paths = list(steps)
    for path in dict.fromkeys(one.path for one in view.requests if one.path not in steps):
        outer = path.rpartition("/")[0]  # a hub, a judge: after what they belong to
        after = [at for at, one in enumerate(paths) if not outer or f"{one}/".startswith(f"{outer}/")]
        paths.insert(after[-1] + 1 if after else len(paths), path)
    shown = paths[:_ROWS]
    critical = set(view.critical_path())
    by_path, asked = defaultdict[str, list[Interval]](list), defaultdict[str, list[Asked]](list)
    for bar in bars:
        by_path[bar.path].append(bar)
    for request in view.requests:
        asked[request.path].append(request)

    def row(path: str) -> str:
        inner = [*(_bar(one, start, span) for one in by_path[path]), *(_dot(one, start, span) for one in asked[path])]
        return _row(path, steps.get(path), "".join(inner), path in critical)

    rows = "".join(map(row, shown))
    more = f'<p class="quiet">… and {len(paths) - _ROWS:,} more rows.</p>' if len(paths) > _ROWS else ""
    kinds = dict.fromkeys(one.kind for one in bars)
    legend = "".join(f'<span><i class="bar {kind}"></i>{KINDS[kind]}</span>' for kind in kinds)
    legend += '<span><i class="dot"></i>request of a model</span><span><b class="critical">◆</b> critical path</span>'
    ticks = "".join(f'<i style="left:{100 * at / span:.2f}%"><b>{escape(text)}</b></i>' for at, text in _ticks(span))
    return (
        f'<div class="gantt" style="--at:100%">{rows}<div class="row axis"><span></span>'
        f'<div class="track">{ticks}</div></div></div><p class="legend">{legend}</p>{more}'
    )


def _row(path: str, step: StepView | None, inner: str, critical: bool) -> str:
    depth = path.count("/")
    name = line(path.rpartition("/")[2], 60)
    mark = '<b class="critical" title="on the critical path">◆</b> ' if critical else ""
    agent = line(step.agent, 60) if step is not None and step.agent != step.name else ""
    small = f"<small>{escape(agent)}</small>" if agent else ""
    return (
        f'<div class="row{" on" if critical else ""}"><span style="padding-left:{depth * 0.9:g}em" '
        f'title="{escape(line(path, 200))}">{mark}{escape(name)}{small}</span>'
        f'<div class="track">{inner}</div></div>'
    )


def _bar(one: Interval, start: float, span: float) -> str:
    left, wide = 100 * (one.started - start) / span, 100 * (one.ended - one.started) / span
    left = max(0.0, min(left, 99.6))
    said = f": {line(one.said, 160)}" if one.said else ""
    by = f" by {line(one.agent, 60)}" if one.agent else ""
    again = f", round {one.round}" if one.round > 1 else ""
    title = f"{KINDS[one.kind]}{by}{again}, {duration(one.ended - one.started)}{said}"
    size = f"left:{left:.2f}%;width:{max(min(wide, 100 - left), 0.4):.2f}%"
    return f'<i class="bar {one.kind}" style="{size}" title="{escape(title)}"></i>'


def _dot(one: Asked, start: float, span: float) -> str:
    tokens = f"{one.input_tokens:,} tokens in, {one.output_tokens:,} out"
    what = "of no use, " if one.useless else "from the cache, " if one.cached else ""
    title = f"{one.purpose} by {line(one.agent, 60)}, {what}{duration(one.seconds)}, {tokens}, {money(one.usd)}"
    left = max(0.0, min(100 * (one.started - start) / span, 99.6))
    return f'<i class="dot{" bad" if one.useless else ""}" style="left:{left:.2f}%" title="{escape(title)}"></i>'


def _ticks(span: float) -> Iterator[tuple[float, str]]:
    """Round numbers of seconds along the axis, four to eight of them."""
    step = 1e-3
    for step in (s * 10.0**e for e in range(-3, 7) for s in (1, 2, 5)):
        if span / step <= 6:
            break
    at = 0.0
    while at <= span * 0.97:
        yield at, f"{at:.3g} s" if span < 120 else duration(at)
        at += step
