"""What runs inside Pyodide for the tests beside this file."""

import asyncio
import functools
import inspect
import itertools
import json
import sys
import traceback

import js
from pyodide.ffi import create_once_callable, to_js

from holdfast.browser import locks as web_locks
from holdfast.browser.idb import OPEN_MS, IndexedDBStore
from holdfast.browser.locks import WebLocks
from holdfast.browser.net import BrowserTransport
from holdfast.ports import Request
from tests.browser.engine.costs import costs, costs_of_batch  # noqa: F401  (asked for by name)
from tests.browser.engine.indexed import IndexedStore
from tests.browser.engine.loop import run
from tests.contract import engine_promises, lock_promises, store_promises, transport_promises

_numbers = itertools.count()
TURNS = 500


async def keep_store_promise(name):
    """Run one promise of a store on an IndexedDB database of its own; '' if it is kept, else what went wrong."""
    return await _told(getattr(store_promises, name)(Database()))


async def keep_engine_promise(name):
    """The same for a promise of the engine."""
    return await _told(getattr(engine_promises, name)(Database()))


async def keep_lock_promise(name):
    """The same for Web Locks."""
    web_locks.LOOK_MS = 50
    return await _told(getattr(lock_promises, name)(WebPlace()))


class InBrowser:
    """What pytest-asyncio and the command line do elsewhere: runs coroutine functions, and keeps what failed."""

    def __init__(self):
        self.passed = 0
        self.failed = {}

    def pytest_pycollect_makeitem(self, obj):
        inner = getattr(getattr(obj, "hypothesis", None), "inner_test", None)
        if inspect.iscoroutinefunction(inner):
            obj.hypothesis.inner_test = _sync(inner)

    def pytest_pyfunc_call(self, pyfuncitem):
        if not inspect.iscoroutinefunction(pyfuncitem.obj):
            return None
        names = pyfuncitem._fixtureinfo.argnames
        run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
        return True

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed[report.nodeid] = report.longreprtext
        elif report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed[report.nodeid] = report.longreprtext


def _sync(work):
    @functools.wraps(work)
    def whole(*arguments, **options):
        run(work(*arguments, **options))

    return whole


def run_unit_tests_on_indexeddb(path):
    """The same with real IndexedDB wherever a test takes a store in memory."""
    import holdfast.memory
    import holdfast.testing
    import tests.support.device

    IndexedStore.outer = asyncio.get_event_loop()
    # Imported before, its own stores were made of the one in memory.
    sys.modules.pop(f"tests.unit.{path.removesuffix('.py').replace('/', '.')}", None)
    modules = (holdfast.memory, holdfast.testing, tests.support.device)
    in_memory = holdfast.memory.MemoryStore
    for module in modules:
        module.MemoryStore = IndexedStore
    try:
        return run_unit_tests(path)
    finally:
        for module in modules:
            module.MemoryStore = in_memory


def run_unit_tests(path):
    """Run one file of unit tests; how many passed, and what failed with its report.

    No coroutine: inside a task no other task could run.
    """
    import hypothesis
    import pytest

    hypothesis.settings.register_profile("browser", deadline=None, max_examples=20, database=None)
    hypothesis.settings.load_profile("browser")
    plugin = InBrowser()
    options = [
        "--disable-plugin-autoload",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:terminal",
        "-W",
        "error",
        "--import-mode=importlib",
    ]
    pytest.main([*options, "-c", "/dev/null", "--rootdir", "/sources", f"/sources/tests/unit/{path}"], [plugin])
    return to_js([plugin.passed, [f"{test}\n{report}" for test, report in plugin.failed.items()]])


async def keep_transport_promise(name):
    """The same for a transport."""
    place = Answering()
    await place.forget()
    return await _told(getattr(transport_promises, name)(place))


async def _told(promise):
    try:
        await promise
    except BaseException:  # noqa: BLE001  (whatever it is, the test on the other side reports it)
        return traceback.format_exc()
    return ""


async def _until(holds):
    """Wait in turns of the event loop, each at least as long as the browser needs to serve one request."""
    for _ in range(TURNS):
        if holds():
            return
        await js.navigator.locks.query()
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")


class Answering:
    """The server of this page, which answers as it is asked to."""

    def __init__(self):
        self.transport = BrowserTransport()

    def now(self):
        return int(js.Date.now())

    def request(self, name, *, status=201, echo=None, held=False):
        asked = {"name": name, "status": status, "echo": f"key-{name}" if echo is None else echo, "held": held}
        return Request(name, "POST", "/answer", {"Idempotency-Key": f"key-{name}"}, asked, (), 60_000)

    async def let_go(self, name):
        await self._ask("let go", name)

    async def arrived(self):
        return await self._ask("arrived")

    async def until_arrived(self, *names):
        while await self.arrived() != list(names):
            pass

    async def forget(self):
        await self._ask("forget")

    async def _ask(self, what, name=""):
        asked = Request("", "POST", "/ask", {}, {"ask": what, "name": name}, (), 60_000)
        answer = await BrowserTransport().send(asked, lambda _sent, _total: None)
        return json.loads(answer.body)


class Database:
    """One IndexedDB database; its handles are Blobs."""

    def __init__(self):
        self._name = f"promise-{next(_numbers)}"
        self._stores = []

    def open(self, migrations):
        self._stores.append(IndexedDBStore(self._name, migrations))
        return self._stores[-1]

    def fresh(self):
        return Database()

    def handle(self, content):
        return js.Blob.new(to_js([to_js(content)]))

    async def read(self, handle):
        return (await handle.arrayBuffer()).to_bytes()

    async def hold_open(self):
        """Another tab with a connection that does not listen; returns what closes it."""
        for store in self._stores:
            store.close()
        request = js.indexedDB.open(self._name)
        opened = asyncio.get_running_loop().create_future()
        request.onsuccess = create_once_callable(lambda _event: opened.set_result(request.result))
        connection = await opened
        return connection.close

    async def eventually(self, look):
        for _ in range(TURNS):
            try:
                return await look()
            except store_promises.StorageClosedError:
                await asyncio.sleep(0.01)
        raise AssertionError("it never came to that")

    async def lose_connection(self, store):
        (await store._newest().connection(OPEN_MS)).close()

    async def delete(self):
        request = js.indexedDB.deleteDatabase(self._name)
        deleted = asyncio.get_running_loop().create_future()
        request.onsuccess = create_once_callable(lambda _event: deleted.set_result(None))
        await deleted


class WebPlace:
    """Web Locks of this page."""

    def locks(self):
        return WebLocks()

    async def until(self, holds):
        await _until(holds)

    async def rest(self):
        for _ in range(20):
            await js.navigator.locks.query()

    async def long(self):
        """Several looks at whether the holder is gone."""
        looks = 0
        looked = asyncio.Event()

        async def stale():
            nonlocal looks
            looks += 1
            if looks == 5:
                looked.set()
            return False

        curious = lock_promises.Visit(WebLocks(), stale=stale)
        await looked.wait()
        curious.task.cancel()
        await asyncio.gather(curious.task, return_exceptions=True)

    async def steal(self, name):
        deferred = js.Promise.withResolvers()
        options = js.Object.new()
        options.steal = True
        taken = asyncio.Event()

        def take(_lock):
            taken.set()
            return deferred.promise

        js.navigator.locks.request(web_locks.PREFIX + name, options, create_once_callable(take))
        await taken.wait()
        return lambda: deferred.resolve(None)

    async def freeze(self, name):
        """A holder that never lets go, nor notices that it was robbed."""
        return await self.steal(name)
