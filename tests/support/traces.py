"""Spans as the SDK's exporter holds them, and as the tree that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

Tree = dict[str, Any]


class Traces:
    """A tracer provider whose finished spans can be looked at."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """The spans that have ended, in the order in which they began."""
        return sorted(self._kept.get_finished_spans(), key=lambda one: one.start_time or 0)

    def named(self, beginning: str) -> list[ReadableSpan]:
        """Those whose name begins so."""
        return [one for one in self.spans if one.name.startswith(beginning)]

    def below(self, parent: ReadableSpan | None = None) -> list[ReadableSpan]:
        """The spans right below one, or at the top."""
        above = None if parent is None else parent.context.span_id
        return [one for one in self.spans if (one.parent.span_id if one.parent else None) == above]

    def tree(self, parent: ReadableSpan | None = None) -> list[Any]:
        """The names as lists inside of lists; a span without any below it is its name."""
        return [[one.name, *below] if (below := self.tree(one)) else one.name for one in self.below(parent)]

    def above(self, span: ReadableSpan) -> Iterator[ReadableSpan]:
        """The spans around one, the nearest first."""
        while span.parent is not None:
            found = next(
                (one for one in self.spans if span.parent and one.context.span_id == span.parent.span_id), None
            )
            if found is None:
                return
            yield found
            span = found

    def tokens(self) -> tuple[int, int]:
        """The input and output tokens of all requests."""
        asked = [told(one) for one in self.named("chat ")]
        names = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
        first, second = (sum(one.get(name, 0) for one in asked) for name in names)
        return first, second

    def clear(self) -> None:
        """Forget what has ended."""
        self._kept.clear()


def told(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes."""
    return dict(span.attributes or {})
