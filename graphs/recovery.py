"""What is done when a step fails: tried in order, each attempt on record, before the step is given up.

again --> a backup --> another model --> whoever has the skills --> another pattern --> a person --> another way
(the Executor's retries)        (who else makes the same call)                          asked       of working

sequential(build, Step(check, recovery=Recovery(backups=["sr-architect"], ask=True)), recovery=Recovery())
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel

from troupe.agents.agent import Agent
from troupe.agents.call import Others
from troupe.agents.chat import ChatAgent
from troupe.agents.contracts import TIERS, Brief, How, Tier
from troupe.agents.errors import BuildError, UnknownName
from troupe.agents.matching import Lexicon, profile, stems
from troupe.agents.models import must_be_model
from troupe.agents.roles import Role
from troupe.agents.roster import known_roles
from troupe.graphs.builders import BUILDERS

Adapt = Literal["split", "guide"]
NOTHING_KNOWN: Mapping[str, float] = {}
ENOUGH = 0.3
"""Who covers less than this of what is needed does not stand in by skills."""
_ALIKE = 0.35
_BETTER: dict[Tier, tuple[Tier, ...]] = {
    "economy": ("standard", "premium"),
    "standard": ("premium", "economy"),
    "premium": ("standard", "economy"),
}


@dataclass(frozen=True)
class Recovery:
    """How a step is recovered, in the order of the fields; see `docs/recovery.md`.

    Args:
        retries: further attempts after a failure that may pass; by default the setting's. They wait longer each time,
            and as long as the server asks; in a whole turn a fifth of its calls, and always ten.
        backups: whether the role's own backups stand in, or who does: role names, agents, functions, graphs.
        models: whether the models of other tiers are tried, or which: specs or chat models. An agent with a model of
            its own is served by no other unless it is named here.
        matched: whether somebody else of the roster may stand in who has the skills.
        pattern: a pattern that is built around the step's agent and works in its place: `"hierarchical"`, ...
        ask: whether a person is asked then: to go on without it, to write it, to give guidance, or to end here.
        adapt: how the way of working is changed at the end: `"split"` the task into parts, or have the agent
            `"guide"`d by a senior.
        hand_over: whether what a gate sends back for the second time goes to another agent.
        tier_up: whether that one is served by the next better tier.

    Raises:
        BuildError: what cannot be.
        SettingsError: a model that is none.

    >>> Recovery(ask=True).ask
    True
    """

    retries: int | None = None
    backups: bool | Sequence[Any] = True
    models: bool | Sequence[Any] = True
    matched: bool = True
    pattern: str | None = None
    ask: bool = False
    adapt: Adapt | None = None
    hand_over: bool = True
    tier_up: bool = False

    def __post_init__(self) -> None:
        if self.retries is not None and (isinstance(self.retries, bool) or not 0 <= self.retries <= 20):
            raise BuildError(f"Recovery(retries={self.retries!r}): say how many further attempts, 0 to 20.")
        if self.pattern is not None and self.pattern not in BUILDERS:
            raise UnknownName("pattern", self.pattern, BUILDERS)
        if self.adapt not in (None, "split", "guide"):
            raise UnknownName("adapt", self.adapt, ["split", "guide"])
        for name in ("backups", "models"):
            given = getattr(self, name)
            if not isinstance(given, bool):
                given = (given,) if isinstance(given, str) or not isinstance(given, Sequence) else tuple(given)
                object.__setattr__(self, name, given)
        self.agents()  # whoever cannot be is found out now, and so is a model
        for model in self.models if not isinstance(self.models, bool) else ():
            must_be_model(model)

    def agents(self) -> tuple[Agent, ...]:
        """Those who were named to stand in."""
        from troupe.graphs.adapters import as_agent

        return () if isinstance(self.backups, bool) else tuple(as_agent(one) for one in self.backups)

    @property
    def of_others(self) -> Recovery:
        """The same for whoever else the step takes, its reviewers above all: those who are named stand in for its
        author only.
        """
        return replace(self, backups=bool(self.backups), models=bool(self.models), pattern=None, adapt=None)


STANDARD = Recovery()
ONLY_RETRIES = Recovery(backups=False, models=False, matched=False, hand_over=False)
"""For what nobody else can do, and nobody else's model either."""
BY_ITSELF = Recovery(backups=False, matched=False, hand_over=False)
"""For what only the agent itself can say, on whichever model."""


def others(
    recovery: Recovery,
    agent: Agent,
    brief: Brief,
    deciding: bool,
    but: Sequence[str] = (),
    schema: type[BaseModel] | None = None,
) -> Others:
    """Whoever else can make a call, lazily, in the order in which they are turned to.

    Args:
        recovery: who may.
        agent: whose call it is.
        brief: what it is about.
        deciding: whether a decision is wanted, which a team or function cannot make.
        but: who must not: nobody judges their own work.
        schema: what the work gives besides text.
    """

    def found(rates: Mapping[str, float]) -> Iterator[tuple[How, Agent]]:
        from troupe.graphs.adapting import adapted, team_of

        seen = {agent.name, *but}
        for how, one in _each(recovery, agent, brief, rates):
            if how == "model" or one.name not in seen:
                seen.add(one.name)
                if one.can_decide or not deciding:
                    yield how, one
        if recovery.pattern is not None and not deciding:
            yield "pattern", team_of(recovery.pattern, agent, brief.objective, schema)
        if recovery.adapt is not None and not recovery.ask and not deciding:
            yield recovery.adapt, adapted(recovery.adapt, agent, brief.objective, schema)

    return found


def _each(recovery: Recovery, agent: Agent, brief: Brief, rates: Mapping[str, float]) -> Iterator[tuple[How, Agent]]:
    named = recovery.agents()
    yield from (("backup", one) for one in named)
    if not isinstance(agent, ChatAgent):
        return
    if recovery.backups is True:
        yield from (("backup", one) for role in _roles(agent.role.backups) if (one := _standing_in(role, agent)))
    if recovery.models is True:
        if agent.own_model is None:
            yield from (("model", _on_tier(agent, tier)) for tier in _BETTER[agent.role.tier])
    elif recovery.models:
        yield from (("model", ChatAgent(agent.role, agent.tools, model)) for model in recovery.models)
    before = agent.role.backups if recovery.backups is True else ()
    role = matching(agent.role, brief, rates, before) if recovery.matched else None
    if role is not None and (able := _standing_in(role, agent)) is not None:
        yield "skills", able


def _roles(names: Sequence[str]) -> list[Role]:
    known = known_roles()
    return [known[name] for name in names if name in known]


def _standing_in(role: Role, agent: ChatAgent) -> ChatAgent | None:
    """Somebody in the place of an agent: with its tools and no others, and on its model where it has one of its own.

    None where that cannot be, as with a role that needs tools which the agent has not.
    """
    try:
        return ChatAgent(role, agent.tools, agent.own_model)
    except BuildError:
        return None


def _on_tier(agent: ChatAgent, tier: Tier) -> ChatAgent:
    return ChatAgent(agent.role.model_copy(update={"tier": tier}), agent.tools, agent.own_model)


def matching(
    role: Role, brief: Brief, rates: Mapping[str, float] = NOTHING_KNOWN, but: Sequence[str] = ()
) -> Role | None:
    """Whoever of the roster covers most of what is needed, and has been reliable; nobody, where nothing is known of
    what that takes.

    >>> found = matching(known_roles()["qa-engineer"], Brief(task="x", objective="Find the bottleneck under load."))
    >>> found.name if found else "nobody"
    'performance-engineer'
    """
    if not role.skills:
        return None
    # What is to be done says more than all that the role can do; yet whoever takes its place must be somewhat like it.
    wanted = dict.fromkeys(stems(" ".join([role.title, *role.skills])), _ALIKE)
    wanted |= dict.fromkeys(stems(brief.objective or brief.task), 1.0)
    known, found = known_roles(), _lexicon().capabilities(wanted)
    able = sorted(name for name in known.keys() - {role.name, *but} if found.get(name, 0.0) >= ENOUGH)
    best = max(able, key=lambda name: (found[name] * rates.get(name, 0.5), name), default=None)
    return known[best] if best is not None else None


def _lexicon() -> Lexicon:
    return _lexicon_of(tuple(known_roles().values()))


@lru_cache(maxsize=8)
def _lexicon_of(roles: tuple[Role, ...]) -> Lexicon:
    return Lexicon({role.name: profile(ChatAgent(role)) for role in roles})


def next_author(recovery: Recovery, agent: Agent, brief: Brief, sent_back: int, reviewers: Sequence[str] = ()) -> Agent:
    """Who reworks what a gate has sent back so many times: the author first, then others, each in turn."""
    if sent_back < 2 or not recovery.hand_over:
        return agent
    taken = {agent.name, *reviewers}
    # Who that is must not change when the run goes on after a crash, so nobody's record counts here.
    able = _each(replace(recovery, models=False), agent, brief, NOTHING_KNOWN)
    standing = [one for _, one in able if one.name not in taken]
    if not standing:
        return better(agent) if recovery.tier_up else agent
    chosen = standing[(sent_back - 2) % len(standing)]
    return better(chosen) if recovery.tier_up else chosen


def better(agent: Agent) -> Agent:
    """The same agent, a tier up."""
    if not isinstance(agent, ChatAgent) or agent.own_model is not None:
        return agent
    return _on_tier(agent, TIERS[min(TIERS.index(agent.role.tier) + 1, len(TIERS) - 1)])
