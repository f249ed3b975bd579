"""The project files: what is declared, what the image contains, and what the services expose."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests.processes import PROJECT

METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
COMPOSE = yaml.safe_load((PROJECT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
WORKFLOWS = {
    file.stem: yaml.safe_load(file.read_text())
    for file in (PROJECT / ".github/workflows").glob("*.yml")
}
WORKFLOW = WORKFLOWS["tests"]
DOCKERFILE = (PROJECT / "Dockerfile").read_text()

OWN_PACKAGES = {"benchmarks", "community_directory", "docs", "examples", "main", "tests", "tools"}
DISTRIBUTIONS = {"tortoise": ["tortoise-orm"], **packages_distributions()}
"""Distributions by import name; the benchmarks' are known even where they are not installed."""
USED_WITHOUT_IMPORT = {
    "axe-playwright-python",  # has the script of axe-core
    "pytest-asyncio",  # a plugin, like the next two
    "pytest-timeout",
    "pytest-xdist",
    "schemathesis",  # a program, like the next one
    "squawk-cli",
    "tzdata",  # zoneinfo reads it
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    """Return the distributions that the package and these extras declare themselves."""
    requirements = list(METADATA["dependencies"])
    for extra in extras:
        requirements += METADATA["optional-dependencies"][extra]
    names = {canonical(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}
    return names - {METADATA["name"]}


def imported_modules(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module


def imported_names(file: Path) -> Iterator[str]:
    """Return the names of packages, which are those of distributions, too, if several share one."""
    for module in imported_modules(file):
        name = module.partition(".")[0]
        if len(set(DISTRIBUTIONS.get(name, []))) < 2:
            yield name
        else:
            yield "opentelemetry-sdk" if module.startswith("opentelemetry.sdk") else f"{name}-api"


def imported(folder: str) -> dict[str, set[str]]:
    """Return the distributions that a folder imports, each with the files that import it."""
    found: dict[str, set[str]] = {}
    for file in sorted((PROJECT / folder).rglob("*.py")):
        for name in set(imported_names(file)) - OWN_PACKAGES - sys.stdlib_module_names:
            for distribution in DISTRIBUTIONS.get(name, [name]):
                path = str(file.relative_to(PROJECT))
                found.setdefault(canonical(distribution), set()).add(path)
    return found


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("community_directory", ["bot", "embedded", "uvloop"]),
        ("tests", ["bot", "embedded", "test"]),
        ("benchmarks", ["embedded", "bench"]),
        ("docs", ["docs", "test"]),
    ],
)
def test_every_package_that_is_imported_is_declared(folder: str, extras: list[str]) -> None:
    undeclared = {
        distribution: files
        for distribution, files in imported(folder).items()
        if distribution not in declared(*extras)
    }
    assert not undeclared


def test_every_package_that_is_declared_is_used() -> None:
    everywhere = imported("community_directory") | imported("tests") | imported("benchmarks")
    unused = declared("embedded", "test", "bench") - set(everywhere) - USED_WITHOUT_IMPORT
    assert not unused


def test_the_constraints_pin_a_version_of_each_dependency_that_is_allowed() -> None:
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    # There is no option, such as the address of an index.
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.+]+", pin) for pin in pins)
    versions = dict(pin.split("==") for pin in pins)
    extras: dict[str, list[str]] = METADATA["optional-dependencies"]
    for text in [*METADATA["dependencies"], *(text for extra in extras.values() for text in extra)]:
        requirement = Requirement(text)
        if requirement.name != METADATA["name"]:
            advice = f"{text}: run `make constraints`"
            assert canonical(requirement.name) in versions, advice
            assert versions[canonical(requirement.name)] in requirement.specifier, advice


def test_only_the_embedded_database_imports_the_packages_of_its_extra() -> None:
    found = imported("community_directory")
    for distribution in declared("embedded") - declared():
        assert found[distribution] == {"community_directory/database/embedded.py"}


def test_each_python_version_that_is_declared_is_tested() -> None:
    versions = {
        classifier.rpartition(" ")[2]
        for classifier in METADATA["classifiers"]
        if re.search(r"Python :: 3\.\d+$", classifier)
    }
    newest = WORKFLOW["jobs"]["newest"]["strategy"]["matrix"]["python"]
    image = WORKFLOW["jobs"]["everything"]["container"]["image"]
    tested = {*newest, *re.findall(r"python:([\d.]+)-", image)}
    assert versions
    assert versions <= tested
    assert METADATA["requires-python"].removeprefix(">=") in tested


def test_the_image_runs_a_declared_python_version_and_not_as_root() -> None:
    bases = set(re.findall(r"^FROM python:([\d.]+)-slim", DOCKERFILE, re.MULTILINE))
    (version,) = bases
    assert f"Programming Language :: Python :: {version}" in METADATA["classifiers"]
    (user,) = re.findall(r"^USER (\d+)", DOCKERFILE, re.MULTILINE)
    assert int(user) > 0


def test_the_image_is_built_from_the_package_and_its_metadata_alone() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    included = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    assert included == {
        "LICENSE",
        "README.md",
        "community_directory",
        "constraints.txt",
        "pyproject.toml",
    }
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {name for names in copied for name in names.split()} == included


def test_compose_yaml_contains_no_secret() -> None:
    from_the_environment = r"\$\{\w+(:\?[^}]+)?\}"
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY", variable):
                assert re.fullmatch(from_the_environment, value), variable
            for password in re.findall(r"://[^:/]+:(.+)@", value):
                assert re.fullmatch(from_the_environment, password), variable


def test_only_this_machine_can_reach_the_services() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_directory_starts_after_its_database_and_the_data_outlives_the_containers() -> None:
    assert SERVICES["directory"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert "healthcheck" in SERVICES["postgres"]
    assert "HEALTHCHECK" in DOCKERFILE
    (volume,) = SERVICES["postgres"]["volumes"]
    assert volume.partition(":")[0] in COMPOSE["volumes"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read_and_no_job_runs_without_end(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    jobs: dict[str, dict[str, Any]] = WORKFLOWS[name]["jobs"]
    assert all("timeout-minutes" in job and "permissions" not in job for job in jobs.values())


def test_the_image_runs_a_program_of_the_package() -> None:
    (entry_point,) = re.findall(r'^ENTRYPOINT \["([\w-]+)"\]', DOCKERFILE, re.MULTILINE)
    assert entry_point in METADATA["scripts"]


def test_a_source_distribution_has_no_half_test_suite() -> None:
    assert "prune tests" in (PROJECT / "MANIFEST.in").read_text().splitlines()
