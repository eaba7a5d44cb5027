"""No container engine is at hand: what can be known of docker/ without one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement

from pipeline.database.settings import FILE_SUFFIX, HOME_VARIABLE, SECRETS, VARIABLES

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKER = REPOSITORY / "docker"
BIN = Path(sys.executable).parent
COMPOSE = ["compose.yaml", "compose.tls.yaml", "compose.gpu.yaml"]
MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))
SCRIPTS = sorted([*DOCKER.rglob("*.sh"), *DOCKER.rglob("*.sbatch")])
FILES = sorted(
    path
    for path in DOCKER.rglob("*")
    if path.is_file() and not {"secrets", "certificates"} & set(path.relative_to(DOCKER).parts)
)
ONE_SHOT = {"init", "bucket", "admin", "reader"}
SETTINGS = {
    HOME_VARIABLE,
    "NEUROTEACH_GIT_COMMIT",  # schemas/base.py reads it
    *VARIABLES.values(),
    *SECRETS.values(),
    *(name + FILE_SUFFIX for name in SECRETS.values()),
}


def run(
    *command: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=60, env=environment
    )


def tool(name: str, *arguments: str | Path) -> None:
    """A linter that is installed beside the interpreter finds nothing."""
    found = run(BIN / name, *arguments)
    assert found.returncode == 0, found.stdout + found.stderr


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text())
    return loaded


def services(name: str = "compose.yaml") -> list[Any]:
    return [pytest.param(s, id=n) for n, s in compose(name)["services"].items()]


def manifests() -> list[Any]:
    return [pytest.param(yaml.safe_load(m.read_text()), id=m.name) for m in MANIFESTS]


# -- linters and schemas -----------------------------------------------------------------------


def test_dockerfile_passes_hadolint() -> None:
    tool("hadolint", DOCKER / "Dockerfile")


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_files_follow_the_schema(name: str) -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DOCKER / name)


@pytest.mark.parametrize("manifest", manifests())
def test_manifests_follow_the_schema_of_kubernetes(manifest: dict[str, Any]) -> None:
    for version in ("1.32", "1.37"):
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_scripts_pass_shellcheck(script: Path) -> None:
    tool("shellcheck", script)
    shell = "bash" if script.read_text().startswith("#!/bin/bash") else "sh"
    parsed = run(shell, "-n", script)
    assert parsed.returncode == 0, parsed.stderr
    assert script.suffix == ".sbatch" or os.access(script, os.X_OK), "not executable"


# -- the image ---------------------------------------------------------------------------------


def dockerfile() -> str:
    return (DOCKER / "Dockerfile").read_text()


def test_image_ends_as_a_normal_user() -> None:
    last_stage = re.split(r"^FROM ", dockerfile(), flags=re.MULTILINE)[-1]
    assert re.findall(r"^USER (.+)$", last_stage, flags=re.MULTILINE)[-1] == "1000:1000"
    assert "pip" not in last_stage


def test_all_that_the_image_copies_is_there_and_let_through() -> None:
    let_through = {
        line[1:]
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile(), flags=re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == let_through
    assert all((REPOSITORY / name).exists() for name in copied)
    packages = {path.parent.name for path in REPOSITORY.glob("*/py.typed")}
    assert packages and packages <= copied


def test_image_installs_a_torch_that_the_package_accepts() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    pinned = dict(
        re.findall(r"^ARG (TORCH|TORCHVISION)_VERSION=(\S+)$", dockerfile(), re.MULTILINE)
    )
    assert {name.lower() for name in pinned} == {"torch", "torchvision"}
    assert all(version in wanted[name.lower()] for name, version in pinned.items())
    extras = set(re.findall(r'install "\.\[(\w+)\]"', dockerfile()))
    assert extras == {"s3"} and extras <= set(project["optional-dependencies"])


# -- images, passwords, variables --------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [DOCKER / "Dockerfile", *map(DOCKER.joinpath, COMPOSE), *MANIFESTS]
)
def test_images_of_others_are_pinned(path: Path) -> None:
    for image in re.findall(r"^\s*(?:FROM|-?\s*image:) (\S+)", path.read_text(), re.MULTILINE):
        tag = image.rpartition("/")[2].partition(":")[2]
        assert image == "neuroteach:local" or re.match(r"\d+\.\d+", tag), f"{image} is not pinned"


def test_all_python_images_are_the_same() -> None:
    assert len(set(re.findall(r"^FROM (\S+)", dockerfile(), re.MULTILINE))) == 1


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_password_is_written_down(path: Path) -> None:
    text = re.sub(r":'\w+'", "", path.read_text())  # a variable of psql is none
    assert "PRIVATE KEY" not in text
    assert not re.search(r"\b[0-9a-f]{32,}\b", text)
    assert not re.search(r"(postgresql|mysql)://[^\s/@:]+:[^\s/@]+@", text)
    given = re.findall(r"(?:PASSWORD|SECRET_KEY)(?!_FILE)\w*[\"']?\s*[:=]\s*([^\s,}]*)", text)
    assert all(value == "" for value in given), given


@pytest.mark.parametrize("path", [*FILES, REPOSITORY / "docs" / "workers.md"], ids=lambda p: p.name)
def test_variables_are_those_that_the_program_knows(path: Path) -> None:
    used = set(re.findall(r"NEUROTEACH_[A-Z_]+", path.read_text()))
    assert used <= SETTINGS


def test_git_ignores_passwords_and_keys() -> None:
    for name in ("secrets/database-admin", "certificates/server.key", ".env"):
        ignored = run("git", "-C", REPOSITORY, "check-ignore", "--no-index", f"docker/{name}")
        assert ignored.returncode == 0, name


# -- services ----------------------------------------------------------------------------------


@pytest.mark.parametrize("service", services())
def test_services_are_confined(service: dict[str, Any]) -> None:
    user = service["user"].split(":")[0]
    assert user.isdigit() and int(user) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("ports")


@pytest.mark.parametrize("service", services("compose.tls.yaml"))
def test_ports_are_open_to_this_machine_alone_unless_asked(service: dict[str, Any]) -> None:
    assert all(p.startswith("${ADDRESS:-127.0.0.1}:") for p in service.get("ports", []))


def test_services_that_stay_up_are_looked_after() -> None:
    for name, service in compose()["services"].items():
        if name in ONE_SHOT:
            assert service["restart"] == "no", name
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name


def test_what_waits_for_health_can_see_it() -> None:
    defined = compose()["services"]
    for service in defined.values():
        for name, how in service.get("depends_on", {}).items():
            healthy = how["condition"] == "service_healthy"
            assert ("healthcheck" in defined[name]) == healthy
            assert healthy or how["condition"] == "service_completed_successfully"


def test_a_stopped_worker_has_time_to_put_its_job_back() -> None:
    from pipeline.workers.processes import STOP_TIMEOUT

    worker = yaml.safe_load((DOCKER / "kubernetes" / "worker.yaml").read_text())
    assert worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > STOP_TIMEOUT
    assert int(compose()["services"]["worker"]["stop_grace_period"].rstrip("s")) > STOP_TIMEOUT


def test_secrets_that_are_used_are_defined_and_made(tmp_path: Path) -> None:
    whole = {name: file for c in COMPOSE for name, file in compose(c).get("secrets", {}).items()}
    used = set()
    for name in COMPOSE:
        for service in compose(name)["services"].values():
            used |= set(service.get("secrets", []))
    assert used == set(whole)
    made = make(tmp_path, "make-secrets.sh") | make(tmp_path, "make-certificates.sh")
    assert {Path(definition["file"]).name for definition in whole.values()} == made


def test_services_get_the_secrets_that_their_settings_name() -> None:
    for name, service in compose()["services"].items():
        named = {
            Path(value).name
            for variable, value in service.get("environment", {}).items()
            if variable.endswith("_FILE")
        }
        assert named <= set(service.get("secrets", [])), name
        if name in ("worker", "reader"):
            assert named == set(service["secrets"]), name
            assert all(secret.endswith(f"-{name}") for secret in named), name


def test_encryption_changes_nothing_else() -> None:
    plain, encrypted = compose()["services"], compose("compose.tls.yaml")["services"]
    for name in ("database", "object-store"):
        command = encrypted[name]["command"]
        assert command[: len(plain[name]["command"])] == plain[name]["command"], name
    for name in ("init", "admin", "worker", "reader"):
        url = encrypted[name]["environment"]["NEUROTEACH_DATABASE"]
        before, _, after = url.partition("?")
        assert before == plain[name]["environment"]["NEUROTEACH_DATABASE"]
        assert after == "sslmode=verify-full&sslrootcert=/run/secrets/authority"


@pytest.mark.parametrize("name", ["init", "admin", "worker", "reader"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_settings_of_services_are_settings(name: str, encrypted: bool, tmp_path: Path) -> None:
    from pipeline.database.settings import load_settings

    environment = dict(compose()["services"][name]["environment"])
    if encrypted:
        environment |= compose("compose.tls.yaml")["services"][name]["environment"]
    for variable, value in environment.items():
        if variable.endswith("_FILE"):
            secret = tmp_path / Path(value).name
            secret.write_text(f"the secret of {secret.name}")
            environment[variable] = str(secret)
    settings = load_settings({**environment, HOME_VARIABLE: str(tmp_path)})
    role = "admin" if name == "init" else name
    address = settings.server_address
    assert address.user == f"neuroteach_{role}"
    assert address.password is not None
    assert address.password.get_secret_value() == f"the secret of database-{role}"
    store = settings.store_for_datajoint()
    assert store["secret_key"] == f"the secret of store-{role}"
    assert store["bucket"] == compose()["services"]["bucket"]["command"][0]


@pytest.mark.parametrize("name", ["init.yaml", "worker.yaml"])
def test_pods_are_confined(name: str) -> None:
    manifest = yaml.safe_load((DOCKER / "kubernetes" / name).read_text())
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["resources"]["limits"]["memory"]
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
    home = re.search(r"NEUROTEACH_HOME=(\S+)", dockerfile())
    assert home is not None and writable == {home[1], "/tmp"}


def test_liveness_asks_for_the_file_that_the_worker_touches(tmp_path: Path) -> None:
    from pipeline.database.settings import load_settings

    settings = load_settings({HOME_VARIABLE: str(tmp_path)})
    manifest = yaml.safe_load((DOCKER / "kubernetes" / "worker.yaml").read_text())
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    checks = [
        container["livenessProbe"]["exec"]["command"],
        container["startupProbe"]["exec"]["command"],
        ["sh", "-c", compose()["services"]["worker"]["healthcheck"]["test"][1].replace("$$", "$")],
    ]
    environment = {**os.environ, HOME_VARIABLE: str(tmp_path)}
    for check in checks:
        settings.worker_alive.unlink(missing_ok=True)
        assert run(*check, environment=environment).returncode != 0
        settings.worker_alive.touch()
        assert run(*check, environment=environment).returncode == 0
        os.utime(settings.worker_alive, (0, 0))
        assert run(*check, environment=environment).returncode != 0


# -- scripts -----------------------------------------------------------------------------------


def make(folder: Path, script: str, *arguments: str) -> set[str]:
    """Run a copy of a script that makes a folder beside itself; names of what it made."""
    shutil.copy(DOCKER / script, folder)
    before = set(folder.iterdir())
    done = run(folder / script, *arguments)
    assert done.returncode == 0, done.stderr
    (made,) = set(folder.iterdir()) - before
    return {path.name for path in made.iterdir()}


def test_passwords_are_random_and_their_folder_is_private(tmp_path: Path) -> None:
    names = make(tmp_path, "make-secrets.sh")
    folder = tmp_path / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in names:  # containers run as other users than the owner
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o644
    passwords = {name: (folder / name).read_text() for name in names - {"store-identities"}}
    assert len(set(passwords.values())) == len(passwords) == 7
    assert all(re.fullmatch(r"[0-9a-f]{48}", password) for password in passwords.values())


def test_passwords_in_use_are_not_written_over(tmp_path: Path) -> None:
    make(tmp_path, "make-secrets.sh")
    before = {path: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    again = run(tmp_path / "make-secrets.sh")
    assert again.returncode == 1 and "is there already" in again.stderr
    assert {path: path.read_text() for path in (tmp_path / "secrets").iterdir()} == before
    assert not any(password in again.stderr + again.stdout for password in before.values())
    assert {p.name for p in tmp_path.iterdir()} == {"make-secrets.sh", "secrets"}


def test_keys_of_the_store_have_the_rights_of_their_role(tmp_path: Path) -> None:
    make(tmp_path, "make-secrets.sh")
    folder = tmp_path / "secrets"
    bucket = compose()["services"]["bucket"]["command"][0]
    rights = {
        "admin": {"Admin"},
        "worker": {f"{right}:{bucket}" for right in ("Read", "List", "Write")},
        "reader": {f"{right}:{bucket}" for right in ("Read", "List")},
    }
    identities = json.loads((folder / "store-identities").read_text())["identities"]
    assert len(identities) == len(rights)
    for identity in identities:
        (credentials,) = identity["credentials"]
        role = credentials["accessKey"].removeprefix("neuroteach-")
        assert set(identity["actions"]) == rights[role]
        assert credentials["secretKey"] == (folder / f"store-{role}").read_text()
        key = compose()["services"][role]["environment"]["NEUROTEACH_STORE_ACCESS_KEY"]
        assert credentials["accessKey"] == key


def test_certificate_is_vouched_for_and_names_its_hosts(tmp_path: Path) -> None:
    names = make(tmp_path, "make-certificates.sh", "lab.example.org", "192.0.2.7")
    assert names == {"authority.crt", "server.crt", "server.key"}
    folder = tmp_path / "certificates"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for host in ("database", "object-store", "lab.example.org"):
        verified = run(
            *("openssl", "verify", "-x509_strict", "-purpose", "sslserver"),
            *("-verify_hostname", host, "-CAfile", folder / "authority.crt"),
            folder / "server.crt",
        )
        assert verified.returncode == 0, verified.stderr
    names_of = run("openssl", "x509", "-in", folder / "server.crt", "-noout", "-text").stdout
    assert "IP Address:192.0.2.7" in names_of
    again = run(tmp_path / "make-certificates.sh")
    assert again.returncode == 1 and "is there already" in again.stderr


def test_slurm_sends_its_signal_to_the_worker(tmp_path: Path) -> None:
    program = tmp_path / "neuroteach"
    program.write_text(
        "#!/bin/sh\n"
        "trap 'echo told; exit 0' TERM\n"
        'echo "$NEUROTEACH_HOME $OMP_NUM_THREADS $*"\n'
        "while :; do sleep 0.1; done\n"
    )
    program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TMPDIR": str(tmp_path),
        "NEUROTEACH_DATABASE": "postgresql://somebody@database.example.org/neuroteach",
        "NEUROTEACH_STORE": "/a/shared/folder",
        "SLURM_JOB_ID": "12",
        "SLURM_CPUS_PER_TASK": "4",
    }
    job = subprocess.Popen(
        ["bash", DOCKER / "slurm" / "worker.sbatch", "--experiment", "mine"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        assert job.stdout is not None
        started = job.stdout.readline().split()
        job.send_signal(signal.SIGTERM)  # as Slurm does: to the script alone
        assert job.wait(10) == 0
        assert job.stdout.readline() == "told\n"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
        job.communicate()
    arguments = ["worker", "--processes", "1", "--experiment", "mine"]
    assert started == [f"{tmp_path}/neuroteach-12", "4", *arguments]
    assert (tmp_path / "neuroteach-12").is_dir()


def test_slurm_refuses_a_job_without_a_database() -> None:
    refused = run("bash", DOCKER / "slurm" / "worker.sbatch", environment={"SLURM_JOB_ID": "1"})
    assert refused.returncode != 0
    assert "NEUROTEACH_DATABASE" in refused.stderr
