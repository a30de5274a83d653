"""What an officer's commands remember from one run to the next: a small file beside the settings.

It holds digests and names, nothing secret. One that is lost or spoilt counts as empty: better to
tell an officer twice than never.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from custody.cli.output import print_note

Words = dict[str, list[str]]


def recall(file: Path) -> Words:
    """Return what was kept: words by withdrawal."""
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if _is_words(kept) else {}


def keep(file: Path, words: Mapping[str, Sequence[str]]) -> None:
    """Keep `words` in place of what was there, whole or not at all, for this user's eyes only."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(words, indent=1) + "\n")
        fresh.replace(file)
    except OSError as error:
        print_note(f"{file}: {error.strerror}: the next run cannot tell what is new")


def _is_words(kept: object) -> bool:
    return isinstance(kept, dict) and all(
        isinstance(value, list) and all(isinstance(word, str) for word in value)
        for value in kept.values()
    )
