"""What was written to a team's growing fields, read back from SQLite: by following parents, in one query.

LangGraph's own names every checkpoint once per field in its query. SQLite allows 32,766 such names unless it was built
otherwise, so that a run of some thousand steps could be written but never loaded again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.base import DeltaChannelHistory
from langgraph.checkpoint.sqlite._delta import DELTA_STAGE1_SQL, build_delta_channels_writes_history

# The ids alone, each once, so that a chain that was made a loop still ends.
_WRITES = """
WITH RECURSIVE ancestors(id, parent) AS (
    SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints
    WHERE thread_id = :thread AND checkpoint_ns = :ns AND checkpoint_id = :id
    UNION
    SELECT c.checkpoint_id, c.parent_checkpoint_id FROM ancestors a CROSS JOIN checkpoints c
    ON c.checkpoint_id = a.parent WHERE c.thread_id = :thread AND c.checkpoint_ns = :ns
)
SELECT w.checkpoint_id, w.channel, w.task_id, w.idx, w.type, w.value, w.task_path
FROM ancestors a CROSS JOIN writes w ON w.checkpoint_id = a.id
WHERE w.thread_id = :thread AND w.checkpoint_ns = :ns AND w.channel IN ({channels})
"""


def history(
    cursor: sqlite3.Cursor, serde: Any, thread: str, ns: str, checkpoint: str, channels: Sequence[str]
) -> Mapping[str, DeltaChannelHistory]:
    """For each channel its last snapshot among a checkpoint's ancestors, and all writes since, oldest first."""
    chains: dict[str, list[str]] = {channel: [] for channel in channels}
    seeds: dict[str, Any] = {}
    active, walked = set(channels), set[str]()
    cursor.execute(DELTA_STAGE1_SQL, (thread, ns, checkpoint, thread, ns))
    for id_, kind, blob in cursor:
        if id_ in walked or not active:
            break
        walked.add(id_)
        if len(walked) == 1:
            continue  # what the checkpoint itself holds is not its history
        for channel in active:
            chains[channel].append(id_)
        kind, blob = serde.opened((kind, blob))
        if kind != "msgpack" or _may_hold(blob, active):
            values = serde.inner.loads_typed((kind, blob)).get("channel_values") or {}
            seeds |= {channel: values[channel] for channel in active if channel in values}
            active -= seeds.keys()
    wanted = {channel: set(chain) for channel, chain in chains.items() if chain}
    rows = []
    if wanted:
        named = {f"c{number}": channel for number, channel in enumerate(wanted)}
        query = _WRITES.format(channels=", ".join(f":{name}" for name in named))
        cursor.execute(query, {"thread": thread, "ns": ns, "id": checkpoint, **named})
        rows = [row for row in cursor if row[0] in wanted.get(row[1], ())]
    return build_delta_channels_writes_history(
        channels=channels,
        chain_by_ch=chains,
        seed_val_by_ch=seeds,
        seeded=set(seeds),
        stage2_rows=rows,
        serde=serde,
    )


def _may_hold(blob: bytes, channels: Iterable[str]) -> bool:
    """Whether a stored checkpoint may hold a value of these channels: those are rare, and reading it whole is slow."""
    # From the first of one name to the last of the other lies the map of values, whatever a value's own text says.
    start, end = blob.find(b"channel_values"), blob.rfind(b"channel_versions")
    values = blob[start:end]
    return not 0 <= start < end or any(channel.encode() in values for channel in channels)
