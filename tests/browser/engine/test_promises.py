"""IndexedDB, Web Locks and requests, in real browsers, keep the promises that memory keeps."""

import pytest

from tests.contract import engine_promises, lock_promises, store_promises, transport_promises


@pytest.mark.browser
@pytest.mark.parametrize(
    "promise", [*store_promises.PROMISES, *store_promises.DATABASE_PROMISES], ids=lambda promise: promise.__name__
)
def test_indexeddb_promises_that(ask, promise) -> None:
    """Each promise in its own words, on a database of its own."""
    assert ask("keep_store_promise", promise.__name__) == ""


@pytest.mark.browser
@pytest.mark.parametrize("promise", engine_promises.ENGINE_PROMISES, ids=lambda promise: promise.__name__)
def test_on_indexeddb_the_engine_promises_that(ask, promise) -> None:
    """Each promise in its own words, on a database of its own."""
    assert ask("keep_engine_promise", promise.__name__) == ""


@pytest.mark.browser
@pytest.mark.parametrize(
    "promise", [*lock_promises.PROMISES, *lock_promises.FREEZE_PROMISES], ids=lambda promise: promise.__name__
)
def test_web_locks_promise_that(ask, promise) -> None:
    """Each promise in its own words."""
    assert ask("keep_lock_promise", promise.__name__) == ""


@pytest.mark.browser
@pytest.mark.parametrize("promise", transport_promises.PROMISES, ids=lambda promise: promise.__name__)
def test_requests_promise_that(ask, promise) -> None:
    """Each promise in its own words, at a server that answers as it is asked to."""
    assert ask("keep_transport_promise", promise.__name__) == ""
