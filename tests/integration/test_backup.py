"""Backups of a real server, restored to the newest and to a moment; what is damaged is refused.

Root hands the servers to `nobody` (custody.dev.postgres); anyone else is the server's user himself.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from custody.dev.postgres import EmbeddedPostgres
from custody.main import main
from custody.store import archive, manifest
from custody.store.programs import NEEDED, BackupError, Programs

SETTINGS = """
listen = "127.0.0.1:1"
node = "http://127.0.0.1:1"
database = '''{dsn}'''
[tls]
ca = "ca"
certificate = "certificate"
key = "key"
"""


@dataclass
class Place:
    """A server that archives, the folder of its backups, and where to restore."""

    server: EmbeddedPostgres
    directory: Path
    folder: Path

    @property
    def wal(self) -> Path:
        return self.directory / "wal"

    @property
    def into(self) -> Path:
        return self.folder / "restored"

    def settings(self, dsn: str = "") -> str:
        file = self.folder / "api.toml"
        file.write_text(SETTINGS.format(dsn=dsn or self.server.dsn))
        return str(file)

    def backup(self) -> int:
        return main(["db", "backup", str(self.directory), "--settings", self.settings()])

    def restore(self, *more: str) -> int:
        return main(["db", "restore", str(self.directory), "--into", str(self.into), *more])

    def bases(self) -> list[Path]:
        return sorted(self.directory.glob("base-*"))

    def sql(self, query: str) -> list[str]:
        return ask(self.server, query)

    def add(self, row: str) -> str:
        """Commit a row; return a moment after it and before whatever comes next."""
        self.sql(f"INSERT INTO kept VALUES ('{row}')")  # noqa: S608
        return self.sql("SELECT clock_timestamp() AT TIME ZONE 'UTC'")[0].replace(" ", "T") + "Z"

    def archived(self) -> None:
        """Return when all that was committed stands in the archive."""
        segment = self.sql("SELECT pg_walfile_name(pg_switch_wal())")[0]
        # archive_command's last act is this name; the server itself tells nobody that it is done.
        for _ in range(6_000):
            if (self.wal / segment).exists():
                return
            self.sql("SELECT pg_sleep(0.01)")
        raise AssertionError(f"{segment} was not archived")


def ask(server: EmbeddedPostgres, query: str) -> list[str]:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return [str(row[0]) for row in cursor] if cursor.description else []


def restored_rows(place: Place) -> list[str]:
    with EmbeddedPostgres(place.into) as server:
        assert ask(server, "SELECT pg_is_in_recovery()") == ["False"]
        assert ask(server, "SELECT current_setting('archive_mode')") == ["off"]
        return ask(server, "SELECT row FROM kept ORDER BY row")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    directory = tmp_path / "back'ups 100%"
    with EmbeddedPostgres(tmp_path / "data") as server:
        ask(server, "CREATE TABLE kept (row text)")
        place = Place(server, directory, tmp_path)
        place.wal.mkdir(parents=True)
        if os.geteuid() == 0:
            shutil.chown(place.wal, 65534, 65534)
        for sql in archive.settings(place.wal):
            ask(server, sql)
        server.stop()
        server.start()
        yield place


def words(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_to_a_moment_it_has_exactly_the_rows_of_that_moment(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.add("a before the backup")
    assert place.backup() == 0
    moment = place.add("b after it")
    place.sql("DELETE FROM kept WHERE row LIKE 'a%'")
    place.add("c too late")
    place.archived()

    assert place.restore("--to-time", moment) == 0
    assert "After a restore" in words(capsys)
    assert restored_rows(place) == ["a before the backup", "b after it"]


def test_without_a_moment_it_is_the_newest_that_was_archived(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.backup() == 0
    place.add("a")
    assert place.backup() == 0
    place.add("b")
    place.archived()
    capsys.readouterr()
    assert place.restore() == 0
    assert place.bases()[1].name in words(capsys)
    assert restored_rows(place) == ["a", "b"]


def test_the_latest_backup_before_the_moment_is_used(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.backup()
    moment = place.add("a")
    place.backup()
    place.add("b")
    place.archived()
    capsys.readouterr()
    assert place.restore("--to-time", moment) == 0
    assert place.bases()[0].name in words(capsys)
    assert restored_rows(place) == ["a"]


def test_a_moment_before_the_backup_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    moment = place.add("a")
    place.backup()
    capsys.readouterr()
    assert place.restore("--to-time", moment) == 1
    assert "nothing earlier can be restored" in words(capsys)
    assert not place.into.exists()


def test_a_moment_after_the_archive_is_refused_and_nothing_comes_up_earlier(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.backup()
    place.add("a")
    place.archived()
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert place.restore("--to-time", later) == 1
    assert "the last transaction that the archive holds is of 20" in words(capsys)
    assert not place.into.exists()
    assert not place.into.with_name("restored.restoring").exists()


@pytest.mark.parametrize("moment", ["yesterday", "2026-11-24T10:00:00"])
def test_a_moment_without_a_zone_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    assert place.restore("--to-time", moment) == 1
    assert "no time with a zone" in words(capsys)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)


def spoil_a_table(base: Path) -> None:
    flip_a_bit(next((base / "base" / "5").glob("[0-9]*")))


def move_the_wal(base: Path) -> None:
    elsewhere = base.parent.parent / "elsewhere"
    shutil.move(base / "pg_wal", elsewhere)
    (base / "pg_wal").symlink_to(elsewhere)


def spoil_the_wal(base: Path) -> None:
    segment = next((base / "pg_wal").glob("0*"))
    segment.write_bytes(bytes(segment.stat().st_size))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_a_table, "is not as it was sent"),
        (lambda base: (base / "global" / "pg_control").unlink(), "global/pg_control is missing"),
        (lambda base: (base / "base" / "more").touch(), "base/more is not part of it"),
        (lambda base: (base / "pg_tblspc" / "9").symlink_to(base), "9 is a symbolic link"),
        (move_the_wal, "pg_wal is a symbolic link"),
        (lambda base: flip_a_bit(base / "backup_manifest"), "backup_manifest was changed"),
        (lambda base: (base / "backup_manifest").unlink(), "backup_manifest is missing"),
        (spoil_the_wal, "reading its WAL failed"),
    ],
)
def test_a_damaged_backup_is_refused(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    said: str,
) -> None:
    place.backup()
    spoil(place.bases()[0])
    capsys.readouterr()
    assert place.restore() == 1
    printed = words(capsys)
    assert "the backup is damaged" in printed
    assert said in printed
    assert not place.into.exists()


def test_a_gap_in_the_archive_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.backup()
    for row in "abc":
        place.add(row)
        place.archived()
    lost = sorted(place.wal.glob("0*[0-9A-F]"))[-2]
    lost.unlink()
    assert place.restore() == 1
    assert f"WAL segment {lost.name} is missing" in words(capsys)
    assert not place.into.exists()


def test_a_damaged_segment_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.backup()
    for row in "abc":
        place.add(row)
        place.archived()
    damaged = sorted(place.wal.glob("0*[0-9A-F]"))[-2]
    damaged.write_bytes(bytes(damaged.stat().st_size))
    assert place.restore() == 1
    assert "is damaged. Bring a whole copy" in words(capsys)
    assert not place.into.exists()


def test_a_segment_that_cannot_be_read_is_not_the_end(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.backup()
    place.add("a")
    place.archived()
    last = max(place.wal.glob("0*[0-9A-F]"))
    last.unlink()
    last.mkdir()
    assert place.restore() == 1
    assert "PostgreSQL could not recover: FATAL" in words(capsys)
    assert not place.into.exists()


def test_the_wal_of_another_timeline_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.backup()
    (place.wal / "00000002.history").touch()
    assert place.restore() == 1
    assert "timeline 2 elsewhere" in words(capsys)


def test_nothing_is_overwritten(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.backup()
    place.into.mkdir()
    assert place.restore() == 1
    assert "is there already" in words(capsys)
    place.into.rmdir()

    left = place.into.with_name("restored.restoring")
    left.mkdir()
    (left / "precious").touch()
    assert place.restore() == 1
    assert "did not end" in words(capsys)
    assert (left / "precious").exists()


def test_a_restored_server_does_not_mix_its_backups_with_the_old_ones(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.backup()
    assert place.restore() == 0
    before = place.bases()
    with EmbeddedPostgres(place.into) as server:
        capsys.readouterr()
        again = ["db", "backup", str(place.directory), "--settings", place.settings(server.dsn)]
        assert main(again) == 1
    assert "name a new folder" in words(capsys)
    assert place.bases() == before


def test_a_server_without_an_archive_is_told_the_sql(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with EmbeddedPostgres(tmp_path / "data") as server:
        place = Place(server, tmp_path / "backups", tmp_path)
        ask(server, "CREATE TABLE kept (row text)")
        assert place.backup() == 0
        printed = capsys.readouterr().out.splitlines()
        (base,) = place.bases()
        assert printed[0] == str(base)
        for sql in printed[1:]:
            ask(server, sql)
        server.stop()
        server.start()
        place.add("a")
        place.archived()
        assert place.restore() == 0
    assert restored_rows(place) == ["a"]


def test_a_failed_archive_is_told(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.sql("ALTER SYSTEM SET archive_command = 'false'")
    place.sql("SELECT pg_reload_conf()")
    place.sql("SELECT pg_switch_wal()")
    failed = "SELECT count(*) FROM pg_stat_archiver WHERE last_failed_wal IS NOT NULL"
    for _ in range(6_000):
        if place.sql(failed) == ["1"]:
            break
        place.sql("SELECT pg_sleep(0.01)")
    assert place.backup() == 1
    assert "the server fails to archive 0" in words(capsys)


def test_a_password_is_shown_nowhere(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    original = __import__("subprocess").Popen.__init__

    def noted(self: object, command: list[str], **named: object) -> None:
        commands.extend(command)
        original(self, command, **named)

    monkeypatch.setattr("subprocess.Popen.__init__", noted)
    dsn = make_conninfo(place.server.dsn, password="hunter2")
    directory = str(place.directory)
    assert main(["db", "backup", directory, "--settings", place.settings(dsn)]) == 0
    assert any("pg_basebackup" in part for part in commands)
    for bad in ("host=/nowhere password=hunter2", "hunter2 is no connection string"):
        assert main(["db", "backup", directory, "--settings", place.settings(bad)]) == 1
    seen = capsys.readouterr()
    assert "hunter2" not in " ".join([*commands, seen.out, seen.err])


def test_a_backup_that_fails_leaves_no_name(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.sql("CREATE ROLE clerk LOGIN")
    dsn = make_conninfo(place.server.dsn, user="clerk")
    command = ["db", "backup", str(place.directory), "--settings", place.settings(dsn)]
    assert main(command) == 1
    assert re.search("pg_basebackup failed: .*permission denied", words(capsys))
    assert [path.name for path in place.directory.iterdir() if path.name != "server"] == ["wal"]


def test_a_backup_that_came_damaged_leaves_no_name(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(base: Path, programs: Programs) -> object:
        spoil_a_table(base)
        return verify(base, programs)

    verify = manifest.verify
    monkeypatch.setattr(manifest, "verify", spoiled)
    assert place.backup() == 1
    assert [path.name for path in place.directory.iterdir() if path.name != "server"] == ["wal"]


def test_a_program_that_crashes_is_not_taken_for_a_damaged_backup() -> None:
    with pytest.raises(BackupError, match="sh was ended by signal 9") as caught:
        Programs(Path("/bin")).run("sh", "-c", "kill -9 $$", what="the check")
    assert "damaged" not in str(caught.value)


def test_programs_of_another_version_are_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    old = place.folder / "bin"
    old.mkdir()
    for name in NEEDED:
        (old / name).write_text('#!/bin/sh\necho "postgres (PostgreSQL) 15.18 (Debian)"\n')
        (old / name).chmod(0o755)
    command = ["db", "backup", str(place.directory), "--settings", place.settings()]
    assert main([*command, "--binaries", str(old)]) == 1
    assert "the server is PostgreSQL 18, the programs in" in words(capsys)
    (old / "postgres").unlink()
    assert main([*command, "--binaries", str(old)]) == 1
    assert "no postgres in" in words(capsys)
