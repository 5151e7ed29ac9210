"""Text at the border: no secret leaves, nothing unprintable reaches a terminal. (test_brief.py has the shortening.)"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troupe.agents.text import clean, printable, redact, summary, tokens

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
CANARIES = {
    "openai": ("sk-abcdefgh12345678", "Incorrect API key provided: {}. See platform.openai.com."),
    "openai project": ("sk-proj-AbC_1234-efgh5678", "key={}"),
    "anthropic": ("sk-ant-api03-abcdefgh-12345678", "x-api-key: {}"),
    "aws": ("AKIAIOSFODNN7EXAMPLE", "access key {}."),
    "github": ("ghp_abcdefghijklmnopqrst123456", "{}"),
    "github fine-grained": ("github_pat_11ABCDEFG0abcdefghij_klmnopqrstuvwxyz", "token {}"),
    "google": ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "?key={}&x=1"),
    "hugging face": ("hf_abcdefghijklmnopqrstuvwxyz", "HF_TOKEN={}"),
    "groq": ("gsk_abcdefghijklmnopqrstuvwxyz123456", "{} was refused"),
    "slack": ("xoxb-123456789012-abcdefghijkl", "token: {}"),
    "jwt": (JWT, "cookie: session={}; path=/"),
    "bearer": ("abcDEF123.456-789_~+/==", "Authorization: Bearer {}"),
    "bearer in lower case": ("abcDEF123456", "authorization: bearer {}"),
    "database": ("user:pa55word", "cannot connect to postgres://{}@db.example:5432/app"),
    "database with an at sign": ("user:p@55:word", "postgresql://{}@db.example/app"),
    "database without a user": (":pa55word", "redis://{}@cache:6379/0"),
    "query": ("s3cr3t-value", "GET /v1?api_key={}&q=x"),
    "password": ("hunter2", "dsn: host=x password={} user=y"),
    "json": ("s3cr3t-value", '{{"api_key": "{}", "q": 1}}'),
}


@pytest.mark.parametrize(("secret", "around"), CANARIES.values(), ids=list(CANARIES))
def test_a_secret_is_taken_out_and_what_stands_around_it_is_left(secret: str, around: str) -> None:
    said = redact(around.format(secret))
    assert secret not in said and "[redacted]" in said
    before, after = around.replace("{{", "{").replace("}}", "}").split("{}")
    assert said.startswith(before) and said.endswith(after)


@pytest.mark.parametrize(("secret", "around"), CANARIES.values(), ids=list(CANARIES))
def test_no_long_piece_of_a_secret_is_left(secret: str, around: str) -> None:
    said = redact(around.format(secret))
    assert not any(secret[start : start + 8] in said for start in range(max(1, len(secret) - 8)))


@pytest.mark.parametrize(
    "text",
    [
        "See https://example.com/a:b@c and mail me@example.com.",
        "The ask-me-anything task-force met.",
        "http://127.0.0.1:8000/v1",
        "The bearer of bad news.",
        "A password is needed.",
        "risk-averse skating: sk-8",
        "time: 12:30 @ the office",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert redact(text) == text


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.text(max_size=300))
def test_printable_text_moves_no_cursor_and_changes_no_colour(text: str) -> None:
    shown = printable(text)
    assert not [sign for sign in shown if sign not in "\n\t" and (ord(sign) < 32 or 127 <= ord(sign) < 160)]
    assert printable(shown) == shown


def test_what_was_unprintable_can_be_seen() -> None:
    assert printable("a\x1b]0;title\x07b\rc\td\ne") == "a\\x1b]0;title\\x07b\\x0dc\td\ne"


def test_cleaned_text_survives_json_and_utf_8() -> None:
    cleaned = clean("a\x00b\ud83dc\udc00 😀")
    assert cleaned == "a\ufffdb\ufffdc\ufffd 😀"
    assert json.loads(json.dumps(cleaned).encode()) == cleaned


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("äöü", 2), ("中文", 2), ("😀", 1)]
)
def test_tokens_are_counted_in_bytes(text: str, count: int) -> None:
    assert tokens(text) == count


def test_a_summary_ends_at_a_paragraph_or_sentence_where_there_is_one() -> None:
    assert summary("One sentence. " * 200).endswith("One sentence. …")
    assert summary("A paragraph to be kept. " * 15 + "\n\n" + "x" * 4000).endswith("to be kept. …")
    assert summary("x" * 4000) == "x" * 480 + " …"
    assert summary("short") == "short"
