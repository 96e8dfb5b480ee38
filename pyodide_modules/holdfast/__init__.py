"""Holdfast: a durable write queue for web apps that must work where the network does not.

A write is stored on the device first, then delivered in the background, in order, with retries, exactly once in effect.
`Outbox` is the whole face; `holdfast.testing` helps an app's own tests; `holdfast.browser` runs it in page and worker.
"""

from holdfast.backoff import Backoff
from holdfast.errors import (
    ActionRefusedError,
    HoldfastError,
    InvalidOptionError,
    InvalidPayloadError,
    JobNotFoundError,
    QueueFullError,
    SecretError,
    StorageClosedError,
    StorageError,
    StorageFullError,
    TooLargeError,
    UnknownTypeError,
    WaitTimeoutError,
)
from holdfast.job import File
from holdfast.lifecycle import Reason, State
from holdfast.outbox import Accepted, Outbox
from holdfast.routes import Form, Route, Task, Violation
from holdfast.transactions.tidy import Retention

__all__ = [
    "Accepted",
    "ActionRefusedError",
    "Backoff",
    "File",
    "Form",
    "HoldfastError",
    "InvalidOptionError",
    "InvalidPayloadError",
    "JobNotFoundError",
    "Outbox",
    "QueueFullError",
    "Reason",
    "Retention",
    "Route",
    "SecretError",
    "State",
    "StorageClosedError",
    "StorageError",
    "StorageFullError",
    "Task",
    "TooLargeError",
    "UnknownTypeError",
    "Violation",
    "WaitTimeoutError",
]
