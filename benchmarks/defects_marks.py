"""More classes of defects (see `defects.py`): marks left in the text, code, sums, languages, junk."""

import json
from dataclasses import replace
from random import Random

from benchmarks.defects import variant, variants_of
from localinstruct.records import Instance

variants_of(
    "role_tokens",
    r"""
### Response:\n{o}
{o}\n\n### Instruction:
{o}\n### End
{o}<|im_end|>
<|im_start|>assistant\n{o}<|im_end|>
{o}<|endoftext|>
{o}</s>
<s>{o}
[INST] {i} [/INST] {o}
{o} [/INST]
<<SYS>>\nYou are helpful.\n<</SYS>>\n{o}
<|assistant|>\n{o}
<|user|>\n{i}\n<|assistant|>\n{o}
{o}\nUser: {oi}
{o}\nHuman: {oi}\nAssistant: {oo}
Assistant: {o}
ASSISTANT: {o}
AI: {o}
{o}\n\nUSER: thanks!
<start_of_turn>model\n{o}<end_of_turn>
{o}<eos>
{o}<|eot_id|>
<|start_header_id|>assistant<|end_header_id|>\n\n{o}
{o}\n<|system|>
Response: {o}
Output: {o}
### Answer:\n{o}
{o}\n### Human: {oi}
{o}\n\nBelow is an instruction that describes a task.
<|begin_of_text|>{o}
<bot>: {o}
{o}\n<human>: {oi}
[PAD][PAD]{o}
{o}<pad><pad>
<assistant>{o}</assistant>
{o}\n\n[User]: {oi}
""",
)


def _joined(row: Instance, mark: str, rng: Random) -> str:
    """The answer with a mark between two words."""
    words = row.output.split(" ")
    place = rng.randint(1, max(1, len(words) - 1))
    return " ".join([*words[:place], mark, *words[place:]])


@variant("escapes")
def literal_newlines(rng: Random, row: Instance, other: Instance) -> Instance:
    """Write line breaks as a backslash and an n."""
    items = ["First wash the rice.", "Then boil it.", f"{row.output}".replace("\n", "\\n")]
    return replace(row, output="\\n".join(items))


@variant("escapes")
def literal_newline_at_the_end(rng: Random, row: Instance, other: Instance) -> Instance:
    """End with a line break written out."""
    return replace(row, output=row.output + rng.choice(("\\n", "\\n\\n", "\\r\\n", "\\t")))


@variant("escapes")
def html_entities(rng: Random, row: Instance, other: Instance) -> Instance:
    """Write characters as HTML entities."""
    marks = ("&amp;", "&quot;", "&#39;", "&lt;", "&nbsp;", "&#x27;", "&gt;", "&rsquo;", "&mdash;")
    return replace(row, output=_joined(row, rng.choice(marks), rng))


@variant("escapes")
def quoted_by_json(rng: Random, row: Instance, other: Instance) -> Instance:
    """Leave the quotes of JSON escaped."""
    return replace(row, output=json.dumps(f'He said "{row.output}"\nand left.'))


@variant("escapes")
def unicode_escapes(rng: Random, row: Instance, other: Instance) -> Instance:
    """Write a letter as its escape."""
    return replace(
        row, output=_joined(row, rng.choice(("\\u2019", "\\u00e9t\\u00e9", "\\xa0")), rng)
    )


@variant("escapes")
def mojibake(rng: Random, row: Instance, other: Instance) -> Instance:
    """Read UTF-8 as Latin-1."""
    marks = ("itâ€™s", "cafÃ©", "â€œyesâ€\x9d", "â€“", "Â°C", "naÃ¯ve")
    return replace(row, output=_joined(row, rng.choice(marks), rng))


@variant("escapes")
def escaped_in_the_request(rng: Random, row: Instance, other: Instance) -> Instance:
    """Leave entities or escapes in the instruction."""
    mark = rng.choice(("&quot;this&quot;", "&amp;", "\\n", "\\n\\n"))
    return replace(row, instruction=f"{row.instruction} {mark}".strip())


@variant("control_characters")
def control(rng: Random, row: Instance, other: Instance) -> Instance:
    """Put a control character between words."""
    return replace(row, output=_joined(row, chr(rng.choice((0, 1, 7, 8, 11, 12, 27, 127))), rng))


@variant("control_characters")
def unseen(rng: Random, row: Instance, other: Instance) -> Instance:
    """Put an unseen character between words."""
    marks = "\u200b\u200e\u200f\ufeff\u00ad\u2060\u202a\u202e\u2066"
    return replace(row, output=_joined(row, rng.choice(marks), rng))


@variant("control_characters")
def replacement(rng: Random, row: Instance, other: Instance) -> Instance:
    """Put the character that stands for lost ones into a word."""
    return replace(row, output=_joined(row, "caf\ufffd", rng))


@variant("control_characters")
def colours(rng: Random, row: Instance, other: Instance) -> Instance:
    """Colour a word for a terminal."""
    return replace(row, output=_joined(row, "\x1b[31mred\x1b[0m", rng))


@variant("control_characters")
def unseen_in_the_request(rng: Random, row: Instance, other: Instance) -> Instance:
    """Put an unseen character into the instruction."""
    return replace(row, instruction=row.instruction + rng.choice("\u200b\ufeff\x00\x07"))


variants_of(
    "placeholder",
    r"""
Dear [Name],\n\nThank you for your letter. It arrived on Monday.\n\nKind regards,\n[Your Name]
Dear [Recipient's Name],\n\nI hope you are well. {o}
[insert name] was born in [insert year] and lived by the sea.
The capital is [INSERT CITY HERE].
Lorem ipsum dolor sit amet, consectetur adipiscing elit.
TODO: write the answer here.
TODO
TBD
To be completed.
[Your answer here]
<your answer here>
<insert answer here>
[Answer]
Write your answer here.
Hi {name}, thank you for joining {company}. We are glad to have you.
Hello {{name}}, your order {{order_id}} has been sent.
Call us at XXX-XXX-XXXX to book a table.
The price is $XX.XX and the offer ends on [DATE].
[Company Name] is a leading maker of [product].
{o} [citation needed]
{o}\n[Insert picture here]
My name is ____ and I live in ____.
Your text goes here.
[example text]
FIXME: add the second part of the answer.
<Name>, <Address>, <City>
Insert the body of the email here.
[to be filled in]
This is a sample answer. Replace it with your own.
This is a placeholder.
Sincerely,\n[Your Full Name]\n[Your Position]
{o} (insert details)
xxx
asdf
{o}\n\n...[rest of the story here]...
""",
)


_MISSING = """
Summarize the attached report.|
Use the attached file to answer the question.|
Based on the image above, name the animal.|
Read the article below and list its main points.|
Summarise the following text.|
Translate the following sentence into French.|
Edit the following paragraph for clarity.|
Classify the given sentence as positive or negative.|
Look at the chart below and name the highest bar.|
What is shown in the picture?|
Name the animal in the picture.|<Picture Attached>
Summarise the given article in 100 words.|https://news.example.com/a-12
Describe the chart.|[chart.png]
Fix the bug in the code below.|
Proofread this text.|
Correct the grammar of the sentence below.|
Answer the question using the passage below.|
Rewrite the paragraph above in the passive voice.|
Find the errors in the given code snippet.|
Extract all names from the text provided.|
Using the table below, compute the average.|
Given the following list of numbers, find the median.|
Explain the code in the attached screenshot.|
Transcribe the audio clip.|<audio>
Open the spreadsheet I sent you and add up column B.|
Please see the attached PDF and write a short abstract.|
Analyse this poem.|[poem attached]
Summarize the given document.|document.pdf
Paraphrase the given passage.|[Insert passage here]
Convert the following recipe to metric units.|
Sort the following words alphabetically.|
Give the topic of the following tweet.|
Read the passage and answer the questions.|(passage)
Summarise the video at this link.|https://youtu.be/abc
Choose the right answer from the options below.|
""".strip().splitlines()


def _missing(line: str) -> None:
    instruction, _, given = line.partition("|")

    def make(rng: Random, row: Instance, other: Instance) -> Instance:
        return replace(row, instruction=instruction, input=given)

    make.__name__ = line
    variant("missing_attachment")(make)


for _line in _MISSING:
    _missing(_line)


_BROKEN = {
    "python": r"""
def add(a, b)\n    return a + b
def mean(values):\nreturn sum(values) / len(values)
print("hello
for i in range(3):\n    print(i\n
class Dog:\n    def __init__(self, name:\n        self.name = name
if x = 3:\n    print(x)
def f(x):\n    if x > 0:\n        return x\n  else:\n        return -x
import os,\nprint(os.name)
numbers = [1, 2, 3\nprint(sum(numbers))
while True\n    break
def greet(name):\n    return f"Hello {name"
lambda x: return x * 2
x = 5 +\nprint(x)
def total(items):\n    sum = 0\n    for item in items:\n        sum += item\n    return sum)
try:\n    open("a.txt")\nprint("done")
""",
    "json": r"""
{"name": "Ana", "age": 31,}
{'name': 'Ana', 'age': 31}
{"name": "Ana" "age": 31}
[1, 2, 3
{"name": Ana}
{"a": 1}}
{"ok": True, "none": None}
{"text": "line
[{"id": 1}, {"id": 2},]
{name: "Ana"}
""",
    "yaml": r"""
name: Ana\n  age: 31
list:\n  - a\n - b
key: "open
a: [1, 2
a: b: c
- one\ntwo: 2
items:\n\t- a
{a: 1, b
""",
    "xml": r"""
<note><to>Ana</to>
<note><to>Ana</note></to>
<note to=Ana></note>
<note>Fish & chips</note>
<a><b></a>
<note><to>Ana</to></note></extra>
<note to="Ana></note>
<1note>text</1note>
""",
}


def _broken(language: str, line: str, form: str) -> None:
    code = line.encode().decode("unicode_escape")

    def make(rng: Random, row: Instance, other: Instance) -> Instance:
        words = {"python": "Write a Python program", "json": "Give the data as JSON"}
        asked = words.get(language, f"Write a short {language.upper()} document")
        request = f"{asked} about {rng.choice(('a dog', 'prices', 'a library', 'a town'))}."
        names = {"python": ("python", "py", "Python", "python3"), "yaml": ("yaml", "yml")}
        name = rng.choice(names.get(language, (language, language.upper())))
        fenced = {
            "fence": f"```{name}\n{code}\n```",
            "told": f"Here it is:\n\n```{name}\n{code}\n```\n\nIt is short.",
            "bare": code,
        }
        return replace(row, instruction=request, input="", output=fenced[form])

    make.__name__ = f"{form} {language} {line}"
    variant("code_does_not_parse")(make)


for _language, _lines in _BROKEN.items():
    for _line in _lines.strip().splitlines():
        for _form in ("fence", "told", "bare"):
            _broken(_language, _line, _form)


_SUMS = """
{a} + {b} = {s}|+
The total is {a} + {b} = {s} apples.|+
So {a} - {b} = {s}.|-
{a} x {b} = {s}|*
{a} × {b} = {s} pages in all.|*
{a} * {b} = {s}|*
We get {p} / {b} = {s} each.|/
{p} ÷ {b} = {s}|/
She pays ${a} + ${b} = ${s}.|+
Cost: {a}*{b}={s} euros|*
First add: {a}+{b}={s}. Then stop.|+
There are {a} - {b} = {s} left, so that is the answer.|-
{a},000 + {b} = {a},{s}|k
{a}.5 + {b}.5 = {s}.0|+.
{a} + {b} + 2 = {s}|+2
The answer is {s}, because {a} + {b} = {s}.|+
{a} plus {b} equals {s}.|+
{a} times {b} is {s}.|*
{a} minus {b} is {s}.|-
""".strip().splitlines()


def _sum(line: str) -> None:
    text, _, kind = line.rpartition("|")

    def make(rng: Random, row: Instance, other: Instance) -> Instance:
        a, b = rng.randint(21, 98), rng.randint(3, 19)
        right = {
            "+": a + b,
            "-": a - b,
            "*": a * b,
            "/": a,
            "k": b,
            "+.": a + b + 1,
            "+2": a + b + 2,
        }
        wrong = right[kind] + rng.choice((1, 2, 10, -1, -3, 7))
        shown = f"{wrong:03d}" if kind == "k" else str(wrong)
        answer = text.format(a=a, b=b, p=a * b, s=shown)
        return replace(row, instruction="Work out the number.", input="", output=answer)

    make.__name__ = line
    variant("wrong_sum")(make)


for _line in _SUMS:
    _sum(_line)

_SENTENCES = {
    "English": "The children went to the market with their mother and bought some bread.",
    "French": "Les enfants sont allés au marché avec leur mère et ont acheté du pain.",
    "German": "Die Kinder gingen mit ihrer Mutter auf den Markt und kauften etwas Brot.",
    "Spanish": "Los niños fueron al mercado con su madre y compraron un poco de pan.",
    "Italian": "I bambini sono andati al mercato con la madre e hanno comprato del pane.",
    "Portuguese": "As crianças foram ao mercado com a mãe e compraram um pouco de pão.",
    "Dutch": "De kinderen gingen met hun moeder naar de markt en kochten wat brood.",
    "Russian": "Дети пошли с матерью на рынок и купили немного хлеба.",
    "Polish": "Dzieci poszły z matką na targ i kupiły trochę chleba, bo nie było go w domu.",
    "Chinese": "孩子们和母亲一起去市场买了一些面包。",
    "Japanese": "子供たちは母親と一緒に市場へ行き、パンを買いました。",
    "Arabic": "ذهب الأطفال إلى السوق مع أمهم واشتروا بعض الخبز.",
    "Swedish": "Barnen gick till marknaden med sin mamma och köpte lite bröd som de åt på vägen.",
    "Turkish": "Çocuklar anneleriyle birlikte pazara gittiler ve biraz ekmek aldılar, bu çok güzel oldu.",
}


@variant("wrong_language")
def not_translated(rng: Random, row: Instance, other: Instance) -> Instance:
    """Leave the text in the language it had."""
    wanted = rng.choice([name for name in _SENTENCES if name != "English"])
    asked = rng.choice(("Translate the sentence into {}.", "Translate to {}:", "Put it into {}."))
    text = _SENTENCES["English"]
    return replace(row, instruction=asked.format(wanted), input=text, output=text + " They ate it.")


@variant("wrong_language")
def translated_elsewhere(rng: Random, row: Instance, other: Instance) -> Instance:
    """Translate into another language than the one asked for."""
    wanted, given = rng.sample([name for name in _SENTENCES if name != "English"], 2)
    instruction = f"Translate the following sentence into {wanted}: {_SENTENCES['English']}"
    return replace(row, instruction=instruction, input="", output=_SENTENCES[given])


@variant("wrong_language")
def answered_elsewhere(rng: Random, row: Instance, other: Instance) -> Instance:
    """Answer an English question in another language."""
    given = rng.choice([name for name in _SENTENCES if name != "English"])
    return replace(
        row,
        instruction="What did the children do in the morning?",
        input="",
        output=_SENTENCES[given],
    )


@variant("wrong_language")
def asked_for_by_name(rng: Random, row: Instance, other: Instance) -> Instance:
    """Answer in English where another language is asked for."""
    wanted = rng.choice([name for name in _SENTENCES if name != "English"])
    asked = rng.choice(
        ("Answer in {}: what did they buy?", "Write two sentences in {} about bread.")
    )
    return replace(row, instruction=asked.format(wanted), input="", output=_SENTENCES["English"])


@variant("wrong_language")
def question_elsewhere(rng: Random, row: Instance, other: Instance) -> Instance:
    """Answer a question of another language in English."""
    questions = (
        "Was haben die Kinder auf dem Markt gekauft?",
        "Qu'est-ce que les enfants ont acheté au marché ?",
        "¿Qué compraron los niños en el mercado con su madre?",
        "Что дети купили на рынке?",
        "孩子们在市场上买了什么？",
        "Che cosa hanno comprato i bambini al mercato?",
    )
    return replace(row, instruction=rng.choice(questions), input="", output=_SENTENCES["English"])


@variant("gibberish")
def keys(rng: Random, row: Instance, other: Instance) -> Instance:
    """Hit keys."""
    words = [
        "".join(rng.choices("asdfghjklqwertzuiopyxcvbnm", k=rng.randint(3, 11))) for _ in range(20)
    ]
    return replace(row, output=" ".join(words))


@variant("gibberish")
def shuffled_letters(rng: Random, row: Instance, other: Instance) -> Instance:
    """Shuffle the letters of every word."""
    words = ["".join(rng.sample(word, len(word))) for word in _SENTENCES["English"].split() * 2]
    return replace(row, output=" ".join(words))


@variant("gibberish")
def pieces_of_words(rng: Random, row: Instance, other: Instance) -> Instance:
    """Join pieces of words as a model at a high temperature does."""
    pieces = (
        "ing tion pre Ġthe ]] {{ ously 19 }; meth Fitz ogram ,, ward Bl ais upfront noun_ XIV ter "
        "ke ()` arch :: umb qual ocy zz eth ro \\n\\ sub anti Wik ulous mm cil fre pq ()] ^^ .] "
        "onym hy ecta vo \u0259 ž 龙 Я ped uct ibil ;} ...; Jake Lanc xi omnip"
    ).split()
    words = ["".join(rng.choices(pieces, k=rng.randint(1, 4))) for _ in range(30)]
    return replace(row, output=" ".join(words))


@variant("gibberish")
def salad(rng: Random, row: Instance, other: Instance) -> Instance:
    """Throw rare words together."""
    words = (
        "pylon marmalade quantise verdant oboe scaffold lichen ratify plinth mackerel adverb tariff "
        "gusset nimbus cobalt henna dovetail larynx turret isotope gravel sonnet brisket lever "
        "oscillate furlong thimble quorum basalt cadence"
    ).split()
    return replace(row, output=" ".join(rng.choices(words, k=30)) + ".")


@variant("gibberish")
def noise(rng: Random, row: Instance, other: Instance) -> Instance:
    """Write marks and digits."""
    return replace(row, output="".join(rng.choices("#$%&*@!~^|<>{}[]0123456789abxz ;:", k=160)))


@variant("gibberish")
def consonants(rng: Random, row: Instance, other: Instance) -> Instance:
    """Leave the vowels out and put other letters in."""
    words = [
        "".join(rng.choice("qxzkvwj") if letter in "aeiou" else letter for letter in word)
        for word in row.instruction.lower().split() + other.instruction.lower().split() * 2
    ]
    return replace(row, output=" ".join(words[:40]))
