"""Other builds of the app: a later version to update to, one whose inspections go together."""

from pathlib import Path

import pytest

from tests.support.builds import NEXT, changed_app

ROUTE = '    files_field="photos",\n'


@pytest.fixture(scope="session")
def next_build(tmp_path_factory) -> Path:
    """A later version of the app: other script, other Python in page, library and worker."""
    return changed_app(tmp_path_factory.mktemp("next"), NEXT)


@pytest.fixture(scope="session")
def batching_build(tmp_path_factory) -> Path:
    """The app with one more option: inspections that wait together share a request."""
    return changed_app(tmp_path_factory.mktemp("batching"), {"app/jobs.py": (ROUTE, f"{ROUTE}    batch=True,\n")})
