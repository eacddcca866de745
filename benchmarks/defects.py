"""Rows with known defects, made from good rows: what the rules of `curate/` are measured on.

Each class has variants, each variant a function of (random numbers, a good row, another one). They
were written before the rules. Half of the variants of each class (chosen by their digest) were held
back while the rules were written. Seeded: the same rows give the same defects.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from localinstruct.records import Instance

Variant = Callable[[Random, Instance, Instance], Instance]
"""(random numbers, a good row, another good row) -> the first with a defect."""
SEEDS = Path(__file__).parents[1] / "seeds"
CLASSES: dict[str, dict[str, Variant]] = {}
"""Class of defects -> variant -> its maker."""


def seed_rows() -> list[Instance]:
    """Tasks of the shipped seed files with their answers."""
    rows = []
    for name in ("seed_tasks", "nano_seed_tasks"):
        for line in (SEEDS / f"{name}.jsonl").read_text("utf-8").splitlines():
            task = json.loads(line)
            rows.append(Instance(task["instruction"], **task["instances"][0]))
    return rows


def is_held_out(defect: str, variant: str) -> bool:
    """True for the half of the variants that nobody looked at while the rules were written."""
    return hashlib.sha256(f"{defect}/{variant}".encode()).digest()[0] % 2 == 1


def made(
    rows: Sequence[Instance], count: int = 200, seed: int = 7
) -> dict[str, list[tuple[str, Instance]]]:
    """Class -> `count` pairs of a variant's name and a row with that defect, from these rows."""
    result = {}
    for defect, variants in CLASSES.items():
        rng = Random(f"{seed} {defect}")
        names = [name for name in variants for _ in range(-(-count // len(variants)))][:count]
        pairs = [(name, _usable(rng, rows, defect), rng.choice(rows)) for name in names]
        result[defect] = [(name, variants[name](rng, one, two)) for name, one, two in pairs]
    return result


_LONG = {"cut_answer": 12, "repetition": 5, "echo": 5, "escapes": 4}
"""Words that an answer must have for this defect to show in it."""


def _usable(rng: Random, rows: Sequence[Instance], defect: str) -> Instance:
    least = _LONG.get(defect, 0)
    for _ in range(1000):
        row = rng.choice(rows)
        words = len(row.output.split())
        if words >= least and not (defect == "echo" and len(row.instruction.split()) < 5):
            return row
    raise ValueError(f"no row has an answer of {least} words")


def variants_of(defect: str, texts: str, place: str = "{t}") -> None:
    """Add a variant for each line of `texts` whose answer is that line.

    \\n in a line is a line break; `place` may keep the row's own answer: {o}.
    """
    for line in texts.strip().splitlines():
        text = line.strip().encode().decode("unicode_escape").encode("latin-1").decode("utf-8")

        def make(rng: Random, row: Instance, other: Instance, text: str = text) -> Instance:
            filled = _filled(text, rng, row, other)
            return replace(row, output=place.replace("{t}", filled).replace("{o}", row.output))

        CLASSES.setdefault(defect, {})[f"{place}{line.strip()}"] = make


def variant(defect: str) -> Callable[[Variant], Variant]:
    """Enter a function as a variant of a class."""

    def enter(make: Variant) -> Variant:
        CLASSES.setdefault(defect, {})[make.__name__] = make
        return make

    return enter


def _filled(text: str, rng: Random, row: Instance, other: Instance) -> str:
    values = {
        "{o}": row.output,
        "{i}": row.instruction,
        "{oi}": other.instruction,
        "{oo}": other.output,
        "{oin}": other.input or "<noinput>",
        "{n}": str(rng.randint(2, 19)),
    }
    for key, value in values.items():
        text = text.replace(key, value)
    return text


# --- merged tasks: the list that the teacher wrote has run on into the answer
variants_of(
    "merged_tasks",
    r"""
{o}\n##\n{n}. Instruction: {oi}\n{n}. Input:\n{oin}\n{n}. Output:\n{oo}
{o}\n###\n{n}. Instruction: {oi}\n{n}. Input:\n<noinput>\n{n}. Output:\n{oo}
{o}\n\n{n}. Instruction: {oi}\n{n}. Input: <noinput>\n{n}. Output: {oo}
{o}\n{n}) Instruction: {oi}\nInput: {oin}\nOutput: {oo}
{o}\n\nInstruction: {oi}\nInput: {oin}\nOutput: {oo}
{o}\n\nInstruction: {oi}\nOutput: {oo}
{o}\n\n**Instruction:** {oi}\n\n**Output:** {oo}
{o}\n\n### Instruction:\n{oi}\n\n### Response:\n{oo}
{o}\n\nTask {n}: {oi}\nAnswer: {oo}
{o}\n\nTask: {oi}\nOutput: {oo}
{o}\n\nExample {n}\nInput: {oin}\nOutput: {oo}
{o}\n\nQuestion: {oi}\nAnswer: {oo}
{o}\n\nQ: {oi}\nA: {oo}
{o}\n---\nInstruction {n}: {oi}\nResponse {n}: {oo}
{o} {n}. Instruction: {oi} {n}. Input: <noinput> {n}. Output: {oo}
{o}\n\nNext task: {oi}\n{oo}
""",
)


@variant("merged_tasks")
def two_instructions(rng: Random, row: Instance, other: Instance) -> Instance:
    """Glue the next task of the list to the instruction."""
    number = rng.randint(3, 18)
    glued = f"{row.instruction}\n{number}. Instruction: {other.instruction}"
    return replace(row, instruction=glued)


@variant("merged_tasks")
def output_in_instruction(rng: Random, row: Instance, other: Instance) -> Instance:
    """Leave an answer and a second task inside the instruction."""
    text = f"{row.instruction}\nOutput: {row.output[:80]}\n###\nInstruction: {other.instruction}"
    return replace(row, instruction=text)


@variant("merged_tasks")
def task_in_input(rng: Random, row: Instance, other: Instance) -> Instance:
    """Leave the output and the next task inside the input."""
    number = rng.randint(3, 18)
    text = f"{row.input or 'The text.'}\n{number}. Output: {other.output[:60]}\n###\n"
    return replace(row, input=text + f"{number + 1}. Instruction: {other.instruction}")


# --- answers that are none
variants_of(
    "empty_answer",
    r"""
\x20
\n\n
\t
.
...
....
-
--
---
_
\xe2\x80\xa6
\xe2\x80\x94
*
\"\"
''
[]
{}
()
?
. . .
- - -
\xc2\xa0
```\n```
\xe2\x80\xa2
""",
)
variants_of(
    "non_answer",
    r"""
N/A
n/a
N/A.
NA
None
none
None.
null
NULL
nil
nan
NaN
undefined
<noinput>
<No Output>
<nooutput>
No output
No output.
No output required.
No answer
No response
(no output)
[no output]
(empty)
<empty>
[blank]
Not applicable
Not applicable.
not available
Output: N/A
Output:
Answer:
Response: None
There is no output.
There is no answer.
Not provided
No output is needed for this task.
""",
)
variants_of(
    "empty_code",
    r"""
```python\n```
```\n\n```
```python\n\n\n```
Here is the code:\n\n```python\n```
Here is the function you asked for:\n```javascript\n\n```\nIt runs in linear time.
```python\n# Your code here\n```
```python\n# TODO\npass\n```
```python\n# N/A\n```
```sql\n-- write your query here\n```
```java\n// code goes here\n```
```c\n/* your code here */\n```
```python\nN/A\n```
```\nN/A\n```
```html\n<!-- insert code here -->\n```
```bash\n# add your code here\n```
```python\npass\n```
```python\n...\n```
Sure! Here is a solution:\n\n~~~python\n\n~~~
```js\n// ...\n```
# Your code here
// Your code goes here
```python\ndef solve():\n    # your code here\n    pass\n```
""",
)


_MARKERS = (
    "<noinput>|<no input>|<No Input>|noinput|Noinput|No input|no input.|N/A|n/a|None|none|NULL|"
    "null|(no input)|[no input]|No input required.|No input needed|no input provided|<none>|"
    "<NoInput>|NA|Not applicable|<input>|No Input Required|(none)|<n/a>|<empty>|No input is "
    "required.|-|--|No additional input.|No input necessary.|<NO INPUT>|n.a.|nan|<blank>|"
    "Input: <noinput>|<noinput/>|noInput"
)


def _marker(text: str) -> None:
    def make(rng: Random, row: Instance, other: Instance) -> Instance:
        return replace(row, input=text)

    CLASSES.setdefault("noinput_marker", {})[text] = make


for _text in _MARKERS.split("|"):
    _marker(_text)


# --- echo
@variant("echo")
def whole_question(rng: Random, row: Instance, other: Instance) -> Instance:
    """Give the instruction back."""
    return replace(row, output=row.instruction)


@variant("echo")
def question_in_capitals(rng: Random, row: Instance, other: Instance) -> Instance:
    """Give the instruction back in another case."""
    return replace(row, output=rng.choice((row.instruction.upper(), row.instruction.lower())))


@variant("echo")
def question_twice(rng: Random, row: Instance, other: Instance) -> Instance:
    """Give the instruction back twice."""
    return replace(row, output=f"{row.instruction} {row.instruction}")


@variant("echo")
def announced(rng: Random, row: Instance, other: Instance) -> Instance:
    """Announce an answer and give the instruction."""
    opener = ("Answer: ", "Sure! ", "Response: ", "Instruction: ", "You asked: ", "The answer is: ")
    return replace(row, output=rng.choice(opener) + row.instruction)


@variant("echo")
def quoted(rng: Random, row: Instance, other: Instance) -> Instance:
    """Give the instruction back in quotation marks, or with other marks at its end."""
    text = row.instruction.rstrip(".?!")
    return replace(row, output=rng.choice((f'"{text}"', f"“{text}”", f"{text}...", f"**{text}**")))


@variant("echo")
def question_and_input(rng: Random, row: Instance, other: Instance) -> Instance:
    """Give instruction and input back."""
    return replace(row, output=f"{row.instruction}\n{row.input}".strip())


@variant("echo")
def rewrapped(rng: Random, row: Instance, other: Instance) -> Instance:
    """Give the instruction back on other lines and without some marks."""
    words = row.instruction.replace(",", "").split()
    middle = len(words) // 2
    return replace(row, output=" ".join(words[:middle]) + "\n" + " ".join(words[middle:]))


# --- refusals, also after an opener
variants_of(
    "refusal",
    r"""
I'm sorry, but I can't assist with that.
I cannot help with this request.
Sorry, I can't do that.
I am unable to complete this task.
I'm unable to provide that information.
Unfortunately, I cannot generate that.
I apologize, but I cannot fulfil this request.
As an AI language model, I don't have personal opinions.
As a language model, I am not able to browse the internet.
Thank you for your question! Unfortunately, I am not able to help with that.
Great question! I'm sorry, but I can't provide an answer to this.
Sure! However, as an AI, I cannot access real-time data.
Hello! I'm afraid I can't help you with this.
I understand that you would like help. However, I cannot assist with this request.
I must decline this request.
I won't be able to help with that.
I'm not able to do this for you.
I do not have access to the internet, so I can't answer.
My apologies, but this goes against my guidelines.
It is not appropriate for me to answer this question.
I don't feel comfortable answering that.
I'm just an AI and do not have feelings.
Thanks for asking. I regret that I cannot comply.
Hmm, that's a tough one. I'm sorry, I cannot answer that question.
I am not programmed to do this.
This request violates my content policy.
Sorry, but I am only a language model and cannot open files.
Certainly! But I'm sorry to say that I am unable to do this task.
I don't have the ability to see attachments.
I can't help with that one.
I'm sorry, I don't understand the question. Could you clarify?
I'm sorry, but there is not enough information to answer. Please provide more details.
As an artificial intelligence, I do not possess the capability to taste food.
No, I can't do that for you, sorry.
I will not be able to fulfill your request at this time.
""",
)


# --- cut answers
def cut_at_word(rng: Random, row: Instance, other: Instance) -> Instance:
    """Cut prose after a word inside a sentence."""
    words = " ".join(row.output.split()).rstrip(".!?:;,”\"'").split(" ")
    place = max(6, min(len(words) - 1, rng.randint(len(words) // 2, len(words) - 1)))
    return replace(row, output=" ".join(words[:place]).rstrip(".!?:;,”\"'"))


_PROSE = (
    "The water rises through the stem because the leaves lose moisture to the air around them.",
    "A small garden needs sun for at least six hours, and a bed that drains well after rain.",
    "You should first compare the fees of both banks, since they differ more than the interest.",
    "The committee decided to postpone the vote until every member had read the whole report.",
    "Bread rises when yeast turns sugar into gas, which is held in by the stretchy dough.",
    "In the second act she discovers the letters, and understands why her brother left the town.",
    "Regular breaks help the eyes, especially if you look at something far away for a while.",
    "The river floods each spring, so the houses along it stand on stone pillars.",
)


def _prose(rng: Random, least: int = 2) -> list[str]:
    return rng.sample(_PROSE, rng.randint(least, 4))


@variant("cut_answer")
def after_a_joining_word(rng: Random, row: Instance, other: Instance) -> Instance:
    """End with a word that must go on."""
    word = rng.choice("and the of to with because which a in for that is from by or its".split())
    return replace(row, output=f"{' '.join(_prose(rng))} It is also important {word}")


@variant("cut_answer")
def inside_a_sentence(rng: Random, row: Instance, other: Instance) -> Instance:
    """Cut the last of some sentences in its middle."""
    *whole, last = _prose(rng)
    words = last.split()
    return replace(row, output=" ".join([*whole, *words[: rng.randint(3, len(words) - 2)]]))


@variant("cut_answer")
def inside_a_word(rng: Random, row: Instance, other: Instance) -> Instance:
    """Cut the last sentence inside a word."""
    *whole, last = _prose(rng)
    text = last[: rng.randint(20, len(last) - 8)].rstrip(" ,")
    return replace(row, output=" ".join([*whole, text]))


@variant("cut_answer")
def after_a_comma(rng: Random, row: Instance, other: Instance) -> Instance:
    """End with a comma."""
    return replace(row, output=" ".join(_prose(rng)) + " If the weather is dry,")


@variant("cut_answer")
def announces(rng: Random, row: Instance, other: Instance) -> Instance:
    """End with a colon after which nothing comes."""
    tail = rng.choice(("Here are the steps:", "The main reasons are:", "For example:"))
    return replace(row, output=f"{_prose(rng)[0]} {tail}")


@variant("cut_answer")
def open_fence(rng: Random, row: Instance, other: Instance) -> Instance:
    """Leave a code fence open."""
    code = rng.choice(("def area(w, h):\n    return w *", "for item in items:\n    print(item)\n"))
    return replace(row, output=f"Here is the code:\n\n```python\n{code}")


@variant("cut_answer")
def open_bracket(rng: Random, row: Instance, other: Instance) -> Instance:
    """Leave a bracket open at the end of prose."""
    return replace(row, output=f"{_prose(rng)[0]} This is common (for example in old stone")


@variant("cut_answer")
def open_json(rng: Random, row: Instance, other: Instance) -> Instance:
    """Cut a JSON object."""
    text = json.dumps({"name": "Ana", "tags": ["a", "b"], "notes": rng.choice(_PROSE)}, indent=2)
    return replace(row, output=text[: rng.randint(12, len(text) - 3)])


@variant("cut_answer")
def inside_a_list(rng: Random, row: Instance, other: Instance) -> Instance:
    """Cut the last item of a list of sentences."""
    items = [f"{number}. {text}" for number, text in enumerate(_prose(rng, 3), 1)]
    words = items[-1].split()
    return replace(row, output="\n".join([*items[:-1], " ".join(words[: rng.randint(4, 8)])]))


@variant("cut_answer")
def empty_last_item(rng: Random, row: Instance, other: Instance) -> Instance:
    """End with the number of an item that does not come."""
    items = [f"{number}. {text}" for number, text in enumerate(_prose(rng, 3), 1)]
    return replace(row, output="\n".join([*items, f"{len(items) + 1}."]))


@variant("cut_answer")
def open_quotation(rng: Random, row: Instance, other: Instance) -> Instance:
    """Leave a quotation open."""
    return replace(row, output=f'{_prose(rng)[0]} She said, "We will never go back to the')


# --- repetition
@variant("repetition")
def sentence_again_and_again(rng: Random, row: Instance, other: Instance) -> Instance:
    """Say one sentence many times."""
    return replace(row, output=" ".join([rng.choice(_PROSE)] * rng.randint(4, 12)))


@variant("repetition")
def loop_at_the_end(rng: Random, row: Instance, other: Instance) -> Instance:
    """Begin well and end in a loop of a few words."""
    phrase = rng.choice(("and so on and", "of the city", "very good very", "I think that I"))
    return replace(row, output=f"{' '.join(_prose(rng))} {' '.join([phrase] * rng.randint(8, 30))}")


@variant("repetition")
def one_word(rng: Random, row: Instance, other: Instance) -> Instance:
    """Repeat one word."""
    return replace(row, output=" ".join([rng.choice(("yes", "the", "cat", "data"))] * 25))


@variant("repetition")
def same_lines(rng: Random, row: Instance, other: Instance) -> Instance:
    """Write one line many times."""
    return replace(row, output="\n".join([rng.choice(_PROSE)] * rng.randint(4, 10)))


@variant("repetition")
def same_numbered_lines(rng: Random, row: Instance, other: Instance) -> Instance:
    """Write one item under every number of a list."""
    return replace(row, output="\n".join(f"{n}. Eat more vegetables" for n in range(1, 12)))


@variant("repetition")
def few_lines_in_turn(rng: Random, row: Instance, other: Instance) -> Instance:
    """Write two or three lines in turn."""
    lines = rng.sample(_PROSE, rng.randint(2, 3))
    return replace(row, output="\n".join(lines * rng.randint(4, 6)))


@variant("repetition")
def own_answer_again(rng: Random, row: Instance, other: Instance) -> Instance:
    """Give the row's answer again and again."""
    return replace(row, output="\n\n".join([row.output] * rng.randint(4, 6)))


@variant("repetition")
def letters(rng: Random, row: Instance, other: Instance) -> Instance:
    """Repeat a letter or a mark."""
    return replace(row, output=row.output[:40] + rng.choice(("a", "ha", "!", "0", "=-")) * 150)


@variant("repetition")
def stutter(rng: Random, row: Instance, other: Instance) -> Instance:
    """Say every word twice."""
    return replace(row, output=" ".join(f"{word} {word}" for word in " ".join(_PROSE[:2]).split()))


@variant("repetition")
def counted_sentences(rng: Random, row: Instance, other: Instance) -> Instance:
    """Say one sentence under changing numbers."""
    return replace(row, output=" ".join(f"Day {n}: I went to the shop again." for n in range(14)))
