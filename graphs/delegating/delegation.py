"""Delegation: what managers planned becomes directives in force and work packages that can be given out. Plain code.

    Planned (of each manager) --> Directive D1, D2, ...   Package P1, P2, ...   Correction (whatever had to be mended)

An owner that does not exist, a need that nobody meets, a circle of needs, more packages than the bound: each is mended
by a fixed rule, and said.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from troupe.agents.contracts import Kept
from troupe.agents.notes import Text
from troupe.graphs.delegating.levels import Levels
from troupe.graphs.delegating.planning import (
    CHANGERS,
    CRITERIA,
    DIRECTIVES,
    NAMED,
    PATTERNS,
    Pattern,
    Planned,
    PlannedPackage,
)


class Directive(Kept):
    """A rule in force: who gave it, whom it binds (nobody named is all), and who may change it."""

    id: str
    by: str
    decision: Text
    rationale: Text = ""
    scope: tuple[Text, ...] = ()
    changed_by: str = "person"

    def line(self) -> str:
        """The directive in one paragraph, for a brief.

        >>> Directive(id="D1", by="lead", decision="Use SQLite.", changed_by="tactical").line()
        'D1 (by lead; may be changed by: tactical): Use SQLite.'
        """
        why = f" Why: {self.rationale}" if self.rationale else ""
        scope = f" for {', '.join(self.scope)}" if self.scope else ""
        return f"{self.id} (by {self.by}{scope}; may be changed by: {self.changed_by}): {self.decision}{why}"


class Coordination(Kept):
    """How the packages depend on each other, who said so, and why."""

    by: str = ""
    pattern: Pattern = "needs"
    why: Text = ""

    def line(self) -> str:
        """It in a sentence, for whoever plans packages."""
        how = {
            "sequence": "the packages are worked on one after the other, in the order in which they are given",
            "fan-out": "all packages are worked on at once, so none may need another's result",
            "needs": "each package waits for those whose results it needs",
        }[self.pattern]
        return f"Coordination (by {self.by}): {self.pattern}, {how}. {self.why}".strip()


class Package(Kept):
    """A piece of work that is given out; its deliverable has the name `step`."""

    id: str
    step: str
    owner: str
    by: str
    """The manager who gave it, and judges its result."""
    title: Text
    objective: Text
    acceptance: tuple[Text, ...]
    authority: Text = ""
    needs: tuple[str, ...] = ()
    """The ids of the packages whose results it builds on."""

    def line(self) -> str:
        """See `Kept`."""
        needs = f"; needs {', '.join(self.needs)}" if self.needs else ""
        return f"{self.id} ({self.step}, given by {self.by}{needs}): {self.title}"


class Correction(Kept):
    """Something that was mended in a plan; a `limit` left work out, and keeps the run from being completed."""

    by: str
    text: Text
    limit: bool = False

    def line(self) -> str:
        """It in a sentence; without an author it is the engine's own."""
        return f"{self.by} {self.text}".strip()


@dataclass
class Delegated:
    """What is in force, and what is to be done."""

    directives: dict[str, Directive] = field(default_factory=dict)
    coordination: Coordination = field(default_factory=Coordination)
    packages: dict[str, Package] = field(default_factory=dict)
    corrections: list[Correction] = field(default_factory=list)


def in_force(plans: Mapping[str, Planned], levels: Levels) -> dict[str, Directive]:
    """The directives of these plans by id, counted from the top: those of a level keep theirs when others follow."""
    found: dict[str, Directive] = {}
    for manager in levels.managers:
        for one in plans[manager.name].directives[:DIRECTIVES] if manager.name in plans else ():
            if not one.decision:
                continue
            may = one.changed_by.lower()
            found[f"D{len(found) + 1}"] = Directive(
                id=f"D{len(found) + 1}",
                by=manager.name,
                decision=one.decision,
                rationale=one.rationale,
                scope=one.scope,
                changed_by=may if may in CHANGERS else levels.level_of(manager.name),
            )
    return found


def coordinated(plans: Mapping[str, Planned], levels: Levels) -> Coordination:
    """How the packages depend on each other: what the last of the highest level said that can be carried out."""
    found = Coordination()
    for manager in levels.managing[0][1]:
        said = plans[manager.name].coordination if manager.name in plans else None
        if said is not None:
            for pattern in PATTERNS:
                if said.pattern.strip().lower() == pattern:
                    found = Coordination(by=manager.name, pattern=pattern, why=said.why)
    return found


def delegated(plans: Mapping[str, Planned], levels: Levels, task: str, width: int, bound: str = "") -> Delegated:
    """What these plans come to, in the order of the managers; without any package, the task itself is one.

    Args:
        plans: by manager.
        levels: who there is.
        task: the team's.
        width: the most packages.
        bound: what that is called.
    """
    made = Delegated(in_force(plans, levels), coordinated(plans, levels))
    for manager in levels.managers:
        if manager.name in plans and len(plans[manager.name].directives) > DIRECTIVES:
            text = f"gave more than {DIRECTIVES} directives; the others are left out."
            made.corrections.append(Correction(by=manager.name, text=text, limit=True))
    lowest = levels.of(levels.lowest)
    drafts = [(one.name, draft) for one in lowest if one.name in plans for draft in plans[one.name].packages]
    count = sum(plans[one.name].planned for one in lowest if one.name in plans)
    if count > width:
        named = [draft.title or "untitled" for _, draft in drafts[width : width + NAMED]]
        rest = count - width - len(named)
        more = f" and {rest:,} more" if rest > 0 else ""
        most = bound or f"width={width}"
        text = f"planned {count:,} packages, the bound is {most}; left out: {', '.join(named)}{more}."
        by = ", ".join(one.name for one in lowest if one.name in plans and plans[one.name].planned)
        made.corrections.append(Correction(by=by, text=text, limit=True))
    if not drafts:
        first = levels.implementation[0].name
        drafts = [(lowest[0].name, PlannedPackage(owner=first, title="the task", objective=task))]
        text = f"No package was planned: {first} works on the task itself."
        made.corrections.append(Correction(by="", text=text))
    _give_out(drafts[:width], levels, made)
    _connect([draft for _, draft in drafts[:width]], made)
    return made


def _give_out(drafts: Sequence[tuple[str, PlannedPackage]], levels: Levels, made: Delegated) -> None:
    """Ids, owners, and what the results are judged by."""
    workers = {one.agent.name.lower(): one.name for one in reversed(levels.implementation)}
    workers |= {one.name.lower(): one.name for one in levels.implementation}
    counts: dict[str, int] = {}
    for number, (by, draft) in enumerate(drafts, 1):
        title = draft.title or f"package {number}"
        owner = workers.get(draft.owner.strip().lower())
        if owner is None:
            owner = levels.nearest(f"{draft.owner} {title} {draft.objective}", levels.implementation)
            text = f"gave {title!r} to {draft.owner or 'nobody'!r}, who is not on the team; {owner} does it."
            made.corrections.append(Correction(by=by, text=text))
        if len(draft.acceptance) > CRITERIA:
            text = f"gave {title!r} more than {CRITERIA} acceptance criteria; the others are left out."
            made.corrections.append(Correction(by=by, text=text, limit=True))
        acceptance = tuple(one for one in draft.acceptance[:CRITERIA] if one)
        counts[owner] = counts.get(owner, 0) + 1
        made.packages[f"P{number}"] = Package(
            id=f"P{number}",
            step=f"{owner}.{counts[owner]}",
            owner=owner,
            by=by,
            title=title,
            objective=draft.objective or title,
            acceptance=acceptance or ("The objective is reached.",),
            authority=draft.authority,
        )


def _connect(drafts: Sequence[PlannedPackage], made: Delegated) -> None:
    """Who waits for whom."""
    ids = list(made.packages)
    needs: dict[str, list[str]] = {one: [] for one in ids}
    if made.coordination.pattern == "sequence":
        needs |= {after: [before] for before, after in itertools.pairwise(ids)}
    elif made.coordination.pattern == "needs":
        for package, draft in zip(made.packages.values(), drafts, strict=True):
            said = f"wrote that {package.id} {package.title!r} needs"
            wrong = [(name, problem) for name in draft.needs if (problem := _need(name, package, needs, made))]
            texts = [f"{said} {name!r}, {problem}; that need is dropped." for name, problem in wrong[:NAMED]]
            if len(wrong) > NAMED:
                texts.append(f"{said} {len(wrong) - NAMED} more that are dropped.")
            made.corrections += [Correction(by=package.by, text=text) for text in texts]
    for one in ids:
        found = tuple(other for other in ids if other in needs[one])
        made.packages[one] = made.packages[one].model_copy(update={"needs": found})


def _need(name: str, package: Package, needs: dict[str, list[str]], made: Delegated) -> str:
    """Note a need; else say what is wrong with it."""
    found = _meant(name, package, made)
    if found is None:
        return "which is no package"
    if found == package.id:
        return "which is itself"
    if package.id in _behind(found, needs):
        return "which itself waits for this one"
    needs[package.id].append(found)
    return ""


def _meant(name: str, package: Package, made: Delegated) -> str | None:
    """The package that a need means, by its title or number; those of the same manager first."""
    own = [one for one in made.packages.values() if one.by == package.by]
    others = [one for one in made.packages.values() if one.by != package.by]
    wanted = _plain(name)
    if alike := [one.id for one in [*own, *others] if _plain(one.title) == wanted]:
        return next((one for one in alike if one != package.id), package.id)
    number = re.fullmatch(r"(?:package|p|#)?\s*(\d{1,3})", wanted)
    return own[int(number[1]) - 1].id if number and 0 < int(number[1]) <= len(own) else None


def _behind(package: str, needs: Mapping[str, Sequence[str]]) -> set[str]:
    """Everything that a package waits for, itself included."""
    seen, open_ = {package}, [package]
    while open_:
        new = [one for one in needs[open_.pop()] if one not in seen]
        seen.update(new)
        open_ += new
    return seen


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).strip(" .\"'")
