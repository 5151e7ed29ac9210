"""What a function does, as text: the same in every process, checkout and version of Python, whatever its layout.

It is read from the source, without comments and white space; where there is none, from the names and constants of the
compiled code. Files, lines and addresses are no part of it.
"""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from types import CodeType
from typing import Any

Says = Callable[[Any], str]


def code_of(function: Any, says: Says) -> str:
    """A function, method, partial or callable object as text.

    Args:
        function: what is called.
        says: how the values that it carries along are put into words.
    """
    if isinstance(function, partial):
        given = says([function.args, function.keywords])
        return f"partial({code_of(function.func, says)}, {given})"
    if inspect.ismethod(function):
        return f"{type(function.__self__).__qualname__}.{code_of(function.__func__, says)}"
    function = inspect.unwrap(function) if callable(function) else function
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if not isinstance(code, CodeType):
        own = type(function).__dict__.get("__call__")
        return f"{name}({code_of(own, says)})" if inspect.isfunction(own) else name
    if str(getattr(function, "__module__", "")).partition(".")[0] == "troupe":
        return name  # of ours, which a new version may write otherwise
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    carried = [says(one) for one in [*_closed_over(function, code), *defaults] if _is_plain(one)]
    return f"{name} {_text(code)} {carried}"


def _closed_over(function: Any, code: CodeType) -> Iterator[Any]:
    """What it closes over; what it writes to itself is no part of what it is."""
    written = set(_names_written(code))
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        if name not in written:
            try:
                yield cell.cell_contents
            except ValueError:  # not set yet
                continue


def _names_written(code: CodeType) -> Iterator[str]:
    tree = _tree(code)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Nonlocal):
            yield from node.names


def _is_plain(value: Any) -> bool:
    """Whether a value says what it is, and will not be another a moment later."""
    return isinstance(value, str | bytes | int | float | None | type) or inspect.isroutine(value)


@lru_cache(maxsize=2048)
def _text(code: CodeType) -> str:
    tree = _tree(code)
    return _shape(tree) if tree is not None else _compiled(code)


@lru_cache(maxsize=2048)
def _tree(code: CodeType) -> ast.AST | None:
    """The function in its source file; None where that cannot be found."""
    found = [node for node in _functions(code.co_filename) if _is_of(node, code)]
    if len(found) > 1:  # lambdas on one line
        spots = {(line, column) for line, _, column, _ in code.co_positions() if line is not None and column}
        found = [node for node in found if any(_covers(node, *spot) for spot in spots)] or found
        found.sort(key=lambda node: node.end_col_offset - node.col_offset)
    return found[0] if found else None


def _functions(file: str) -> tuple[Any, ...]:
    return _parsed("".join(linecache.getlines(file)))


@lru_cache(maxsize=64)
def _parsed(source: str) -> tuple[Any, ...]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return tuple(node for node in ast.walk(tree) if isinstance(node, kinds))


def _is_of(node: Any, code: CodeType) -> bool:
    if isinstance(node, ast.Lambda):
        return code.co_name == "<lambda>" and node.lineno == code.co_firstlineno and _args(node) == _arguments(code)
    first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
    return bool(node.name == code.co_name and first == code.co_firstlineno)


def _args(node: Any) -> tuple[str, ...]:
    given = node.args
    return tuple(one.arg for one in [*given.posonlyargs, *given.args, *given.kwonlyargs])


def _arguments(code: CodeType) -> tuple[str, ...]:
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _covers(node: Any, line: int, column: int) -> bool:
    return (node.lineno, node.col_offset) <= (line, column) < (node.end_lineno, node.end_col_offset)


def _shape(node: Any) -> str:
    """A syntax tree as text. What a version of Python adds to its trees is empty where it is not used."""
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []) and name != "ctx")
        return f"{type(node).__name__}({','.join(f'{name}={_shape(value)}' for name, value in fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(_shape, node))}]"
    return repr(node)


def _compiled(code: CodeType) -> str:
    constants = [
        _compiled(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts if one is not None
    ]
    return f"{_arguments(code)} {sorted(code.co_names)} {sorted(constants)}"
