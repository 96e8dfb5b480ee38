"""The command `holdfast`."""

from pathlib import Path

import click
import uvicorn

from holdfast_server.app import create_app
from holdfast_server.errors import HoldfastServerError
from holdfast_server.limits import Limits
from holdfast_server.protocol import Protocol

GRACE_SECONDS = 10


@click.group()
def main() -> None:
    """Holdfast: build the reference app and serve it with its API."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), envvar="PORT", show_envvar=True)
@click.option(
    "--data",
    default=Path("data"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for database and attachments.",
)
@click.option("--store", default="", help="sqlite:///PATH; by default a file in the data folder.")
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
def serve(*, host: str, port: int, data: Path, store: str, dist: Path, max_body: int, max_file: int) -> None:
    """Serve the app and its API."""
    try:
        app = create_app(data, dist, store, limits=Limits(body=max_body, file=max_file))
    except HoldfastServerError as error:
        raise click.ClickException(str(error)) from error
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


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
