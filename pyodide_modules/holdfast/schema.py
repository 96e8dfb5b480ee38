"""The database of an outbox: its object stores, their indexes, and the migrations that lead there.

Only data. An index holds a record only while all its fields are present, so `place`, `ready_at`, `lease_until` and
`expire_by` are absent whenever they say nothing: finished, blocked and future jobs cost a claim nothing.
"""

from __future__ import annotations

from holdfast.storage import Migration, ObjectStore

MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        adds={
            "jobs": ObjectStore(
                key="id",
                indexes={
                    "ready": ("account", "queue", "rank", "type", "ready_at"),
                    "lanes": ("account", "queue", "lane_key", "place"),
                    "leases": ("account", "queue", "lease_until"),
                    "expiring": ("account", "expire_by"),
                    "list": ("account", "state", "updated_at"),
                    "reasons": ("account", "reason", "updated_at"),
                    "oldest": ("account", "queue", "state", "created_at"),
                    "key": ("key",),
                },
                unique=("key",),
            ),
            "bodies": ObjectStore(key="id", indexes={}),
            "attachments": ObjectStore(key=None, indexes={}, opaque=True),
            "queues": ObjectStore(key=("account", "queue"), indexes={}),
            "gates": ObjectStore(key="name", indexes={}),
            "holders": ObjectStore(key="name", indexes={}),
            "meta": ObjectStore(key="name", indexes={}),
            "quarantine": ObjectStore(key="id", indexes={}),
        },
    ),
)
