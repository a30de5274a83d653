"""The one question before a person's signature, so that it never stands by habit."""

from custody.cli.session import CommandError
from custody.words import digest_words


def confirm(deed: str, digest: str) -> None:
    """Ask for the first of the digest's six words; CommandError when it is not typed.

    `deed` is what will be done, such as "approve it".
    """
    try:
        typed = input(f"To {deed}, type the first of the six words: ")
    except EOFError:
        words = "no terminal to ask on: use --yes after reading; nothing was signed"
        raise CommandError(words) from None
    if typed.strip().lower() != digest_words(digest)[0]:
        raise CommandError("that is not the first word: nothing was signed")
