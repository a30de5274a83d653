"""The questions before a person's signature, so that it never stands by habit."""

from custody.cli.session import CommandError
from custody.words import digest_words


def confirm(deed: str, digest: str) -> None:
    """Ask for the first of the digest's six words; CommandError when it is not typed.

    `deed` is what will be done, such as "approve it".
    """
    typed = _typed(f"To {deed}, type the first of the six words: ", "--yes")
    if typed.lower() != digest_words(digest)[0]:
        raise CommandError("that is not the first word: nothing was signed")


def confirm_look_alikes(number: int, said: int | None) -> None:
    """Ask how many look-alikes were shown, unless it was `said`; CommandError when it was not."""
    if said is None:
        question = "Compare the middles with what their owners told you. How many look-alikes? "
        said_right = _typed(question, "--look-alikes NUMBER") == str(number)
    else:
        said_right = said == number
    if not said_right:
        raise CommandError("that is not how many look-alikes there are: nothing was signed")


def _typed(question: str, option: str) -> str:
    """Return what is typed; CommandError when there is nobody to type."""
    try:
        return input(question).strip()
    except EOFError:
        words = f"no terminal to ask on: use {option} after reading; nothing was signed"
        raise CommandError(words) from None
