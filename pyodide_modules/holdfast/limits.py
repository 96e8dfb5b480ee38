"""How much one job may hold, and whether what a caller handed over can be stored at all. Pure."""

from __future__ import annotations

import json
import re
from itertools import accumulate, repeat
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn

from holdfast.errors import InvalidOptionError, SecretError, TooLargeError
from holdfast.job import PRIORITIES, File

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

PAYLOAD_BYTES = 1_000_000
ATTACHMENTS_BYTES = 100_000_000
ATTACHMENTS = 50
DEPTH = 100
"""How deep lists and objects may be nested in each other."""
LISTS = (list, tuple)
NESTED = (dict, *LISTS)
MAX_INTEGER = 2**53 - 1
"""Browsers keep whole numbers exactly up to here; a larger one would be stored as another number."""
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_NESTING = {"[": 1, "{": 1, "]": -1, "}": -1}
_KEY = re.compile(r"[!-+\--~]{1,255}")
NEVER_STORED = frozenset({"authorization", "cookie", "set-cookie", "proxy-authorization"})


def check_content(payload: Any, files: Sequence[File]) -> None:
    """Let through what fits.

    Raises:
        InvalidOptionError: the payload is not JSON, or the attachments are no list of `File`.
        TooLargeError: payload or attachments are over the limit; nothing was stored.
    """
    _check_values(payload)
    try:
        size = len(json.dumps(payload, allow_nan=False, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    except (TypeError, ValueError) as error:
        raise InvalidOptionError(f"The payload must be JSON: text, numbers, lists, objects. {error}.") from error
    if size > PAYLOAD_BYTES:
        raise TooLargeError(
            f"The payload has {size:,} bytes; {PAYLOAD_BYTES:,} are the limit. Send large data as attachments.",
        )
    _check_files(files)
    if len(files) > ATTACHMENTS:
        raise TooLargeError(f"There are {len(files)} attachments; {ATTACHMENTS} are the limit. Remove some.")
    total = sum(file.size for file in files)
    if total > ATTACHMENTS_BYTES:
        raise TooLargeError(f"The attachments have {total:,} bytes; {ATTACHMENTS_BYTES:,} are the limit. Remove some.")


def _check_files(files: Any) -> None:
    if not isinstance(files, list | tuple):
        raise InvalidOptionError(f"attachments takes a list of File; not {files!r}.")
    for file in files:
        if not isinstance(file, File):
            raise InvalidOptionError(f"Each of attachments is a File; not {file!r}.")
        if not all(isinstance(text, str) for text in (file.field, file.name, file.media_type)):
            raise InvalidOptionError(
                f"field, name and media_type of each of attachments are texts; not so in {file!r}."
            )
        check_whole_number("the size of each of attachments", file.size, least=0)


def _check_values(payload: Any) -> None:
    """Let through what is not nested too deeply and holds no number that a browser would change."""
    level = [payload]
    for _ in range(DEPTH):
        outer, level = level, []
        for value in outer:
            if isinstance(value, str):
                continue
            if isinstance(value, dict):
                level.extend(value.values())
            elif isinstance(value, LISTS):
                level.extend(value)
            elif isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
                raise InvalidOptionError(
                    "The payload has a whole number beyond 2⁵³, which browsers round; send it as text."
                )
        if not level:
            return
        if len(level) > PAYLOAD_BYTES:
            raise TooLargeError(f"The payload has more than {PAYLOAD_BYTES:,} values. Send large data as attachments.")
    raise InvalidOptionError(f"The payload is nested deeper than {DEPTH} levels.")


def read_json(text: str) -> Any:
    """A JSON document from outside.

    Deep nesting overflows the stack of WebAssembly in Python's own parser, which ends the interpreter instead of raising;
    so it is looked for before.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or holds a number that no JSON has (NaN, Infinity, 1e999).
    """
    depths = accumulate(map(_NESTING.get, _STRING_OR_BRACKET.findall(text), repeat(0)))
    if max(depths, default=0) > DEPTH:
        raise ValueError(f"The document is nested deeper than {DEPTH} levels.")
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def check_names(*, id: Any, key: Any) -> None:  # noqa: A002  (the field's word)
    """Let through an id and an idempotency key that can be stored and sent as a header.

    Raises:
        InvalidOptionError: it says which one, and what it takes.
    """
    if not isinstance(id, str) or not id:
        raise InvalidOptionError(f"id takes a text that is not empty; not {id!r}.")
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise InvalidOptionError(f"key takes 1 to 255 visible ASCII characters without a comma; not {key!r}.")


def check_secrets(payload: Any, secrets: Container[str]) -> None:
    """Let through what holds no secret: what is stored on a device can be read by whoever holds it.

    Raises:
        SecretError: it names the field; nothing was stored.
    """
    for name in _names(payload):
        if _is_secret(name, secrets):
            raise SecretError(
                f"The field {name!r} is a secret and is never stored. Leave it out: delivery relies on the sign-in cookie.",
            )


def without_secrets(payload: Any, secrets: Container[str]) -> Any:
    """The same payload with every such field left out."""
    if isinstance(payload, dict):
        return {
            name: without_secrets(inner, secrets)
            for name, inner in payload.items()
            if not _is_secret(str(name), secrets)
        }
    return [without_secrets(inner, secrets) for inner in payload] if isinstance(payload, list | tuple) else payload


def _is_secret(name: str, secrets: Container[str]) -> bool:
    return name.lower() in NEVER_STORED or name in secrets


def _names(payload: Any) -> Iterator[str]:
    level = [payload]
    while level:
        outer, level = level, []
        for value in outer:
            if isinstance(value, dict):
                yield from map(str, value)
                level.extend(value.values())
            elif isinstance(value, LISTS):
                level.extend(value)


def check_options(*, lane: Any, priority: Any, delay_ms: Any, ttl_ms: Any) -> None:
    """Let through options of the right type and range.

    Raises:
        InvalidOptionError: it says which one, and what it takes.
    """
    if lane is not None and (not isinstance(lane, str) or not lane):
        raise InvalidOptionError(f"lane takes a text that is not empty, or nothing; not {lane!r}.")
    if isinstance(priority, bool) or not isinstance(priority, int) or priority not in PRIORITIES:
        raise InvalidOptionError(f"priority takes a whole number from 0 to 9; not {priority!r}.")
    check_whole_number("delay_ms", delay_ms, least=0)
    if ttl_ms is not None:
        check_whole_number("ttl_ms", ttl_ms, least=1)


def check_text(name: str, value: Any) -> None:
    """Let through a text that is not empty. Raises InvalidOptionError."""
    if not isinstance(value, str) or not value:
        raise InvalidOptionError(f"{name} takes a text that is not empty; not {value!r}.")


def check_one_of(name: str, value: Any, choices: Sequence[object]) -> None:
    """Let through one of these, of the same type. Raises InvalidOptionError."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise InvalidOptionError(f"{name} takes one of {', '.join(map(repr, choices))}; not {value!r}.")


def check_whole_number(name: str, value: Any, *, least: int) -> None:
    """Let through a whole number that is large enough. Raises InvalidOptionError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_INTEGER:
        raise InvalidOptionError(f"{name} takes a whole number, {least} or more; not {value!r}.")
