"""What can go wrong on the server apart from a caller's mistake (those are problem documents, see `problems.py`).

HoldfastServerError
├── UnsupportedStoreError    the store URL names something this program cannot open
├── SchemaTooNewError        the database was written by a newer version
├── NoTransactionError       a handler asked for a transaction, and its key store has none
├── NotBehindMiddlewareError a marked endpoint runs in an app that lacks the middleware
└── StoreUnavailableError    the database or the disk cannot take the write right now
"""


class HoldfastServerError(Exception):
    """The base of all errors of this package."""


class UnsupportedStoreError(HoldfastServerError):
    """The store URL names something this program cannot open."""


class SchemaTooNewError(HoldfastServerError):
    """The database was written by a newer version; nothing was changed."""


class StoreUnavailableError(HoldfastServerError):
    """The database or the disk cannot take the write right now; the caller may send it again."""


class NoTransactionError(HoldfastServerError):
    """A handler asked for a transaction, and its key store has none: a mistake in the app."""


class NotBehindMiddlewareError(HoldfastServerError):
    """A marked endpoint runs in an app that lacks the middleware: a mistake in the app."""
