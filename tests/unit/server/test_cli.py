"""The command line."""

import pytest
from click.testing import CliRunner

from holdfast_server.cli import main


def test_an_unknown_store_is_one_sentence(tmp_path):
    """No traceback: what is wrong and what can be used."""
    arguments = ["serve", "--data", str(tmp_path), "--store", "mysql://localhost"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.output.startswith("Error: The store 'mysql'")
    assert "sqlite:///" in result.output


@pytest.mark.parametrize("command", ["serve", "build"])
def test_help_names_every_option(command):
    """Each option says what it is for."""
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    for option in {"serve": ["--host", "--port", "--data", "--store", "--dist"], "build": ["--out"]}[command]:
        assert option in result.output
