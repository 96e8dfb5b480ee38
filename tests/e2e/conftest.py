"""Other builds of the app: a later version with a newer database, one whose inspections go together."""

from pathlib import Path

import pytest

from tests.support.builds import NEXT_SCHEMA, changed_app

ROUTE = '    files_field="photos",\n'


@pytest.fixture(scope="session")
def migrating_build(tmp_path_factory) -> Path:
    """The later version of the app, with a newer database too."""
    return changed_app(tmp_path_factory.mktemp("migrating"), NEXT_SCHEMA)


@pytest.fixture(scope="session")
def batching_build(tmp_path_factory) -> Path:
    """The app with one more option: inspections that wait together share a request."""
    return changed_app(tmp_path_factory.mktemp("batching"), {"app/jobs.py": (ROUTE, f"{ROUTE}    batch=True,\n")})
