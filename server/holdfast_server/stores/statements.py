"""A piece of a transaction as a generator of statements, so that reading, deciding and writing is written once for all databases.

It yields `Statement`s and is sent their rows; `SqliteDatabase` and `PostgresDatabase` drive it. SQL here is what both
understand, with `?` for values. A statement that fails raises at its `yield`.
"""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")
Failure = TypeVar("Failure")
Rows = list[tuple[Any, ...]]


class Statement(NamedTuple):
    """One SQL statement with its values. One that `counts` is sent `[(number,)]`: how many rows it has changed."""

    sql: str
    values: tuple[Any, ...] = ()
    counts: bool = False


Steps = Generator[Statement, Rows, Result]


def savepoint(steps: Steps[Result], failed: Callable[[Exception], Failure]) -> Steps[Result | Failure]:
    """Run a part so that its failure undoes that part alone; `failed` says what it comes to then."""
    yield Statement("SAVEPOINT part")
    result: Result | Failure
    try:
        result = yield from steps
    except Exception as error:  # noqa: BLE001  (whatever it is, the rest of the transaction goes on)
        yield Statement("ROLLBACK TO SAVEPOINT part")
        result = failed(error)
    yield Statement("RELEASE SAVEPOINT part")
    return result
