"""What licences ask: every sentence rests on words of the licence's own text."""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from localinstruct.models import licences
from localinstruct.models.adding import add_model
from localinstruct.models.licences import KNOWN, NOT_LOOKED_UP, asks, name_of, named_by_file
from tests.support.sound_model import sound_model

COPIES = {
    "MIT": ("pydantic", "rich", "typer"),
    "BSD-3-Clause": ("numpy", "jinja2", "torch"),
    "BSD-2-Clause": ("pygments", "sympy"),
    "CC-BY-4.0": ("license-expression",),
}
"""Licence -> installed packages that carry a copy of its text."""


def copies(name: str) -> Iterator[str]:
    if name == "Apache-2.0":
        yield (Path(__file__).parents[2] / "LICENSE").read_text()
    if name == "CC0-1.0" and (system := Path("/usr/share/common-licenses/CC0-1.0")).is_file():
        yield system.read_text()
    for package in COPIES.get(name, ()):
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if "licen" in str(file).lower() and file.suffix in (
                "",
                ".txt",
                ".rst",
                ".md",
                ".LICENSE",
            ):
                yield Path(str(file.locate())).read_text("utf-8", "replace")


@pytest.mark.parametrize("licence", KNOWN, ids=lambda licence: licence.name)
def test_every_sentence_rests_on_words_of_the_licence(licence: licences.Licence) -> None:
    texts = [" ".join(text.split()) for text in copies(licence.name)]
    if not texts:
        pytest.skip("no copy of this licence is installed here")
    assert any(
        all(words.lower() in text.lower() for words in (*licence.phrases, *licence.title))
        for text in texts
    )


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("Apache 2.0", "Apache-2.0"),
        ("mit", "MIT"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("bsd-3-clause", "BSD-3-Clause"),
        ("llama3.1", "Llama 3.1 Community License"),
        ("lfm1.0", "LFM Open License v1.0"),
        ("house rules", "house rules"),
    ],
)
def test_licences_have_one_name(said: str, name: str) -> None:
    assert name_of(said) == name


def test_what_is_not_known_here_is_looked_for_in_models_yaml_and_else_not_made_up() -> None:
    entries = {
        "old": {"licence": "Gemma Terms of Use", "obligations": "Pass the terms on."},
        "bare": {"licence": "House rules"},
        "odd": 7,
    }
    assert asks("gemma", entries) == "Pass the terms on."
    assert asks("House rules", entries) == asks("cc-by-nc-4.0", entries) == NOT_LOOKED_UP
    assert asks("MIT", entries).startswith("None on outputs")


@pytest.mark.parametrize("given", ["apache-2.0", "unknown"])
def test_add_fills_in_what_the_licence_asks(tmp_path: Path, given: str) -> None:
    model = sound_model(tmp_path)
    (model / "README.md").unlink()
    (model / "LICENSE").write_text((Path(__file__).parents[2] / "LICENSE").read_text())
    (tmp_path / "models.yaml").write_text(
        "x:\n  path: x\n  roles: [teacher]\n  context: 64\n  licence: y\n"
    )
    spec = add_model(tmp_path, "mine", model, licence=given)
    assert spec.licence == "Apache-2.0"
    assert "say what was changed" in spec.obligations
    (model / "LICENSE").write_text("All rights reserved.")
    assert named_by_file(model) == ""
    assert add_model(tmp_path, "other", model).obligations == NOT_LOOKED_UP
