"""A large address book costs the signer no memory and no start-up; a million: `make book-trial`."""

from bench import book

ENTRIES = 50_000
GROWTH_MIB = 4.0


def test_the_signer_does_not_grow_with_its_address_book() -> None:
    books = list(book.chain(ENTRIES))
    assert sum(len(version.add) for version in books) == ENTRIES
    with book.signer_host() as (host, _):
        first = book.apply_all(host, books[:3])
        before = book.started(host)
        rest = book.apply_all(host, books[3:])
        after = book.started(host)
        found = book.looked_up(host, books)
    assert after["rss_mib"] < before["rss_mib"] + GROWTH_MIB
    assert rest["applying_rss_mib"] < first["applying_rss_mib"] + GROWTH_MIB
    assert after["start_cpu_seconds"] < 2 * before["start_cpu_seconds"]
    assert found["look_up_ms_p50"] < book.LIMITS["signer.look_up_ms_p99"]


def test_a_broken_limit_is_named() -> None:
    figures = {**dict.fromkeys(book.LIMITS, 0.0), "signer.rss_mib": 150.5}
    assert book.broken(figures) == ["signer.rss_mib is 150.500, more than 150.0"]
