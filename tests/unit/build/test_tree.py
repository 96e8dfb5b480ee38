"""What a finished build holds: everything it speaks of, and nothing that breaks without its origin."""

import base64
import csv
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile

import brotli
import pytest

from holdfast_server.build import build

from .conftest import CACHE, ROOT, Built

ENCODINGS = {".br": brotli.decompress, ".gz": gzip.decompress}


def plain_files(built):
    return [path for path in built.out.rglob("*") if path.is_file() and path.suffix not in ENCODINGS]


def test_the_precache_list_names_each_file_that_is_needed_offline_with_its_size(built):
    """Complete: the whole runtime folder, page, manifest, icons. Exact: a progress bar may add the bytes up."""
    listed = {url: size for url, size, _ in built.config["precache"]}
    assert listed == {url: built.file(url).stat().st_size for url in listed}
    assert built.config["bytes"] == sum(listed.values())
    here = {path.relative_to(built.out).as_posix() for path in plain_files(built)}
    needed = {name for name in here if name != "sw.js" and not name.startswith("screenshots/")}
    assert {"index.html" if url == "/" else url.removeprefix("/") for url in listed} == needed


def test_the_precache_list_has_the_digest_of_each_file_but_its_own(built):
    """Two builds' pages have the same size; only a digest tells whether a stored file is the one that is meant."""
    own = f"/runtime/{built.result.build}/config.js"
    digests = {url: digest for url, _, digest in built.config["precache"]}
    assert digests.pop(own) == ""
    assert digests == {url: hashlib.sha256(built.file(url).read_bytes()).hexdigest() for url in digests}


def test_everything_the_page_refers_to_is_precached(built):
    """Offline, a page with one missing stylesheet or script is a broken page."""
    listed = {url: size for url, size, _ in built.config["precache"]}
    page = (built.out / "index.html").read_text()
    used = re.findall(r"""<(?:script|link|img)\b[^>]*?(?:src|href)=["']([^"']+)""", page)
    assert used
    assert [url for url in used if url not in listed] == []
    manifest = json.loads((built.out / "manifest.webmanifest").read_text())
    assert [icon["src"] for icon in manifest["icons"] if icon["src"] not in listed] == []


def test_every_module_imported_by_our_scripts_is_in_the_build(built):
    """A static import that is not there would keep a whole script from running."""
    ours = [*built.runtime.glob("*.js"), built.out / "sw.js", built.out / "holdfast.js"]
    missing = []
    for script in ours:
        for target in re.findall(r"""(?:from|import)\s*\(?\s*["']([./][^"']+)["']""", script.read_text()):
            found = built.file(target) if target.startswith("/") else script.parent / target
            if not found.is_file():
                missing.append(f"{script.name}: {target}")
    assert missing == []


def test_the_fixed_addresses_name_the_build(built):
    """New bytes at /sw.js for every build, or no browser would notice an update."""
    name = built.result.build
    assert re.fullmatch("[0-9a-f]{16}", name)
    assert (built.out / "sw.js").read_text() == f'import "/runtime/{name}/sw.js";\n'
    client = f'"/runtime/{name}/holdfast.js"'
    assert (built.out / "holdfast.js").read_text() == f"export * from {client};\nexport {{ default }} from {client};\n"
    page = (built.out / "index.html").read_text()
    assert "{{build}}" not in page
    assert set(re.findall(r"/runtime/([^/\"']+)/", page)) == {name}
    assert built.config["build"] == name


def test_the_lock_file_lists_our_wheels_with_their_real_hashes(built):
    """Pyodide refuses a wheel whose hash differs; nothing else can be loaded by name."""
    lock = json.loads((built.runtime / "pyodide-lock.json").read_text())
    original = json.loads((ROOT / "node_modules/pyodide/pyodide-lock.json").read_text())
    assert lock["info"] == original["info"]
    assert set(lock["packages"]) == {"micropip", "fastjsonschema", "holdfast", "holdfast-app"}
    for name, entry in lock["packages"].items():
        data = (built.runtime / entry["file_name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], name
    assert lock["packages"]["holdfast-app"]["imports"] == ["app", "sw"]


def test_fetched_wheels_are_those_that_the_requirements_pin(built):
    """What reaches the browser is what was reviewed: the hash in the repository, not whatever a machine has."""
    pinned = set(re.findall("sha256:([0-9a-f]{64})", (ROOT / "requirements/browser.txt").read_text()))
    for prefix in ("micropip", "fastjsonschema"):
        (wheel,) = built.runtime.glob(f"wheels/{prefix}-*.whl")
        assert hashlib.sha256(wheel.read_bytes()).hexdigest() in pinned


@pytest.mark.parametrize("prefix", ["holdfast", "holdfast_app"])
def test_our_wheels_are_whole(built, prefix):
    """Each file is in RECORD with its hash and size, so any installer takes the wheel."""
    (path,) = built.runtime.glob(f"wheels/{prefix}-*.whl")
    with zipfile.ZipFile(path) as wheel:
        (record,) = [name for name in wheel.namelist() if name.endswith(".dist-info/RECORD")]
        rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(wheel.read(record).decode()))}
        assert set(rows) == set(wheel.namelist())
        assert rows.pop(record) == ("", "")
        for name, (digest, size) in rows.items():
            data = wheel.read(name)
            encoded = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={encoded}", str(len(data)))
        text = wheel.read(record.replace("RECORD", "METADATA")).decode()
        assert f"Name: {prefix.replace('_', '-')}\n" in text


def test_the_app_can_be_imported_from_its_wheels_alone(built):
    """Nothing of the app or the library is left behind in the checkout."""
    wheels = [str(path) for path in built.runtime.glob("wheels/*.whl")]
    code = "import sys; sys.path[:0] = sys.argv[1:]; import app.forms, holdfast; print(app.forms.__file__, holdfast.__file__)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *wheels], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(built.runtime)) == 2


def test_compressed_copies_hold_the_same_bytes_and_fewer(built):
    """A server may hand out either; where compression saves nothing there is no copy."""
    copies = [path for path in built.out.rglob("*") if path.suffix in ENCODINGS]
    for copy in copies:
        original = copy.with_suffix("")
        assert ENCODINGS[copy.suffix](copy.read_bytes()) == original.read_bytes(), copy
        assert copy.stat().st_size < original.stat().st_size, copy
    names = {path.name for path in copies}
    assert {"pyodide.asm.wasm.br", "pyodide.asm.wasm.gz", "index.html.br", "app.css.gz"} <= names
    assert "python_stdlib.zip.br" not in names


def test_the_figures_of_a_first_visit_are_those_of_the_files(built):
    """The bytes that the terminal states are what is really sent."""
    files = [built.file(url) for url, *_ in built.config["precache"]]
    sent = [copy if (copy := path.with_name(f"{path.name}.br")).is_file() else path for path in files]
    assert (built.result.files, built.result.brotli_bytes) == (len(files), sum(path.stat().st_size for path in sent))
    assert built.result.brotli_bytes < built.result.gzip_bytes < built.result.bytes == built.config["bytes"]


def test_the_readme_states_the_figures_of_a_first_visit(built):
    """In MB, to within a tenth: of both encodings, and of the parts with Brotli."""
    readme = (ROOT / "README.md").read_text()
    stated = re.search(
        r"([\d.]+) MB with Brotli, ([\d.]+) MB with gzip.*?WebAssembly ([\d.]+), .*? ([\d.]+), .*? ([\d.]+)\. ", readme
    )
    machine = (built.runtime / "pyodide.asm.wasm.br").stat().st_size
    library = (built.runtime / "python_stdlib.zip").stat().st_size
    whole = built.result.brotli_bytes
    sizes = (whole, built.result.gzip_bytes, machine, library, whole - machine - library)
    assert stated
    assert [float(figure) for figure in stated.groups()] == pytest.approx([size / 1e6 for size in sizes], abs=0.1)


def test_no_source_map_is_promised(built):
    """Maps are not part of a build; a browser's tools would ask for them in vain."""
    scripts = [path for path in plain_files(built) if path.suffix in (".js", ".mjs")]
    assert [path.name for path in scripts if "sourceMappingURL=" in path.read_text().splitlines()[-1]] == []


def test_secret_fields_are_told_to_the_page(copy_project, tmp_path):
    """Their names come from the app's own forms, so that scripts can drop them before Python is there."""
    root = copy_project("app")
    with (root / "app" / "forms.py").open("a") as file:
        file.write("\n\nclass _Login:\n    secrets = ('pin', 'code')\n\n\nFORMS['log.in'] = _Login()\n")
    out = tmp_path / "dist"
    forms = Built(build(out, root=root, cache=CACHE), out).config["forms"]
    assert forms["log.in"] == {"secrets": ["code", "pin"]}
    assert forms["inspection.create"] == {"secrets": []}


def test_no_file_of_the_repository_or_of_our_making_names_a_registry(built):
    """Where packages come from is for each machine to say; what is pinned here is name, version and hash."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    committed = [ROOT / name for name in listed.split("\0") if name]
    generated = [
        built.out / "sw.js",
        built.out / "holdfast.js",
        built.runtime / "config.js",
        built.runtime / "pyodide-lock.json",
    ]
    # Written so that this line does not find itself.
    registry = re.compile(
        r'registry[.]npmjs|pythonhosted[.]org|pypi[.]org/simple|"resolved[":]|--(extra-)?index[-]url|--find[-]links'
    )
    naming = [
        path.name
        for path in committed + generated
        if path.is_file() and registry.search(path.read_bytes().decode(errors="replace"))
    ]
    assert naming == []
