"""`custody db`: the database's tables."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from custody.settings import api_settings, read_settings
from custody.store import database

app = App(name="db", help="Look after custody's database.")


@app.command
def migrate(settings: Annotated[Path, Parameter(name="--settings")]) -> None:
    """Apply the migrations that are missing: custody db migrate --settings api.toml."""
    dsn = read_settings(settings, api_settings).database
    applied = asyncio.run(database.migrate(dsn))
    print(f"applied {', '.join(applied)}" if applied else "nothing to apply")
