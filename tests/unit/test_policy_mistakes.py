"""Each kind of mistake in a policy file is refused with its line, the entry and the reason."""

import pytest

from policies.policy import TAG
from policies.policy_file import parse_policy
from tests.factories import (
    COLD_ADDRESS,
    HOT_ADDRESS,
    make_policy,
    policy_file,
    public,
    rule_text,
    wallet_text,
)
from tests.malformed import LOW_ORDER, file_error

TEXT = policy_file().decode()
RULES = TEXT[TEXT.index("[[rules]]") :]
TIER = TEXT[TEXT.index('up_to = "1 SOL"') : TEXT.index('[[rules.tiers]]\nup_to = "10 SOL"')]
WINDOWS = TEXT[TEXT.index("[[wallets.hot-sol.windows]]") : TEXT.index("[change_quorum]")]
W0 = "[[wallets.hot-sol.windows]]"
RECALL = 'beyond_recall = "1000000 SOL"\n'
SERVICES = "[services]\n"
BOB, CAROL, WATCHTOWER = public("bob"), public("carol"), public("watchtower")
SWEEP = "wallets.hot-sol.sweep"
SWEPT = TEXT[TEXT.index(f"[{SWEEP}]") : TEXT.index(W0)]


def service(name: str, key: str = "") -> str:
    return f'[services.{name}]\nkeys = ["{key or public(name)}"]\n'


# What is replaced, by what; a text that ends on the line of the error; its entry; its reason.
MISTAKES: list[tuple[str, str, str, str, str]] = [
    # unknown words
    ("version = 1", "version = 1\nwindow = 5", "window", "window", "is not known here"),
    ("cap =", "daily = 1\ncap =", "daily", "wallets.hot-sol.daily", "is not known here"),
    ("decimals = 9", "decimals = 9\nrate = 1", "rate", "assets.SOL.rate", "is not known here"),
    ("[groups.risk]", "[groups.risk]\nx = 1", "x = 1", "groups.risk.x", "is not known here"),
    ("[people.bob]", "[people.bob]\nx = 1", "x = 1", "people.bob.x", "is not known here"),
    ("[change_quorum]", "[change_quorum]\nx = 1", "x = 1", "change_quorum.x", "is not known here"),
    ("[[rules]]", "[[rules]]\nx = 1", "x = 1", "rules.0.x", "is not known here"),
    ('up_to = "40', 'x = 1\nup_to = "40', "x = 1", "rules.0.tiers.2.x", "is not known here"),
    ('tier = "hot"', 'tier = "warm"', "warm", "wallets.hot-sol.tier", "one of: hot, cold"),
    ('"token"', '"paper"', "paper", "wallets.hot-sol.key_origin", "one of: token, import"),
    ('"address-book"', '"all"', '"all"', "rules.0.destination", "address-book, own-wallet, any"),
    ('"hot-sol"\n', '"hot-x"\n', '= "hot-x"', "rules.0.wallet", "must be one of: hot-sol"),
    ('= "exchange"', '= "x"', '= "x"', "rules.0.requester", "must be one of: exchange"),
    ('asset = "SOL"', 'asset = "XRP"', "XRP", "wallets.hot-sol.asset", "must be one of: SOL"),
    ('"carol"]', '"dave"]', "dave", "groups.risk.members", "dave is not among the people"),
    ("1 of risk", "1 of ops", "1 of ops", "change_quorum.policy", "ops is not among the groups"),
    ("[watchtower]", "[watchtower]\nx = 1", "x = 1", "watchtower.x", "is not known here"),
    (
        "[wallets.hot-sol.sweep]",
        "[wallets.hot-sol.sweep]\nx = 1",
        "x = 1",
        f"{SWEEP}.x",
        "not known",
    ),
    ('tier = "hot"', 'tier = "cold"', "sweep]", SWEEP, "is not known here"),
    # missing keys
    (f'[watchtower]\nkey = "{WATCHTOWER}"\n', "", TAG, "", "watchtower is missing"),
    (f'key = "{WATCHTOWER}"\n', "", "[watchtower]", "watchtower", "key is missing"),
    (SWEPT, "", "[wallets.hot-sol]", "wallets.hot-sol", "sweep is missing"),
    (f'to = "{COLD_ADDRESS}"\n', "", "[wallets.hot-sol.sweep]", SWEEP, "to is missing"),
    ('fee = "0.01 SOL"\n', "", "[wallets.hot-sol.sweep]", SWEEP, "fee is missing"),
    ("count = 24\n", "", "[wallets.hot-sol.sweep]", SWEEP, "count is missing"),
    ('asset = "SOL"\n', "", "[wallets.hot-sol]", "wallets.hot-sol", "asset is missing"),
    ('tier = "hot"\n', "", "[wallets.hot-sol]", "wallets.hot-sol", "tier is missing"),
    ("decimals = 9\n", "", "[assets.SOL]", "assets.SOL", "decimals is missing"),
    ("version = 1\n", "", TAG, "", "version is missing"),
    ('previous = ""\n', "", TAG, "", "previous is missing"),
    (f'keys = ["{BOB}"]\n', "", "[people.bob]", "people.bob", "keys is missing"),
    ('name = "customers"\n', "", "[[rules]]", "rules.0", "name is missing"),
    ('up_to = "1 SOL"\n', "", "[[rules.tiers]]", "rules.0.tiers.0", "up_to is missing"),
    (
        "services = []\npeople",
        "people",
        "[[rules.tiers]]",
        "rules.0.tiers.0",
        "services is missing",
    ),
    ("people = []\n", "", "[[rules.tiers]]", "rules.0.tiers.0", "people is missing"),
    (TIER, TIER[: TIER.index("delay")], "[[rules.tiers]]", "rules.0.tiers.0", "delay is missing"),
    ('hours = "always"\n', "", "[[rules]]", "rules.0", "hours is missing"),
    ('cooling_period = "0 hours"\n', "", "[[rules]]", "rules.0", "cooling_period is missing"),
    ('cooling_amount = "0 SOL"\n', "", "[[rules]]", "rules.0", "cooling_amount is missing"),
    ("enabled = true\n", "", "[wallets.hot-sol]", "wallets.hot-sol", "enabled is missing"),
    (RECALL, "", "[wallets.hot-sol]", "wallets.hot-sol", "beyond_recall is missing"),
    ("[services]\n", "", TAG, "", "services is missing"),
    (WINDOWS, "", "[wallets.hot-sol]", "wallets.hot-sol", "windows is missing"),
    ('of = "wallet"\n', "", W0, "wallets.hot-sol.windows.0", "of is missing"),
    ('"wallet"\nperiod = "24 hours"\n', '"wallet"\n', W0, "wallets.hot-sol.windows.0", "period is"),
    ("count = 1000000\n", "", W0, "wallets.hot-sol.windows.0", "count is missing"),
    (
        '"1 of risk"]\ndelay = "24 hours"\n',
        '"1 of risk"]\n',
        "[change_quorum]",
        "change_quorum",
        "delay",
    ),
    ("policy = [", "polity = [", "[change_quorum]", "change_quorum", "policy is missing"),
    (RULES, "", TAG, "", "rules is missing"),
    # values of the wrong shape
    ("version = 1", "version = 0", "version", "version", "from 1 to 1000000000"),
    ("version = 1", "version = 1.0", "version", "version", "must be a whole number"),
    ("version = 1", "version = true", "version", "version", "must be a whole number"),
    ("version = 1", 'version = "1"', "version", "version", "must be a whole number"),
    ("decimals = 9", "decimals = 19", "decimals", "assets.SOL.decimals", "from 0 to 18"),
    ("decimals = 9", "decimals = -1", "decimals", "assets.SOL.decimals", "from 0 to 18"),
    ("_pool = 4", "_pool = 0", "_pool", "wallets.hot-sol.nonce_pool", "from 1 to 64"),
    ("_pool = 4", "_pool = 65", "_pool", "wallets.hot-sol.nonce_pool", "from 1 to 64"),
    ('previous = ""', 'previous = "x"', "previous", "previous", "64 lower-case hex digits"),
    ("solana:devnet", "solana", "network", "assets.SOL.network", "solana:devnet"),
    ("count = 24", "count = 0", "count = 0", f"{SWEEP}.count", "from 1 to 1000"),
    ("count = 24", "count = 1001", "count = 1001", f"{SWEEP}.count", "from 1 to 1000"),
    ('"0.01 SOL"', '"0 SOL"', "\nfee =", f"{SWEEP}.fee", "must be more than 0"),
    ('"0.01 SOL"', '"0.01"', "\nfee =", f"{SWEEP}.fee", "SOL"),
    (COLD_ADDRESS, "", "\nto =", f"{SWEEP}.to", "visible ASCII"),
    (COLD_ADDRESS, HOT_ADDRESS, "\nto =", f"{SWEEP}.to", "is a hot wallet's own address"),
    (HOT_ADDRESS, "", "address =", "wallets.hot-sol.address", "visible ASCII"),
    (HOT_ADDRESS, "4q9\u0412", "address =", "wallets.hot-sol.address", "visible ASCII"),
    ("[people.bob]", "[people.Bob]", "[people.Bob]", "people.Bob", "its name must be"),
    ("[assets.SOL]", "[assets.sol]", "[assets.sol]", "assets.sol", "its name must be"),
    ("wallets.hot-sol", "wallets.hot_sol", "[wallets", "wallets.hot_sol", "its name must be"),
    ('"customers"', '"Customers"', "Customers", "rules.0.name", "must be 1 to 32"),
    ("[people.bob]\nkeys =", "[people]\nbob =", "bob =", "people.bob", "must be a table"),
    ("[[rules]]", "[rules]", "[rules]", "rules", "must be a list"),
    (RULES, "[[rules.tiers]]\nup_to = '1 SOL'\n", "[[rules.tiers]]", "rules", "must be a list"),
    (f'["{BOB}"]', f'"{BOB}"', f'"{BOB}"', "people.bob.keys", "must be a list"),
    (f'["{BOB}"]', f'[["{BOB}"]]', BOB, "people.bob.keys", "must be ed25519:"),
    (f'["{BOB}"]', "[]", "keys = []", "people.bob.keys", "needs at least one key"),
    ('["bob", "carol"]', "[]", "members = []", "groups.risk.members", "at least one person"),
    ('"carol"]', '"carol", "carol"]', '"carol", "c', "groups.risk.members", "the same thing twice"),
    # keys
    (BOB, BOB[:-1], BOB[:-1], "people.bob.keys", "64 lower-case hex digits"),
    (BOB, BOB.upper(), BOB.upper(), "people.bob.keys", "64 lower-case hex digits"),
    (BOB, f"ed25519:{LOW_ORDER[0]}", LOW_ORDER[0], "people.bob.keys", "of low order"),
    (BOB, CAROL, "[people.carol]\n", "people.carol.keys", "is already bob's"),
    (BOB, public("alice-2"), "[people.bob]\n", "people.bob.keys", "is already alice's"),
    (public("exchange"), BOB, "[requesters.exchange]\n", "requesters.exchange.keys", "bob's"),
    (public("audit"), BOB, "signer", "wallets.hot-sol.signer", "is the key of bob"),
    (WATCHTOWER, WATCHTOWER[:-1], "[watchtower]\nkey", "watchtower.key", "64 lower-case hex"),
    (
        "people.bob",
        "people.watchtower",
        "[people.watchtower]",
        "people.watchtower",
        "theft's freeze",
    ),
    (WATCHTOWER, BOB, "[people.bob]\n", "people.bob.keys", "is the watchtower's"),
    (
        WATCHTOWER,
        public("exchange"),
        "[requesters.exchange]\n",
        "requesters.exchange.keys",
        "watchtower's",
    ),
    (WATCHTOWER, public("audit"), "signer", "wallets.hot-sol.signer", "is the watchtower's key"),
    (f'"{BOB}"', f'"{BOB}", "{BOB}"', BOB, "people.bob.keys", "the same thing twice"),
    ("people.carol", "people.exchange", "[requesters", "requesters.exchange", "among the people"),
    (SERVICES, service("alice"), "services.alice", "services.alice", "is also among the people"),
    (SERVICES, service("exchange"), "[requesters", "requesters.exchange", "among the services"),
    (
        SERVICES,
        service("screen", BOB),
        "services.screen]\n",
        "services.screen.keys",
        "already bob's",
    ),
    (SERVICES, service("Screen"), "services.Screen", "services.Screen", "its name must be"),
    (SERVICES, "[services.screen]\nkeys = []\n", "keys = []", "services.screen.keys", "one key"),
    # amounts
    ('"50 SOL"', '"50"', "cap", "wallets.hot-sol.cap", 'for example "1.5 SOL"'),
    ('"50 SOL"', "50", "cap", "wallets.hot-sol.cap", 'for example "1.5 SOL"'),
    ('"50 SOL"', "50.0", "cap", "wallets.hot-sol.cap", 'for example "1.5 SOL"'),
    ('"50 SOL"', '"-50 SOL"', "cap", "wallets.hot-sol.cap", 'for example "1.5 SOL"'),
    ('"50 SOL"', '"5_0 SOL"', "cap", "wallets.hot-sol.cap", 'for example "1.5 SOL"'),
    ('"50 SOL"', '"5e1 SOL"', "cap", "wallets.hot-sol.cap", 'for example "1.5 SOL"'),
    ('"50 SOL"', '"50 XRP"', "cap", "wallets.hot-sol.cap", 'for example "1.5 SOL"'),
    ('"50 SOL"', '"9223372037 SOL"', "cap", "wallets.hot-sol.cap", "more than 2^63 - 1"),
    ("0.001 SOL", "0.0000000001 SOL", "_fee", "wallets.hot-sol.maximum_fee", "9 decimals"),
    ('to = "1 SOL"', 'to = "1"', 'up_to = "1"', "rules.0.tiers.0.up_to", 'for example "1.5 SOL"'),
    ('_recall = "1000000', '_recall = "', "_recall", "wallets.hot-sol.beyond_recall", "1.5 SOL"),
    ('g_amount = "0 SOL"', 'g_amount = "0"', "_amount", "rules.0.cooling_amount", "names no asset"),
    # windows
    (
        'of = "wallet"',
        'of = "all"',
        '"all"',
        "wallets.hot-sol.windows.0.of",
        "wallet, requester, de",
    ),
    (
        '"24 hours"',
        '"1 day"',
        '"1 day"',
        "wallets.hot-sol.windows.0.period",
        "1 hour, 24 hours, 7 d",
    ),
    (
        '"24 hours"',
        "24",
        "period = 24",
        "wallets.hot-sol.windows.0.period",
        "must be one of: 1 hour",
    ),
    ("= 1000000\n", "= -1\n", "= -1", "wallets.hot-sol.windows.0.count", "from 0 to 1000000000"),
    ("= 1000000\n", "= 1.5\n", "= 1.5", "wallets.hot-sol.windows.0.count", "a whole number"),
    (W0, W0 + "\nx = 1", "x = 1", "wallets.hot-sol.windows.0.x", "is not known here"),
    (
        '"wallet"',
        '"requester"',
        W0,
        "wallets.hot-sol.windows",
        'needs a window of "wallet", for what',
    ),
    (
        '"approved"',
        '"requester"',
        W0,
        "wallets.hot-sol.windows",
        'needs a window of "approved", for',
    ),
    (
        '"upkeep"',
        '"requester"',
        W0,
        "wallets.hot-sol.windows",
        'needs a window of "upkeep", for fee',
    ),
    ('"approved"', '"wallet"', W0, "wallets.hot-sol.windows", "has two of wallet for 24 hours"),
    # times
    ('"always"', '"never"', "never", "rules.0.hours", 'must be "always", or for example'),
    (
        '"always"',
        '"mon-fri 09:00-18:00"',
        "mon",
        "rules.0.hours",
        'must be "always", or for example',
    ),
    ('"always"', '"mon-foo 09:00-18:00 UTC"', "foo", "rules.0.hours", 'must be "always", or for'),
    ('"always"', '"mon-fri 18:00-09:00 UTC"', "18:00", "rules.0.hours", "open before it closes"),
    ('"always"', '"mon-fri 09:00-09:00 UTC"', "09:00", "rules.0.hours", "open before it closes"),
    (
        '"always"',
        '"mon-fri 09:00-24:00 UTC"',
        "24:00",
        "rules.0.hours",
        "a time that no clock shows",
    ),
    ('"always"', '"mon-fri 09:00-18:00 Asia/Kyoto"', "Kyoto", "rules.0.hours", "is no time zone"),
    ('"always"', '"mon-fri 09:00-18:00 ../etc/x"', "mon", "rules.0.hours", "for example"),
    ('"always"', '"mon-fri 09:00-18:00 /etc/passwd"', "etc", "rules.0.hours", "for example"),
    ('"always"', '"mon-fri 09:00-18:00 localtime"', "localtime", "rules.0.hours", "for example"),
    (
        '"0 hours"',
        '"0 hour"',
        '"0 hour"',
        "rules.0.cooling_period",
        'must be for example "90 minutes"',
    ),
    ('"0 hours"', '"1 hours"', '"1 hours"', "rules.0.cooling_period", "must be for example"),
    ('"0 hours"', '"01 hours"', '"01 hours"', "rules.0.cooling_period", "must be for example"),
    ('"0 hours"', '"1 week"', '"1 week"', "rules.0.cooling_period", "must be for example"),
    ('"0 hours"', "0", "cooling_period = 0", "rules.0.cooling_period", "must be for example"),
    ('"0 hours"', '"366 days"', "366 days", "rules.0.cooling_period", "is more than 365 days"),
    (
        'people = []\ndelay = "0',
        'people = []\ndelay = "x',
        '"x',
        "rules.0.tiers.0.delay",
        "for example",
    ),
    (
        '"1 of risk"]\ndelay = "24',
        '"1 of risk"]\ndelay = "-1',
        '"-1',
        "change_quorum.delay",
        "for ex",
    ),
    (
        'people = []\ndelay = "0 hours"',
        'people = []\ndelay = "7 days"',
        '"7 days"',
        "rules.0.tiers.0.delay",
        "never ends: a request lives at most 7 days",
    ),
    # services and destinations
    (
        "services = []\n",
        'services = ["x"]\n',
        '["x"]',
        "rules.0.tiers.0.services",
        "none is defined",
    ),
    ('"address-book"', '"attested by x"', "by x", "rules.0.destination", "x is not among"),
    ('"address-book"', '"attested"', "attested", "rules.0.destination", "must be one of: address"),
    ('"address-book"', '"any by x"', "any by x", "rules.0.destination", "must be one of: address"),
    # quorums
    ('[["1 of operations"]]', '[["of risk"]]', '[["of', "rules.0.tiers.1.people", "for example"),
    (
        '[["1 of operations"]]',
        '["1 of risk"]',
        'people = ["1',
        "rules.0.tiers.1.people",
        "lists of seats",
    ),
    ('[["1 of operations"]]', '"1 of risk"', 'people = "', "rules.0.tiers.1.people", "be a list"),
    ('[["1 of operations"]]', "[[]]", "[[]]", "rules.0.tiers.1.people", "lists of seats"),
    (
        '[["1 of operations"]]',
        '[["3 of risk"]]',
        '[["3',
        "rules.0.tiers.1.people",
        "left for 1 of risk",
    ),
    (
        '[["1 of operations"]]',
        '[["1 of risk"], ["3 of risk"]]',
        '["3 of',
        "rules.0.tiers.1.people",
        "left for 1 of risk",
    ),
    (
        '[["1 of operations"]]',
        '[["1 of risk"], ["1 of risk"]]',
        '[["1 of risk',
        "rules.0.tiers.1.people",
        "thing twice",
    ),
    (
        '[["1 of operations"]]',
        '[["1 of risk", "1 of risk"]]',
        '[["1 of risk',
        "rules.0.tiers.1.people",
        "a group twice in one path",
    ),
    (
        '[["1 of operations"]]',
        '[["1 of x"]]',
        "1 of x",
        "rules.0.tiers.1.people",
        "among the groups",
    ),
    (
        '[["1 of operations"]]',
        '[["65 of risk"]]',
        '[["65',
        "rules.0.tiers.1.people",
        "at most 64 app",
    ),
    ('1 of risk"]\nb', '1 of operations"]\nb', "policy =", "change_quorum.policy", "thing twice"),
    ('"1 of risk"]\nbook', '"3 of risk"]\nbook', "policy =", "change_quorum.policy", "nobody"),
    ('"1 of risk"]\nd', '"3 of risk"]\nd', "book =", "change_quorum.book", "nobody is left"),
    ('["1 of operations", "1 of risk"]\nd', "[]\nd", "book =", "change_quorum.book", "at least"),
    # tiers
    (
        '"10 SOL"',
        '"1 SOL"',
        f"{TIER}[[rules.tiers]]\n",
        "rules.0.tiers.1.up_to",
        "more than the tier",
    ),
    ('"10 SOL"', '"0.5 SOL"', "0.5", "rules.0.tiers.1.up_to", "more than the tier before it"),
    (
        'to = "1 SOL"',
        'to = "0 SOL"',
        'to = "0',
        "rules.0.tiers.0.up_to",
        "more than the tier before",
    ),
    ('"40 SOL"', '"50.1 SOL"', "50.1", "rules.0.tiers.2.up_to", "is above the wallet's cap"),
    ('"50 SOL"', '"39 SOL"', '"40 SOL"', "rules.0.tiers.2.up_to", "is above the wallet's cap"),
    (
        RULES[RULES.index("[[rules.t") :],
        "tiers = []\n",
        "[[rules]]",
        "rules.0",
        "at least one tier",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "needle", "entry", "reason"),
    MISTAKES,
    ids=[f"{index}-{reason[:24]}" for index, (*_, reason) in enumerate(MISTAKES)],
)
def test_a_mistake_is_named(old: str, new: str, needle: str, entry: str, reason: str) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    error = file_error(text.encode())
    line = text[: text.index(needle) + len(needle)].count("\n") + 1
    assert (error.entry, error.line) == (entry, line)
    assert reason in error.reason
    assert str(error).startswith(f"line {line}: {entry}")


ELSEWHERE = '[assets.TSOL]\nnetwork = "solana:testnet"\ndecimals = 9\n'
SAME_RULE = RULES.replace('"customers"', '"again"')


@pytest.mark.parametrize(
    ("added", "entry", "reason"),
    [
        (RULES, "rules.1.name", "customers is already the name of a rule"),
        (SAME_RULE, "rules.1", "can never apply: a rule above it takes every case of it"),
        (
            wallet_text("hot-2", address=HOT_ADDRESS),
            "wallets.hot-2.address",
            "is already hot-sol's",
        ),
        (  # what is signed for one network is valid on the other
            ELSEWHERE + wallet_text("hot-2", address=HOT_ADDRESS).replace('SOL"', 'TSOL"'),
            "wallets.hot-2.address",
            "is already hot-sol's",
        ),
        ("\n[[rules]]\n", "rules.1", "wallet is missing"),
        ("x = 1\n", "rules.0.tiers.2.x", "is not known here"),
        ("[extra]\n", "extra", "is not known here"),
    ],
)
def test_an_addition_that_cannot_hold_is_named(added: str, entry: str, reason: str) -> None:
    error = file_error((TEXT + added).encode())
    assert (error.entry, error.reason) == (entry, reason)
    assert error.line > TEXT.count("\n")


def test_a_rule_under_a_rule_for_any_destination_can_never_apply() -> None:
    text = policy_file(destination="any").decode() + SAME_RULE
    assert file_error(text.encode()).entry == "rules.1"
    later = SAME_RULE.replace('"address-book"', '"any"')
    assert len(parse_policy((TEXT + later).encode()).rules) == 2


def test_a_rule_under_one_for_any_attested_destination_can_never_apply() -> None:
    """The attesting service is asked for with the people, so that such a rule takes every case."""
    services = {"screening": [public("screening")], "travel": [public("travel")]}
    policy = {"services": services, "destination": "attested by screening"}
    for destination in ("attested by travel", "address-book", "any", "own-wallet"):
        more = rule_text("more", destination=destination)
        assert file_error(policy_file(**policy, more=more)).entry == "rules.1"
    assert make_policy(**policy).rules[0].service == "screening"


def test_a_wallet_of_no_rule_needs_a_window_of_upkeep_alone() -> None:
    cold = wallet_text("cold-sol")
    assert make_policy(more=cold).wallets["cold-sol"].windows
    bare = cold[: cold.index("[[wallets")] + "windows = []\n"
    error = file_error(policy_file(more=bare))
    assert (error.entry, error.reason.startswith('needs a window of "upkeep"')) == (
        "wallets.cold-sol.windows",
        True,
    )


def test_windows_of_one_scope_differ_in_their_period() -> None:
    windows = [
        ("wallet", period, "1 SOL", 1) for period in ("1 hour", "24 hours", "7 days", "28 days")
    ]
    others = [(scope, "1 hour", "1 SOL", 0) for scope in ("approved", "upkeep")]
    assert len(make_policy(windows=[*windows, *others]).wallets["hot-sol"].windows) == 6


def test_a_quorum_is_reached_by_distinct_people_only() -> None:
    """bob is in both groups: 2 of operations and 2 of risk would need him twice."""
    seats = ["2 of operations", "2 of risk"]
    assert file_error(policy_file(book_quorum=seats)).reason.endswith("left for 1 of risk")
    assert make_policy(book_quorum=["2 of operations", "1 of risk"]).book_quorum
