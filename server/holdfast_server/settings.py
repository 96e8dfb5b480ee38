"""What a server was told at its start, as plain data: worker processes get it through their environment."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from holdfast_server.limits import Limits

VARIABLE: Final = "HOLDFAST_SETTINGS"


@dataclass(frozen=True, slots=True)
class Settings:
    """See `holdfast serve --help`."""

    data: Path
    dist: Path
    store: str = ""
    database: str = ""
    max_body: int = Limits().body
    max_file: int = Limits().file
    key_lifetime_ms: int | None = None
    lease_ms: int | None = None
    sign_in: bool = False

    def limits(self) -> Limits:
        """The caps on bodies."""
        return Limits(body=self.max_body, file=self.max_file)

    def pass_on(self) -> None:
        """Put them where `received` finds them in a child process."""
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        os.environ[VARIABLE] = json.dumps(plain)

    @classmethod
    def received(cls) -> Self:
        """The settings that a parent process passed on."""
        plain: dict[str, Any] = json.loads(os.environ[VARIABLE])
        return cls(**{**plain, "data": Path(plain["data"]), "dist": Path(plain["dist"])})
