"""What a service tells Prometheus, read as that does."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
_SOON_S = 30


def scrape(port: int) -> Samples:
    """Return all samples that are told at a port, by their name and labels."""
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10, verify=False)
    assert answer.status_code == 200
    return samples_of(answer.text)


def samples_of(text: str) -> Samples:
    """Return the samples of the text format."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """Return the value of one series, None where there is none."""
    return samples.get((name, frozenset(labels.items())))


def total(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum of all series of a name that have some labels."""
    return sum(
        number
        for (each, found), number in samples.items()
        if each == name and labels.items() <= dict(found).items()
    )


def sums(samples: Samples) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    """Yield the samples that must never fall: counters, and what histograms of events consist of."""
    for key, number in samples.items():
        name = key[0]
        is_of_now = name.startswith("harbor_vessel_age_seconds")
        if name.endswith(("_total", "_bucket", "_sum", "_count")) and not is_of_now:
            yield key, number


def awaited(port: int, is_there: Callable[[Samples], bool]) -> Samples:
    """Return the first samples of which something is so; AssertionError where that takes too long."""
    deadline = time.monotonic() + _SOON_S
    samples: Samples = {}
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            samples = scrape(port)
            if is_there(samples):
                return samples
        time.sleep(0.05)
    raise AssertionError(f"it did not come to that: {sorted(map(str, samples.items()))}")
