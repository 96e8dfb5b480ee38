"""`python -m holdfast_server.build --out dist`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from holdfast_server.build import BuildError, build


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default="dist", show_default=True, help="where the files go")
def main(out: Path) -> None:
    """Build the app as files to serve."""
    try:
        click.echo(str(build(out)))
    except BuildError as wrong:
        sys.exit(str(wrong))


main()
