"""A loopback server that speaks OpenAI Chat Completions, so that tests drive the real client over real HTTP.

    with OpenAIServer({"reviewer": [data({"passed": True})], "*": ["a draft", status(429, retry_after=1)]}) as server:
        model = ChatOpenAI(model="gpt-test", base_url=server.base_url, api_key="test", max_retries=0)
        assert model.invoke("write").content == "a draft"
        assert server.requests[0].user == "write"

A test that forks or kills its clients runs it as a process of its own (a forked child would keep the listening socket
of a server that lives in its parent open), and reads what was called, and so paid for, from the log:

    python -m tests.support.openai_server --script FILE.json --log FILE.jsonl [--port 0] [--delay SECONDS]
"""

import argparse
import hashlib
import itertools
import json
import re
import selectors
import signal
import socket
import socketserver
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

JSON: TypeAlias = dict[str, Any]
_COMPLETIONS = re.compile(r"(?:/v1|/openai/deployments/[^/]+)/chat/completions")  # the second is Azure's
PATIENCE = 5.0  # seconds to let a thread end at shutdown; only a script that blocks for good makes it count

# ---------------------------------------------------------------------------------------------------- what came in


@dataclass(eq=False)
class Received:
    """One POST as it arrived, and what became of it.

    `finished`: the reply went out to its last scripted byte. `disconnected`: the client left before that.
    Both are set after the client may have seen the reply, so `wait()` before asserting on them.
    """

    index: int
    path: str
    headers: Mapping[str, str] = field(repr=False)  # names in lower case; the API key is among them
    body: JSON
    time: float = field(default_factory=time.monotonic)  # one clock for all processes of a Linux machine
    status: int | None = None
    usage: JSON | None = None  # what the call costs, also when the client did not ask to be told
    finished: bool = False
    disconnected: bool = False
    _over: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def messages(self) -> list[JSON]:
        return list(self.body.get("messages") or ())

    @property
    def system(self) -> str:
        """All system text; the client calls it `developer` for reasoning models."""
        return "\n\n".join(self._texts("system", "developer"))

    @property
    def user(self) -> str:
        """The last user text, without the turns before it."""
        return next(reversed(self._texts("user")), "")

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def response_format(self) -> JSON | None:
        return self.body.get("response_format")

    @property
    def tools(self) -> list[JSON]:
        return list(self.body.get("tools") or ())

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def wants_usage(self) -> bool:
        """Whether a stream shall end with a usage chunk; a plain reply always has its usage."""
        return bool((self.body.get("stream_options") or {}).get("include_usage"))

    @property
    def digest(self) -> str:
        """The same for two requests with the same body: a call that was paid for twice."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()

    def wait(self, timeout: float = 10.0) -> bool:
        """Wait until it is finished or disconnected; False when it still is neither."""
        return self._over.wait(timeout)

    def _texts(self, *roles: str) -> list[str]:
        return [_text_of(message) for message in self.messages if message.get("role") in roles]

    def _end(self, *, disconnected: bool) -> None:
        self.disconnected, self.finished = disconnected, not disconnected
        self._over.set()


def _text_of(message: JSON) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


# ---------------------------------------------------------------------------------------------------- what goes out


class Reply(ABC):
    """What the server does with one request."""

    @abstractmethod
    def answer(self, exchange: "Exchange") -> None: ...


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def body(self) -> JSON:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
        }


Billing: TypeAlias = Usage | Literal["counted"] | None
Answer: TypeAlias = Reply | str
Script: TypeAlias = Callable[[Received], Answer] | Mapping[str, Iterable[Answer] | Reply] | Iterable[Answer] | Reply


@dataclass(frozen=True)
class ToolCall:
    name: str
    arguments: str
    id: str | None = None  # None: numbered by request, so that ids never repeat in a conversation


@dataclass(frozen=True)
class Completion(Reply):
    """An assistant's message; `text("I look.") + tool_call("a", {}) + tool_call("b", {})` is one message."""

    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    finish_reason: str | None = None
    usage: Billing = "counted"

    def __add__(self, other: "Completion") -> "Completion":
        return replace(self, content=self.content + other.content, tool_calls=self.tool_calls + other.tool_calls)

    def answer(self, exchange: "Exchange") -> None:
        exchange.received.usage = self.cost(exchange.received)
        if exchange.received.stream:
            exchange.events(self.chunks(exchange.received))
        else:
            exchange.json(200, self.body(exchange.received))

    def body(self, received: Received) -> JSON:
        message: JSON = {"role": "assistant", "content": self._content(), "refusal": self.refusal}
        if self.tool_calls:
            message["tool_calls"] = [self._tool_call(received, position) for position in range(len(self.tool_calls))]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason()}
        usage = self.cost(received)
        return _envelope(received, "chat.completion") | {"choices": [choice]} | ({"usage": usage} if usage else {})

    def chunks(self, received: Received) -> Iterator[JSON]:
        """The same message word by word, as the data of server-sent events."""
        envelope = _envelope(received, "chat.completion.chunk") | ({"usage": None} if received.wants_usage else {})

        def chunk(delta: JSON, finish_reason: str | None = None) -> JSON:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return envelope | {"choices": [choice]}

        yield chunk({"role": "assistant", "content": None if self.tool_calls else "", "refusal": None})
        yield from (chunk({"content": word}) for word in _words(self.content))
        yield from (chunk({"refusal": word}) for word in _words(self.refusal or ""))
        for position, call in enumerate(self.tool_calls):
            opening = self._tool_call(received, position)
            opening["function"]["arguments"] = ""
            yield chunk({"tool_calls": [{"index": position} | opening]})
            for piece in _words(call.arguments):
                yield chunk({"tool_calls": [{"index": position, "function": {"arguments": piece}}]})
        yield chunk({}, self._reason())
        if received.wants_usage and (usage := self.cost(received)):
            yield envelope | {"choices": [], "usage": usage}

    def cost(self, received: Received) -> JSON | None:
        if self.usage == "counted":
            said = self.content + (self.refusal or "") + "".join(call.name + call.arguments for call in self.tool_calls)
            heard = sum(len(_text_of(message)) for message in received.messages)
            return Usage(max(1, heard // 4), max(1, len(said) // 4)).body()
        return self.usage.body() if self.usage else None

    def _content(self) -> str | None:
        return None if not self.content and (self.tool_calls or self.refusal) else self.content

    def _reason(self) -> str:
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")

    def _tool_call(self, received: Received, position: int) -> JSON:
        call = self.tool_calls[position]
        name = call.id or f"call_{received.index}_{position}"
        return {"id": name, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


@dataclass(frozen=True)
class Fitted(Reply):
    """JSON text in the form its request asks for: arguments of a tool, or content."""

    text: str
    keys: frozenset[str] = frozenset()
    finish_reason: str | None = None
    usage: Billing = "counted"

    def answer(self, exchange: "Exchange") -> None:
        tool = self._tool(exchange.received)
        reply = Completion(self.text) if tool is None else Completion(tool_calls=(ToolCall(tool, self.text),))
        replace(reply, finish_reason=self.finish_reason, usage=self.usage).answer(exchange)

    def _tool(self, received: Received) -> str | None:
        """The forced tool; of several, or of unforced ones, the one whose parameters are these keys."""
        choice = received.body.get("tool_choice")
        if isinstance(choice, dict):
            return str(choice["function"]["name"])
        functions = [tool["function"] for tool in received.tools if tool.get("type") == "function"]
        fitting = [function["name"] for function in functions if self.keys and self._fit(function)]
        if choice == "required":
            return next(iter([*fitting, *(function["name"] for function in functions)]), None)
        return None if received.response_format else next(iter(fitting), None)

    def _fit(self, function: JSON) -> bool:
        parameters = function.get("parameters") or {}
        return set(parameters.get("required", ())) <= self.keys <= set(parameters.get("properties", ()))


@dataclass(frozen=True)
class Failure(Reply):
    """An HTTP error with OpenAI's error object."""

    status: int
    message: str
    type: str = "invalid_request_error"
    code: str | None = None
    param: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def answer(self, exchange: "Exchange") -> None:
        error = {
            "message": self.message.replace("{model}", exchange.received.model),
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        exchange.json(self.status, {"error": error}, dict(self.headers))


@dataclass(frozen=True)
class Page(Reply):
    html: str
    status: int

    def answer(self, exchange: "Exchange") -> None:
        exchange.whole(self.status, self.html.encode(), {"Content-Type": "text/html; charset=utf-8"})


@dataclass(frozen=True)
class Slow(Reply):
    reply: Reply
    seconds: float | None

    def answer(self, exchange: "Exchange") -> None:
        exchange.wait(self.seconds)
        self.reply.answer(exchange)


@dataclass(frozen=True)
class Broken(Reply):
    """The first words of a message, and then the end of the connection, or silence."""

    reply: Completion
    after_words: int
    hang: bool

    def answer(self, exchange: "Exchange") -> None:
        exchange.received.usage = self.reply.cost(exchange.received)
        if exchange.received.stream:
            exchange.open_events()
            for chunk in itertools.islice(self.reply.chunks(exchange.received), 1 + self.after_words):
                exchange.event(chunk)
        else:
            body = json.dumps(self.reply.body(exchange.received)).encode()
            exchange.head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
            exchange.write(body[: len(body) // 2])
        if self.hang:
            exchange.wait(None)
        exchange.hang_up()


@dataclass(frozen=True)
class Dropped(Reply):
    def answer(self, exchange: "Exchange") -> None:
        exchange.hang_up()


def text(content: str, *, usage: Billing = "counted") -> Completion:
    return Completion(content, usage=usage)


def empty(*, usage: Billing = "counted") -> Completion:
    """A message without a word, as reasoning models give when their thoughts use up the limit."""
    return Completion(usage=usage)


def refusal(reason: str, *, usage: Billing = "counted") -> Completion:
    """The model itself declines, in the field that the API has for it."""
    return Completion(refusal=reason, usage=usage)


def tool_call(
    name: str, args: Mapping[str, Any] | str, id: str | None = None, *, usage: Billing = "counted"
) -> Completion:
    """One call; add replies for several at once. `args` given as a string are sent as they are, valid or not."""
    arguments = args if isinstance(args, str) else json.dumps(dict(args))
    return Completion(tool_calls=(ToolCall(name, arguments, id),), usage=usage)


def data(value: Any, *, usage: Billing = "counted") -> Fitted:
    """A value (JSON, or a pydantic model) as content, or as the call of the tool that the request forces or fits."""
    plain = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    keys = frozenset(plain) if isinstance(plain, Mapping) else frozenset[str]()
    return Fitted(json.dumps(plain), keys, usage=usage)


def chatty(value: Mapping[str, Any], *, usage: Billing = "counted") -> Completion:
    """The value as an eager model writes it: in prose and a code fence, with a trailing comma."""
    block = re.sub(r"\n}$", ",\n}", json.dumps(dict(value), indent=2))
    return Completion(f"Sure! Here is the JSON:\n\n```json\n{block}\n```\n\nAnything else?", usage=usage)


def truncated(content: str = '{"answer": "cut o', *, usage: Billing = "counted") -> Fitted:
    """JSON that ends at the token limit; in a tool's arguments when a tool is forced."""
    return Fitted(content, finish_reason="length", usage=usage)


def broken_stream(
    after_words: int, content: str = "one two three four five", *, hang: bool = False, usage: Billing = "counted"
) -> Broken:
    """Close, or with `hang` fall silent, after so many words; a plain reply breaks in the middle of its body."""
    return Broken(Completion(content, usage=usage), after_words, hang)


def slow(reply: Answer, seconds: float | None = None) -> Slow:
    """The reply after so many seconds, or sooner when the server is released or closed; None waits for just that."""
    return Slow(_reply(reply), seconds)


def hang() -> Slow:
    """Silence until the server is released or closed, and then the end of the connection: never an answer."""
    return Slow(Dropped(), None)


def dropped() -> Dropped:
    """The connection ends before the first byte of an answer."""
    return Dropped()


def html(page: str = "<html><body><h1>Bad gateway</h1></body></html>", status: int = 200) -> Page:
    """A page instead of JSON, as proxies and sign-in walls serve it, often enough with status 200."""
    return Page(page, status)


def status(
    status: int, message: str | None = None, *, retry_after: float | None = None, code: str | None = None
) -> Failure:
    """OpenAI's error for an HTTP status; `code` tells its kinds apart (insufficient_quota, context_length_exceeded)."""
    known = (failure for failure in _FAILURES if failure.status == status and code in (None, failure.code))
    usual = next(known, Failure(status, f"Error {status}.", "server_error" if status >= 500 else "error", code))
    headers = () if retry_after is None else (("Retry-After", f"{retry_after:g}"),)
    return replace(usual, message=message or usual.message, headers=headers)


_FAILURES = (  # the first of a status is its usual one
    Failure(400, "Invalid request."),
    Failure(400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
    Failure(401, "Incorrect API key provided.", code="invalid_api_key"),
    Failure(403, "You are not allowed to sample from this model.", "permission_error"),
    Failure(404, "The model `{model}` does not exist or you do not have access to it.", code="model_not_found"),
    Failure(429, "Rate limit reached for {model}.", "requests", "rate_limit_exceeded"),
    Failure(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    Failure(500, "The server had an error while processing your request.", "server_error"),
    Failure(503, "The engine is currently overloaded, please try again later.", "service_unavailable_error"),
)


def _reply(answer: Answer) -> Reply:
    return text(answer) if isinstance(answer, str) else answer


def _envelope(received: Received, kind: str) -> JSON:
    return {"id": f"chatcmpl-{received.index}", "object": kind, "created": int(time.time()), "model": received.model}


def _words(content: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", content)


# ---------------------------------------------------------------------------------------------------- which is when


def _chooser(script: Script) -> Callable[[Received], Answer]:
    if isinstance(script, Mapping):
        return _by_substring(script)
    if isinstance(script, Iterable | Reply):
        return _in_order(script)
    return script


def _in_order(replies: Iterable[Answer] | Reply) -> Callable[[Received], Answer]:
    # A lone string is one reply, although Python would also take it for a sequence of letters.
    left = iter([replies] if isinstance(replies, str | Reply) else replies)

    def choose(received: Received) -> Answer:
        for reply in left:
            return reply
        raise LookupError("the replies for it are used up")

    return choose


def _by_substring(script: Mapping[str, Iterable[Answer] | Reply]) -> Callable[[Received], Answer]:
    """The first key that occurs in the system text or the last user text decides, then in an older user text, then *.

    Older turns come second because a thread repeats them in each request, and they count at all because a client that
    asks for a repair puts its complaint last.
    """
    choosers = {key: _in_order(replies) for key, replies in script.items()}

    def choose(received: Received) -> Answer:
        texts = (f"{received.system}\n{received.user}", "\n".join(received._texts("user")))
        key = next((key for text in texts for key in choosers if key != "*" and key in text), "*")
        if key not in choosers:
            raise LookupError(f"none of {list(choosers)} occurs in it")
        return choosers[key](received)

    return choose


# ---------------------------------------------------------------------------------------------------- over the wire


class Exchange:
    """One request being answered: what a Reply writes to. A client that has left raises ConnectionError."""

    def __init__(self, received: Received, handler: BaseHTTPRequestHandler, latch: "_Latch") -> None:
        self.received = received
        self._handler = handler
        self._latch = latch

    def json(self, status: int, body: JSON, headers: Mapping[str, str] | None = None) -> None:
        self.whole(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def whole(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.head(status, {**headers, "Content-Length": str(len(body))})
        self.write(body)

    def events(self, events: Iterable[JSON]) -> None:
        self.open_events()
        for event in events:
            self.event(event)
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def open_events(self) -> None:
        # Chunks, not "until the connection ends": only so can a client tell a broken stream from a finished one.
        self.head(200, {"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"})

    def event(self, event: JSON) -> None:
        self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self.received.status = status
        self._handler.send_response(status)
        for name, value in {**headers, "x-request-id": f"req_{self.received.index}"}.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()

    def write(self, content: bytes) -> None:
        # A first write to a closed peer still succeeds, so it is asked before.
        if _has_left(self._handler.connection):
            raise ConnectionAbortedError
        self._handler.wfile.write(content)
        self._handler.wfile.flush()

    def wait(self, seconds: float | None) -> None:
        """Until the time is over, the server is released, or the client leaves."""
        self._latch.wait(self._handler.connection, seconds)

    def hang_up(self) -> None:
        """End the connection here, on purpose."""
        self._handler.close_connection = True

    def _chunk(self, content: bytes) -> None:
        self.write(b"%x\r\n%b\r\n" % (len(content), content))


class _Latch:
    """Opens once for all; like a threading.Event, except that a wait on it also notices a client that leaves."""

    def __init__(self) -> None:
        self._opened = False
        self._reader, self._writer = socket.socketpair()

    def open(self) -> None:
        self._opened = True
        self._writer.close()  # the end of the stream stays readable, so it wakes every waiter, now and later

    def close(self) -> None:
        self.open()
        self._reader.close()

    def wait(self, client: socket.socket, seconds: float | None) -> None:
        deadline = None if seconds is None else time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            if self._opened:
                return
            selector.register(self._reader, selectors.EVENT_READ)
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                ready = [key.fileobj for key, _ in selector.select(left)]
                if client not in ready:
                    return
                if _has_left(client):
                    raise ConnectionAbortedError
                selector.unregister(client)  # it sent its next request ahead of our answer


def _has_left(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay alive, as the real service's do: pools and event loops matter
    wbufsize = -1  # head and body leave in one packet
    disable_nagle_algorithm = True
    server: "_Listener"

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.owner._post(self, headers, body if isinstance(body, dict) else {})

    def do_GET(self) -> None:
        self.server.owner._get(self)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the tests own the terminal."""


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024  # a fan-out connects all at once; the default of 5 costs it a second of retransmission

    def __init__(self, owner: "OpenAIServer", port: int) -> None:
        self.owner = owner
        self._serving: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own looks up the host's name, on some machines slowly
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        arguments = (request, client_address)
        thread = threading.Thread(target=self.process_request_thread, args=arguments, daemon=self.daemon_threads)
        with self._lock:
            self._serving[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        super().process_request_thread(request, client_address)
        with self._lock:
            del self._serving[threading.current_thread()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, ConnectionError):  # clients come and go
            self.owner._note(f"the server itself failed: {error!r}")

    def hang_up(self) -> None:
        """Wake the threads that wait for a next request on a connection that is kept alive, and see them end."""
        with self._lock:
            serving = dict(self._serving)
        for connection in serving.values():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + PATIENCE
        for thread in serving:
            thread.join(max(0.0, deadline - time.monotonic()))


class OpenAIServer:
    """Serves a script on a free loopback port for as long as its `with` block runs.

    A script is a list (or iterator) of replies in order of arrival; a mapping from a substring of the system and user
    text to such a list, `"*"` for the rest; or a function of the request, called in several threads at once. A string
    is a `text`. A request beyond the script gets a 500 that names it, and is noted in `unscripted`.

    `response_format=False` and `tools=False` make a server that refuses the parameter with status 400, and does not
    use up a reply for it. `delay` seconds pass before every reply; `log` gets one JSON line when a request has
    arrived, before anything else, and one when it is over.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        response_format: bool = True,
        tools: bool = True,
        models: Sequence[str] = ("gpt-test",),
        delay: float = 0.0,
        log: Path | None = None,
        port: int = 0,
    ) -> None:
        self.models = models
        self.unscripted: list[str] = []
        self.probes: list[str] = []  # paths of GET requests; `requests` are the calls
        self._in_order = isinstance(script, Iterable | Reply)
        self._choose = _chooser(script)
        self._takes = {"response_format": response_format, "tools": tools}
        self._delay = delay
        self._requests: list[Received] = []
        self._arrived = threading.Condition()
        self._latch = _Latch()
        self._log = log.open("ab", buffering=0) if log else None  # append, unbuffered: whole lines, at once
        self._listener = _Listener(self, port)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,), daemon=True)
        self._closed = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_port}/v1"

    @property
    def requests(self) -> list[Received]:
        """A copy: all that came by POST, in order of arrival, refused ones too."""
        with self._arrived:
            return list(self._requests)

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> list[Received]:
        """Wait until so many requests have arrived, answered or not."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(f"{len(self._requests)} of {count} requests arrived in {timeout:g} s")
            return list(self._requests)

    def release(self) -> None:
        """Let every slow reply go, those to come too."""
        self._latch.open()

    def close(self) -> None:
        """Take no more connections, release what is slow, and end; new clients are refused from here on."""
        if self._closed:
            return
        self._closed = True
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()
        self._latch.open()
        deadline = time.monotonic() + PATIENCE
        for received in self.requests:
            received.wait(max(0.0, deadline - time.monotonic()))
        self._listener.hang_up()
        self._latch.close()
        if self._log:
            self._log.close()

    def _get(self, handler: _Handler) -> None:
        with self._arrived:
            self.probes.append(handler.path)
        exchange = Exchange(Received(-1, handler.path, {}, {}), handler, self._latch)
        if handler.path.partition("?")[0] != "/v1/models":
            exchange.json(404, {"error": {"message": f"Unknown request URL: GET {handler.path}.", "code": None}})
            return
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in self.models]
        exchange.json(200, {"object": "list", "data": models})

    def _post(self, handler: _Handler, headers: Mapping[str, str], body: JSON) -> None:
        received, reply = self._receive(handler.path, headers, body)
        exchange = Exchange(received, handler, self._latch)
        disconnected = False
        try:
            if self._delay:
                exchange.wait(self._delay)
            reply.answer(exchange)
        except ConnectionError:
            disconnected = handler.close_connection = True
        finally:
            # The line comes first: who waits for the end finds it in the log.
            self._write_log(
                {"event": "answered", "index": received.index, "time": time.monotonic()}
                | {"status": received.status, "usage": received.usage, "disconnected": disconnected}
            )
            received._end(disconnected=disconnected)

    def _receive(self, path: str, headers: Mapping[str, str], body: JSON) -> tuple[Received, Reply]:
        with self._arrived:
            received = Received(len(self._requests), path, headers, body)
            self._write_log(
                {"event": "received", "index": received.index, "time": received.time, "path": path}
                | {"model": received.model, "system": received.system, "user": received.user}
                | {"stream": received.stream, "digest": received.digest}
            )
            self._requests.append(received)
            self._arrived.notify_all()
            refused = self._refuse(received)
            if refused or self._in_order:  # first come, first served: under the lock, or two arrivals could swap
                return received, refused or self._scripted(received)
        return received, self._scripted(received)

    def _refuse(self, received: Received) -> Reply | None:
        if not _COMPLETIONS.fullmatch(received.path.partition("?")[0]):
            self._note(f"request {received.index} is a POST to {received.path}, which this server does not have")
            return Failure(404, f"Unknown request URL: POST {received.path}.", code="unknown_url")
        if not received.messages:
            return Failure(400, "Missing required parameter: 'messages'.", param="messages")
        form = (received.response_format or {}).get("type", "text")
        if form != "text" and not self._takes["response_format"]:
            # Word for word, because langchain-openai looks for this sentence.
            message = f"Invalid parameter: 'response_format' of type '{form}' is not supported with this model."
            return Failure(400, message, param="response_format")
        if received.tools and not self._takes["tools"]:
            message = "Unsupported parameter: 'tools' is not supported with this model."
            return Failure(400, message, code="unsupported_parameter", param="tools")
        return None

    def _scripted(self, received: Received) -> Reply:
        try:
            return _reply(self._choose(received))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a test's script must reach the test
            reason = str(error) if isinstance(error, LookupError) else repr(error)
            asked = f"model {received.model!r}, system {received.system[:200]!r}, user {received.user[:200]!r}"
            message = f"Request {received.index} is not in the script ({reason}): {asked}"
            self._note(message)
            return Failure(500, message, "server_error", "unscripted")

    def _note(self, message: str) -> None:
        self.unscripted.append(message)

    def _write_log(self, line: JSON) -> None:
        if self._log and not self._log.closed:
            self._log.write(json.dumps(line).encode() + b"\n")


# ---------------------------------------------------------------------------------------------------- as a process


def _from_json(entry: Any) -> Reply:
    if isinstance(entry, str):
        return text(entry)
    match entry:
        case {"data": value}:
            return data(value)
        case {"status": int(number)}:
            return status(number, retry_after=entry.get("retry_after"))
        case {"tool": [str(name), dict(args)]}:
            return tool_call(name, args)
        case {"hang": True}:
            return hang()
    raise ValueError(
        f'{entry!r}: a reply is "text" or one of {{"data": ...}}, {{"status": ...}}, {{"tool": ...}}, {{"hang": true}}'
    )


def _repeating(entries: Sequence[Any]) -> Iterator[Reply]:
    replies = [_from_json(entry) for entry in entries]
    return itertools.chain(replies, itertools.repeat(replies[-1]) if replies else ())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.openai_server")
    parser.add_argument("--script", type=Path, required=True, help="JSON: {substring: [reply, ...], ...}; last repeats")
    parser.add_argument("--log", type=Path, required=True, help="JSON lines, appended")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before every reply")
    options = parser.parse_args(arguments)
    entries = json.loads(options.script.read_text(encoding="utf-8"))
    script = {key: _repeating(replies) for key, replies in entries.items()}

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with OpenAIServer(script, delay=options.delay, log=options.log, port=options.port) as server:
        sys.stdout.write(json.dumps({"base_url": server.base_url}) + "\n")
        sys.stdout.flush()
        stop.wait()


if __name__ == "__main__":
    main()
