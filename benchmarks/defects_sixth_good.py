"""Rows worth keeping that look like the defects of benchmarks/defects_sixth.py."""

import random
import string
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.defects_sixth_documents import ANSWERS, DOCUMENTS
from benchmarks.defects_sixth_words import (
    LATIN,
    NAMES,
    NOUNS,
    PASSAGES,
    SNIPPETS,
    SPEECH,
    fill,
    product_code,
)

Made = dict[str, str]


def _made(rng: random.Random, instruction: str, output: str, text: str = "") -> Made:
    parts = fill(rng, "\0".join((instruction, text, output))).split("\0")
    return dict(zip(("instruction", "input", "output"), parts, strict=True))


# Requests about a passage: {p} is the passage; the answers take its summary {s} or its subject {m}.
ABOUT_PASSAGE = (
    ("Summarize the following text in one sentence.", "{p}", "{s}"),
    ("Read the attached text and give its main point.", "{p}", "The main point: {s}"),
    ("What is the passage below about?", "{p}", "It is about {m}."),
    ("Shorten the paragraph I pasted here.", "{p}", "{s}"),
    ("Give the text above a title.", "{p}", "On {m}"),
    ("Please summarise this: \"{p}\"", "", "{s}"),
    ("Text: {p}\n\nTask: name the subject in a few words.", "", "The subject is {m}."),
    ("Given the following article, write a headline and then a one-line summary.\n\n{p}", "",
     "Headline: News of {m}\nSummary: {s}"),
    ("Can you tell me in short what this says? {p}", "", "In short: {s}"),
    ("Read the text. First name its subject, then summarise it, and finally count its sentences.",
     "{p}", "1. Subject: {m}\n2. Summary: {s}\n3. Sentences: {n}"),
    ("Transcript of the recording is below; what did the speaker say, roughly?", "\"{p}\"", "{s}"),
    ("tl;dr pls", "{p}", "{s}"),
)  # fmt: skip
ABOUT_CODE = (
    ("Explain what the following code does.", "{p}", "{s}"),
    ("What does this line do?\n\n```\n{p}\n```", "", "{s}"),
    ("Add a comment to the snippet provided.", "{p}", "# {s}\n{p}"),
    ("Read the attached script, then say in one sentence what it is for.", "{p}", "{s}"),
    ("I found `{p}` in an old project. What's it for?", "", "{s}"),
)
ABOUT_LATIN = (
    ("Translate the Latin sentence below into English.", "{p}", "{s}"),
    ("What does \"{p}\" mean?", "", "It means: {s}"),
    ("Give the Latin original of: {s}", "", "{p}"),
    ("Quote a Latin line and its meaning, as I want it on a card for {name}.", "", "{p}\n({s})"),
)  # fmt: skip
# Templates on their own; the slots of fill, and {v}: a new word of the lists.
OWN = (
    ("Write a short email to {name} saying that the report on {topic} is attached.", "",
     "Hi {name},\n\nplease find attached the report on {topic}. Let me know if the file does not "
     "open.\n\nBest wishes"),
    ("How does {name} attach a file to an email?", "",
     "Open a new message, click the paper clip, choose the file and wait until its name appears "
     "below the subject. Then {name} can press send."),
    ("Invent a picture for a children's book about {topic} and describe it.", "",
     "In the picture a girl named {name} kneels in the grass. Above her, in big letters, is a sign "
     "that says: {topic}."),
    ("What should a good chart about {topic} show?", "",
     "A title, labelled axes with units, the source of the data, and only as many lines as a "
     "reader can tell apart."),
    ("Suggest how {name} could record a podcast about {topic}: equipment, outline and first line.",
     "", "Equipment: one USB microphone and a quiet room.\nOutline: why {topic} matters, two "
     "guests, a question to listeners.\nFirst line: \"Hello, I'm {name}, and today it's "
     "{topic}.\""),
    ("First explain composting in one sentence, then give {name} an example, and end with a "
     "question.",
     "", "Composting lets microbes turn kitchen and garden waste into soil. For example, {name} "
     "could "
     "layer peelings with dry leaves. Is there a shady corner for a heap?"),
    ("Write a product listing for item {code}, sold by {place}.", "",
     "{code} - now at {place}! Sturdy, light and easy to clean. Order number {code}, delivered in "
     "three days."),
    ("Sort the part numbers for {name}.", "QX-4471-B, AA-0001-A, QX-0090-C",
     "AA-0001-A\nQX-0090-C\nQX-4471-B"),
    ("Extract the product code from the sentence.", "{name} sent {code} back to {place}.",
     "{code}"),
    ("Which item number does {name} ask about?",
     "from: {name}\nsubj: Re: Re: AW: {code}??\n\nis {code} in stock again? thx", "{code}"),
    ("Write a plan for a class on {topic} with three numbered tasks.", "",
     "Task 1: Collect what you know about {topic}.\nTask 2: Read the leaflet and mark what is new."
     "\nTask 3: Write five lines for {name}, who missed the class."),
    ("Make a quiz on the planets with two questions and answers for {name}'s class.", "",
     "Question 1: Which planet is the largest?\nAnswer: Jupiter.\n\nQuestion 2: Which planet turns "
     "on its side?\nAnswer: Uranus."),
    ("Write an FAQ on visiting {place}.", "",
     "Q: When are you open?\nA: Tuesday to Sunday, 9:00-17:30.\n\nQ: May I bring a dog?\nA: Yes, "
     "on "
     "a lead.\n\nQ: Whom do I ask about {topic}?\nA: Please write to {name}."),
    ("Write instructions for cleaning the {code} coffee machine.", "",
     "Follow these steps:\n\n1. Unplug the {code}.\n2. Empty the tray.\n3. Rinse the tank with "
     "warm "
     "water.\n4. Run it twice with clear water.\n\nInstruction for the filter: change it every 60 "
     "days."),
    ("Write a dialogue between {name} and a customer about {thing}.", "",
     "Customer: Do you have {thing}?\n{name}: We do, on the second shelf.\nCustomer: And how much "
     "are they?\n{name}: It depends on how many you need."),
    ("When did {name} work at {place}?", "{name}: {place}, 2011-2014; freelance since 2015.",
     "{name} worked there from 2011 to 2014."),
    ("State the score.", "{name}'s team won 3-2 after being 0-2 down at half-time (9-4 in shots).",
     "3-2"),
    ("Give me a scone recipe for {name}.", "",
     "- 1 1/2 cups flour\n- 1/2 cup cold butter\n- 2/3 cup milk\n- 1/4 tsp salt\n\nRub, fold, cut, "
     "and bake for 12-15 minutes at 220 °C. {name} may want jam with that."),
    ("Write release notes for version 2.4.1 of the {code} driver.", "",
     "## 2.4.1 (2024-05-17)\n\n- Fixed: {code} was not found on USB 3.2 ports\n- Changed: needs "
     "Python >=3.10,<3.13\n- Since 2.3.9-rc2: no other changes"),
    ("Write a weekly plan for learning about {topic}.", "",
     "Mon-Tue: read one article.\nWed: 20-30 minutes of notes.\nThu-Fri 18:00-18:45: talk with "
     "{name}.\nSat/Sun: rest, 24/7 is not the aim."),
    ("Put the table in CSV form.", "| who | what |\n|---|---|\n| {name} | {thing} |\n| - | {code} "
    "|",
     "who,what\n{name},{thing}\n-,{code}"),
    ("Make a Markdown table of the stock.", "{thing}: 14; {code}: 0; misc.: 3",
     "| item | stock |\n| --- | ---: |\n| {thing} | 14 |\n| {code} | 0 |\n| misc. | 3 |"),
    ("Continue the story.", "{name} found a letter behind the counter of {place}.",
     "It was addressed to nobody, and it mentioned {topic} on every line. {name} read it twice."),
    ("Reply to the message below.", "hey its {name}, r we still on 4 sat? bring the {thing} :)",
     "Hi {name}, yes, Saturday is fine, and I'll bring the {thing}."),
    ("Classify the request as question, order or complaint.",
     "Your {code} broke after a day. Nobody at {place} answers!!!", "Complaint"),
    ("Write a nonsense verse with invented words for {name}, in the manner of Jabberwocky.", "",
     "'Twas plimmer, and the noffly grue\ndid snorf along the wumbled lea;\nup sprang {name} and "
     "swimmed the flue,\nand splonked a glib and merry glee."),
    ("Write a song refrain about {thing} that repeats itself a lot.", "",
     "Oh, {thing}, {thing}, {thing}, hey!\n{thing}, {thing}, every day!\nLa la la, la la la,\n"
     "{thing}, {thing}, far away!"),
    ("Write an acrostic on TEA for {name}.", "",
     "Thursday again, and {name} is late,\nEvery cup gone cold on the plate,\nAll of us wait."),
    ("Is it true that 17 + 5 = 23, as {name} says?", "",
     "No. 17 + 5 is 22; {name} is off by one."),
    ("{name} wrote '8 × 7 = 54' in the notebook. Mark it.", "",
     "Not quite, {name}: 8 × 7 = 56. Try counting on from 7 × 7 = 49."),
    ("Write Python that prints every order of {place} with its sum.", "",
     "for order in orders:\n    total = sum(p * n for p, n in order)\n    print(f\"{total:>8.2f}\")"
     "  # {place}"),
    ("How do I write to {name} that the link to the {topic} page is broken?", "",
     "Hi {name}, the link to the page about {topic} gives a 404. Could you send the new one?"),
    ("Give {name} a definition of 'harvest', two synonyms, and a sentence with it.", "",
     "Definition: the gathering of ripe crops.\nSynonyms: reaping, ingathering.\nSentence: {name} "
     "came home in time for the harvest."),
    ("I'm {name} and new at {place}. Draft my introduction and, in the same style, a shorter one "
     "for the chat.", "", "Hello everyone, I'm {name}. I've just started at {place} and my hobby "
     "is "
     "{topic}.\n\nChat: Hi, {name} here, new at {place}!"),
    ("List ten names for a list of guests at {place}.", "",
     "Anneke, Bartholomew, Ciarán, Đorđe, Eszter, {name}, Ngozi, Þóra, Xiuying, Łukasz"),
)  # fmt: skip
SCRAMBLED = ("ROT13", "reversed", "spelled out", "Morse")
MORSE = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- "
    "-..- -.-- --.."
)


def _encoded(rng: random.Random) -> Made:
    morse = dict(zip(string.ascii_lowercase, MORSE.split(), strict=True))
    word, way = rng.choice(NOUNS), rng.choice(SCRAMBLED)
    turned = {
        "ROT13": "".join(chr((ord(sign) - 97 + 13) % 26 + 97) for sign in word),
        "reversed": word[::-1],
        "spelled out": "-".join(word.upper()),
        "Morse": " ".join(morse[sign] for sign in word),
    }
    how = {"ROT13": "in ROT13", "Morse": "in Morse code"}.get(way, way)
    return _made(rng, f"Write the word '{word}' {how}.", turned[way])


def _bases(rng: random.Random) -> Made:
    first, second = rng.randint(5, 60), rng.randint(5, 60)
    return rng.choice(
        (
            _made(
                rng,
                f"Add the binary numbers {first:b} and {second:b}.",
                f"In binary, {first:b} + {second:b} = {first + second:b}.",
            ),
            _made(
                rng,
                f"Add 0x{first:X} and 0x{second:X}.",
                f"0x{first:X} + 0x{second:X} = 0x{first + second:X}",
            ),
            _made(
                rng,
                f"It is {first % 12 + 1} o'clock. What time is it in {second} hours, on a clock "
                "of twelve hours?",
                f"On the clock, {first % 12 + 1} + {second} = {(first + second) % 12 + 1} "
                f"(modulo 12), so it is {(first + second) % 12 + 1} o'clock.",
            ),
            _made(
                rng,
                f"What is {first * 7} mod {second}?",
                f"{first * 7} mod {second} = {first * 7 % second}",
            ),
        )
    )


def _approximate(rng: random.Random) -> Made:
    first, second = rng.randint(100, 900), rng.choice((7, 9, 11, 13, 17, 19))
    said = first / second
    asked = f"Roughly, what is {first} divided by {second}?"
    texts = (
        f"Roughly {said:.0f}, since {first} / {second} ≈ {said:.1f}.",
        f"{first} ÷ {second} is about {said:.1f}.",
        f"It is approximately {said:.2f} (rounded to two decimals): {first}/{second} ≈ {said:.2f}.",
        f"{first} ÷ {second} = {first // second} remainder {first % second}, or about {said:.1f}.",
    )
    return _made(rng, asked, rng.choice(texts))


def _spans(rng: random.Random) -> Made:
    year, long = rng.randint(1950, 2015), rng.randint(2, 8)
    name = rng.choice(NAMES)
    asked, text, answer = rng.choice(
        (
            ("When was the magazine printed?", f"printed {year}-{year + long}, 4/yr", "{}-{}"),
            ("Give the years of office.", f"mayor {name} ({year}–{year + long})", "From {} to {}."),
            ("Write the span in words.", f"{year}/{year + long}", "from {} to {}"),
            ("Cite the source.", f"{name}, {year}, vol. {long}(2), pp. 12-19; repr. {year + long}",
             f"{name} ({{}}), vol. {long}(2), pp. 12-19 (reprinted {{}})."),
        )
    )  # fmt: skip
    return _made(rng, asked, answer.format(year, year + long), text)


def _about(
    rng: random.Random, form: tuple[str, str, str], items: tuple[tuple[str, ...], ...]
) -> Made:
    item = rng.choice(items)
    sentences = item[0].count(".")
    parts = []
    slots = {"{p}": item[0], "{s}": item[1], "{m}": item[-1], "{n}": str(sentences)}
    for part in form:
        made = part
        for slot, word in slots.items():
            made = made.replace(slot, word)
        parts.append(made)
    return _made(rng, parts[0], parts[2], parts[1])


def _foreign(rng: random.Random) -> Made:
    language, text, english = rng.choice(SPEECH)
    asks = ("Which language is this, and what does it mean?", "Translate the sentence and name it.")
    return _made(rng, rng.choice(asks), f"It is {language}: {english}", text)


def _number_of_codes(rng: random.Random) -> Made:
    codes = [product_code(rng) for _ in range(rng.randint(3, 7))]
    asked = "How many codes are in the list, and which is the last?"
    return _made(rng, asked, f"{len(codes)}; the last is {codes[-1]}.", "\n".join(codes))


def forms() -> Iterator[Callable[[random.Random], Made]]:
    """A maker of rows for each form; those that have few rows come once in a round as well."""
    tables = ((ABOUT_PASSAGE, PASSAGES), (ABOUT_CODE, SNIPPETS), (ABOUT_LATIN, LATIN))
    for about, items in tables:
        for form in about:
            yield partial(_about, form=form, items=items)
    for own in OWN:
        yield partial(_made, instruction=own[0], output=own[2], text=own[1])
    for pool in (ANSWERS, DOCUMENTS):
        for item in pool:
            yield partial(_made, instruction=item[0], output=item[2], text=item[1])
    yield from (_encoded, _bases, _approximate, _spans, _foreign, _number_of_codes)
