"""How a build takes its place: whole or not at all, without haste to throw the last one away, and with clear complaints."""

import json
import re
import shutil

import pytest

from holdfast_server.build import BuildError, build
from holdfast_server.build.project import Project

from .conftest import CACHE, ROOT


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*")}


def edit(root, text):
    (root / "static" / "app.css").write_text(text)


def test_a_build_without_changes_writes_nothing(built):
    """So `make serve` can always build first."""
    before = stamps(built.out)
    again = build(built.out, root=ROOT, cache=CACHE)
    assert (again.written, again.build, again.brotli_bytes) == (False, built.result.build, built.result.brotli_bytes)
    assert stamps(built.out) == before


def test_the_last_build_stays_for_open_tabs_and_older_ones_go(copy_project, tmp_path):
    """A tab that is open during an update may still ask for a file of the build it runs."""
    root, out = copy_project("app"), tmp_path / "dist"
    names = []
    for colour in ("red", "green", "blue"):
        edit(root, f"p {{ color: {colour} }}\n")
        names.append(build(out, root=root, cache=CACHE).build)
    assert {path.name for path in (out / "runtime").iterdir()} == set(names[1:])
    assert names[2] in (out / "sw.js").read_text()


def test_a_file_that_left_the_app_leaves_the_output(copy_project, tmp_path):
    """What is served is what the sources say."""
    root, out = copy_project("app"), tmp_path / "dist"
    (root / "static" / "about.html").write_text("<title>About</title>\n" * 99)
    build(out, root=root, cache=CACHE)
    assert (out / "about.html.br").is_file()
    (root / "static" / "about.html").unlink()
    build(out, root=root, cache=CACHE)
    assert list(out.glob("about*")) == []


def test_a_build_that_fails_leaves_the_output_as_it_was(copy_project, tmp_path):
    """A server goes on serving the last good build."""
    root, out = copy_project("app"), tmp_path / "dist"
    build(out, root=root, cache=CACHE)
    before = stamps(out)
    (root / "static" / "shim.js").unlink()
    with pytest.raises(BuildError, match=r"index\.html refers to .*/shim\.js"):
        build(out, root=root, cache=CACHE)
    assert stamps(out) == before


def test_a_picture_that_the_manifest_names_must_exist(copy_project, tmp_path):
    """An app with a missing icon cannot be installed, and no browser says why."""
    root = copy_project("app")
    path = root / "static" / "manifest.webmanifest"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "screenshots": [{"src": "/screenshots/none.png"}]}))
    with pytest.raises(BuildError, match=r"manifest\.webmanifest refers to .*/screenshots/none\.png"):
        build(tmp_path / "dist", root=root, cache=CACHE)


@pytest.mark.parametrize("folder", ["node_modules", ".cache"])
def test_without_the_fetched_parts_it_says_what_to_run(copy_project, tmp_path, folder):
    """The commonest mistake after a clone has its cure in the message."""
    root = copy_project("app")
    (root / folder).unlink()
    with pytest.raises(BuildError, match="run `make setup`"):
        build(tmp_path / "dist", root=root, cache=CACHE)


def test_without_a_source_folder_it_says_which(copy_project, tmp_path):
    """As plain as the one before."""
    root = copy_project("app")
    shutil.rmtree(root / "sw")
    with pytest.raises(BuildError, match=re.escape(str(root / "sw"))):
        build(tmp_path / "dist", root=root, cache=CACHE)


def test_forms_that_cannot_be_read_are_named(copy_project, tmp_path):
    """With the app's own traceback, since the fault is there."""
    root = copy_project("app")
    with (root / "app" / "forms.py").open("a") as file:
        file.write("\nraise RuntimeError('no rules today')\n")
    with pytest.raises(BuildError, match=r"app\.forms:FORMS(.|\n)*no rules today"):
        build(tmp_path / "dist", root=root, cache=CACHE)


def test_a_folder_that_is_no_app_is_refused(tmp_path):
    """Rather than building an empty one."""
    with pytest.raises(BuildError, match="run the build in the folder of a Holdfast app"):
        Project.load(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1"\n')
    with pytest.raises(BuildError, match=r"declares \[tool\.holdfast\]"):
        Project.load(tmp_path)


def test_a_project_is_found_from_a_folder_inside_it():
    """As git finds its repository."""
    assert Project.find(ROOT / "app").root == ROOT
