"""Runs what a page under docs/runbooks shows: every `$ command` in its console blocks, as written.

What the page shows below a command must be what is printed; `…` stands for anything within a
line, and alone for any lines. A command fails where the page shows `signer: ` and why, or a state
that is FROZEN, and nowhere else. /srv/signer, where the pages' signer has its files, is the host's
folder, and `signer` is given that host's settings.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from custody.words import digest_words
from policies.statements import digest
from signer.setup import DIGEST_PROMPT
from tests.signer_host import ISOLATED, Host

PAGES = Path(__file__).parents[1] / "docs" / "runbooks"
BIN = Path(sys.executable).parent
_FAILS = re.compile(r"signer: |state +FROZEN$")
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """One command and the lines that the page shows below it."""

    command: str
    shown: tuple[str, ...]


def sections(page: str) -> dict[str, list[list[Step]]]:
    """Return the console blocks of each part of a page, by its heading."""
    found = {}
    for part in re.split(r"^## ", (PAGES / page).read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        if blocks := [list(_steps(block[1])) for block in _BLOCK.finditer(text)]:
            found[heading] = blocks
    return found


def _steps(block: str) -> Iterator[Step]:
    for item in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *shown = item.rstrip("\n").split("\n")
        yield Step(command, tuple(shown))


class Reader:
    """Somebody who types a page's commands in one folder, and what the questions ask for."""

    def __init__(self, folder: Path, host: Host | None = None, given: Sequence[str] = ()) -> None:
        """`given`: the arguments that `signer` gets before those of the page."""
        self.folder, self.host = folder, host
        self.typed = ""
        self.environment = host._environment() if host else {"LANG": "C.UTF-8"}
        programs = folder / "programs"
        programs.mkdir(exist_ok=True)
        if host:
            given = ["--config", str(host.directory / "signer.toml")]
        for name, before, more in (("signer", ISOLATED, given), ("custody", [], [])):
            line = " ".join([*before, str(BIN / name), *more, '"$@"'])
            (programs / name).write_text(f"#!/bin/sh\nexec {line}\n")
            (programs / name).chmod(0o755)

    def follow(self, block: list[Step]) -> None:
        """Run each step of a block and compare what it prints."""
        for step in block:
            printed, code = self.run(step.command)
            assert bool(code) == any(map(_FAILS.match, step.shown)), printed
            shown = "\n".join(step.shown)
            assert agrees(shown, printed), f"{step.command}\nshows\n{shown}\nprinted\n{printed}"

    def run(self, command: str) -> tuple[str, int]:
        """Return what one command prints, with the page's paths, and its exit code."""
        own = str(self.host.directory) if self.host else "/srv/signer"
        done = subprocess.run(
            ["bash", "-c", command.replace("/srv/signer", own)],
            cwd=self.folder,
            env=self._environment(),
            input=self._answer(command),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            start_new_session=True,
        )
        if self.host:
            self.host.assert_no_pin(done.stdout + done.stderr)
        for asked in (DIGEST_PROMPT, "of the six words: "):
            done.stdout = done.stdout.replace(asked, asked + "\n")  # as typing Enter shows
        out = done.stdout if done.stdout.endswith("\n") or not done.stdout else done.stdout + "\n"
        return (out + done.stderr).replace(own, "/srv/signer"), done.returncode

    def _environment(self) -> dict[str, str]:
        path = f"{self.folder / 'programs'}:{BIN}:/usr/bin:/bin"
        return self.environment | {"PATH": path, "HOME": "/nonexistent", "COLUMNS": "200"}

    def _answer(self, command: str) -> str:
        """What is typed when asked: the first word of what is signed, or `typed`."""
        signing = re.match(r"custody (?:--config \S+ )?\w+ (?:sign|veto) ([^- ]\S*)", command)
        if signing:
            return digest_words(digest((self.folder / signing[1]).read_bytes()))[0] + "\n"
        return self.typed


def agrees(shown: str, printed: str) -> bool:
    """Tell whether a page's lines are what was printed; a page shows none of a quiet command."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*?") + r" *\n"
        for line in shown.split("\n")
        if shown
    )
    return re.fullmatch(pattern, printed) is not None
