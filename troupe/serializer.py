"""What may come back from a database: plain data, LangChain's messages, our values, and types that were named.

LangGraph's own serializer imports and calls whatever a stored row names unless it is told otherwise, and then it only
logs. This one has an explicit list, and a row that names anything else is an error.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_METHODS, SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_DELTA_SNAPSHOT,
    EXT_METHOD_SINGLE_ARG,
    EXT_NUMPY_ARRAY,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from pydantic import ValidationError

from troupe.agents import contracts, notes
from troupe.agents.errors import Blocked, complaints, describe
from troupe.graphs.adaptive import Slow
from troupe.graphs.choosing import assessment, choice, feedback
from troupe.graphs.delegating import alignment, delegation, guidance, packages, planning
from troupe.graphs.forking.conflicts import Conflict
from troupe.graphs.meshing import assignments, board, hub
from troupe.sealing import Seal

Named = tuple[str, str]
OURS: frozenset[Named] = frozenset(
    (one.__module__, one.__name__)
    for one in (
        contracts.Deliverable,
        contracts.Judgement,
        contracts.Verdict,
        contracts.Reason,
        contracts.Usage,
        contracts.Tokens,
        notes.Notes,
        notes.Point,
        notes.Escalation,
        notes.Handoff,
        Conflict,
        Slow,
        assessment.Assessment,
        assessment.Resources,
        choice.Chosen,
        feedback.Adjusted,
        assignments.Assignment,
        assignments.Packet,
        board.Entry,
        hub.Answered,
        hub.Course,
        hub.Criterion,
        hub.Decided,
        hub.Move,
        hub.Task,
        hub.Squad,
        alignment.Criterion,
        delegation.Coordination,
        delegation.Correction,
        delegation.Directive,
        delegation.Package,
        guidance.Escalated,
        packages.Paused,
        planning.Planned,
        planning.PlannedCoordination,
        planning.PlannedDirective,
        planning.PlannedPackage,
    )
)
_CONSTRUCTORS = (EXT_CONSTRUCTOR_SINGLE_ARG, EXT_CONSTRUCTOR_POS_ARGS, EXT_CONSTRUCTOR_KW_ARGS, EXT_PYDANTIC_V2)


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's msgpack format with a list of types.

    Args:
        types: further classes, of your own state schemas, that may come back.
    """

    def __init__(self, types: Iterable[type | Named] = ()) -> None:
        named = {(one.__module__, one.__name__) if isinstance(one, type) else (one[0], one[1]) for one in types}
        self.types = frozenset(OURS | named)
        self.inner: StrictSerializer = self
        super().__init__(allowed_msgpack_modules=self.types, __unpack_ext_hook__=self._unpack)
        self._build = JsonPlusSerializer(allowed_msgpack_modules=self.types)._unpack_ext_hook

    def allowing(self, types: Iterable[type | Named]) -> StrictSerializer:
        """The same with further types."""
        return StrictSerializer([*self.types, *types])

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[Any]) -> StrictSerializer:
        """LangGraph's name for `allowing`."""
        return self.allowing(extra_allowlist)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The value as a row; LangGraph stores what a task failed with, too, and an error's words may hold a key."""
        return super().dumps_typed(describe(obj) if isinstance(obj, BaseException) else obj)

    def opened(self, data: tuple[str, bytes]) -> tuple[str, bytes]:
        """A row as it was before it was encrypted, if it was."""
        return data

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value in a row.

        Raises:
            Blocked: the row is of a kind, or names a type, that may not be loaded.
        """
        kind, stored = data
        if kind == "msgpack":
            return self._loads(stored)
        if kind in ("null", "bytes", "bytearray"):
            return super().loads_typed(data)
        raise Blocked(f"A stored value is of the kind {kind!r}, which is never loaded. The row was not written by us.")

    def _loads(self, stored: bytes) -> Any:
        causes: list[Exception] = []

        def unpack(code: int, data: bytes) -> Any:
            try:
                return self._unpack(code, data)
            except Exception as error:
                causes.append(error)  # the decoder says no more than that its hook failed
                raise

        try:
            return ormsgpack.unpackb(stored, ext_hook=unpack, option=ormsgpack.OPT_NON_STR_KEYS)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with stored bytes, the row is not ours
            cause = causes[0] if causes else error
            if isinstance(cause, Blocked):
                raise cause from None
            raise Blocked(f"A stored value cannot be read: {cause}") from cause

    def _unpack(self, code: int, data: bytes) -> Any:
        if code == EXT_NUMPY_ARRAY:
            return self._build(code, data)
        if code == EXT_DELTA_SNAPSHOT:
            return _DeltaSnapshot(self._loads(data))
        named = self._loads(data)  # checks what lies inside, too
        if not (isinstance(named, list | tuple) and len(named) >= 3):
            raise Blocked(f"A stored value of extension {code} cannot be read.")
        module, name = str(named[0]), str(named[1])
        if code == EXT_METHOD_SINGLE_ARG:
            if (module, name, str(named[3])) not in SAFE_MSGPACK_METHODS:
                raise Blocked(f"A stored row names the method {module}.{name}.{named[3]}, which may not be called.")
            return self._build(code, data)
        if code not in _CONSTRUCTORS or ((module, name) not in self.types and (module, name) not in SAFE_MSGPACK_TYPES):
            raise Blocked(
                f"A stored row names the type {module}.{name}, which may not be loaded. If it is yours, name it: "
                "checkpoints.sqlite(path, types=[...])."
            )
        if code == EXT_PYDANTIC_V2 and (module, name) in self.types:
            try:
                return _class(module, name)(**named[2])
            except ValidationError as error:
                raise Blocked(f"A stored {name} is not valid: {complaints(error)}.") from None
        return self._build(code, data)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A value that a saver would leave readable, were it not inside of something else."""

    value: Any


class SealedSerializer(StrictSerializer):
    """The same, encrypted; what is not encrypted is not ours.

    Args:
        types: see `StrictSerializer`.
        seal: with the key.
    """

    def __init__(self, types: Iterable[type | Named], seal: Seal) -> None:
        super().__init__(types)
        self._seal = seal
        self.inner = StrictSerializer(types)
        self._outer = EncryptedSerializer(seal.cipher, self.inner)

    def allowing(self, types: Iterable[type | Named]) -> SealedSerializer:
        """The same with further types."""
        return SealedSerializer([*self.types, *types], self._seal)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """The value as a row."""
        return self._outer.dumps_typed(obj.value if isinstance(obj, Wrapped) else obj)

    def opened(self, data: tuple[str, bytes]) -> tuple[str, bytes]:
        """The row decrypted.

        Raises:
            Blocked: it is not encrypted, or not with this key.
        """
        kind, stored = data
        inner, _, cipher = (kind or "").partition("+")
        if cipher != "aes":
            raise Blocked("A stored value is not encrypted, as all that this database holds is. The row is not ours.")
        try:
            return inner, self._seal.cipher.decrypt(cipher, stored)
        except (ValueError, TypeError):
            why = "it was changed, or encrypted with another key"
            raise Blocked(f"A stored value cannot be decrypted: {why}.") from None

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value in a row.

        Raises:
            Blocked: see `opened`, and `StrictSerializer.loads_typed`.
        """
        return self.inner.loads_typed(self.opened(data))


@lru_cache(maxsize=256)
def _class(module: str, name: str) -> Any:
    """A type that may be loaded; a state of thousands of values is read as fast as its values are."""
    return getattr(importlib.import_module(module), name)


def types_of(graph: Any) -> set[Named]:
    """The types in the state schemas of a compiled graph and of every graph inside it."""
    from langgraph._internal._serde import build_serde_allowlist

    found: set[Named] = set()
    for one in (graph, *(inner for _, inner in graph.get_subgraphs(recurse=True))):
        builder = getattr(one, "builder", None)
        if builder is not None:
            schemas = [builder.state_schema, builder.input_schema, builder.output_schema]
            named = build_serde_allowlist(schemas=schemas, channels=builder.channels)
            found |= {(name[0], name[1]) for name in named}
    return found
