"""What the signer is made of: few modules, few lines, none of custody's dependencies."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES_MAX = 5_830
ABSENT = ("custody", "grpc", "solders", "psycopg", "httpx", "cryptography", "structlog", "rich")
SCRIPT = f"""
import importlib.abc, json, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import signer.main
files = {{name: module.__file__ for name, module in sys.modules.items()
         if name.split(".")[0] in ("signer", "policies")}}
loaded = sorted(sys.modules)
import signer.setup
print(json.dumps([files, loaded]))
"""


def loaded_by_serve() -> tuple[dict[str, str], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, cwd=ROOT
    )
    files, modules = json.loads(done.stdout)
    return files, modules


def test_the_signer_runs_without_custody_and_its_dependencies() -> None:
    files, _ = loaded_by_serve()
    assert "signer.guard" in files


def test_the_running_signer_can_be_read_whole() -> None:
    files, _ = loaded_by_serve()
    ours = {name: file for name, file in files.items() if not name.startswith("signer.chains")}
    lines = sum(len(Path(file).read_text().splitlines()) for file in ours.values())
    assert "policies.statements" in ours
    assert lines <= LINES_MAX, f"{lines} lines in {sorted(ours)}"


def test_each_chain_builder_is_small() -> None:
    for file in (ROOT / "signer" / "chains").glob("*.py"):
        assert len(file.read_text().splitlines()) <= 200, file.name


def test_serving_loads_no_set_up_and_no_network_client() -> None:
    _, modules = loaded_by_serve()
    assert not {
        "signer.setup",
        "signer.token_init",
        "policies.spare",
        "asyncio",
        "ssl",
        "http.client",
    } & {*modules}
