"""Who may write to a thread: one process at a time, and whoever lost the right is refused at the next write."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from troupe.agents.errors import Held, StoreError
from troupe.store.database import Cursor, Database

LEASE_SECONDS = 15.0
SLACK = 1.0
"""By how much the clocks of those who share a database may differ."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a thread. An epoch is never given twice."""

    thread: str
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lease: a process of a machine. What cannot be read is somebody of another machine.

    >>> Owner.read("ada@0f-1/42/x").pid, Owner.read("rubbish").pid
    (42, None)
    """

    host: str
    machine: str
    pid: int | None

    @classmethod
    def read(cls, text: str) -> Owner:
        """An owner as a lease names it."""
        where, _, rest = text.partition("/")
        host, _, machine = where.partition("@")
        pid = rest.partition("/")[0]
        return cls(host or "somewhere", machine, int(pid) if pid.isascii() and pid.isdecimal() else None)

    def gone(self) -> bool:
        """Whether it was a process of this machine that is no more."""
        if self.pid is None or self.machine != machine() or not 0 < self.pid < 2**31:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:  # it is somebody else's
            return False
        return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid is not None else self.host


def new_owner() -> str:
    """This process, for one lease."""
    host = socket.gethostname().replace("/", "-").replace("@", "-")
    return f"{host}@{machine()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


@lru_cache(maxsize=1)
def machine() -> str:
    """What tells this machine, and the processes that see each other in it, from all others.

    A hostname does not: containers that were made alike have the same one, and process numbers of their own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot[:13]}-{Path('/proc/self/ns/pid').stat().st_ino:x}"
    except (OSError, UnicodeDecodeError):  # no Linux
        return f"{uuid.getnode():x}"


class Leases(Database):
    """The table of leases.

    Attributes:
        term: seconds for which a lease holds unless it is renewed.
    """

    term: float = LEASE_SECONDS
    _keeper: Keeper

    async def acquire(self, thread: str) -> Lease:
        """The lease of a thread.

        Raises:
            Held: another process that is alive holds it.
        """
        return await self.threaded(self._acquire, thread)

    def _acquire(self, thread: str) -> Lease:
        owner = new_owner()
        taken = self.write(lambda cursor: self._taken(cursor, thread, owner))
        if isinstance(taken, Held):
            raise taken
        self._keeper.keep(taken)
        return taken

    def _taken(self, cursor: Cursor, thread: str, owner: str) -> Lease | Held:
        # Locked before the lease is, as deletion does: it raises this floor and removes the lease.
        query = f"SELECT value FROM troupe_meta WHERE name = 'epoch'{self.shared}"  # noqa: S608 - no value in it
        (floor,) = cursor.execute(query).fetchone()
        cursor.execute(
            "INSERT INTO troupe_leases (thread, owner, epoch, expires) VALUES (?, '', ?, 0) "
            "ON CONFLICT (thread) DO NOTHING",
            (thread, int(floor)),
        )
        query = f"SELECT owner, epoch, expires, since FROM troupe_leases WHERE thread = ?{self.locked}"  # noqa: S608
        holder, epoch, expires, since = cursor.execute(query, (thread,)).fetchone()
        if holder == owner:  # it was given to us, and only the answer of the database got lost
            return Lease(thread, owner, epoch)
        now = self.now(cursor)
        if expires > now and not Owner.read(holder).gone():
            if expires > now + self.term + SLACK:  # the clock was set back since: it cannot last longer than a term
                query = "UPDATE troupe_leases SET expires = ? WHERE thread = ?"
                cursor.execute(query, (now + self.term, thread))
            return Held(f"Run {thread} is being worked on by {Owner.read(holder)}{_since(since)}.")
        cursor.execute(
            "UPDATE troupe_leases SET owner = ?, epoch = ?, expires = ?, since = ? WHERE thread = ?",
            (owner, epoch + 1, now + self.term, now, thread),
        )
        return Lease(thread, owner, epoch + 1)

    def renew(self, lease: Lease) -> bool:
        """Hold a lease for longer; False if it was lost."""

        def act(cursor: Cursor) -> bool:
            cursor.execute(
                "UPDATE troupe_leases SET expires = ? WHERE thread = ? AND epoch = ? AND owner = ?",
                (self.now(cursor) + self.term, lease.thread, lease.epoch, lease.owner),
            )
            return cursor.rowcount == 1

        return self.write(act)

    async def release(self, lease: Lease) -> None:
        """Give a lease back; its epoch stays used."""
        self._keeper.forget(lease)
        await self.threaded(self._release, lease)

    def _release(self, lease: Lease) -> None:
        self.write(
            lambda cursor: cursor.execute(
                "UPDATE troupe_leases SET expires = 0 WHERE thread = ? AND epoch = ? AND owner = ?",
                (lease.thread, lease.epoch, lease.owner),
            )
        )

    async def holder(self, thread: str) -> str | None:
        """Who works on a thread now."""
        return await self.threaded(self._holder, thread)

    def _holder(self, thread: str) -> str | None:
        def act(cursor: Cursor) -> str | None:
            row = cursor.execute("SELECT owner, expires FROM troupe_leases WHERE thread = ?", (thread,)).fetchone()
            held = row is not None and row[1] > self.now(cursor) and not Owner.read(row[0]).gone()
            return str(Owner.read(row[0])) if held else None

        return self.read(act)

    def _check(self, cursor: Cursor) -> None:
        """Refuse to write under a lease that was lost.

        Raises:
            Held: it was taken over.
        """
        if self.lease is None:
            return
        query = f"SELECT owner, epoch FROM troupe_leases WHERE thread = ?{self.shared}"  # noqa: S608
        row = cursor.execute(query, (self.lease.thread,)).fetchone()
        if row is None or row[1] != self.lease.epoch:
            holder = Owner.read(row[0]) if row else "somebody who deleted it"
            raise Held(
                f"Run {self.lease.thread} was taken over by {holder}; this process writes no more. "
                f"See it with: troupe runs {self.lease.thread}"
            )


class Keeper:
    """Renews this process's leases from a thread, so that a busy event loop does not lose them."""

    def __init__(self, store: Leases) -> None:
        self._store = store
        self._leases: set[Lease] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def keep(self, lease: Lease) -> None:
        """Renew this one, too."""
        with self._lock:
            self._leases.add(lease)
            if self._thread is None or not self._thread.is_alive():
                self._wake.clear()
                self._thread = threading.Thread(target=self._run, name="troupe-leases", daemon=True)
                self._thread.start()

    def forget(self, lease: Lease) -> None:
        """Renew it no more."""
        with self._lock:
            self._leases.discard(lease)

    def stop(self) -> None:
        """Renew nothing any more."""
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=2)  # it may be waiting for a server that is away

    def _run(self) -> None:
        while not self._wake.wait(self._store.term / 3):
            with self._lock:
                leases = tuple(self._leases)
            for lease in leases:
                try:
                    if not self._store.renew(lease):
                        self.forget(lease)
                except StoreError:  # a database that is busy or away now may answer at the next beat
                    continue


def _since(since: float | None) -> str:
    return f" since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(since))}" if since else ""
