"""A plain function as an agent: it gets the Brief and returns text, a dict, a model or a Deliverable."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from troupe.agents.agent import Agent
from troupe.agents.contracts import Brief, Deliverable
from troupe.agents.errors import BuildError, InvalidOutput, complaints


class FunctionAgent(Agent):
    """A function at work, sync (in a thread) or async.

    >>> FunctionAgent(lambda brief: brief.task.upper(), name="shout")
    FunctionAgent('shout')
    """

    can_decide = False
    holds_slot = False

    def __init__(self, function: Callable[[Brief], Any], name: str | None = None) -> None:
        try:
            inspect.signature(function).bind(None)
        except TypeError:
            raise BuildError(f"A function as a step takes one argument, the Brief; {function!r} does not.") from None
        except ValueError:  # a builtin without a signature: it is found out when it is called
            pass
        self.function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self.title = (inspect.getdoc(function) or "").partition("\n")[0]

    async def work(self, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
        """Call the function."""
        return as_deliverable(await call_function(self.function, brief), self.name, brief, schema)


def must_be_users(function: Any) -> None:
    """Refuse a function of ours that only makes what is wanted: its brackets were forgotten.

    Raises:
        BuildError: it is one.

    >>> must_be_users(must_be_users)
    Traceback (most recent call last):
    troupe.agents.errors.BuildError: must_be_users was given as it is. Call it: must_be_users(...).
    """
    name, home = str(getattr(function, "__name__", "")), str(getattr(function, "__module__", ""))
    if home.startswith("troupe.") and getattr(sys.modules.get(home), name, None) is function:
        raise BuildError(f"{name} was given as it is. Call it: {name}(...).")


async def call_function(function: Callable[..., Any], *args: Any) -> Any:
    """What a function gives, sync or async; a sync one runs in a thread, so that it holds nobody up."""
    try:
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
            return await function(*args)
        result = await asyncio.to_thread(_ending, function, *args)
        return await result if inspect.isawaitable(result) else result
    except SystemExit as error:  # would end the event loop, with every run on it
        raise RuntimeError(f"the function tried to end the process: sys.exit({error.code!r})") from error


def _ending(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except StopIteration as error:  # no future can hold it, and whoever waits for that would wait for ever
        raise RuntimeError(f"StopIteration {error}".strip()) from error


def as_deliverable(value: Any, name: str, brief: Brief, schema: type[BaseModel] | None = None) -> Deliverable:
    """Whatever a function or graph gave, as a Deliverable.

    Raises:
        InvalidOutput: it is none of the kinds of value that can be one, or does not fit `schema`.
    """
    if isinstance(value, Deliverable):
        try:
            to_jsonable_python(value.data)
        except PydanticSerializationError as error:
            raise InvalidOutput(f"{name} returned a Deliverable whose data is not JSON: {error}") from None
        return value.but(step=brief.step, agent=value.agent or name)
    data: Any = None
    if isinstance(value, BaseModel):
        content, data = value.model_dump_json(indent=2), value
    elif isinstance(value, str):
        content = value
    elif isinstance(value, dict | list | tuple):
        try:
            content, data = json.dumps(value, indent=2, ensure_ascii=False), value
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidOutput(f"{name} returned data that is not JSON: {error}") from None
    else:
        raise InvalidOutput(
            f"{name} returned {type(value).__name__}; a step returns str, dict, a pydantic model or a Deliverable."
        )
    if schema is not None and not isinstance(data, schema):
        try:
            data = schema.model_validate_json(content) if data is None else schema.model_validate(data)
        except ValidationError as error:
            raise InvalidOutput(f"{name} returned no valid {schema.__name__}: {complaints(error)}") from None
    return Deliverable(step=brief.step, agent=name, content=content, data=data)
