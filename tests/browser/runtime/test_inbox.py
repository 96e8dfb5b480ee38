"""static/inbox.js in a real page: what it promises before any Python is there."""

import pytest
from playwright.sync_api import expect

ENTRY = "{type: 'inspection.create', fields: [['site', 'Cellar']], source: 'form'}"


@pytest.fixture
def page(lone_page):
    return lone_page(block="**/pyscript.js")


def test_an_entry_is_kept_in_order_of_arrival(page):
    """`append` resolves once the entry is stored; the list has entries as they came."""
    sites = page.evaluate(
        f"""async () => {{
          for (const site of ["c", "a", "b"])
            await holdfastInbox.append({{...{ENTRY}, fields: [["site", site]]}});
          return (await holdfastInbox.list()).map((entry) => entry.fields[0][1]);
        }}"""
    )
    assert sites == ["c", "a", "b"]


def test_the_same_content_under_the_same_id_is_saved_once(page):
    """A repeat is no error and no second entry; its key is the first one's."""
    first, second, count = page.evaluate(
        f"""async () => {{
          const entry = {{...{ENTRY}, id: holdfastInbox.uuid()}};
          const first = await holdfastInbox.append(entry);
          const second = await holdfastInbox.append(entry);
          return [first, second, await holdfastInbox.count()];
        }}"""
    )
    assert first == second
    assert count == 1


def test_other_content_under_a_known_id_is_kept_as_a_job_of_its_own(page):
    """Nothing that was typed is dropped for its number."""
    first, second, sites = page.evaluate(
        f"""async () => {{
          const entry = {{...{ENTRY}, id: holdfastInbox.uuid()}};
          const first = await holdfastInbox.append(entry);
          const second = await holdfastInbox.append({{...entry, fields: [["site", "other"]]}});
          return [first, second, (await holdfastInbox.list()).map((kept) => kept.fields[0][1])];
        }}"""
    )
    assert first["id"] != second["id"]
    assert first["key"] != second["key"]
    assert sites == ["Cellar", "other"]


def test_what_two_parts_of_the_app_make_of_one_submission_is_saved_once(page):
    """Python gives up a moment after the listener: the same id and key, raw fields from one, a payload from the other."""
    for first, second in (("form", "python"), ("python", "form"), ("client", "python")):
        saved, count = page.evaluate(
            """async ([first, second]) => {
              const before = await holdfastInbox.count();
              const ids = {id: holdfastInbox.uuid(), key: holdfastInbox.uuid(), type: "inspection.create"};
              const made = {
                form: {fields: [["site", "Cellar"]]},
                client: {payload: {site: "Cellar"}, files: [["attachments", new File(["a"], "a.png")]]},
                python: {payload: {site: "Cellar"}, files: [["", new File(["a"], "a.png")]]},
              };
              const saved = [];
              for (const source of [first, second]) saved.push(await holdfastInbox.append({...ids, ...made[source], source}));
              return [saved, await holdfastInbox.count() - before];
            }""",
            [first, second],
        )
        assert saved[0] == saved[1]
        assert count == 1


def test_a_write_that_never_ends_is_told_and_its_repeat_is_the_same_entry(lone_page):
    """After half a minute nobody waits any more; what was written late after all is not written twice."""
    page = lone_page(
        """(() => {
          const {transaction} = IDBDatabase.prototype;
          IDBDatabase.prototype.transaction = function (...args) {
            const tx = transaction.apply(this, args);
            if (globalThis.isSilent) Object.defineProperty(tx, "oncomplete", {set: () => {}});
            return tx;
          };
          globalThis.isSilent = false;
          const {setTimeout} = globalThis;
          globalThis.setTimeout = (work, span, ...given) => setTimeout(work, isSilent && span === 30_000 ? 0 : span, ...given);
        })()""",
        block="**/pyscript.js",
    )
    told, count = page.evaluate(
        f"""async () => {{
          await holdfast.ready;
          const entry = {{...{ENTRY}, id: holdfastInbox.uuid(), key: holdfastInbox.uuid()}};
          globalThis.isSilent = true;
          const told = await holdfastInbox.append(entry).then(() => null, ({{name, message}}) => [name, message]);
          globalThis.isSilent = false;
          await holdfastInbox.append(entry);
          return [told, await holdfastInbox.count()];
        }}"""
    )
    assert told == ["StorageError", "This browser's storage does not answer."]
    assert count == 1


def test_an_entry_belongs_to_the_account_of_the_session(page):
    """The account is read in the same transaction; nobody is the empty string."""
    accounts = page.evaluate(
        f"""async () => {{
          await holdfastInbox.append({ENTRY});
          await holdfastInbox.set("account", "mara");
          await holdfastInbox.append({ENTRY});
          return (await holdfastInbox.list()).map((entry) => entry.account);
        }}"""
    )
    assert accounts == ["", "mara"]


def test_a_draft_can_be_kept_and_taken_away(page):
    """The session keeps any value by key; `undefined` removes it."""
    values = page.evaluate(
        """async () => {
          await holdfastInbox.set("draft:x", {site: "Cellar"});
          const kept = await holdfastInbox.get("draft:x");
          await holdfastInbox.set("draft:x", undefined);
          return [kept, (await holdfastInbox.get("draft:x")) ?? null];
        }"""
    )
    assert values == [{"site": "Cellar"}, None]


def test_a_dead_connection_is_replaced(lone_page):
    """A connection that fails once is dropped, and the same write succeeds on a new one."""
    page = lone_page(
        """(() => {
          const transaction = IDBDatabase.prototype.transaction;
          IDBDatabase.prototype.transaction = function (...args) {
            if (globalThis.loseNext) {
              globalThis.loseNext = false;
              throw new DOMException("The database connection is closing.", "InvalidStateError");
            }
            return transaction.apply(this, args);
          };
        })()""",
        block="**/pyscript.js",
    )
    count = page.evaluate(
        f"""async () => {{
          await holdfast.ready;
          globalThis.loseNext = true;
          await holdfastInbox.append({ENTRY});
          return holdfastInbox.count();
        }}"""
    )
    assert count == 1


def test_storage_that_opens_slowly_is_waited_for(lone_page):
    """One request to open gets no answer in time: the page does not say that nothing can be saved, and keeps what is typed."""
    page = lone_page(
        """(() => {
          const {setTimeout} = globalThis;
          const {open} = IDBFactory.prototype;
          let silent = true;
          IDBFactory.prototype.open = function (...given) {
            return silent ? {} : open.apply(this, given);
          };
          globalThis.setTimeout = (work, span, ...given) => {
            if (span !== 4000 || !silent) return setTimeout(work, span, ...given);
            return setTimeout(() => { silent = false; work(); }, 0);
          };
        })()""",
        block="**/pyscript.js",
    )
    page.evaluate("() => holdfast.ready")
    expect(page.locator("#cannot-save")).to_be_hidden()
    page.fill("#site", "Lock 7")
    expect(page.locator("#draft")).to_contain_text("Draft kept")


def test_ids_are_made_without_random_uuid(lone_page):
    """Plain http to another host name has no `randomUUID`: ids are UUIDs of version 4 all the same."""
    page = lone_page("delete Crypto.prototype.randomUUID", block="**/pyscript.js")
    ids = page.evaluate("() => Array.from({length: 20}, () => holdfastInbox.uuid())")
    assert len(set(ids)) == 20
    pattern = "/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/"
    assert page.evaluate(f"(ids) => ids.every((id) => {pattern}.test(id))", ids)


def test_refused_storage_is_told_before_anything_is_typed(lone_page):
    """Where IndexedDB cannot be opened, `ready` rejects with a `StorageError`, and nothing is uncaught."""
    page = lone_page("IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError'); }")
    told = page.evaluate("() => holdfast.ready.then(() => null, ({name, code}) => [name, code])")
    assert told == ["StorageError", "storage"]
    page.wait_for_function("() => holdfast.python === 'failed'")


FULL = """(() => {
  const {add} = IDBObjectStore.prototype;
  IDBObjectStore.prototype.add = function (...args) {
    const request = add.apply(this, args);
    if (globalThis.isFull) this.transaction.abort();
    return request;
  };
  const error = Object.getOwnPropertyDescriptor(IDBTransaction.prototype, "error").get;
  Object.defineProperty(IDBTransaction.prototype, "error", {
    get() { return globalThis.isFull ? new DOMException("full", "QuotaExceededError") : error.call(this); },
  });
})()"""


def test_a_full_device_rejects_by_name(lone_page):
    """Out of quota: `StorageFullError`, and nothing of the entry is stored."""
    page = lone_page(FULL, block="**/pyscript.js")
    told = page.evaluate(
        f"""async () => {{
          await holdfast.ready;
          globalThis.isFull = true;
          return holdfastInbox.append({ENTRY}).then(() => null, ({{name, code}}) => [name, code]);
        }}"""
    )
    assert told == ["StorageFullError", "storage_full"]
    assert page.evaluate("() => { isFull = false; return holdfastInbox.count(); }") == 0


def test_a_full_device_drops_the_snapshot_first(lone_page):
    """What can be made anew makes room: the snapshot goes, and the save is tried again."""
    page = lone_page(FULL, block="**/pyscript.js")
    count, left = page.evaluate(
        f"""async () => {{
          await holdfast.ready;
          const cache = await caches.open("holdfast-0");
          await cache.put("/runtime/0/snapshot", new Response("heap"));
          await cache.put("/runtime/0/app.css", new Response("style"));
          const remove = Cache.prototype.delete;
          Cache.prototype.delete = function (...args) {{ globalThis.isFull = false; return remove.apply(this, args); }};
          globalThis.isFull = true;
          await holdfastInbox.append({ENTRY});
          return [await holdfastInbox.count(), (await cache.keys()).map(({{url}}) => new URL(url).pathname)];
        }}"""
    )
    assert count == 1
    assert left == ["/runtime/0/app.css"]
