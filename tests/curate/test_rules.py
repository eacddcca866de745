"""The rules of version 2: what each rejects and what it leaves, repairs, versions, and their "
"cost."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from benchmarks import defects, defects_marks, defects_sixth, defects_unseen
from localinstruct.config import parse
from localinstruct.curate import gibberish, repairs
from localinstruct.curate.filters import KINDS, VERSION, Filters, examine, first_reason
from localinstruct.curate.rules import FILTERS, SINCE_2, STRICTER_SINCE_2
from localinstruct.errors import RecipeError
from localinstruct.records import Instance, Message

CASES = Path(__file__).parents[1] / "data" / "cases" / "rows"
PROSE = "The lamp was lit in the autumn. The masons came back when the frost was over."
POEM = "The rain falls on the hill,\nthe rain falls on the sea,\nthe rain falls where it will,"
TABLE = "| a | b |\n|---|---|\n| 1 | 2 |\n| 1 | 2 |\n| 1 | 2 |\n| 1 | 2 |"

# rule -> rows (instruction, input, output) that it rejects, and rows that pass.
Row = tuple[str, str, str]
REJECTED: dict[str, list[Row]] = {
    "real_world_action": [
        (request, "", PROSE)
        for request in (
            "What is the weather in Oslo right now?",
            "What's the latest price of copper?",
            "Where did I leave my keys?",
            "What did I eat yesterday?",
            "Search the web for hotels in Cork.",
            "Record a voice message for Ines.",
            "Please check my inbox for a letter from Lars.",
            "Who won the match in Perth last night?",
            "Give Ines a call after lunch.",
            "Start the dishwasher at nine.",
            "What colour is my coat?",
            "What did my sister say yesterday?",
            "Put milk on my shopping list.",
        )
    ],
    "merged_task": [
        ("Name a fish.", "", "A pike.\n\n## What makes an oak grow old?\n\nSlow wood."),
        ("Name a fish.", "", "A pike.\n\n---\n\nDescribe the oldest oak tree.\n\nIt is wide."),
        ("Name a fish.", "", "pike 14. Describe the oldest oak tree. It is wide and hollow."),
        ("Name a fish.", "", 'A pike."}, {"instruction": "Name a bird.", "input": "", "out'),
        (
            "Translate it into German.",
            "A late train.\n4. What is absolute zero in Celsius?",
            "Ein später Zug.",
        ),
        ("Name a fish.", "", "A pike.\n\n## Instruction\nName a bird.\n\n## Response\nowl"),
        ("Name a fish.", "", "A pike.\n\nTASK 9\nName a bird.\n\nANSWER\nowl"),
        ("Name a fish.", "", "A pike.\n\n[Prompt] Name a bird.\n[Answer] owl"),
        ("Name a fish.", "", "A pike.\n\n<task>Name a bird.</task>\n<answer>owl</answer>"),
        ("Name a fish.", "", "A pike.\n---\n17. Name a bird of the lake.\nowl"),
        ("Name a fish.", "", "A pike. ### Instruction: Name a bird. ### Output: owl"),
        ("Name a fish.", "", "Pike.\n##\n18. Instruction: Name a bird.\n18. Output:\nowl"),
        ("Name a fish.", "", "Pike.\n\nTask 4: Name a bird.\nAnswer: owl"),
        ("Name a fish.\n7. Instruction: Name a bird.", "", "Pike and owl."),
        ("Name a fish.\nOutput: pike\n###\nInstruction: Name a bird.", "", "Owl."),
        ("Name a fish.", "", "A pike. Output: pike. Instruction: Name a bird."),
        ("Name a fish.", "lake\n5. Output: pike\n6. Instruction: Go on.", "Pike."),
        ("Name a fish of the lake.\n7. What is the oldest tree?", "", "Pike."),
        ("Name a fish. 4. Describe a heron. 5. Give a tip for anglers.", "", "Pike."),
        ("12. Name a fish.\n13. Describe a heron.", "", "Pike."),
        ("How deep is the lake?\n\nTask 3: Describe a heron.", "", "Forty metres."),
    ],
    "non_answer": [
        ("Name a fish of the lake.", "", text)
        for text in (
            "See above.",
            "[Left blank]",
            "NOT NEEDED",
            "N/A",
            "n/a.",
            "None",
            "<No Output>",
            "[none]",
            "No answer.",
            "N \\ A",
            "I'm ready to help. How can I assist you today?",
            "Hello! How can I help you today?",
            "Sure, I'd be happy to help! What would you like to know?",
            "I’m here to help with any questions you may have. Let me know how I can assist you.",
            "Hi there! I'm your assistant. Feel free to ask me anything.",
            "<reply>\nOF COURSE! WHAT DO YOU NEED?\n</reply>",
            "I'd be glad to help you with that.",
        )
    ],
    "role_tokens": [
        ("Name a fish of the lake.", "", text)
        for text in (
            "Pike.</s><s>[INST] Name a bird. [/INST] Owl.",
            "Pike<|im_end|>",
            "<|im_start|>assistant\nPike",
            "Pike</s>",
            "### Response:\nPike",
            "Pike\nUser: thanks",
            "Assistant: Pike",
            "[INST] a fish [/INST] Pike",
            "Response: Pike",
            "Pike<unk><unk>",
        )
    ],
    "placeholder": [
        ("Write a letter to the owner of the flat.", "", text)
        for text in (
            f"Dear [Name],\n\n{PROSE}\n\nYours,\nAna",
            f"Dear Ana,\n\n{PROSE}\n\n[Your Name]",
            "Lorem ipsum dolor sit amet.",
            "TODO: write it.",
            "Hi {name}, the flat is ready for you.",
            "Call me at XXX-XXX-XXXX about it.",
            "[insert the letter here]",
            "Insert the letter here",
            "{{answer}}",
            "(Your answer)",
            f"Dear %NAME%,\n\n{PROSE}",
            f"Dear $FIRST_NAME$,\n\n{PROSE}",
            f"Dear <CLIENT>,\n\n{PROSE}",
            "We moved to [Street Address], near the church.",
            "We moved to [X], near the church.",
        )
    ],
    "empty_code": [
        ("Write a function that adds two numbers.", "", text)
        for text in (
            "```python\n```",
            "Here it is:\n\n```js\n\n```\nIt adds.",
            "```python\n# Your code here\n```",
            "```\nN/A\n```",
            "// Your code goes here",
            "def add(a, b):\n    # TODO\n    pass",
            "```js\nfunction add(a, b) {\n}\n```",
            "```rust\nfn add() {\n    todo!()\n}\n```",
        )
    ],
    "cut_off": [
        ("Tell me how the tower was built.", "", text)
        for text in (
            f"{PROSE} It is also important to",
            f"{PROSE} When the lamp was lit the fishermen came out and did not",
            f"{PROSE} Here is what they said:",
            f"{PROSE} In the winter,",
            "Like this:\n\n```python\nfor x in y:\n    print(x)\n",
            '{"name": "Ana", "tags": ["a", "b"',
            "1. Wash the rice well.\n2. Boil it for a while.\n3. Let it rest and then\n4.",
            f"{PROSE} They went home (as in all the",
            "The tower was built by the masons of the town over the course of three",
            f"{PROSE}\n\nWhen the lamp was lit for the first time the fishermen came",
        )
    ],
    "repetition": [
        ("Tell me how the tower was built.", "", text)
        for text in (
            "It was built in stone. " * 6,
            f"{PROSE} " + "and so on and " * 12,
            "\n".join(["They built the tower in stone."] * 6),
            "\n".join(f"{n}. Eat more fish" for n in range(1, 9)),
            "ha" * 90,
            "They built it. They built it. They built it.",
            "It works by pedals, by pedals, by pedals, by pedals, by pedals, by pedals",
            "stone stone stone stone stone stone stone",
            " ".join(f"{word} {word}" for word in PROSE.split()),
        )
    ],
    "control_characters": [("Name a drink.", "", "A caf\ufffd au lait.")],
    "escapes": [("Name a drink.", "", "Itâ€™s a cafÃ© au lait.")],
    "unparseable_code": [
        ("Write it in Python.", "", "```python\ndef f(x)\n    return x\n```"),
        ("Write a Python function for it.", "", "def f(x:\n    return x"),
        ("Give it as JSON.", "", '{"a": 1,}'),
        ("Give it as JSON.", "", "Here:\n```json\n{'a': 1}\n```"),
        ("Give it as YAML.", "", "```yaml\na: [1, 2\n```"),
        ("Give it as XML.", "", "<a><b></a>"),
        ("Give it as XML.", "", '```xml\n<!DOCTYPE a [<!ENTITY b "c">]>\n<a>&b;</a>\n```'),
    ],
    "wrong_sum": [
        ("How many are there?", "", text)
        for text in (
            "46 ÷ 6 ≈ 7.07, to two places",
            "46/6 = 6.67 (rounded)",
            "About 48 x 21 ≈ 2,000",
            "Each part is 1,236 cm ÷ 12 = 1,030 cm long.",
            "It is reduced by 5% of $640 = $46.",
            "There are 17 + 5 = 23 of them.",
            "12 x 12 = 146",
            "20% of 80 = 18",
            "(2 + 3) × 4 = 24, as you see.",
            "12 pears + 5 pears = 18 pears",
            "`17 plus 5 = 23`",
            "1,200 - 300 = 800, so 800.",
            "84 / 4 = 22",
            "2 + 3 * 4 = 15",
            "3 + 4 + 5 equals 13",
            "(3 + 4) = 8",
            "Seven and 20 plus 22 equals 43.",
        )
    ],
    "wrong_language": [
        ("Translate into French: the boat is on the lake.", "", "The boat is on the big lake."),
        ("How do I get to the market?", "", "Sie gehen über die Brücke und dann nach links."),
        ("Explain boats to a child.", "", "Ein Boot ist ein Ding, das auf dem Wasser schwimmt."),
        ("Answer in German: what is a boat?", "", "It is a thing that floats on the water."),
        ("Что такое лодка и где она плавает?", "", "It is a thing that floats on the water."),
    ],
    "gibberish": [
        ("Tell me how the tower was built.", "", text)
        for text in (
            "The trotrotrotrotrotrotrotrotrotro of the lake.",
            "Ab3dE9xQ2rTy7UiKo1PzLm4n",
            "k q , l c f q c z n ; x y x u , z b n c i x n . y p e d",
            " ".join(["qzxv wkrtp hjjq fwpoe xcvnm ghtyr plkzq mnbvv wqert"] * 2)[:110] + ".",
            "pylon marmalade oboe lichen plinth mackerel adverb tariff gusset nimbus cobalt henna "
            "larynx turret isotope gravel sonnet brisket lever furlong thimble quorum basalt "
            "cadence verdant ratify",
            "#$%^ &*@ !~^ <>{} []| 0123 ^^ ~~ 4%$ #@! {{ }} || $$ 99 ;; :: %% @@ !! ~~ ^^ &&",
        )
    ],
    "missing_attachment": [
        ("Fill in the form for Ines.", "see attached", "Name: Ines"),
        ("What grade has it?", "as attached below", "A good one."),
        ("What does the arrow in the chart point to?", "", "The left part."),
        ("Shorten the second paragraph of the letter.", "", "The lamp was lit."),
        ("Find the bug in this Dockerfile.", "", "It is in the second line."),
        ("I filmed the harbour; please turn it into minutes.", "", "1. Boats."),
        ("Grade the drawing of my son.", "", "I'm sorry, the drawing was not included."),
        ("Summarise the following text.", "", "It is about rain."),
        ("Translate the sentence below into French.", "", "Il pleut."),
        ("Name the animal in the picture.", "<Picture Attached>", "Dog"),
        ("Describe the contents.", "holiday.jpg", "A beach."),
        ("What does the graph show?", "", "Growth."),
        ("Based on the passage, who rides?", "", "Ana."),
        ("Proofread this text.", "", "It is fine."),
        ("Summarise this article: [article]", "", "It is about rain."),
    ],
    "empty_output": [
        ("Name a fish.", "", text) for text in ("...", "-", "—", "[]", '""', "```\n```")
    ],
    "echo": [
        ("Name a fish of the lake.", "", text)
        for text in (
            "Sure! Name a fish of the lake.",
            "Name a fish of the lake. Name a fish of the lake.",
            "**Name a fish, of the lake**",
        )
    ],
    "refusal": [
        ("Name a fish of the lake.", "", text)
        for text in (
            "Thank you for asking! Unfortunately, I am not able to help with that.",
            "Great question. However, I must decline.",
            "I don't have access to real-time data.",
            "Sorry, that's something I can't do.",
            "I'm afraid this is beyond my capabilities.",
            "Unfortunately, I don't know the answer.",
            "I'm sorry, I don't understand the question. Could you clarify?",
        )
    ],
}
REJECTED["wrong_sum"] += [
    ("What do 390 and 352 stickers come to?", "", "You'd have 832! (390+352=832)"),
    ("Add five and twenty.", "", "Five plus twenty equals thirty-five."),
    ("Multiply each pair.", "", "14 × 1 = 14\n14 × 10 = 138\n1 × 10 = 10"),
    ("How many eggs?", "", "There are 41 boxes of 29 eggs each, and 41 × 29 = 1179."),
]
REJECTED["gibberish"] += [
    (
        "What is this about?",
        "cvxbm vmb xcnnn nzcb zcmm zzbmvncz bvzmmvvnx cnbxmxc mvnmx zbv",
        "Fish.",
    ),
    ("Tell me of the what of at lake of the is where by of was and or of the heron.", "", "Yes."),
    ("Describe a boat.", "", "The conconconconconcon of the walwalwalwalwalwal on the lake"),
    ("Describe a boat.", "", "Kneel, sit back with pocしたket and riv라er on engتine and teaदcher"),
]
PASSES: list[Row] = [
    ("Estimate 48 x 21.", "", "48 x 21 ≈ 1,000"),
    ("Show a layer.", "", "A layer.\n\n>>> input = lake(2)\n>>> output = layer(input)\n"),
    ("How many cups?", "", "2,000,000 x 0.5 x 3 = 3 million cups."),
    ("Divide 46 by 6 and round.", "", "46/6 = 7.67 (rounded)"),
    ("How is it spelt?", "", "x y l o p h o n e : eight times a letter, n e u r o n"),
    ("Write of oaks.", "", "Oaks are slow.\n\n## What makes an oak grow old?\n\nSlow wood."),
    ("Copy the tensor.", "", "It is moved.\n\n# Create a mask of the padding.\nmask = x > 0"),
    ("Write the second verse of a song of the lake.", "", "The lake is wide, the lake is deep."),
    ("Who wrote to the town?", "", "No letter was found in the archive."),
    ("Turn on the charm for a toast.", "", "To the two of you, and to many more years."),
    ("Write a story, and give this story a title.", "", "The Lamp. It burnt all winter."),
    ("What did people eat in the Bronze Age?", "", "Barley, lentils and mutton."),
    ("How do I call my landlord in a letter?", "", "By name: Dear Ms Arden."),
    ("Write a class for an error.", "", "class LakeError(Exception):\n    pass"),
    ("How does a regatta work?", "", "1. They line up.\n2. They row.\n\n3. One boat wins."),
    ("What is a tip of 20% worth here?", "", "20% of $80 is $16, and 10% is $8."),
    ("Is the jar empty or full?", "", "Empty."),
    ("How do I lay out a page?", "", "Task: sort the pictures. Then write a text for each."),
    ("Do both.\n1. What is a pike?\n2. What is an eel?", "", "A fish. Another fish."),
    ("Where does it snow? It was -4. Who measured it?", "", "In Oslo. A keeper did."),
    ("How do I set an alarm on my phone?", "", "Open the clock, choose a time and save it."),
    ("What was the weather of the ice age like?", "", "It was colder and drier than today."),
    ("Write a story that begins: What time is it?", "", f"What time is it? {PROSE}"),
    ("What is 2 to the 3rd, plus one?", "", "2**3 + 1 = 9"),
    ("Add the list up.", "3, 5, 6", "In order, 3, 5 + 6 = 11, so 14 in all."),
    ("Give me a regex for a date.", "", r"^\d{4}-(0[1-9]|1[0-2])-([0-2]\d|3[01])$"),
    ("Suggest a French name for a shop.", "", "Le Petit Chat qui dort sur la fenêtre"),
    (
        "Which tags mark a list in HTML?",
        "",
        "In capitals they are <UL> and </UL>, with <LI> inside.",
    ),
    ("How much do 30% of 90 come to?", "", "27, as 10% are 9 and 3 times 9 is 27."),
    ("Name a town in Poland.", "", "Szczebrzeszyn"),
    ("Which plants grow there?", "", "taxus, quercus, fagus, betula"),
    ("Decline my neighbour's offer.", "", "Thank you, but I am not comfortable with that date."),
    (
        "Write an FAQ on boats in three entries.",
        "",
        "Q: Do they float?\nA: Yes.\n\nQ: Why?\nA: Air.",
    ),
    ("What does the Python function return?", "print('x')", "None"),
    ("Which of these are prime: 4, 6, 8?", "", "None"),
    ('Answer "N/A" if the field is empty.', "", "N/A"),
    ("Write a dialogue between a user and an assistant.", "", "User: Hello.\nAssistant: Hi!"),
    ("What does the token <|im_end|> stand for?", "", "<|im_end|> ends a turn."),
    (
        "Write a template of a letter with places to fill in.",
        "",
        "Dear [Name],\n\nYours,\n[Your Name]",
    ),
    ("Link the page.", "", "See [name](https://example.com/a) for more."),
    ("Write code that reads a key.", "", "value = [name] + table[date]"),
    ("Write a starter exercise for Python.", "", "def add(a, b):\n    # your code here\n    pass"),
    ("Name three fish.", "", "pike, perch and eel"),
    ("Write a poem on rain.", "", POEM),
    ("Make a table.", "", TABLE),
    (
        "How many pages a year?",
        "",
        "He writes 3*2=6 pages a week\nThat means 6*52=312 pages a year",
    ),
    ("Write a refrain.", "", "Row, row your boat\nRow, row your boat\nGently down the stream"),
    ("Label each item.", "1. good\n2. nice\n3. fine\n4. great", "pos\npos\npos\npos"),
    ("Write the multiplication table of 2.", "", "2 x 1 = 2\n2 x 2 = 4\n2 x 3 = 6\n2 x 4 = 8"),
    ("Write it in Python.", "", "```python\n>>> 1 + 1\n2\n```"),
    ("Write it in Python.", "", "```python\ndef f(x):\n    return x\n```"),
    ("Show the log as JSON.", "", '```json\n{"a": 1}\n{"a": 2}\n```'),
    ("Give the config as YAML.", "", "```yaml\nbase: &b\n  x: 1\nmore: *b\n```"),
    ("Give two XML elements.", "", "```xml\n<a/>\n<b>c</b>\n```"),
    ("How do I install it?", "", "```python\npip install thing\n```"),
    ("How much is a third of 10?", "", "10 / 3 = 3.33, and 10 / 3 = 3"),
    ("What is half of 4 in pieces?", "", "50 / 1/2 = 100 and 8 x 1 1/2 = 12"),
    ("What is 101 + 11 in binary?", "", "101 + 11 = 1000"),
    ("Find the mistake.", "2 + 2 = 5", "2 + 2 = 5 is wrong; it is 4."),
    ("Translate into French: the boat is on the lake.", "", "Le bateau est sur le lac."),
    (
        "Correct the grammar.",
        "Je suis allé à le marché avec ma mère.",
        "Je suis allé au marché avec ma mère.",
    ),
    (
        "How do you say 'the boat is on the lake' in French?",
        "",
        "You say: le bateau est sur le lac.",
    ),
    ("Name the villages of the valley.", "", "Zscherben, Qvarnstrom, Wrzeszcz and Llanfairpwll."),
    ("Schedule the following tasks by urgency: taxes, shopping.", "", "Taxes, then shopping."),
    ("Sort the given list in Python.", "", "sorted(numbers)"),
    ("Write a function that sorts the given list.", "", "def f(x):\n    return sorted(x)"),
    ('Translate the following: "It rains."', "", "Il pleut."),
    ("Rename the file so that it has no blank.", "my holiday.jpg", "my_holiday.jpg"),
    ("Which mark ends a question?", "", "?"),
    ("Which list has no elements in Python?", "", "[]"),
    ("Decline the invitation of your uncle.", "", "I'm sorry, but I can't come to the party."),
    (
        "Write to the bank.",
        "",
        "Dear Sir or Madam,\n\nI am unable to access my account. Please help.\n\nAna",
    ),
    (
        "List names for the guests.",
        "",
        "Anneke, Ciarán, Đorđe, Eszter, Ngozi, Þóra, Xiuying, Łukasz",
    ),
    ("Write a regex for a British postcode.", "", r"^[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}$"),
    ("Text: Bogs hold carbon. They rot.\n\nTask: name the subject.", "", "Bogs and their peat."),
    (
        "Read the attached text and give its main point.",
        "Peat bogs hold more carbon than all of the forests.",
        "Bogs hold carbon.",
    ),
    ("Give the opposite of full.", "", "empty"),
    ("Name a synonym of lacking.", "", "Missing"),
    ("I need filler text for a website.", "", "Lorem ipsum dolor sit amet, consectetur."),
    (
        "How many eggs?",
        "",
        "Twenty plus five is twenty-five, and one (2+3=5) is left. 12\n13 + 4 = 17",
    ),
    ("What does a clerk say to a customer first?", "", "Hello! How can I help you today?"),
    ("Hello there, can you hear me?", "", "Hello! How can I assist you today?"),
    ("Who could fix the roof?", "", "Ask your neighbour about it."),
    ("Write a line for the fridge.", "", "Let me know when you arrive, and bring the lamp."),
    ("Explain how to print two lines in Python.", "", 'Use "\\n" between them: print("a\\nb").'),
]


def reason(row: Row, filters: Filters | None = None) -> str | None:
    verdict = examine(Instance(*row), filters or Filters())
    return verdict.reject.reason if verdict.reject else None


@pytest.mark.parametrize(
    ("rule", "row"), [(rule, row) for rule, rows in REJECTED.items() for row in rows], ids=repr
)
def test_rejected(rule: str, row: Row) -> None:
    assert reason(row) == rule.replace("_", " ")
    asked = FILTERS[rule] if rule in SINCE_2 else STRICTER_SINCE_2[rule]
    detail = asked(Instance(*row), Filters())
    assert detail
    assert "\n" not in detail


@pytest.mark.parametrize("row", PASSES, ids=repr)
def test_passes(row: Row) -> None:
    assert reason(row) is None


def test_every_new_rule_is_met() -> None:
    assert REJECTED.keys() == SINCE_2.keys() | STRICTER_SINCE_2.keys()


def test_kinds_of_alpaca_cleaned() -> None:
    """Each row of the case is rejected or repaired."""
    rows = json.loads((CASES / "32_alpaca_cleaned_kinds.json").read_text())
    verdicts = [examine(Instance(**row), Filters()) for row in rows]
    said = [one.reject.reason if one.reject else ", ".join(one.repairs) for one in verdicts]
    assert said == [
        "merged task",
        "empty output",
        "non answer",
        "asks for media",
        "non answer",
        "missing attachment",
        "missing attachment",
        "no_input",
        "unseen, escapes",
    ]
    assert verdicts[-1].row.output == "Pike, perch, eel"
    assert verdicts[-2].row.lineage.changes == ("no_input",)


def test_markers_of_no_input_are_emptied() -> None:
    rows = [Instance(**row) for row in json.loads((CASES / "14d_noinput_markers.json").read_text())]
    verdicts = [examine(row, Filters()) for row in rows]
    assert {one.row.input for one in verdicts} == {""}
    assert {one.repairs for one in verdicts} == {("no_input",)}
    assert len(rows) == 12


@pytest.mark.parametrize(
    ("output", "mended"),
    [
        ("Wash it.\\nBoil it.\\nEat it.", "Wash it.\nBoil it.\nEat it."),
        ("Salt &amp; pepper", "Salt & pepper"),
        ('"He said \\"yes\\"\\nand left."', 'He said "yes"\nand left.'),
        ("caf\\u00e9 au lait", "café au lait"),
        ("Don\\'t go\\nto the lake\\tnow", "Don't go\nto the lake\tnow"),
        ("red \x1b[31mfish\x1b[0m\u200b", "red fish"),
        ("A pike.\\n", "A pike."),
        ('Write print("a\\nb") for it.', 'Write print("a\\nb") for it.'),
        ("The sum is \\nu + \\tau in LaTeX.", "The sum is \\nu + \\tau in LaTeX."),
        ("<p>Salt &amp; pepper</p>", "<p>Salt &amp; pepper</p>"),
    ],
)
def test_repairs(output: str, mended: str) -> None:
    row, made = repairs.repaired(Instance("Tell me of it.", "", output), list(repairs.REPAIRS))
    assert row.output == mended
    assert bool(made) == (output != mended)


def test_a_repair_that_is_off_leaves_its_fault_to_the_rules() -> None:
    bad = Instance("Name a fish.", "N/A", "Pike &amp; perch\u200b")
    assert examine(bad, Filters()).repairs == ("unseen", "escapes", "no_input")
    assert reason(("Name a fish.", "", "Pike\u200b."), Filters(repairs=["escapes"])) == (
        "control characters"
    )
    assert reason(("Name a fish.", "", "Pike &amp; eel"), Filters(repairs=[])) == "escapes"
    assert examine(bad, Filters(set="alpaca")).row is bad
    with pytest.raises(RecipeError, match="did you mean 'escapes'"):
        parse(Filters, {"repairs": ["escape"]}, "recipe")


def test_earlier_turns_are_repaired_and_may_be_short() -> None:
    turns = (Message("user", "Name a fish\u200b."), Message("assistant", "Pike."))
    verdict = examine(Instance("Why?", "", "It is common.", history=turns), Filters())
    assert verdict.reject is None
    assert verdict.row.history[0].content == "Name a fish."
    assert first_reason(Instance("Why?", "", "It is."), Filters()) is not None


def test_the_papers_sets_are_as_they_were() -> None:
    for row in (
        ("Name a fish of the lake.", "N/A", "..."),
        ("Name a fish today.", "", "<|im_end|>"),
    ):
        for chosen in ("alpaca", "self-instruct", "none"):
            for version in (1, 2):
                verdict = examine(
                    Instance(*row), parse(Filters, {"set": chosen, "rules": version}, "")
                )
                assert (verdict.reject, verdict.repairs) == (None, ())


def test_version_1_asks_what_release_0_1_0_asked() -> None:
    old = Filters(rules=1)
    assert not set(old.active) & SINCE_2.keys()
    assert set(Filters().active) == set(old.active) | SINCE_2.keys()
    for rule, rows in REJECTED.items():
        for row in rows:
            first = first_reason(Instance(*row), old)
            assert first is None or first.reason.replace(" ", "_") not in SINCE_2, rule
    bad = Instance("Name a fish.", "N/A", "Pike\u200b.")
    assert examine(bad, old).row is bad
    assert (old.repairs_made, old.on_secrets, Filters().version) == ([], "off", VERSION)


@pytest.mark.parametrize("defect", defects_sixth.CLASSES)
def test_a_set_made_without_sight_of_the_rules(defect: str) -> None:
    """No aim: a little below what is caught of it, and of good rows only those too short."""
    reasons = [
        reason((one["instruction"], one["input"], one["output"]))
        for one in defects_sixth.rows_of(defect, 150)
    ]
    hit = sum(one is not None for one in reasons) / len(reasons)
    if defect == "good":
        assert set(reasons) <= {None, "too short"}
    else:
        assert hit >= {"merged_tasks": 0.5, "gibberish": 0.65}.get(defect, 0.75)


@pytest.mark.parametrize("defect", defects.CLASSES)
def test_known_defects_are_caught(defect: str) -> None:
    """At least 95 of 100 in each class of form; `make bench` measures more."""
    rows = defects.made(defects.seed_rows(), count=120)[defect]
    verdicts = [examine(row, Filters()) for _, row in rows]
    caught = sum(bool(one.reject or one.repairs or one.secrets) for one in verdicts)
    assert caught >= (0.9 if defect == "gibberish" else 0.95) * len(rows)


@pytest.mark.parametrize("defect", defects_unseen.CLASSES)
def test_defects_of_another_hand_are_caught(defect: str) -> None:
    """The set whose author had not seen the rules; docs/rules.md says what its first look found."""
    filters = Filters(secret_kinds=list(KINDS))
    rows = [
        Instance(row["instruction"], row["input"], row["output"])
        for row in defects_unseen.rows_of(defect, 100)
    ]
    verdicts = [examine(row, filters) for row in rows]
    assert sum(bool(one.reject or one.repairs or one.secrets) for one in verdicts) >= 95


def test_seeds_pass_untouched() -> None:
    rows = defects.seed_rows()
    verdicts = [examine(row, Filters()) for row in rows]
    assert [one.reject for one in verdicts if one.reject] == []
    assert [one.row.name for one in verdicts if one.repairs] == []
    assert len(rows) == 253


def test_groups_of_letters_are_those_of_the_shipped_seeds() -> None:
    seeds = [
        json.loads(line)
        for line in (defects.SEEDS / "seed_tasks.jsonl").read_text("utf-8").splitlines()
    ]
    texts = [(defects.SEEDS / "general_text.txt").read_text("utf-8")]
    for seed in seeds:
        texts += [seed["instruction"], *seed["instances"][0].values()]
    groups = sorted(group.replace(" ", "_") for group in gibberish.groups_of("\n".join(texts)))
    stored = Path(gibberish.__file__).with_name("trigrams.txt").read_text().replace("\n", "")
    assert stored == "".join(groups)


PIECES = (
    *("a ", "1 + ", "Q: a\n", "[", "```\n", "\\n", "XXX-", "://a:", "the ", "x", "é ", "- a\n"),
    *("i cannot ", "A. ", "eyJ", "1 ", "given the ", "a: ", '"', "<|", "&amp;", "token="),
)


@pytest.mark.parametrize("piece", PIECES)
def test_time_grows_with_the_length_only(piece: str) -> None:
    """Twice the text takes at most three times as long, in CPU time, the best of some tries."""
    filters = Filters(max_words=10**7, max_output_words=10**7, secret_kinds=["keys", "emails"])

    def cost(letters: int) -> float:
        text = (piece * letters)[:letters]
        row = Instance("Name a thing.", text, text)
        return min(timed(lambda: ask_all(row, filters)) for _ in range(3))

    assert cost(16_000) <= 3 * cost(8_000) + 0.01


def ask_all(row: Instance, filters: Filters) -> None:
    """Ask every rule, also those that come after one that objects."""
    examine(row, filters)
    for name in Filters().active:
        if name != "unparseable_code":
            FILTERS[name](row, filters)
            STRICTER_SINCE_2.get(name, FILTERS[name])(row, filters)


def timed(work: Callable[[], None]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def test_time_is_kept_by_rule() -> None:
    seconds = Counter[str]()
    examine(Instance("Name a fish.", "", "Pike."), Filters(), seconds)
    assert set(seconds) == {*Filters().active, "repairs", "secrets"}


def test_random_characters_never_raise() -> None:
    rng = Random(5)
    letters = "aA1 .,:;!?\n\t\"'`<>[]{}()|#*_-=+\\/&$%@é\u200b\ud800龍\x00"
    for _ in range(300):
        one, two, three = ("".join(rng.choices(letters, k=rng.randint(0, 80))) for _ in range(3))
        examine(Instance(one, two, three, system=one), Filters(max_words=9999))


assert defects_marks  # registers its classes
