"""`python -m custody.dev.draw_states > docs/states.md`: the diagram, from the one table."""

from custody.domain.states import TRANSITIONS, State

_HEAD = """# The life of a withdrawal

Drawn from `custody/domain/states.py` by `python -m custody.dev.draw_states`; a test compares.

```mermaid
stateDiagram-v2
"""


def drawn() -> str:
    """Return the page."""
    edges = [f"  {old} --> {new}: {event}" for (old, event), new in TRANSITIONS.items()]
    first = [f"  [*] --> {state}" for state in (State.PENDING_APPROVAL, State.QUEUED)]
    last = [f"  {state} --> [*]" for state in State if state.ended]
    return _HEAD + "\n".join([*first, *edges, *last]) + "\n```\n"


if __name__ == "__main__":
    print(drawn(), end="")
