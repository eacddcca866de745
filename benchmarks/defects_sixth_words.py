"""Word lists and passages of benchmarks/defects_sixth.py."""

import random
import string


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = (
    *("Amara", "Bogdan", "Chiara", "Deepak", "Elif", "Farid", "Greta", "Hana", "Ivo", "Jamal"),
    *("Keiko", "Lucía", "Mateus", "Nkechi", "Oskar", "Priya", "Quentin", "Rosa", "Søren", "Tomasz"),
    *("Uma", "Viktor", "Wanjiru", "Ximena", "Yusuf", "Zofia", "Bill", "Sarah", "Mr. Tanaka"),
)
THINGS = (
    *("notebooks", "light bulbs", "bags of flour", "train tickets", "folding chairs", "eggs"),
    *("paint tins", "tulip bulbs", "pencils", "bricks", "T-shirts", "jars of honey", "stickers"),
    *("floor tiles", "water bottles", "screws", "lemons", "library books", "batteries", "muffins"),
)
PLACES = (
    *(
        "the school canteen",
        "a bakery in Leeds",
        "the warehouse",
        "our garden centre",
        "the museum",
    ),
    *("a bike shop", "the village hall", "her food truck", "the post office", "a print shop"),
)
TOPICS = (
    *("composting", "tidal power", "remote work", "beekeeping", "the Silk Road", "sleep hygiene"),
    *("urban trees", "sourdough", "credit scores", "coral reefs", "vaccination", "jazz drumming"),
    *(
        "the moon landing",
        "knitting",
        "electric buses",
        "volcanoes",
        "Roman roads",
        "chess openings",
    ),
    *("noise pollution", "local elections", "container ships", "migraine", "school uniforms"),
    *("open-source licences", "glaciers", "rent control", "bird migration", "public libraries"),
)
LANGUAGES = ("Spanish", "German", "French", "Portuguese", "Polish", "Italian", "Dutch", "Swedish")
CAPITALS = (
    *(("France", "Paris"), ("Kenya", "Nairobi"), ("Peru", "Lima"), ("Norway", "Oslo")),
    *(("Vietnam", "Hanoi"), ("Canada", "Ottawa"), ("Egypt", "Cairo"), ("Chile", "Santiago")),
    *(("Portugal", "Lisbon"), ("Mongolia", "Ulaanbaatar"), ("Jamaica", "Kingston")),
    *(("Iceland", "Reykjavik"), ("Senegal", "Dakar"), ("Nepal", "Kathmandu"), ("Cuba", "Havana")),
    *(("Finland", "Helsinki"), ("Ghana", "Accra"), ("Austria", "Vienna"), ("Oman", "Muscat")),
)
SYNONYMS = (
    *(("happy", "cheerful"), ("quick", "rapid"), ("angry", "furious"), ("tiny", "minute")),
    *(("brave", "courageous"), ("tired", "weary"), ("rich", "wealthy"), ("odd", "peculiar")),
    *(("calm", "serene"), ("noisy", "loud"), ("begin", "commence"), ("huge", "enormous")),
)
COMMON = _words(
    "the of and to in a is that for it was on are as with they be at have this from or had by but "
    "some what there we can out other were all your when up use word how said an each she which "
    "do their time if will way about many then them would write like so these her long make thing "
    "see him two has look more day could go come did my sound no most number who over know water "
    "than call first people may down side been now find any new work part take get place made "
    "live where"
)
NOUNS = _words(
    "engine policy river bottle theory window market kidney teacher orbit pepper ladder contract "
    "violin harvest signal blanket mirror senator carbon pocket bridge turnip glacier ticket "
    "lemon algorithm shadow thread gravity furnace curtain wallet planet pigeon invoice marble "
    "tunnel"
)
PIECES = _words(
    "tion ing ment ##ed ▁the Ġof ization able pre un ness ▁in ically ##s istic ▁co ered ƒ ology "
    "ance iv ▁re ▁and oph ough ship ▁a ul ▁qu ix ##ly ▁non wards ▁to ish ence ▁be ient usion"
)
CODE_BITS = (
    *("{}", "</div>", "&nbsp;", "0x7f", "@@", "NULL", "\\u00a0", "$(this)", "=>", "[UNK]", "<pad>"),
    *("__init__", "&&", "];", "\\n\\n", "//--", "<unk>", "%20", "undefined", "NaN", "ÿþ", "¬¬"),
)
SCRIPTS = (
    "абвгдежзиклмнопрстуфхцчшыюя",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "あいうえおかきくけこさしすせそたちつてと",
    "的一是不了人在有我他这中大来上个国",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "कखगघचछजझटठडढतथदध",
    "가나다라마바사아자차카타파하",
    "ابتثجحخدذرزسشصضطظ",
)
LATIN = (
    ("Carpe diem, quam minimum credula postero.", "Seize the day, trusting tomorrow little."),
    ("Gallia est omnis divisa in partes tres.", "All Gaul is divided into three parts."),
    ("Arma virumque cano, Troiae qui primus ab oris.", "I sing of arms and the man from Troy."),
    ("Quis custodiet ipsos custodes?", "Who will guard the guards themselves?"),
    ("Festina lente.", "Make haste slowly."),
    ("Odi et amo. Quare id faciam, fortasse requiris.", "I hate and love. You may ask why."),
    ("Timeo Danaos et dona ferentes.", "I fear the Greeks even when they bring gifts."),
    ("Ceterum censeo Carthaginem esse delendam.", "I also think Carthage must be destroyed."),
)
SPEECH = (
    ("Finnish", "Hyvää huomenta, missä on lähin apteekki?", "Good morning, where is the pharmacy?"),
    ("Welsh", "Mae hi'n bwrw glaw yng Nghaerdydd heddiw.", "It is raining in Cardiff today."),
    ("Japanese", "駅まで歩いて十分かかります。", "It takes ten minutes to walk to the station."),
    ("Hungarian", "Köszönöm szépen, jól vagyok.", "Thank you very much, I am well."),
    ("Icelandic", "Ég skil ekki þetta orð.", "I do not understand this word."),
    ("Greek", "Πού είναι η βιβλιοθήκη;", "Where is the library?"),
    ("Russian", "Поезд отправляется в семь часов.", "The train leaves at seven o'clock."),
    (
        "Turkish",
        "Çekoslovakyalılaştıramadıklarımızdan mısınız?",
        "Are you one whom we could not make a Czech?",
    ),
    ("Hawaiian", "Humuhumunukunukuāpuaʻa", "The reef triggerfish."),
    ("Korean", "도서관은 월요일에 문을 닫습니다.", "The library is closed on Mondays."),
)
# A passage, a summary of it in a sentence, its main subject.
PASSAGES = (
    (
        "The town council voted on Tuesday to turn the old tram depot into a covered market. "
        "Forty stalls are planned, and rents will be fixed for the first three years.",
        "The council will turn the tram depot into a 40-stall market with rents fixed at first.",
        "a covered market",
    ),
    (
        "Octopuses have three hearts. Two pump blood through the gills, and the third sends it to "
        "the rest of the body; it stops beating while the animal swims, so swimming tires it.",
        "Octopuses have three hearts, one of which stops when they swim.",
        "octopuses",
    ),
    (
        "Our flight from Porto was delayed by five hours and nobody at the desk knew why. The crew "
        "were kind, but we missed the last train home and had to pay for a hotel.",
        "A five-hour delay, unexplained, cost the travellers a hotel night despite a kind crew.",
        "a delayed flight",
    ),
    (
        "Sourdough rises because wild yeast and bacteria feed on the flour. The bacteria make "
        "acids, which give the bread its taste and keep it fresh for longer than bread from yeast.",
        "Wild yeast and bacteria raise sourdough and give it its taste and long life.",
        "sourdough",
    ),
    (
        "Dear customers, the pool will be closed from 3 to 17 August while the filters are "
        "replaced. Monthly passes are extended by two weeks. The sauna remains open as usual.",
        "The pool closes 3-17 August for new filters; passes are extended, the sauna stays open.",
        "the closing of a pool",
    ),
    (
        "Ada Lovelace published her notes on the Analytical Engine in 1843. Note G describes how "
        "the machine could calculate Bernoulli numbers, which many call the first program.",
        "Lovelace's notes of 1843 describe a calculation many call the first program.",
        "Ada Lovelace",
    ),
    (
        "Peat bogs cover about 3% of the land but hold more carbon than all forests together. When "
        "a bog is drained the peat meets air and begins to rot, and the carbon escapes.",
        "Bogs store more carbon than forests, and draining them releases it.",
        "peat bogs",
    ),
    (
        "The new headphones sound warm and the battery lasts for two days. The case feels cheap "
        "though, and the left earcup began to creak after a week. I would still buy them again.",
        "Good sound and battery, a cheap case and a creak; the reviewer would buy them again.",
        "headphones",
    ),
    (
        "Minutes: Oskar will ask the landlord about the roof. Priya reported that membership fell "
        "from 212 to 198. The next meeting is on 14 March at 18:30 in the library.",
        "Oskar asks about the roof, membership fell to 198, next meeting 14 March at 18:30.",
        "a club meeting",
    ),
    (
        "Glass frogs sleep on leaves by day. While they sleep, they pack most of their red blood "
        "cells into the liver, which makes their bodies two to three times more transparent.",
        "Sleeping glass frogs hide red blood cells in the liver to become transparent.",
        "glass frogs",
    ),
    (
        "A fixed-rate mortgage keeps the same interest for an agreed period. Payments are easy to "
        "plan, but leaving early usually costs a fee, and a fall in rates brings no benefit.",
        "Fixed rates make payments predictable, at the price of exit fees and missed rate falls.",
        "fixed-rate mortgages",
    ),
    (
        "The lighthouse keeper wound the clockwork every four hours. On the night of the storm he "
        "did not sleep at all, and when the boats came in at dawn he was still on the stairs.",
        "A keeper stayed awake through a storm to keep the light turning until the boats were in.",
        "a lighthouse keeper",
    ),
)
SNIPPETS = (
    ("def mean(xs):\n    return sum(xs) / len(xs)", "It returns the arithmetic mean of a list."),
    ("SELECT name FROM staff WHERE left_on IS NULL;", "It lists the staff who have not left."),
    ("for i in $(seq 1 5); do echo $i; done", "It prints the numbers from 1 to 5."),
    ("const f = s => [...s].reverse().join('');", "It reverses a string."),
    ("print({w: len(w) for w in text.split()})", "It prints every word with its length."),
    ("while (b) { t = b; b = a % b; a = t; }", "It computes a greatest common divisor."),
    ("^\\d{4}-\\d{2}-\\d{2}$", "It matches a date such as 2024-05-31."),
    ("git log --oneline | head -5", "It shows the five latest commits, a line each."),
    ("xs.sort(key=lambda p: (-p.age, p.name))", "It sorts by falling age, then by name."),
)


def fill(rng: random.Random, text: str) -> str:
    """The text with its {name}, {thing}, {place}, {topic}, {language}, {code} drawn.

    Parts of a row that shall have the same words are joined with a zero character.
    """
    lists = {"name": NAMES, "thing": THINGS, "place": PLACES, "topic": TOPICS}
    drawn = {key: rng.choice(words) for key, words in lists.items()}
    drawn["language"] = rng.choice(LANGUAGES)
    drawn["code"] = product_code(rng)
    parts = []
    for part in text.split("\0"):
        filled = part
        for key, word in drawn.items():
            filled = filled.replace("{" + key + "}", word)
        starts = part.startswith(("{place}", "{thing}", "{topic}"))
        parts.append(filled[:1].upper() + filled[1:] if starts else filled)
    return "\0".join(parts)


def product_code(rng: random.Random) -> str:
    """A product code of one of several makes, such as QX-4471-B or 88.301.07."""
    letters = "".join(rng.choices(string.ascii_uppercase, k=2))
    return rng.choice(
        (
            f"{letters}-{rng.randint(1000, 9999)}-{rng.choice('ABCDX')}",
            f"{rng.randint(10, 99)}.{rng.randint(100, 999)}.{rng.randint(10, 99)}",
            f"{letters}{rng.randint(10, 99)}{rng.choice('KLM')}/{rng.randint(1, 9)}",
        )
    )


def lowered(text: str) -> str:
    """The text with a small first letter, for the middle of a sentence."""
    return text if text.startswith("I ") else text[:1].lower() + text[1:]
