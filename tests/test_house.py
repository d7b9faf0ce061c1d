"""The house keeps its word: what the documents say exists, and the locks agree."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, distributions, packages_distributions
from pathlib import Path

import pytest
import typer.core
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from qianmian.cli.main import COMMANDS
from qianmian.contracts.api import MAX_SHOWN, RankedBlock

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("dev", "cpu", "serve", "gpu")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

#: Packages whose own metadata is replaced, see [tool.uv] in pyproject.toml.
REPLACED = {entry["name"] for entry in PYPROJECT["tool"]["uv"]["dependency-metadata"]}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def documents() -> list[Path]:
    patterns = ("*.md", "docs/**/*.md", "requirements/*.md", "benchmarks/**/*.md")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def shell_lines(document: Path) -> list[str]:
    blocks = re.findall(
        r"^```bash\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL
    )
    text = "".join(blocks).replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip()]


def pins(lock: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()
    found = [re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line) for line in lines]
    return {canonicalize_name(match[1]): match[2] for match in found if match}


# -- documents --------------------------------------------------------------------------------


def test_every_make_target_that_a_document_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        (document.name, target)
        for document in documents()
        for target in re.findall(r"`make ([a-z-]+)", document.read_text())
    }
    named |= {
        (document.name, line.split()[1])
        for document in documents()
        for line in shell_lines(document)
        if line.startswith("make ")
    }
    assert {target for _, target in named} >= {"demo", "test", "env"}
    assert {(name, target) for name, target in named if target not in targets} == set()


def test_make_help_tells_every_target():
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)[1].split()
    told = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
    )
    assert [line.split()[1] for line in told.stdout.splitlines()] != []
    assert {line.split()[1] for line in told.stdout.splitlines()} == set(phony)


def command_lines() -> list[tuple[str, str]]:
    return [
        (str(document.relative_to(ROOT)), line)
        for document in documents()
        for line in shell_lines(document)
        if line.startswith("qianmian ")
    ]


@pytest.mark.parametrize(("document", "line"), command_lines())
def test_every_command_that_a_document_names_exists(document, line):
    words = shlex.split(line, comments=True)[1:]
    while words and words[0] in ("--home", "--dataset"):
        words = words[2:]
    entries = {entry.name: entry for entry in COMMANDS}
    assert words[0] in entries, f"{document}: {line}"
    command = entries[words.pop(0)].load()
    while isinstance(command, typer.core.TyperGroup):
        assert words, f"{document}: {line}: which command of the group?"
        assert words[0] in command.commands, f"{document}: {line}"
        command = command.commands[words.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    asked = {word.split("=")[0] for word in words if word.startswith("--")}
    assert asked <= options, f"{document}: {line}"


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_between_documents_leads_somewhere(document):
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    local = [target for target in targets if "://" not in target and "mailto:" not in target]
    missing = [target for target in local if not (document.parent / target).exists()]
    assert missing == []


def test_every_decision_stands_in_the_index():
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    assert [path.name for path in folder.glob("[0-9]*.md") if f"({path.name})" not in index] == []


def test_every_guide_and_reference_stands_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [*(ROOT / "docs").glob("how-to/*.md"), *(ROOT / "docs").glob("reference/*.md")]
    assert [page.name for page in pages if f"({page.parent.name}/{page.name})" not in index] == []


def test_documents_name_the_end_of_paging():
    said = f"{MAX_SHOWN:,} items"
    assert said in (ROOT / "docs" / "reference" / "api.md").read_text()
    assert said in str(RankedBlock.model_json_schema())


def test_the_change_log_knows_this_version():
    assert f"## {PYPROJECT['project']['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_continuous_integration_runs_the_test_command_of_the_readme():
    assert "make test" in shell_lines(ROOT / "README.md")
    assert re.search(
        r"^part \w+ make test\b", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE
    )


def test_no_tracked_file_names_a_package_host_or_a_place_on_one_machine():
    host = r"https?://[^\s\"')]*(?:py[p]i|pythonhoste[d]|download\.pytorc[h]|npmj[s])"
    place = r"(?<![\w.$}~-])/(?:roo[t]|hom[e]/\w+|Use[r]s/\w+|wor[k]|opt/(?:wheel[s]|pyp[i]))/"
    faults = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # an image
        found = re.finditer(f"{host}|{place}", text)
        faults += [f"{path.relative_to(ROOT)}: {match[0]}" for match in found]
    assert faults == []


# -- locks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_everything_by_public_version(lock):
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text().splitlines()
    loose = [
        line
        for line in lines
        if line and not line.startswith("#") and not re.match(r"[a-z0-9.-]+==[^ +]+( |$)", line)
    ]
    assert loose == []


@pytest.mark.parametrize("lock", ["cpu", "serve", "gpu"])
def test_locks_agree_on_what_they_share(lock):
    dev, other = pins("dev"), pins(lock)
    shared = dev.keys() & other.keys()
    assert len(shared) > 100
    assert {name: (dev[name], other[name]) for name in shared if dev[name] != other[name]} == {}


def test_locks_nest():
    assert pins("serve").keys() <= pins("cpu").keys() <= pins("dev").keys()
    assert not pins("serve").keys() & {"torch", "torchrec", "fbgemm-gpu-cpu", "onnx", "onnxscript"}
    assert pins("gpu").keys() >= {"torch", "torchrec", "fbgemm-gpu", "onnxruntime-gpu"}
    assert not pins("gpu").keys() & {"fbgemm-gpu-cpu", "onnxruntime"}


def declared(*extras: str, groups: tuple[str, ...] = ()) -> list[Requirement]:
    project = PYPROJECT["project"]
    texts = list(project["dependencies"])
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    for group in groups:
        texts += PYPROJECT["dependency-groups"][group]
    wanted = [Requirement(text) for text in texts]
    return [requirement for requirement in wanted if requirement.name != "qianmian"]


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("serve", declared("redis")),
        ("cpu", declared("demo", "redis", "train", "train-cpu", "tune")),
        ("dev", declared("demo", "redis", "train", "train-cpu", "tune", groups=("dev",))),
    ],
)
def test_a_lock_holds_what_is_declared(lock, wanted):
    held = pins(lock)
    for requirement in wanted:
        version = held.get(canonicalize_name(requirement.name))
        assert version is not None, requirement
        assert requirement.specifier.contains(version, prereleases=True), (requirement, version)


PACKAGES = ("qianmian", "models", "training", "serving", "benchmarks", "feature_repo", "tests")
CORE = declared("demo", "redis")
TRAINING = declared("demo", "redis", "train", "train-cpu", "tune")
EVERYTHING = declared("demo", "redis", "train", "train-cpu", "tune", groups=("dev",))


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("qianmian", CORE),
        ("qianmian/cli", TRAINING),
        ("serving", CORE),
        ("feature_repo", CORE),
        ("models", TRAINING),
        ("training", TRAINING),
        ("benchmarks", EVERYTHING),
        ("tests", EVERYTHING),
    ],
)
def test_what_is_imported_is_declared(folder, allowed):
    names = {canonicalize_name(requirement.name) for requirement in allowed}
    providers = packages_distributions()
    undeclared = set()
    for path in sorted((ROOT / folder).rglob("*.py")):
        if folder == "qianmian" and "cli" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            else:
                continue
            for top in {module.split(".")[0] for module in modules}:
                if top in sys.stdlib_module_names or top in PACKAGES:
                    continue
                if not names & {canonicalize_name(name) for name in providers.get(top, ())}:
                    undeclared.add((str(path.relative_to(ROOT)), top))
    assert undeclared == set()


@pytest.mark.parametrize("lock", ["dev", "cpu", "serve"])
def test_a_lock_holds_what_its_packages_ask_for(lock):
    """Locks are installed without resolving, so nobody else would notice."""
    held = pins(lock)
    here = {canonicalize_name(dist.metadata["Name"]) for dist in distributions()}
    faults = []
    for name in sorted(held.keys() & here - REPLACED):
        for text in distribution(name).requires or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            version = held.get(canonicalize_name(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                faults.append(f"{name} asks for {requirement}, the lock holds {version}")
    assert faults == []


def test_the_environment_is_what_the_lock_says():
    held = pins("dev")
    differing = {
        name: (version, installed)
        for name, version in held.items()
        if (installed := distribution(name).version.split("+")[0]) != version
    }
    assert differing == {}
