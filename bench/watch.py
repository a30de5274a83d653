"""`make watch-trials`: a stolen hot key, again and again, under load; then lawful mishaps.

Signer, relay, watchtower and chain are real processes, the chain with slots of 400 ms. In the
trials a slot's transactions run at its end, the highest bid first. Writes
build/watch.json; the exit code is 1 when a limit is broken. TRIALS=, LAWFUL=, RATE=, SEED=.

    freeze_s   from the chain not yet showing the first theft as confirmed, when it was asked last,
               to the signer's first FROZEN
    sweep_s    from the same moment to the node having taken the first sweep
    stolen_share, saved_share   of the wallet's balance before; the rest went into fees
    late_sweeps     sent LATE_SECONDS after the quorum had lifted the freeze: there should be none
"""

import asyncio
import json
import math
import os
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from solders.keypair import Keypair

from bench.watch_lawful import lawful
from bench.watch_load import Load
from bench.watch_parts import pays, running
from bench.watch_thief import LEAST_FEE, MOST_FEE, Thief
from tests.factories import COLD_ADDRESS, SOL, key
from tests.node_front import NodeFront, Sent
from tests.watched import Watched, until, watched
from tests.watched_host import SWEEP_FEE, WALLETS, address_of

VICTIM = WALLETS[0]
BALANCE = 1_000 * SOL
SHARE = 0.05  # of the balance, that the thief takes each slot
QUIET_SECONDS = 2.0  # of flowing load before a theft
LATE_SECONDS = 0.5  # after a lift; the watchtower asks itself thrice a second whether it is lifted
CALM_SECONDS = 1.5  # until the watchtower has seen all that is on the chain
LIMITS = {"freeze_s": 1.0, "sweep_s": 2.0}
Figures = dict[str, float]


@dataclass(frozen=True)
class Trial:
    """Seconds, and shares of the balance before."""

    freeze_s: float
    sweep_s: float
    stolen_share: float
    saved_share: float
    first_fee: int  # the thief's, lamports; the sweep's is SWEEP_FEE
    thefts: int
    late_sweeps: int
    lawful_per_s: float


def say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


async def trials(number: int, rate: float, chance: random.Random) -> list[Trial]:
    """Steal a wallet so many times while both wallets pay customers."""
    done, lifted = list[Trial](), time.monotonic()
    async with watched(chain=["--auction"]) as ground:
        load = Load(ground, rate)
        say("opening the nonce accounts")
        await load.open_nonces()
        async with running(load.run()):
            for index in range(number):
                done.append(await trial(ground, load, chance, lifted))
                say(f"trial {index + 1} of {number}: {words(done[-1])}")
                lifted = await reset(ground)
    return done


async def trial(ground: Watched, load: Load, chance: random.Random, lifted: float) -> Trial:
    """One theft of the first wallet, until it is empty."""
    try:
        await until("the load to flow", lambda: flowing(load))
    except TimeoutError:
        say(f"only {load.per_second():.0f} a second: is this machine busy? {dict(load.codes)}")
        raise
    await asyncio.sleep(chance.uniform(0, 0.4))  # anywhere in a slot
    victim, front = address_of(VICTIM), ground.fronts[0]
    late = [item for item in sweeps(front) if item.at > lifted + LATE_SECONDS]
    before, cold = await ground.balance(victim), await ground.balance(COLD_ADDRESS)
    past = {item.transaction for item in sweeps(front)}
    load.frozen_at, flow = None, load.per_second()
    fee = int(math.exp(chance.uniform(math.log(LEAST_FEE), math.log(MOST_FEE))))
    thief = Thief(ground, Keypair.from_seed(bytes(key(VICTIM))), SHARE, fee)
    async with running(thief.take()):
        shown = await first_shown(ground, thief)

        async def over() -> bool:
            empty = await ground.balance(victim) < 2 * SWEEP_FEE
            return empty and load.frozen_at is not None

        await until("freeze and sweep", over)
    swept = min(item.at for item in sweeps(front) if item.transaction not in past)
    assert load.frozen_at is not None
    return Trial(
        freeze_s=load.frozen_at - shown,
        sweep_s=swept - shown,
        stolen_share=await thief.stolen() / before,
        saved_share=(await ground.balance(COLD_ADDRESS) - cold) / before,
        first_fee=fee,
        thefts=len(thief.sent),
        late_sweeps=len(late),
        lawful_per_s=flow,
    )


async def first_shown(ground: Watched, thief: Thief) -> float:
    """The last moment at which the chain was asked and did not show the first theft as confirmed.

    It may have shown it at once afterwards: the figures are never less than the truth.
    """

    async def sent() -> bool:
        return bool(thief.sent)

    await until("the first theft", sent)
    before = time.monotonic()

    async def confirmed() -> bool:
        nonlocal before
        began = time.monotonic()
        if await ground.confirmed(thief.sent[0]):
            return True
        before = began
        return False

    await until("its confirmation", confirmed)
    return before


async def reset(ground: Watched) -> float:
    """The quorum lifts the freeze, and the wallet is filled again. Return when it was lifted.

    What the thief sent last may be found only now: it freezes anew, and that is lifted too.
    """
    lifted = time.monotonic()

    async def calm() -> bool:
        nonlocal lifted
        if (await ground.status()).freezes:
            await ground.lift_freezes()
            lifted = time.monotonic()
        await asyncio.sleep(CALM_SECONDS)
        return not (await ground.status()).freezes

    await asyncio.sleep(CALM_SECONDS)
    await until("the end of the theft", calm)
    await ground.fund(address_of(VICTIM), BALANCE)
    return lifted


def sweeps(front: NodeFront) -> list[Sent]:
    """What the watchtower has sent to the cold wallet."""
    return [item for item in front.sent() if pays(item.transaction, COLD_ADDRESS)]


async def flowing(load: Load) -> bool:
    """Tell whether nine tenths of the asked-for rate were signed for a while."""
    return load.per_second(QUIET_SECONDS) >= 0.9 * load.rate


def spread(values: list[float]) -> Figures:
    """Return least, median, 99th percentile and most."""
    p99 = quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]
    found = {"min": min(values), "median": median(values), "p99": p99, "max": max(values)}
    return {name: round(value, 4) for name, value in found.items()}


def words(trial: Trial) -> str:
    return (
        f"frozen after {trial.freeze_s:.3f} s, sweep after {trial.sweep_s:.3f} s,"
        f" stolen {trial.stolen_share:.1%}, saved {trial.saved_share:.1%}"
        f" (his first fee {trial.first_fee}), {trial.lawful_per_s:.0f} lawful a second"
    )


def main() -> int:
    number, amount = int(os.environ.get("TRIALS", "100")), int(os.environ.get("LAWFUL", "10000"))
    rate = float(os.environ.get("RATE", "100"))
    seed = os.environ.get("SEED") or str(random.SystemRandom().getrandbits(64))
    say(f"SEED={seed}")
    chance, report = random.Random(seed), dict[str, Any](seed=seed, limits=LIMITS)
    if number:
        done = asyncio.run(trials(number, rate, chance))
        report |= {"trials": len(done), "each": [asdict(trial) for trial in done]}
        report["late_sweeps"] = sum(trial.late_sweeps for trial in done)
        for name in ("freeze_s", "sweep_s", "stolen_share", "saved_share", "lawful_per_s"):
            report[name] = spread([getattr(trial, name) for trial in done])
    if amount:
        report |= vars(asyncio.run(lawful(amount, rate, chance, say)))
    broken = [
        f"{name} took {report[name]['max']} s, more than {most}"
        for name, most in LIMITS.items()
        if name in report and report[name]["max"] > most
    ]
    if report.get("late_sweeps"):
        broken.append("sweeps were sent after the freeze was lifted")
    if report.get("false_alarms") or report.get("sweeps"):
        broken.append("a lawful withdrawal raised an alarm")
    file = Path("build/watch.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(report | {"broken": broken}, indent=2) + "\n")
    print(json.dumps({name: report[name] for name in report if name != "each"}, indent=2))
    print(*broken or ["within all limits"], sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
