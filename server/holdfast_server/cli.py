"""The command `holdfast`."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from holdfast_server import accounts as people
from holdfast_server import flags as flags_document
from holdfast_server import passwords
from holdfast_server.errors import HoldfastServerError
from holdfast_server.limits import Limits
from holdfast_server.opening import open_stores
from holdfast_server.serving import run
from holdfast_server.settings import Settings
from holdfast_server.stores.statements import Result, Steps


@click.group()
def main() -> None:
    """Holdfast: build the reference app and serve it with its API."""


def _data(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where everything is kept."""
    folder = click.Path(file_okay=False, path_type=Path)
    for option in (
        click.option("--database", default="", help="Where the store is Redis: the database of the inspections."),
        click.option(
            "--store",
            default="",
            envvar="HOLDFAST_STORE",
            show_envvar=True,
            help="sqlite:///PATH, postgresql://…, redis://…; by default a file in the data folder.",
        ),
        click.option(
            "--data", default=Path("data"), show_default=True, type=folder, help="Folder for database and attachments."
        ),
    ):
        command = option(command)
    return command


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), envvar="PORT", show_envvar=True)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes behind that address.")
@_data
@click.option(
    "--dist",
    default=Path("dist"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that `holdfast build` wrote.",
)
@click.option(
    "--max-body", default=Limits().body, show_default=True, type=click.IntRange(1), help="Bytes of a request."
)
@click.option("--max-file", default=Limits().file, show_default=True, type=click.IntRange(1), help="Bytes of one file.")
@click.option(
    "--key-lifetime",
    type=click.FloatRange(0, min_open=True),
    help="Seconds a key's answer is kept: 30 days, in Redis one.",
)
@click.option(
    "--lease",
    type=click.FloatRange(0, min_open=True),
    help="Seconds a process that died blocks the keys it worked on: 30, in Redis 60.",
)
@click.option("--sign-in", is_flag=True, help="Let only accounts in (see `holdfast accounts`), and keep them apart.")
def serve(
    *, host: str, port: int, workers: int, key_lifetime: float | None, lease: float | None, **settings: Any
) -> None:
    """Serve the app and its API."""
    try:
        run(
            Settings(**settings, key_lifetime_ms=_milliseconds(key_lifetime), lease_ms=_milliseconds(lease)),
            host=host,
            port=port,
            workers=workers,
        )
    except HoldfastServerError as error:
        raise click.ClickException(str(error)) from error


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1_000)


@main.group()
def accounts() -> None:
    """Who may sign in, where `holdfast serve --sign-in` asks for it."""


@accounts.command()
@click.argument("name")
@_data
def add(*, name: str, **where: Any) -> None:
    """Add an account, or give it another password: asked for, or the first line of standard input."""
    if not people.NAME.fullmatch(name):
        raise click.BadParameter("A name has up to 100 visible ASCII characters, and no space at either end.")
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not passwords.LEAST_LENGTH <= len(password) <= passwords.LONGEST:
        raise click.ClickException(f"A password has {passwords.LEAST_LENGTH} to {passwords.LONGEST} characters.")
    _in_database(where, people.put(name, passwords.hashed(password)))


@accounts.command()
@click.argument("name")
@_data
def remove(*, name: str, **where: Any) -> None:
    """Remove an account and end its sessions. What it sent stays."""
    if not _in_database(where, people.remove(name)):
        raise click.ClickException(f"There is no account {name!r}.")


@accounts.command(name="list")
@_data
def list_accounts(**where: Any) -> None:
    """List all accounts."""
    for name in _in_database(where, people.names()):
        click.echo(name)


@main.group()
def flags() -> None:
    """Show or change what clients are told not to send. Every process says the same at once."""


@flags.command()
@_data
def show(**where: Any) -> None:
    """Show what is switched off."""
    _flags(where, nothing)


@flags.command()
@click.argument("what", type=click.Choice(["all", "queue", "type"]))
@click.argument("name", required=False)
@_data
def disable(*, what: str, name: str | None, **where: Any) -> None:
    """Switch everything, a queue or a type off: clients keep such jobs and wait."""
    _flags(where, _switch(what, name, off=True))


@flags.command()
@click.argument("what", type=click.Choice(["all", "queue", "type"]))
@click.argument("name", required=False)
@_data
def enable(*, what: str, name: str | None, **where: Any) -> None:
    """Switch everything, a queue or a type on again."""
    _flags(where, _switch(what, name, off=False))


def _switch(what: str, name: str | None, *, off: bool) -> Callable[[dict[str, Any]], None]:
    if (what == "all") != (name is None):
        raise click.UsageError("Say `all`, or `queue NAME`, or `type NAME`.")

    def switch(document: dict[str, Any]) -> None:
        if name is None:
            document["all"] = off
        elif off:
            document[f"{what}s"].append(name)
        else:
            document[f"{what}s"] = [other for other in document[f"{what}s"] if other != name]

    return switch


def nothing(_: dict[str, Any]) -> None:
    """No change."""


def _flags(where: dict[str, Any], how: Callable[[dict[str, Any]], None]) -> None:
    steps = flags_document.read() if how is nothing else flags_document.change(how)
    click.echo(json.dumps(_in_database(where, steps)))


def _in_database(where: dict[str, Any], steps: Steps[Result]) -> Result:
    """Run steps on the data store that the options name."""

    async def run() -> Result:
        database = open_stores(where["store"], where["database"], where["data"]).database
        await database.open()
        try:
            return await database.write(steps)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except HoldfastServerError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option(
    "--out",
    default=Path("dist"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write.",
)
def build(*, out: Path) -> None:
    """Build the app: everything a browser needs, in one folder."""
    from holdfast_server.build import BuildError  # noqa: PLC0415  (what builds is not needed to serve)
    from holdfast_server.build import build as build_app  # noqa: PLC0415

    try:
        click.echo(str(build_app(out)))
    except BuildError as error:
        raise click.ClickException(str(error)) from error
