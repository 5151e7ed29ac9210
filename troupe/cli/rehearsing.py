"""A rehearsal as tables: what a run is likely to take, where the time goes, and where each number comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from troupe.cli import output
from troupe.view.words import counted, duration, money

if TYPE_CHECKING:
    from troupe.graphs.rehearsing.forecast import Figures, Rehearsal, StepForecast


def show_rehearsal(workflow: str, task: str, as_json: bool, **options: Any) -> None:
    """Rehearse, and print what that comes to."""
    from troupe.cli.books import read
    from troupe.rehearsal import arehearse

    found = read(arehearse(workflow, task, **options))
    if as_json:
        output.as_json(found.to_json())
    else:
        _show(found)


def _show(found: Rehearsal) -> None:
    runs = f"drawn from {counted(found.recorded, 'recorded run')}" if found.recorded else "no run of it is recorded"
    output.out(f"Rehearsal of {found.workflow}: a simulation, nothing real was called.")
    output.out(f"{counted(found.trials, 'trial')}, seed {found.seed}, {counted(found.slots, 'slot')}, {runs}.\n")
    _show_figures(found)
    output.out("\nWhere the time goes (means per simulated run):")
    output.table(
        ["STEP", "CRITICAL", "WORK", "REVIEWS", "REWORK", "FAILURES", "WAITING", "SENT BACK", "USD", "AGENT"],
        [_cells(one) for one in found.figures.steps],
        spare=("USD", "FAILURES", "WAITING"),
    )
    output.out("\nWhere the numbers come from:")
    for one in found.sources:
        output.out(f"- {one.line()}")


def _show_figures(found: Rehearsal) -> None:
    before = found.without
    header = ["", "P50", "P95", "MEAN"]
    rows = [_spread("makespan", found.figures), _cost("cost", found.figures)]
    if before is not None:
        rows = [(f"{name}, with faults", *cells) for name, *cells in rows]
        rows += [_spread("makespan, without", before), _cost("cost, without", before)]
    output.table(header, rows)
    ends = ", ".join(f"{share:.0%} {status}" for status, share in found.figures.status.items())
    if before is not None:
        ends += f" (without the faults {before.status.get('completed', 0.0):.0%} completed)"
    output.out(f"ends: {ends}")
    output.out(f"utilisation: {found.utilisation:.0%} of {counted(found.slots, 'slot')}")
    if before is not None:
        slower = found.seconds.p50 - before.seconds.p50
        later = found.seconds.p95 - before.seconds.p95
        output.out(f"what {found.faults} does: {_signed(slower)} at the median, {_signed(later)} at p95")


def _signed(seconds: float) -> str:
    return f"{'+' if seconds >= 0 else '-'}{duration(abs(seconds))}"


def _spread(name: str, figures: Figures) -> tuple[str, ...]:
    return name, *(duration(one) for one in (figures.seconds.p50, figures.seconds.p95, figures.seconds.mean))


def _cost(name: str, figures: Figures) -> tuple[str, ...]:
    usd = figures.usd
    return name, *(money(one) for one in ((None,) * 3 if usd is None else (usd.p50, usd.p95, usd.mean)))


def _cells(one: StepForecast) -> tuple[str, ...]:
    times = (one.work, one.reviews, one.rework, one.failures, one.waiting)
    back = "" if one.sent_back is None else f"{one.sent_back:.0%} of {one.verdicts:.1f}"
    agent = "" if one.agent in (one.path, one.path.rpartition("/")[2]) else one.agent
    return (
        one.path,
        f"{one.critical:.0%}",
        *(duration(spent) if spent else "" for spent in times),
        back,
        money(one.usd),
        agent,
    )
