"""Streams of random numbers: one name one stream, and no two names share any of their numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dbm_gmx.compiled import compiled
from dbm_gmx.sampling.random_numbers import (
    GOLDEN,
    Stream,
    Use,
    frame_stream,
    gaussian,
    seeded,
    uniform,
)

DRAWS = 10**9
"""Random numbers that no stream ever draws."""


def names() -> list[tuple[int, ...]]:
    """Paths as one frame, several frames, samples, uses and their numbers give, and others like them."""
    found = {(seed, Use.CONFORMERS) for seed in range(8)}
    for seed, frame, sample in itertools.product((0, 1, 2, 2**31), (0, 1, 2, 65536), (0, 1, 2)):
        stream = frame_stream(seed, frame, sample)
        found.add(stream.path)
        for use in Use:
            found.add(stream.of(use).path)
            for numbers in ((0,), (1,), (2**32 - 1,), (0, 0), (1, 0), (0, 1), (3, 2, 0), (3, 2, 1)):
                found.add(stream.of(use, *numbers).path)
    # of different length, with zeros in front and behind
    for length in range(1, 7):
        found |= set(itertools.product((0, 1, 2), repeat=length))
    return sorted(found)


NAMES = names()


@compiled()
def _draw(key, number, count, found):  # type: ignore[no-untyped-def]
    rng = np.empty(1, np.uint64)
    seeded(rng, key, number)
    found[0] = rng[0]
    values = np.empty(count)
    for k in range(count):
        values[k] = uniform(rng) if k % 2 == 0 else gaussian(rng)
    return values


def begins(key: np.uint64, number: int) -> int:
    """State that a stream of compiled code begins with."""
    found = np.zeros(1, np.uint64)
    _draw(key, np.uint64(number), 0, found)
    return int(found[0])


def test_every_use_has_a_number_of_its_own() -> None:
    assert len({int(use) for use in Use.__members__.values()}) == len(Use.__members__)


def test_no_two_names_have_the_same_key() -> None:
    assert len(NAMES) > 3000
    keys = [int(Stream(path).key) for path in NAMES]
    assert len(set(keys)) == len(NAMES)


def test_no_two_streams_of_compiled_code_overlap() -> None:
    """A stream counts up: where streams begin must be further apart than any of them counts."""
    states = []
    for path in NAMES:
        key = Stream(path).key
        states += [begins(key, number) for number in (0, 1, 2, 77)]
    inverse = pow(int(GOLDEN), -1, 2**64)
    place = np.array([state * inverse % 2**64 for state in states], object)
    place.sort()
    gaps = np.append(np.diff(place), place[0] + 2**64 - place[-1])
    assert len(states) > 12000
    assert gaps.min() > DRAWS


def test_a_number_is_not_a_name() -> None:
    """The stream of an item is none that a longer name gives."""
    stream = frame_stream(1, 2, 3)
    inner = {begins(stream.of(5, number).key, item) for number in range(50) for item in range(50)}
    outer = {begins(stream.of(5).key, item) for item in range(50)}
    assert len(inner) == 2500
    assert len(outer) == 50
    assert not inner & outer


def test_no_two_names_give_numpy_the_same_numbers() -> None:
    drawn = [int(Stream(path).generator.integers(2**63)) for path in NAMES]
    assert len(set(drawn)) == len(NAMES)


@pytest.mark.parametrize("path", [(1,), (1, 0), (0, 1), (1, 2, 3, 7, 0)])
def test_the_same_name_gives_the_same_numbers(path: tuple[int, ...]) -> None:
    one, other = Stream(path), Stream((path[0],)).of(*path[1:])
    assert one == other
    assert one.key == other.key
    assert (one.generator.random(20) == other.generator.random(20)).all()
    # also when other numbers were drawn in between
    first = one.generator
    first.random(5)
    assert (one.generator.random(20) == other.generator.random(20)).all()
    room = np.zeros(1, np.uint64)
    drawn = [_draw(s.key, np.uint64(4), 20, room) for s in (one, other)]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != _draw(one.key, np.uint64(5), 20, room)).all()


def test_numpy_s_integers_name_what_python_s_do() -> None:
    assert Stream((1,)).of(np.int64(3), Use.PACKING) == Stream((1, 3, 7))


def test_numbers_are_spread_as_they_should_be() -> None:
    """Within one stream, and the first ones of many."""
    room = np.zeros(1, np.uint64)
    within = _draw(Stream((1,)).key, np.uint64(0), 40000, room)
    first = np.array([_draw(Stream((1,)).key, np.uint64(n), 2, room) for n in range(20000)])
    for flat, normal in ((within[::2], within[1::2]), first.T):
        error = 5 / np.sqrt(len(flat))
        assert flat.min() >= 0
        assert flat.max() < 1
        assert abs(flat.mean() - 0.5) < error * np.sqrt(1 / 12)
        assert abs(flat.var() - 1 / 12) < error * np.sqrt(1 / 180)
        assert abs(normal.mean()) < error
        assert abs(normal.var() - 1) < error * np.sqrt(2)
        assert abs((normal**4).mean() - 3) < error * np.sqrt(96)
        assert abs(np.corrcoef(flat[1:], flat[:-1])[0, 1]) < error
        assert abs(np.corrcoef(flat, normal)[0, 1]) < error
