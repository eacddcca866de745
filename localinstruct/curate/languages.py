"""The language of a text, and answers in another language than the one asked for.

A script tells many languages, the commonest words tell those that are written in Latin letters; a
text of few words, or one that fits two languages, has none ("unsure"). Not covered: languages that
are not in the tables, and which of two close ones a short text is in.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import chain, repeat

from localinstruct.curate.texts import beyond_latin, in_one_case, words_in_order

_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7a3]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("cyrillic", re.compile(r"[\u0400-\u04ff]")),
    ("arabic", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
)
_COMMON = {
    "en": "the of and to is that it was for on are with as his they be at this have from or had by "
    "not but what all were when we there can an your which their if will how you he she would "
    "about "
    "in did do does has been some went them him who my me so no out up than then into more i its "
    "any only most other after also because before could down first get give go good here just "
    "know "
    "like make may much new now over same see should such take them these those too two use "
    "very way "
    "well where while may might must each every us our own him still through between",
    "fr": "en peu il faut depuis les leurs beaucoup "
    "le la les des du et est une un que qui dans pour sur au aux ce cette il elle nous vous "
    "ils elles ne pas plus avec sont ont été leur mais ou où par je se sa ses d'un c'est qu'il"
    " pourquoi comment quand pendant "
    "tu te très fait faire tout tous toute même aussi sans notre votre",
    "de": "der die das und ist nicht ein eine einen einem einer mit auf für von zu den dem des im "
    "sich auch es sie ich wir ihr sind war wird als wie bei nach aus oder aber wenn haben hat zur "
    "man am vom zum beim davon dass doch noch nur sehr so warum kann bitte",
    "es": "el los las que y en una un por con para es está como más pero sus del al su lo se no ha "
    "son fue este esta ser muy también sin sobre cuando hay nos yo él ella de la le les donde",
    "it": "da ma molto pochi poco molti molte ne "
    "il lo gli che di è un una per con non sono della del dei nel alla al anche più come ma "
    "si hanno ha questo questa delle dal essere loro io mi ci le suo sua quando dove e la i era",
    "pt": "o os as que e do da dos das em um uma para com não por mais como mas foi ao ele ela sua "
    "seu são está ser isso na no nas nos pelo pela também muito quando já você eles foram é se "
    "a ao aos dela dele pode podem deve tem porque até depois",
    "nl": "de het een en van is dat niet te op voor met zijn aan hij ze er maar om ook als bij "
    "naar "
    "dan uit wat werd hebben heeft hun wordt geen over door we ik je was deze kan hebt gingen",
    "pl": "i w na z do że się nie jest to jak za od po przez dla są było był była ale czy tak jego "
    "jej ich które który która przed bo oraz może tylko już też go ten ta",
    "sv": "och att det som en på är av för med den till inte om ett har de jag men var sig från vi "
    "så kan när hon han nu eller ska sin under efter blev vid där skulle dem",
    "da": "og at det som en på er af for med den til ikke om et har de jeg men var sig fra vi "
    "så kan "
    "når hun han nu eller skal efter blev ved der skulle dem være",
    "tr": "ve bir bu için ile da de olarak çok daha gibi kadar sonra olan ama ne var ben sen o biz "
    "onlar değil mi mı en her şey hem ya ki oldu",
    "ro": "și în de la cu pe nu este un o din care pentru sunt mai ca să au fost dar după sau prin "
    "acest această lui ei se al ale a",
    "cs": "a je se na v že to s z do pro jako by ale jsem jsou bylo byl byla za od po tak když "
    "nebo "
    "jeho který která které už také při ve",
    "id": "dan yang di ini itu dengan untuk tidak dari dalam akan pada juga ke karena ada oleh "
    "saya "
    "mereka kami bisa sudah atau lebih adalah seperti",
    "fi": "ja on ei se että oli hän mutta ovat myös kun niin tai joka mitä kuin sen ole olla jos "
    "hänen minä sinä",
}
_ITS_WORDS = {code: frozenset(words.split()) for code, words in _COMMON.items()}
_OF_WORD: dict[str, tuple[str, ...]] = {}
for _language, _words in _ITS_WORDS.items():
    for _word in _words:
        _OF_WORD[_word] = (*_OF_WORD.get(_word, ()), _language)
_ONLY_ENGLISH = frozenset(word for word, codes in _OF_WORD.items() if codes == ("en",))
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_ACCENTED = re.compile(r"[à-öø-ÿœąćęłńśźżăâîșțřěůčšžıİğş]", re.IGNORECASE)
_CLOSEST = {"da", "sv"}
_TWINS = ({"da", "sv"}, {"es", "pt"})

_NAMES = {
    "English": "en", "French": "fr", "German": "de", "Spanish": "es", "Italian": "it",
    "Portuguese": "pt", "Dutch": "nl", "Polish": "pl", "Swedish": "sv", "Danish": "da",
    "Turkish": "tr", "Romanian": "ro", "Czech": "cs", "Indonesian": "id", "Malay": "id",
    "Finnish": "fi", "Russian": "cyrillic", "Ukrainian": "cyrillic", "Bulgarian": "cyrillic",
    "Serbian": "", "Chinese": "zh", "Mandarin": "zh", "Cantonese": "zh", "Japanese": "ja",
    "Korean": "ko", "Arabic": "arabic", "Persian": "arabic", "Farsi": "arabic", "Urdu": "arabic",
    "Hebrew": "he", "Greek": "el", "Thai": "th", "Hindi": "hi", "Latin": "", "Norwegian": "",
    "Hungarian": "", "Vietnamese": "", "Esperanto": "", "Catalan": "", "Swahili": "", "Irish": "",
}  # fmt: skip
"""Names of languages -> what `language` calls them, "" for one that it does not know."""
_LOWER_NAMES = frozenset(map(str.lower, _NAMES))
_NAME = rf"({'|'.join(_NAMES)})"
_ASKED = re.compile(
    r"\b(?:(?i:translat\w*|render|convert|rewrite|put|write|answer|repl(?:y|ies)|respond|say it"
    r"|compose|describe|explain|summari[sz]e|express|give|tell)\b)"
    rf"[^.?!\n]{{0,160}}?\b(?:in|into|to) (?:simple |plain |formal |modern |good |Mexican "
    rf"|Brazilian )?"
    rf"{_NAME}\b(?! (?:and|or|class|teacher|history|art|cuisine|food|people|culture|literature"
    r"|restaurant|market|law|government|translation of|words?|phrases?|idioms?|verbs?|grammar))"
)
_MENTIONED = re.compile(rf"\b{_NAME}\b")
_ENGLISH_START = re.compile(
    r"\s*(?:please )?(?:what|how|why|who|when|where|which|explain|write|describe|list|name"
    r"|give|create"
    r"|generate|suggest|find|tell|compare|discuss|identify|provide|summari[sz]e|design|compose"
    r"|classify|outline|draft|recommend|invent|imagine|calculate|define|develop|plan|propose"
    r"|choose"
    r"|rewrite|make|is|are|does|can|could|should) ",
    re.IGNORECASE,
)
_CAPITALISED = re.compile(r"[A-Z][a-z]+")
_ABOUT_LANGUAGE = re.compile(
    r"\b(?:translat\w*|(?<!sign )(?<!body )(?<!programming )languages?"
    r"|bilingual|word for"
    r"|phrases?|vocabulary|lyrics|accent|foreign"
    r"|multilingual|pronounc\w*|etymolog\w*|gramma\w*|idioms?|quot\w*|writing|in other words"
    r"|correct|proofread|names?|titles?|spell\w*|continue|lorem)\b",
    re.IGNORECASE,
)
_OF_NAMES = re.compile(r"(?:name|title)s?", re.IGNORECASE)
LONG_ANSWER = 60
"""Letters from which on an answer is more than a name, which may be of any language."""
LONGEST = 600
"""Letters of a text that are looked at."""


@cache
def common_words() -> frozenset[str]:
    """The commonest English words."""
    return frozenset(_COMMON["en"].split())


@lru_cache(maxsize=8)
def names_language(instruction: str) -> bool:
    """Tell whether a request names a language."""
    if _LOWER_NAMES.isdisjoint(words_in_order(instruction)):
        return False
    return not _NAMES.keys().isdisjoint(_CAPITALISED.findall(instruction))


@lru_cache(maxsize=8)
def _is_english(text: str) -> bool:
    """Tell quickly whether a text begins in plain English."""
    if not text.isascii():
        return False
    words = text[:300].lower().split()
    hits = sum(map(_ONLY_ENGLISH.__contains__, words))
    return hits >= 3 and hits >= 0.15 * len(words)


def about_language(instruction: str) -> bool:
    """Tell whether a request names a language or is about words."""
    return names_language(instruction) or _ABOUT_LANGUAGE.search(instruction) is not None


@lru_cache(maxsize=8)
def language(text: str) -> str:
    """Code of a text's language, or of its script; "" when unsure."""
    text = text[:LONGEST]
    if not text.isascii() and (by_script := _by_script(text)):
        return by_script
    plain = text.isascii() and "'" not in text
    words: Sequence[str] = (
        words_in_order(text) if plain else _WORD.findall(in_one_case(text).replace("’", "'"))
    )
    if len(words) < 5:
        return ""
    codes = list(chain.from_iterable(map(_OF_WORD.get, words, repeat(()))))
    if not codes:
        return ""
    best, *others = sorted(dict.fromkeys(codes), key=codes.count, reverse=True)[:3]
    hits = codes.count(best)
    second = next((codes.count(code) for code in others if {best, code} != _CLOSEST), 0)
    least = 2 if best != "en" and _ACCENTED.search(text) else 3
    if hits < max(least, 0.17 * len(words)) or hits < 1.6 * second + 0.5:
        return ""
    return best if len(_ITS_WORDS[best].intersection(words)) >= least else ""


def _by_script(text: str) -> str:
    if not beyond_latin(text):
        return ""
    letters = sum(map(str.isalpha, text))
    for code, pattern in _SCRIPTS:
        share = len(pattern.findall(text)) / max(letters, 1)
        if share >= (0.15 if code == "ja" else 0.5) and letters >= 4:
            return code
    return ""


def wrong_language(instruction: str, given: str, output: str) -> str | None:
    """Say in which language an answer is where another one was asked for, or None."""
    named = names_language(instruction)
    if not named and _is_english(instruction) and _is_english(output):
        return None
    said = language(output)
    if not said or "```" in output:
        return None
    asked_in = "" if named else language(instruction)
    if said == asked_in:
        return None
    asked = list(_ASKED.finditer(instruction[:LONGEST])) if named else []
    if asked:
        wanted = {_NAMES[match[1]] for match in asked}
        mentioned = {_NAMES[name] for name in _MENTIONED.findall(instruction)}
        return _said(said, wanted if wanted != mentioned and len(wanted) == 1 else mentioned)
    letters = len(output.encode()) if said in ("zh", "ja", "ko") else len(output)
    if named or any(
        letters < LONG_ANSWER or not _OF_NAMES.match(found[0])
        for found in _ABOUT_LANGUAGE.finditer(instruction)
    ):
        return None
    tail = re.split(r":\s|\n|[\"“«„]", instruction, maxsplit=1)[1:]
    asked_in = asked_in or ("en" if _ENGLISH_START.match(instruction) else "")
    spoken = {asked_in, language(given), *map(language, tail)} - {""}
    return _said(said, spoken) if asked_in else None


def _said(said: str, wanted: set[str]) -> str | None:
    if not wanted or "" in wanted or said in wanted:
        return None
    if any(said in twins and twins & wanted for twins in _TWINS):
        return None
    return f"it is in {said!r}, not in {' or '.join(sorted(wanted))}"
