"""A real server in a process of its own: started on a free port, stopped, killed, started again on the same port."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
STOP_SECONDS = 20


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """A web server as a child process. Use it as a context manager, or call `start` and `stop`.

    Args:
        arguments: of Python; the address they name is `port`'s.
        log: a file for what it says.
        port: where it listens.
        environment: of the process, beside this one's.
    """

    def __init__(
        self, arguments: list[str], *, log: Path, port: int, environment: dict[str, str] | None = None
    ) -> None:
        self.port = port
        self.log = log
        self._arguments = arguments
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The origin as a browser on this machine sees it; `localhost` counts as a secure context."""
        return f"http://localhost:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def arguments(self) -> list[str]:
        """What Python is told at the next start."""
        return self._arguments

    def start(self) -> Self:
        """Start it and wait until it answers. Does nothing while it runs."""
        if self.running:
            return self
        folders = [str(ROOT / name) for name in ("pyodide_modules", "server")]
        path = os.pathsep.join([*folders, str(ROOT), os.environ.get("PYTHONPATH", "")])
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.arguments],
                env={**os.environ, **self._environment, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"The server did not start:\n{self.log.read_text(errors='replace')}")
            time.sleep(0.02)  # between two looks at a process that has nothing to tell us by itself
        return self

    def stop(self) -> None:
        """Ask it to end, as a shutdown does: what runs is finished."""
        self._end(signal.SIGTERM)

    def terminate(self) -> None:
        """Ask it to end without waiting for it; `stop` waits."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: as a crash or a power cut would end it."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Server(Program):
    """`holdfast serve` as a child process.

    Args:
        data: the data folder; what is in it survives stop, kill and start.
        dist: the folder of the built app. Set `server.dist` before a `start` to serve another build at the same address.
        host: the address to listen on; "0.0.0.0" makes it reachable under other host names as well.
        options: further options of `holdfast serve`.
        port: a fixed port; by default a free one, which it keeps for all its life.
    """

    def __init__(
        self, data: Path, dist: Path, *, host: str = "127.0.0.1", options: tuple[str, ...] = (), port: int = 0
    ) -> None:
        port = port or free_port()
        super().__init__([], log=data.with_name(f"{data.name}-server-{port}.log"), port=port)
        self.data = data
        self.dist = dist
        self.host = host
        self.options = options

    @property
    def arguments(self) -> list[str]:
        """What Python is told at the next start."""
        command = ["-m", "holdfast_server", "serve", "--host", self.host, "--port", str(self.port)]
        return [*command, "--data", str(self.data), "--dist", str(self.dist), *self.options]
