"""The training file: what is read, what is refused and what is said then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dbm_gmx.errors import InputError
from dbm_gmx.files.share import share_path
from dbm_gmx.train.settings import (
    RANGES,
    TrainSettings,
    WarmSettings,
    _numbers,
    check_settings,
    plain,
    read_settings,
)

SYSTEM = '[[system]]\ntopology = "topol.top"\ntrajectory = "aa.xtc"\nmapping = "mapping.xml"\n'


def read(folder: Path, text: str) -> TrainSettings:
    path = folder / "train.toml"
    path.write_text(text)
    return read_settings(path)


def test_sections_become_records(tmp_path: Path) -> None:
    text = (
        f'output = "out"\nseed = 7\n{SYSTEM}temperature = 350\n{SYSTEM}[warm]\nsteps = 10\n[grid]\nedge = 1'
    )
    settings = read(tmp_path, text)
    assert settings.output == tmp_path / "out"
    assert settings.seed == 7
    assert [s.temperature for s in settings.system] == [350.0, 300.0]
    assert settings.system[0].mapping == (tmp_path / "mapping.xml",)
    assert settings.warm == WarmSettings(steps=10)
    assert settings.grid.edge == 1.0
    assert settings.steps == 10 + settings.adversarial.steps
    assert plain(settings)["system"][0]["mapping"] == [str(tmp_path / "mapping.xml")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'output = "o"\ncolour = 3\n{SYSTEM}', "unknown key colour; known are output, system, name, seed"),
        (
            f'output = "o"\n{SYSTEM}[prior]\nkinds = "p1"\n',
            r"unknown key kinds in \[prior\]; known are kind, bonded, lennard_jones",
        ),
        (f'output = "o"\n{SYSTEM}beats = 3\n', r"unknown key beats in \[system\]; known are topology"),
        (f'output = "o"\n{SYSTEM}[prior]\nkind = "p3"\n', "prior.kind = 'p3'; possible are none, p1, p2"),
        (f'output = "o"\n{SYSTEM}[warm]\nsteps = 1.5\n', "warm.steps = 1.5; it takes a whole number"),
        (f'output = "o"\n{SYSTEM}[warm]\nsteps = true\n', "warm.steps = True; it takes a whole number"),
        (f'output = "o"\n{SYSTEM}[critic]\nspectral = 1\n', "critic.spectral = 1; it takes true or false"),
        (f'output = "o"\nwarm = 3\n{SYSTEM}', "warm is a section, not 3"),
        ('output = "o"\n[[system]]\ntopology = "a"\n', r"no trajectory, mapping in \[system\]"),
        ("seed = 1\n", "no output, system"),
        ('output = "o"\nsystem = []\n', "system = 0; it takes at least 1"),
        ("output = ", "not a training file"),
        (
            f'output = "o"\n{SYSTEM}[warm]\nsteps = 0\n[adversarial]\nsteps = 0\n',
            r"warm.steps \+ adversarial.steps = 0; it takes at least 1",
        ),
        (f'output = "o"\n{SYSTEM}held_out = -1\n', "system.held_out = -1; it takes at least 0"),
        (f'output = "o"\n{SYSTEM}share = 0\n', "system.share = 0.0; it takes more than 0"),
        (f'output = "o"\n{SYSTEM}[run]\naverage = 1\n', "average = 1.0; it takes at least 0 and less than 1"),
        (f'output = "o"\n{SYSTEM}[network]\nnoise = 0\n', "network.noise = 0; it takes at least 1 and"),
        (f'output = "o"\n{SYSTEM}[grid]\nsize = 7\n', "grid.size = 7; it takes an even number"),
        (f'output = "o"\n{SYSTEM}[grid]\ncutoff = 1e9\n', "grid.cutoff = 1000000000.0; it takes more than 0"),
        (f'output = "o"\nname = "../m"\n{SYSTEM}', "name = '../m'; it takes the name of a file, without"),
        (f'output = "o"\nname = ""\n{SYSTEM}', "name = ''; it takes the name of a file"),
        (f'output = "o"\nname = "checkpoint"\n{SYSTEM}', "name = 'checkpoint'; that is the name of another"),
        (f'output = "o"\n{SYSTEM}[memory]\nname = "a/b"\n', "memory.name = 'a/b'; it takes the name of a"),
        (f'output = "\\u0000"\n{SYSTEM}', "a text has no zero bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path, text)
    assert caught.value.path == tmp_path / "train.toml"


def test_every_number_has_a_range(tmp_path: Path) -> None:
    """Whatever a key is, what a network cannot be made with is refused before any work."""
    settings = read(tmp_path, f'output = "o"\n{SYSTEM}[memory]\n[warm]\nsteps = 3\n')
    assert set(RANGES) == {name for name, _ in _numbers(settings)}
    with pytest.raises(InputError, match=r"run\.average = 2; it takes"):
        check_settings(replace(settings, run=replace(settings.run, average=2)))


@pytest.mark.parametrize(("name", "systems"), [("sps", 1), ("transferred", 2)])
def test_recipes_can_be_read_and_name_files_there_are(name: str, systems: int) -> None:
    settings = read_settings(share_path("recipes", "train", f"{name}.toml"))
    assert (settings.name, settings.guided, len(settings.system)) == (name, True, systems)
    for system in settings.system:
        assert all(p.is_file() for p in (system.topology, system.trajectory, *system.mapping))
