"""What is to go wrong in a rehearsal: `rate_limit=0.1,timeout=0.02,down:python-engineer`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from troupe.agents.contracts import FailureKind
from troupe.agents.errors import CallError, InputError, UnknownName

KINDS: tuple[FailureKind, ...] = ("rate_limit", "timeout", "connection", "server", "invalid_output")
_DOWN = "down:"


class Played(CallError):
    """A failure that a rehearsal has drawn."""

    def __init__(self, kind: FailureKind, agent: str) -> None:
        super().__init__(f"[simulated] {kind} of the model of {agent}")
        self.kind = kind
        self.retryable = kind in KINDS


@dataclass(frozen=True)
class Faults:
    """How often requests fail, by kind, and who never answers.

    >>> Faults.read("rate_limit=0.1,down:qa-engineer").down
    ('qa-engineer',)
    """

    rates: Mapping[FailureKind, float] = field(default_factory=dict)
    down: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rates or self.down)

    def __str__(self) -> str:
        return ",".join(
            [*(f"{kind}={rate:g}" for kind, rate in self.rates.items()), *(_DOWN + one for one in self.down)]
        )

    @classmethod
    def read(cls, text: str) -> Faults:
        """From words such as `rate_limit=0.1,timeout=0.02,down:python-engineer`.

        Raises:
            InputError: a part that is neither a rate nor somebody who is down.
            UnknownName: a kind of failure that cannot be played.
        """
        rates: dict[FailureKind, float] = {}
        down: list[str] = []
        for one in filter(None, (part.strip() for part in text.split(","))):
            if one.startswith(_DOWN) and (name := one.removeprefix(_DOWN).strip()):
                down.append(name)
                continue
            kind, sign, rate = (part.strip() for part in one.partition("="))
            known = next((each for each in KINDS if each == kind), None)
            if not sign:
                raise InputError(f"{one!r} is no fault: write KIND=SHARE (rate_limit=0.1) or down:AGENT.")
            if known is None:
                raise UnknownName("fault", kind, KINDS)
            rates[known] = _share(one, rate)
        if sum(rates.values()) > 1:
            raise InputError(f"--faults {text!r}: the shares come to more than 1.")
        return cls(rates, tuple(dict.fromkeys(down)))

    def must_be_of(self, names: Collection[str]) -> None:
        """Refuse somebody who is down and does not take part.

        Raises:
            UnknownName: there is no such agent in the team.
        """
        for name in self.down:
            if name not in names:
                raise UnknownName("agent", name, names)


def _share(said: str, rate: str) -> float:
    try:
        share = float(rate)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InputError(f"{said!r}: a share of requests lies between 0 and 1.")
    return share
