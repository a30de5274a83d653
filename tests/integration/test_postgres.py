"""The embedded server keeps what was committed, through stops, kills and other people's pids."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from custody.dev import postgres as supervisor
from custody.dev.postgres import EmbeddedPostgres, PostgresError

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "data") as started:
        yield started


def commit_a_row(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept (value text)")
        connection.execute("INSERT INTO kept VALUES ('蔵')")


def rows(dsn: str) -> list[tuple[str]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT value FROM kept").fetchall()


def kill_postmaster(server: EmbeddedPostgres) -> None:
    pid = server.postmaster_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def setting(dsn: str, name: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def test_it_is_postgresql_18_durable_and_without_tcp(postgres: EmbeddedPostgres) -> None:
    wanted = {
        "listen_addresses": "",
        "unix_socket_directories": str(postgres.socket_dir),
        "fsync": "on",
        "synchronous_commit": "on",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
    }
    assert {name: setting(postgres.dsn, name) for name in wanted} == wanted
    assert setting(postgres.dsn, "server_version_num").startswith("18")


def test_only_its_own_user_may_enter_data_and_socket(postgres: EmbeddedPostgres) -> None:
    as_root = os.geteuid() == 0
    for path in (postgres.data_dir, postgres.socket_dir):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert path.stat().st_uid == (65534 if as_root else os.geteuid())
    assert Path(f"/proc/{postgres.postmaster_pid}").stat().st_uid == path.stat().st_uid


def test_text_sorts_by_code_point_and_knows_all_letters(database: str) -> None:
    with psycopg.connect(database) as connection:
        letters = connection.execute(
            "SELECT v, upper(v) FROM (VALUES ('a'), ('B'), ('é'), ('z')) t(v) ORDER BY v"
        )
        assert letters.fetchall() == [("B", "B"), ("a", "A"), ("z", "Z"), ("é", "É")]


def test_stopped_and_started_it_has_its_data_under_the_same_dsn(server: EmbeddedPostgres) -> None:
    dsn = server.dsn
    commit_a_row(dsn)

    server.stop()
    assert server.postmaster_pid is None
    assert not server.socket_dir.exists()
    server.start()

    assert server.dsn == dsn
    assert rows(dsn) == [("蔵",)]


def test_after_kill_9_it_recovers_though_an_orphan_lives(server: EmbeddedPostgres) -> None:
    commit_a_row(server.dsn)
    orphan = psycopg.connect(server.dsn)
    # Stopped, it cannot notice that its postmaster died, and goes on holding the shared memory.
    os.kill(orphan.info.backend_pid, signal.SIGSTOP)

    kill_postmaster(server)
    server.start()

    assert rows(server.dsn) == [("蔵",)]
    with pytest.raises(psycopg.OperationalError):
        orphan.execute("SELECT 1")
    orphan.close()


def test_after_kill_9_another_process_with_the_old_pid_is_not_the_server(
    server: EmbeddedPostgres, postgres: EmbeddedPostgres
) -> None:
    commit_a_row(server.dsn)
    kill_postmaster(server)
    pid_file = server.data_dir / "postmaster.pid"
    _, _, rest = pid_file.read_text().partition("\n")
    pid_file.write_text(f"{postgres.postmaster_pid}\n{rest}")

    server.start()

    assert rows(server.dsn) == [("蔵",)]
    assert postgres.postmaster_pid is not None, "the other server was taken for an orphan"


def test_a_running_server_is_kept_and_another_process_can_stop_it(server: EmbeddedPostgres) -> None:
    second = EmbeddedPostgres(server.data_dir)
    pid = server.postmaster_pid

    second.start()
    assert second.dsn == server.dsn
    assert second.postmaster_pid == pid

    second.stop()
    assert server.postmaster_pid is None


def test_a_server_that_cannot_be_reached_is_replaced(server: EmbeddedPostgres) -> None:
    commit_a_row(server.dsn)
    shutil.rmtree(server.socket_dir)  # as a cleaner of /tmp does
    server.start()
    assert rows(server.dsn) == [("蔵",)]


def test_two_servers_do_not_share_data(
    server: EmbeddedPostgres, postgres: EmbeddedPostgres
) -> None:
    commit_a_row(server.dsn)
    with pytest.raises(psycopg.errors.UndefinedTable):
        rows(postgres.dsn)


def test_databases_of_two_tests_do_not_meet(database: str, postgres: EmbeddedPostgres) -> None:
    commit_a_row(database)
    assert conninfo_to_dict(database)["dbname"] != conninfo_to_dict(postgres.dsn)["dbname"]
    with pytest.raises(psycopg.errors.UndefinedTable):
        rows(postgres.dsn)


def test_a_half_made_cluster_is_made_anew(tmp_path: Path) -> None:
    half = tmp_path / "data.initdb"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path / "data") as server:
        commit_a_row(server.dsn)
    assert not half.exists()


def test_a_directory_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(PostgresError, match="holds files but no database"):
        EmbeddedPostgres(tmp_path).start()
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_socket_directory_of_someone_else_is_refused(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    # A file stands for what rmtree cannot remove, as another user's directory in /tmp.
    server.socket_dir = tmp_path / "squatted"
    server.socket_dir.touch()
    with pytest.raises(PostgresError, match="someone else's"):
        server.start()


def test_two_starts_at_once_make_one_server(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with EmbeddedPostgres(data_dir) as server, ThreadPoolExecutor() as pool:
        commit_a_row(server.dsn)
        kill_postmaster(server)
        for started in [pool.submit(EmbeddedPostgres(data_dir).start) for _ in range(4)]:
            started.result()
        assert rows(server.dsn) == [("蔵",)]


def test_a_failed_start_says_why(server: EmbeddedPostgres) -> None:
    server.stop()
    (server.data_dir / "PG_VERSION").write_text("17\n")
    with pytest.raises(PostgresError) as caught:
        server.start()
    assert "not compatible with this version" in "".join(caught.value.__notes__)


def test_as_an_ordinary_user_it_needs_no_privilege(tmp_path: Path) -> None:
    """Root hands the part of the ordinary user to `nobody`; anyone else plays it himself."""
    program = (
        "import psycopg, sys, pathlib\n"
        "from custody.dev.postgres import EmbeddedPostgres\n"
        "with EmbeddedPostgres(pathlib.Path(sys.argv[1])) as server:\n"
        "    print(psycopg.connect(server.dsn).info.server_version // 10000)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
        command = [*supervisor.AS_NOBODY, *command]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.returncode) == ("18\n", 0), done.stderr
