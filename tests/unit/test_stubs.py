"""The committed protobuf stubs are what the .proto files say."""

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def stubs(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for pattern in ("*_pb2*.py", "*_pb2*.pyi")
        for path in root.rglob(pattern)
    }


def test_regenerating_changes_nothing(tmp_path: Path) -> None:
    """Of all tests here the only one with a process: the recipe stands in the Makefile alone."""
    command = ["make", "--silent", "--old-file=setup", "proto", f"out={tmp_path}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    fresh, committed = stubs(tmp_path), stubs(REPOSITORY / "proto")
    assert fresh
    changed = sorted(name for name in fresh | committed if fresh.get(name) != committed.get(name))
    assert changed == [], "run `make proto` and commit; delete the stubs of protos that are gone"
