"""All tables of the watchtower's database. Each module's own are beside what reads them."""

from custody.watchtower import (
    alarms,
    freezes,
    receipts,
    recoveries,
    rejections,
    signers,
    suspects,
    versions,
)

SCHEMA = tuple(
    module.SCHEMA
    for module in (
        alarms,
        freezes,
        receipts,
        recoveries,
        rejections,
        signers,
        suspects,
        versions,
    )
)
