"""The tables of the books in the dialects of both databases, and how older ones become today's."""

from __future__ import annotations

from collections.abc import Mapping

from troupe.agents.errors import Blocked, StoreError
from troupe.sealing import KEY
from troupe.store.database import Cursor, Database

SCHEMA = 2
"""Of the tables below; 1 was that of version 0.1, in SQLite only."""

SQLITE: Mapping[str, str] = {"id": "INTEGER PRIMARY KEY", "real": "REAL", "int": "INTEGER", "key": "TEXT"}
POSTGRES: Mapping[str, str] = {
    "id": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "real": "DOUBLE PRECISION",
    "int": "BIGINT",
    "key": 'TEXT COLLATE "C"',  # so that a prefix is a range, as it is in SQLite
}

_TABLES = (
    "CREATE TABLE IF NOT EXISTS troupe_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS troupe_turns (
        thread {key} NOT NULL, turn {int} NOT NULL, workflow TEXT NOT NULL, reference TEXT, task TEXT NOT NULL,
        input TEXT NOT NULL, models TEXT, simulated {int} NOT NULL, budget {real}, deadline {real},
        status TEXT NOT NULL, reason TEXT, usage TEXT NOT NULL, started {real} NOT NULL, finished {real},
        fingerprint TEXT, signature TEXT, mark TEXT, PRIMARY KEY (thread, turn)
    )""",
    """CREATE TABLE IF NOT EXISTS troupe_leases (
        thread {key} PRIMARY KEY, owner TEXT NOT NULL, epoch {int} NOT NULL, expires {real} NOT NULL, since {real}
    )""",
    """CREATE TABLE IF NOT EXISTS troupe_journal (
        id {id}, key {key} NOT NULL UNIQUE, root {key} NOT NULL, kind TEXT NOT NULL, path TEXT, agent TEXT, sent TEXT,
        received TEXT, usage TEXT, started {real}, seconds {real}, owner TEXT, epoch {int}, failure TEXT
    )""",
    "CREATE INDEX IF NOT EXISTS troupe_journal_root ON troupe_journal (root)",
    # Who fails at what is asked for while runs begin: it must not read the texts of every call there ever was.
    """CREATE INDEX IF NOT EXISTS troupe_journal_ends ON troupe_journal (agent, kind, failure)
        WHERE kind IN ('outcome', 'failure')""",
    "CREATE INDEX IF NOT EXISTS troupe_journal_failures ON troupe_journal (key) WHERE kind = 'failure'",
)
_FROM_1 = (
    "ALTER TABLE troupe_turns ADD COLUMN fingerprint TEXT",
    "ALTER TABLE troupe_turns ADD COLUMN signature TEXT",
    "ALTER TABLE troupe_turns ADD COLUMN mark TEXT",
    "ALTER TABLE troupe_leases ADD COLUMN since {real}",
    "ALTER TABLE troupe_journal ADD COLUMN failure TEXT",
)


def make(cursor: Cursor, dialect: Mapping[str, str], found: int) -> None:
    """Make the tables, or bring those of the version `found` (0 for none) up to today's, in the transaction at hand."""
    for query in (*(_FROM_1 if found == 1 else ()), *_TABLES):
        cursor.execute(query.format(**dialect))
    for name, value in (("schema", str(SCHEMA)), ("epoch", "0")):
        cursor.execute(
            "INSERT INTO troupe_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, value)
        )
    cursor.execute("UPDATE troupe_meta SET value = ? WHERE name = 'schema'", (str(SCHEMA),))


def must_be_known(path: str, found: int) -> None:
    """Refuse what a newer version wrote.

    Raises:
        StoreError: it did.
    """
    if found > SCHEMA:
        raise StoreError(f"{path} was written by a newer version of Troupe. Upgrade, or use another file: --db.")


def agree_on_key(database: Database) -> None:
    """See to it that the database is read with the key it is written with; a new one remembers whether it has one.

    Raises:
        StoreError: it is encrypted and there is no key, or another one; or there is a key and it is not encrypted.
    """
    (known,) = database.rows_of("SELECT (SELECT value FROM troupe_meta WHERE name = 'encryption')")[0]
    if known is None and database.sealed is not None:
        known = database.write(lambda cursor: _begun_encrypted(database, cursor))
    if known is None:
        return
    if database.sealed is None:
        raise StoreError(f"{database.path} is encrypted. Give its key: {KEY}, or key= of checkpoints.sqlite().")
    try:
        database.sealed.unseal(known, "the database's mark")
    except Blocked:
        raise StoreError(f"{database.path} is encrypted with another key than that of {KEY} (or key=).") from None


def _begun_encrypted(database: Database, cursor: Cursor) -> str:
    used = ("troupe_turns", "troupe_journal", *database.contents)
    for table in used:
        if cursor.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None:  # noqa: S608 - names of ours
            raise StoreError(
                f"{database.path} is not encrypted, and a key cannot be given to what is already there. Use it "
                f"without {KEY}, or begin another database: --db."
            )
    cursor.execute(
        "INSERT INTO troupe_meta (name, value) VALUES ('encryption', ?) ON CONFLICT (name) DO NOTHING",
        (database.seal("", "the database's mark"),),
    )
    (known,) = cursor.execute("SELECT value FROM troupe_meta WHERE name = 'encryption'").fetchone()
    return str(known)
