"""The rules that reject rows: what each set says of a request and of an answer, case by case."""

import json
import re
import string
from pathlib import Path
from typing import Any

import pytest

from localinstruct.config import parse
from localinstruct.curate.filters import Filters, examine, first_reason, for_files
from localinstruct.curate.rules import FILTERS, SETS, SINCE_2, count_words
from localinstruct.errors import RecipeError
from localinstruct.records import Instance

SEEDS = Path(__file__).parents[2] / "seeds" / "seed_tasks.jsonl"
GOOD_OUTPUT = "Here is a fitting answer of some length."

# Requests: (instruction, reason or None) under the default set.
REQUESTS: list[tuple[str, str | None]] = [
    # G21: words that Alpaca's blacklist hits and that are no request for a picture, a sound or a
    # file
    ("File a complaint about a late parcel.", None),
    ("Map the values to their labels.", None),
    ("Recommend music genres for a dinner party.", None),
    ("Write a plot summary of Macbeth.", None),
    ("Plot summary: retell Hamlet in three sentences.", None),
    ("Go to great lengths to explain why the sky is blue.", None),
    ("Explain what a graph database is good for.", None),
    ("Draw a conclusion from these three observations.", None),
    ("Draw attention to two weak points of the argument.", None),
    ("What lessons can we draw from the fall of Rome?", None),
    ("Name three file formats for spreadsheets.", None),
    ("Describe how the image of the city changes in the novel.", None),
    ("Write a script for a short video about bees.", None),
    ("Suggest a title for a podcast on gardening.", None),
    ("Create a video script that explains photosynthesis.", None),
    ("Generate an image caption contest announcement.", None),
    ("Design a graph traversal algorithm in pseudocode.", None),
    ("Create a picture book outline for toddlers.", None),
    ("Write the lyrics of a song about rain.", None),
    ("Compose a song about a lonely lighthouse.", None),
    ("Create a flowchart in Mermaid for making tea.", None),
    ("Draw a cat with ASCII characters.", None),
    ("Write SVG code for a red circle.", None),
    ("Write a Python function that reads a file line by line.", None),
    ("Sketch a plan for a week in Lisbon.", None),
    ("Paint a vivid picture of a storm in words.", None),
    ("Explain how to draw a circle with a piece of string.", None),
    ("Matt can paint a house in 12 hours. How long do two people like him take?", None),
    ("Jim wants to watch a movie and buy popcorn for $5. What does he pay?", None),
    ("Give the history of the music video.", None),
    ("Chart the rise of the novel in five stages.", None),
    ("Illustrate the concept of inertia with an everyday example.", None),
    # a graph, but no input
    ("Find the shortest path from A to D in the following graph.", "asks for media"),
    ("Draw a picture of a cat", "asks for media"),
    ("Please draw me a map of the old town.", "asks for media"),
    ("Can you draw a dragon?", "asks for media"),
    ("Draw two circles that touch.", "asks for media"),
    ("Create a flowchart for hiring a new colleague.", "asks for media"),
    ("Create a flowchart that shows how a bill becomes law.", "asks for media"),
    ("Design a logo for a bakery.", "asks for media"),
    ("Make a pie chart of the results.", "asks for media"),
    ("Generate a photorealistic image of a castle at dusk.", "asks for media"),
    ("Sketch a portrait of a sailor.", "asks for media"),
    ("Solve the equation and draw a graph of it.", "asks for media"),
    ("Plot the points on a coordinate plane.", "asks for media"),
    ("Plot a graph of the function y = x^2.", "asks for media"),
    ("Illustrate the water cycle with a diagram.", "asks for media"),
    ("Show me some photos of Paris.", "asks for media"),
    ("Look at the image below and describe it.", "asks for media"),
    ("Describe the picture.", "asks for media"),
    ("What is the man holding in this photo?", "asks for media"),
    ("How many dogs are there in the picture?", "asks for media"),
    ("Write a caption for the following photo.", "asks for media"),
    ("Watch the video and list the main points.", "asks for media"),
    ("Listen to the audio and write down what is said.", "asks for media"),
    ("Listen to this song and name the singer.", "asks for media"),
    ("Record a video of yourself dancing.", "asks for media"),
    ("Play a song by the Beatles.", "asks for media"),
    ("Sing me a lullaby.", "asks for media"),
    ("Compose a short piece of music.", "asks for media"),
    ("Profile a customer of an outdoor shop.", None),
    ("What is the difference between drawing and painting?", None),
    # files, pages and addresses that are not there
    ("Open the attached file and count the rows.", "missing attachment"),
    ("Summarise the attached document.", "missing attachment"),
    ("Fix the errors in the enclosed letter.", "missing attachment"),
    ("Open the quarterly report file and list the totals.", "missing attachment"),
    ("Read the article at https://news.test/a and summarise it.", "missing attachment"),
    ("Visit the following website and list its sections.", "missing attachment"),
    ("Click on the link and tell me what you see.", "missing attachment"),
    ("Using the information from the given URL, answer the question.", "missing attachment"),
    ("Write an email that says the invoice is attached to it.", None),
    ("Write a cover letter that mentions the attached resume.", None),
    ("Is https://a.test/x a valid URL?", None),
    ("Extract the domain from the URL https://shop.test/cart.", None),
    ("Explain how to open a file in Python.", None),
    ("What does it mean to be attached to a place?", None),
    # acts in the world
    ("Set an alarm for 7 am.", "real world action"),
    ("Please set a timer for ten minutes.", "real world action"),
    ("Remind me to buy milk.", "real world action"),
    ("Call my mother.", "real world action"),
    ("Send an email to the team about Friday.", "real world action"),
    ("Order a large pizza with olives.", "real world action"),
    ("Book a table for two at eight.", "real world action"),
    ("Buy me a ticket to Rome.", "real world action"),
    ("Turn off the kitchen lights.", "real world action"),
    ("Schedule a meeting with Ana on Tuesday.", "real world action"),
    ("Add eggs to my shopping list.", "real world action"),
    ("Go to the store and buy bread.", "real world action"),
    ("Walk the dog before dinner.", "real world action"),
    ("Order the words by length.", None),
    ("Order the planets from small to large.", None),
    ("Set the variable x to five and explain each step.", None),
    ("Call the function with two arguments and give its result.", None),
    ("Schedule the following tasks by urgency.", None),
    ("Write an email that books a table for two.", None),
    ("Help me text my flatmate about the rent.", None),
    ("Book review: judge the opening line below.", None),
    ("Turn on the charm and write a love letter.", None),
    # length and shape
    ("Define osmosis.", "too short"),
    ("Explain human behaviour.", None),
    ("", "too short"),
    ("word " * 150, None),
    ("word " * 151, "too long"),
    ("写一首关于春天的诗", None),
    ("诗歌", "too short"),
    ('"To be or not to be": who says this?', None),
    ("“Carpe diem” means what in English?", None),
    ("¿Cuál es la capital de Francia?", None),
    ("Élise wants to learn chess; give her advice.", None),
    ("(a) Name a gas. (b) Name a metal.", None),
    ("$20 is shared by four people. How much each?", None),
    ("-5 + 12 equals which number?", None),
    (".NET or Java: which suits a beginner?", None),
    ("#hashtags: suggest five for a bakery", None),
    (": name a gas and a metal", "garbled"),
    (", and then sort the list", "garbled"),
    ("- sort the list of names", "garbled"),
    ("** sort the list of names", "garbled"),
    ("### Step 1 of the task", "garbled"),
    ("1 2 3 4 5", "garbled"),
    ("\ufffd\ufffd sort the list", "garbled"),
]

# Answers: (instruction, input, output, reason or None) under the default set.
ANSWERS: list[tuple[str, str, str, str | None]] = [
    ("Name a gas of the air.", "", "", "empty output"),
    ("Name a gas of the air.", "", " \n ", "empty output"),
    ("Name a gas of the air.", "", "word " * 601, "output too long"),
    ("Name a gas of the air.", "", " ".join(f"w{n}" for n in range(600)), None),
    ("Name a gas of the air.", "", "Name a gas of the air", "echo"),
    ("Name a gas of the air.", "", "NAME a gas\nof the air.", "echo"),
    ("Rewrite the sentence politely.", "Give me the salt now.", "Give me the salt now.", "echo"),
    ("Rewrite the sentence politely.", "Give me the salt now.", "Could you pass the salt?", None),
    ("Sort the words by name.", "ant bee cat dog", "ant bee cat dog", None),
    ("Correct the sentence if needed.", "She has gone to work.", "She has gone to work.", None),
    ("Which word is longer?", "level", "level", None),
    ("Write a limerick on cats.", "", "I'm sorry, but I can't help with that.", "refusal"),
    ("Write a limerick on cats.", "", "I’m sorry, I cannot fulfill this request.", "refusal"),
    ("Write a limerick on cats.", "", "As an AI language model, I have no cats.", "refusal"),
    ("Describe your childhood home.", "", "Well, as an AI I have none.", "refusal"),
    ("How fast is a fox?", "", "I don't have access to a clock.", "refusal"),
    ("Tell me who won today.", "", "I am unable to browse the internet.", "refusal"),
    ("Decline the invitation politely.", "", "I'm sorry, but I cannot attend on Friday.", None),
    ("Write an apology to a friend.", "", "I am sorry that I forgot your birthday.", None),
    ("What does 'as an AI' mean in film?", "", "It means speaking as an AI, a machine.", None),
    ("Give an excuse for being late.", "", "I can't believe the bus broke down again.", None),
    (
        "Tell me about the history of tea.",
        "",
        "See https://tea-history.test/all for more.",
        "invented url",
    ),
    ("Tell me about the history of tea.", "", "Here it is: ![tea](tea.png)", "invented url"),
    ("Tell me about the history of tea.", "", "[Image]\nTea began in China.", "invented url"),
    ("Give the website of a tea museum.", "", "https://tea.test", None),
    (
        "Say which host this is.",
        "https://tea.test/cup",
        "The host of https://tea.test/cup is tea.test.",
        None,
    ),
    ("Write a note on our opening.", "", "More at https://www.example.com soon.", None),
    (
        "Summarise the article.",
        "https://news.test/today",
        "It is about the news.",
        "missing attachment",
    ),
    ("Shorten this URL for a poster.", "https://news.test/today", "news.test", None),
    ("Find the shortest path in the following graph.", "A-B 3, B-C 1", "A, B, C", None),
    ("Describe this image to a child.", "(a photo of a cat)", "A cat sits.", "asks for media"),
    ("Transpose this concert-pitch melody.", "C D E", "D E F#", None),
]

# (instruction, reason or None) under Alpaca's own set.
ALPACA: list[tuple[str, str | None]] = [
    ("Explain human's behavior.", "alpaca length"),
    ("Explain the human behavior.", None),
    ("word " * 150, None),
    ("word " * 151, "alpaca length"),
    ("File a complaint about it.", "alpaca blacklist"),
    ("Map the values to labels.", "alpaca blacklist"),
    ("Recommend music genres for dinner.", "alpaca blacklist"),
    ("Please GO TO the store.", "alpaca blacklist"),
    ("Drawing is a fine art, why?", None),
    ("Profile a customer of a shop.", None),
    ("Write a program that sorts numbers.", "alpaca program"),
    ("write a program that sorts numbers.", None),
    ("Now Write a program that sorts.", None),
    ('"To be or not": who said it?', "alpaca punctuation"),
    ("¿Cuál es la capital de Francia?", "alpaca non ascii"),
    ("Élise wants to learn chess.", "alpaca non ascii"),
    ("Set an alarm for 7 am.", None),
    ("Look at the painting and describe it.", None),
]


def reason_of(instance: Instance, filters: Filters) -> str | None:
    reject = first_reason(instance, filters)
    if reject is None:
        return None
    assert reject.stage == "filter"
    assert reject.detail
    return reject.reason


@pytest.mark.parametrize(("instruction", "reason"), REQUESTS)
def test_requests(instruction: str, reason: str | None) -> None:
    off = ["wrong_language", "gibberish"]  # the answer is English; one word 150 times is junk
    filters = Filters(disable=off)
    assert reason_of(Instance(instruction, output=GOOD_OUTPUT), filters) == reason


@pytest.mark.parametrize(("instruction", "given", "output", "reason"), ANSWERS)
def test_answers(instruction: str, given: str, output: str, reason: str | None) -> None:
    assert reason_of(Instance(instruction, given, output), Filters()) == reason


@pytest.mark.parametrize(("instruction", "reason"), ALPACA)
def test_alpacas_own_rules(instruction: str, reason: str | None) -> None:
    assert reason_of(Instance(instruction), Filters(set="alpaca")) == reason
    assert reason_of(Instance(instruction), Filters(set="none")) is None


def test_the_tables_are_large_and_meet_every_rule() -> None:
    assert len(REQUESTS) + len(ANSWERS) + len(ALPACA) >= 80
    met = {case[-1] for case in (*REQUESTS, *ANSWERS, *ALPACA)}
    # tested in test_self_instruct.py
    elsewhere = {"self instruct blacklist", "input equals output", "trailing colon"}
    old = FILTERS.keys() - SINCE_2.keys()  # the new ones are in test_rules.py
    assert {name.replace("_", " ") for name in old} - met == {
        "blacklisted",
        "not latin",
    } | elsewhere  # off by default


def test_rules_that_are_off_by_default() -> None:
    assert (
        reason_of(
            Instance("Tell me about the C++ language.", output="x"), Filters(blacklist=["C++"])
        )
        == "blacklisted"
    )
    assert (
        reason_of(Instance("Praise our TEA and cakes.", output="x"), Filters(blacklist=["tea"]))
        == "blacklisted"
    )
    assert (
        reason_of(Instance("Praise our team and cakes.", output="x"), Filters(blacklist=["tea"]))
        is None
    )
    extra = Filters(set="alpaca", blacklist=["tea"])
    assert reason_of(Instance("Praise our tea and cakes."), extra) == "alpaca blacklist"
    latin = Filters(enable=["not_latin"])
    assert reason_of(Instance("Напиши стихотворение о весне", output="x"), latin) == "not latin"
    assert reason_of(Instance("Décris l'œuvre de Zola en deux phrases", output="x"), latin) is None
    assert reason_of(Instance("Напиши стихотворение о весне", output="x"), Filters()) is None


def alpacas_rules(instruction: str) -> bool:
    """Alpaca's post-processing of an instruction said once more, by itself, from the facts
    F2-F6."""
    count = len(instruction.split())
    if count <= 3 or count > 150:
        return False
    stems = ("images?", "graphs?", "pictures?", "files?", "maps?", "draw", "plot", "go to")
    for word in (*stems, "video", "audio", "music", "flowchart", "diagram"):
        if re.search(r"\b" + word + r"\b", instruction, re.IGNORECASE):
            return False
    if instruction.startswith("Write a program") or instruction[0] in string.punctuation:
        return False
    return instruction[0].isascii()


def test_alpacas_set_equals_its_rules_said_once_more() -> None:
    seeds = [
        json.loads(line)["instruction"] for line in SEEDS.read_text(encoding="utf-8").splitlines()
    ]
    words = [
        "image",
        "maps",
        "draw",
        "go to",
        "plotter",
        "Music",
        "diagrams",
        "DIAGRAM",
        "flowchart",
        "audio-book",
    ]
    spoilt = [f"{text} {word}" for text in seeds for word in words] + [
        f"{mark}{text}" for text in seeds for mark in '"é#'
    ]
    cases = [
        *seeds,
        *spoilt,
        *(f"Write a program. {text}" for text in seeds),
        *(case[0] for case in (*REQUESTS, *ALPACA)),
    ]
    cases = [text.strip() for text in cases if text.strip()]
    verdicts = [alpacas_rules(text) for text in cases]
    assert [
        first_reason(Instance(text), Filters(set="alpaca")) is None for text in cases
    ] == verdicts
    assert len(seeds) >= 100
    assert verdicts.count(True) >= 100
    assert verdicts.count(False) >= 500


def test_our_seeds_pass_our_rules() -> None:
    tasks = [json.loads(line) for line in SEEDS.read_text(encoding="utf-8").splitlines()]
    rows = [Instance(task["instruction"], **task["instances"][0]) for task in tasks]
    assert [
        (row.instruction, reject.reason) for row in rows if (reject := first_reason(row, Filters()))
    ] == []
    assert len(rows) >= 100


def test_disable_and_enable_choose_rules() -> None:
    drawn = Instance("Draw a picture of a cat", output="Meow")
    assert reason_of(drawn, Filters(disable=["asks_for_media"])) is None
    assert reason_of(drawn, Filters(set="none", enable=["alpaca_blacklist"])) == "alpaca blacklist"
    assert reason_of(drawn, Filters(min_words=7)) == "too short"
    assert reason_of(drawn, Filters(max_words=5)) == "too long"
    assert (
        reason_of(
            Instance("Name a warm colour.", output="red and blue"), Filters(max_output_words=2)
        )
        == "output too long"
    )


def test_a_reject_carries_the_whole_row() -> None:
    reject = first_reason(Instance("Draw a picture of a cat", "tabby", "Meow"), Filters())
    assert reject is not None
    assert reject.text == "Instruction: Draw a picture of a cat\nInput: tabby\nOutput: Meow"
    assert reject.detail == "'Draw a picture'"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"disable": ["ask_for_media"]},
            "no filter 'ask_for_media', did you mean 'asks_for_media'?",
        ),
        ({"enable": ["xyz"]}, "no filter 'xyz', known: alpaca_blacklist"),
        ({"enable": ["ech"], "disable": ["refusals"]}, "2 problems"),
        ({"set": "alpca"}, "set"),
        ({"min_word": 3}, "did you mean 'min_words'?"),
        ({"min_words": 20, "max_words": 10}, "min_words"),
    ],
)
def test_bad_settings_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as error:
        parse(Filters, given, "recipe.yaml")
    assert said in error.value.message


def test_sets_are_made_of_known_rules() -> None:
    assert set().union(*SETS.values()) <= set(FILTERS)
    assert Filters(set="alpaca").active == [name for name in FILTERS if name.startswith("alpaca_")]
    assert Filters(set="none").active == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("two words", 2),
        ("  a\nb\tc ", 3),
        ("漢字かな", 4),
        ("Python 三 版", 3),
        ("don't", 1),
    ],
)
def test_words_are_counted_in_every_script(text: str, words: int) -> None:
    assert count_words(text) == words


@pytest.mark.parametrize(
    "text",
    ["a " * 20_000, "draw " * 5_000, "the " * 8_000, "[" * 20_000, "1" * 30_000, ". " * 20_000],
)
def test_long_text_is_read_in_a_moment(text: str) -> None:
    filters = Filters(max_words=10**6, max_output_words=10**6)
    first_reason(Instance(text, text, text), filters)
    for name, rule in FILTERS.items():
        said = rule(Instance(f"Name {text}", text, text), filters)
        assert said is None or said, name


def test_rules_for_what_a_model_wrote_are_off_for_files_unless_they_are_named() -> None:
    row = Instance("Name a good page about birds.", "", "See https://birds.example/all for more.")
    assert (verdict := examine(row, Filters())).reject
    assert verdict.reject.reason == "invented url"
    assert examine(row, for_files(Filters())).reject is None
    assert examine(row, for_files(Filters(enable=["invented_url"]))).reject
