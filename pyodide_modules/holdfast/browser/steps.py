"""Driving transactions: each step of a generator is one message to static/transactions.js, and its answer.

An IndexedDB transaction ends as soon as control returns to the event loop with no request pending, so JavaScript calls
`Stepper` inside the `success` callback of the last read, and what that returns are the next requests. A message holds the
writes up to the next read that only the database can answer (memo.py knows the others), or a hundred of them. Records are
JSON text both ways: crossing from one language to the other costs more than most of what is done on either side.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import js
from pyodide.ffi import create_proxy, to_js

from holdfast.errors import NewerStorageError, NotUniqueError, StorageClosedError, StorageError, StorageFullError
from holdfast.memo import NOTHING, Memo
from holdfast.storage import Count, Delete, Get, GetAll, GetEach, KeyRange, ObjectStore, Put, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.storage import Key, Read, Steps

T = TypeVar("T")

as_text = json.JSONEncoder(separators=(",", ":")).encode
"""JSON as JavaScript writes it."""
PIECE = 100
"""Writes that go to the database while the steps make more of them."""
MORE = '["more"]'
"""The last request of a piece."""
JOURNEYS = 50
"""How often a transaction whose steps have ended reads what nobody needs, to be kept open until its provisos are known."""


class Stepper:
    """The transactions of one store that are under way, and the one callback that JavaScript has for all of them."""

    def __init__(self, schema: dict[str, ObjectStore]) -> None:
        self._schema = schema
        self._numbers = itertools.count()
        self._driven: dict[int, _Driver] = {}
        self._likely: dict[str, str] = {}
        """What the first reads of the last write would find after it, by their requests."""
        self._javascript = js.holdfastTransactions.driven(create_proxy(self._step), create_proxy(self._kept))

    async def run(self, db: Any, transaction: Transaction[T]) -> T:
        """Drive a transaction on this connection; returns its result after `complete`.

        A write like the one before it begins with what that one has left: its writes go with its first reads, in one
        journey, and nothing of it is stored unless these find just that.

        Raises:
            StorageFullError, StorageClosedError, NotUniqueError, MistakenError: nothing of it was stored.
        """
        likely, self._likely = (self._likely, {}) if transaction.durability else ({}, self._likely)
        with suppress(_MisguessedError):
            return await self._drive(db, transaction, likely)
        return await self._drive(db, transaction, {})

    async def _drive(self, db: Any, transaction: Transaction[T], likely: dict[str, str]) -> T:
        driver = _Driver(self._schema, transaction)
        text = driver.begin(likely)
        if text is None and driver.failure is not None:
            raise driver.failure
        number = next(self._numbers)
        self._driven[number] = driver
        self._javascript.run(db, number, json.dumps(transaction.stores), transaction.durability, text)
        result: T = await driver.finished
        if transaction.durability:
            self._likely = driver.left()
        return result

    def upgrade(self, tx: Any, steps: Steps[None]) -> Callable[[], BaseException | None]:
        """Drive steps in a transaction that is there already; returns what tells later why they failed."""
        driver = _Driver(self._schema, Transaction("upgrade", tuple(self._schema), "strict", lambda: steps))
        number = next(self._numbers)
        self._driven[number] = driver
        self._javascript.upgrade(tx, number, driver.begin({}))
        return lambda: driver.failure

    def _step(self, number: int, event: str, text: str, handles: Any) -> str | None:
        """What JavaScript has to tell; returns the next requests, None to give the transaction up."""
        match event:
            case "answers":
                return self._driven[number].take(text.split("\n"), handles)
            case "more":
                return self._driven[number].make_more()
            case "refused":
                self._driven[number].refuse(json.loads(text))
            case "completed":
                self._driven.pop(number).complete()
            case "aborted":
                self._driven.pop(number).abort(json.loads(text))
        return None

    def _kept(self, number: int) -> Any:
        return to_js(self._driven[number].kept())


class _MisguessedError(Exception):
    """What a transaction began with is not what there is."""


class _Driver:
    """Steps the generator of one transaction."""

    def __init__(self, schema: dict[str, ObjectStore], transaction: Transaction[Any]) -> None:
        # Not Pyodide's own kind of future, which has a callback of its own to be called.
        self.finished: asyncio.Future[Any] = asyncio.Future()
        """The end, if somebody still waits for it: the transaction goes on whatever happens to who does."""
        self.failure: BaseException | None = None
        self._schema = schema
        self._transaction = transaction
        self._steps: Steps[Any] = transaction.start()
        self._memo = Memo(schema)
        self._unseen: list[Read] = []
        """Whose answers are known, but not yet to the steps: what is to be said of a record is said when it is asked for."""
        self._result: Any = None
        self._journeys = 0
        """Made since the steps have ended."""
        self._ahead: dict[str, Read] = {}
        """What it begins with, by the requests for it."""
        self._asked: list[Read] = []
        """What the database was asked for; the steps wait for the last one, unless they have not begun."""
        self._guesses: list[str] = []
        """What the first answers are to be: the steps went on without them."""
        self._begun = False
        self._each: list[Read] = []
        """What `GetEach` waits for, if that is what the steps wait for."""
        self._places = itertools.count()
        self._message: dict[Any, str] = {}
        """The requests of the next message, in order, as JSON. A record's key, where it may be written over until then."""
        self._handles: list[Any] = []
        """What it puts that is no JSON."""

    def begin(self, likely: dict[str, str]) -> str | None:
        """The first message; None if the steps raise before they ask for anything."""
        try:
            return self._begin(likely)
        except BaseException as error:  # noqa: BLE001  (whatever it is, half of a transaction must not be committed)
            self._give_up(error)
            return None

    def take(self, answers: list[str], handles: Any) -> str | None:
        """The answers to what was asked; returns the next message, None to give the transaction up."""
        try:
            return self._take(answers, handles)
        except BaseException as error:  # noqa: BLE001  (as above)
            self._give_up(error)
            return None

    def make_more(self) -> str | None:
        """What comes after a message that was a piece of what the steps have to write."""
        try:
            return self._go_on(None)
        except BaseException as error:  # noqa: BLE001  (as above)
            self._give_up(error)
            return None

    def left(self) -> dict[str, str]:
        """What the reads that it began with would find now, where it knows, by the requests for it."""
        found = {text: self._memo.recall(read) for text, read in self._ahead.items() if read not in self._unseen}
        return {request: text for request, text in found.items() if text is not None}

    def kept(self) -> list[Any]:
        """The handles of the message just given."""
        handles, self._handles = self._handles, []
        return handles

    def complete(self) -> None:
        if not self.finished.done():
            self.finished.set_result(self._result)

    def refuse(self, error: dict[str, Any]) -> None:
        self._give_up(error_of(error.get("name"), error.get("message"), self._transaction.name))

    def abort(self, error: dict[str, Any]) -> None:
        if self.failure is None:
            self.refuse(error)
        if not self.finished.done() and self.failure is not None:
            self.finished.set_exception(self.failure)
            self.finished.exception()  # heard: nobody may wait for it any more

    def _give_up(self, error: BaseException) -> None:
        """On a guess nothing is decided: without it there might be no such error."""
        self.failure = _MisguessedError() if self._guesses else error

    def _begin(self, likely: dict[str, str]) -> str:
        self._ahead = {_read(read, self._schema): read for read in self._transaction.ahead()}
        if not self._ahead:
            return self._go_on(None)
        if not self._ahead.keys() <= likely.keys():
            return self._ask_for(self._ahead)
        for request, read in self._ahead.items():
            self._add(request)
            self._memo.learn(read, likely[request])
            self._guesses.append(likely[request])
        return self._go_on(None)

    def _take(self, answers: list[str], handles: Any) -> str:
        if self._guesses:
            guesses, self._guesses = self._guesses, []
            found, answers = answers[: len(guesses)], answers[len(guesses) :]
            if not all(map(_are_alike, guesses, found)):
                raise _MisguessedError
            if not answers:
                return self._end()
        asked, self._asked = self._asked, []
        for read, text in zip(asked, answers, strict=True):
            self._memo.learn(read, text)
        if self._journeys:
            return self._end()
        if not self._begun:
            self._unseen = asked
            return self._go_on(None)
        each, self._each = self._each, []
        if each:
            self._unseen += asked
            return self._go_on([self._recalled(read) for read in each])
        value = _value(self._schema, asked[-1], answers[-1], handles)
        self._transaction.accept(asked[-1], value)
        return self._go_on(value)

    def _go_on(self, value: Any) -> str:
        """Until the next read that only the database can answer; writes need no answer, IndexedDB keeps their order."""
        self._begun = True
        try:
            while True:
                request = self._steps.send(value)
                self._transaction.check(request)
                value = None
                if isinstance(request, Put):
                    self._put(request)
                    if len(self._message) >= PIECE and not self._guesses:
                        self._add(MORE)
                        return self._written()
                elif isinstance(request, Delete):
                    self._memo.delete(request)
                    self._add(as_text(["delete", request.store, _query(request.query)]))
                elif isinstance(request, GetEach):
                    each: list[Read] = [Get(request.store, key) for key in request.keys]
                    unknown = [read for read in each if self._memo.recall(read) is None]
                    if unknown:
                        self._each = each
                        return self._ask(*unknown)
                    value = [self._recalled(read) for read in each]
                elif self._memo.recall(request) is None:
                    return self._ask(request)
                else:
                    value = self._recalled(request)
        except StopIteration as end:
            self._result = end.value
            return self._end()

    def _end(self) -> str:
        """The last message; until the provisos are known, one that keeps the transaction open, so that it can be given up."""
        if self._guesses:
            return self._written()  # there is an answer to come
        provided = self._transaction.provided
        if self._journeys < JOURNEYS and not all(proviso.is_known for proviso in provided):
            self._journeys += 1
            return self._ask(Get(self._transaction.stores[0], ""))
        for proviso in provided:
            proviso.check()
        return self._written()

    def _recalled(self, read: Read) -> Any:
        value = json.loads(self._memo.recall(read) or NOTHING)
        if read in self._unseen:
            self._unseen.remove(read)
            self._transaction.accept(read, value)
        return value

    def _put(self, request: Put) -> None:
        if request.key is not None:
            self._handles.append(request.value)
            self._add(as_text(["keep", request.store, request.key]))
            return
        text = as_text(request.value)
        key = self._memo.put(request, text)
        # What is written over before anybody could read it need not go; but which of two has a unique key first matters.
        put = f'["put","{request.store}",{text}]'
        if self._schema[request.store].unique:
            self._add(put)
        else:
            self._message.pop(key, None)  # it goes where the later one stands: a delete may lie between
            self._message[key] = put

    def _add(self, request: str) -> None:
        self._message[next(self._places)] = request

    def _ask(self, *reads: Read) -> str:
        """A message with all writes so far, and these reads."""
        return self._ask_for({_read(read, self._schema): read for read in reads})

    def _ask_for(self, asked: dict[str, Read]) -> str:
        self._asked = list(asked.values())
        for request in asked:
            self._add(request)
        return self._written()

    def _written(self) -> str:
        text = f"[{','.join(self._message.values())}]"
        self._message = {}
        return text


def _are_alike(one: str, other: str) -> bool:
    return one == other or json.loads(one) == json.loads(other)


def error_of(name: str | None, message: str | None, what: str) -> StorageError:
    """An error of the browser's storage in our words."""
    if name == "QuotaExceededError":
        return StorageFullError()
    if name == "ConstraintError":
        return NotUniqueError(what)
    if name == "VersionError":
        return NewerStorageError(what)
    said = f"{name}: {message}" if name else "it was aborted"
    return StorageClosedError(f"{what!r} could not be done; nothing of it was stored ({said}).")


def _read(read: Read, schema: dict[str, ObjectStore]) -> str:
    opaque = schema[read.store].opaque
    limit: int | None = None
    match read:
        case Get(_, query, index):
            verb = "get"
        case GetAll(_, query, index, limit, newest_first):
            verb = "last" if newest_first else "getAll"
        case Count(_, query, index):
            verb = "count"
    return as_text([verb, read.store, _query(query), index, limit, opaque])


def _query(query: Key | KeyRange | None) -> list[Key] | None:
    if query is None:
        return None
    return [query.lower, query.upper] if isinstance(query, KeyRange) else [query]


def _value(schema: dict[str, ObjectStore], read: Read, text: str, handles: Any) -> Any:
    found = json.loads(text)
    if not schema[read.store].opaque or isinstance(read, Count) or found is None:
        return found
    return [handles[place] for place in found] if isinstance(found, list) else handles[found]
