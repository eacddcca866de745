"""A fourth set of known defects, in other words than the third, written after the rules were mended by it.

`rows_of(name, count)` gives Alpaca rows; all of them should be caught.
"""
# fmt: off
# ruff: noqa: D103, E501, E701, E702, E704, F541, SIM905, I001

import random
from collections.abc import Callable, Iterator
Row = dict[str, str]
SUBJECTS = "the heron|cheese making|quantum dots|a good handshake|subway maps|the plague|night shifts|knitting|ocean currents|compound interest|dandelions|crosswords|the violin|earthquakes|paper money|ferns|street markets|vaccination|sundials|migraine".split("|")
ASKS = "Could you say what makes {s} special?|Tell me something surprising about {s}.|Who was the first to study {s}?|Put together a short quiz-free introduction to {s}.|Which mistakes do beginners make with {s}?|In two sentences, define {s}.|Recommend a way to get started with {s}.|Argue against {s}.".split("|")
SAYS = "Scholars first mentioned {s} in the twelfth century.|One should not confuse this with similar things.|Its value lies in how simple it is.|Children usually meet {s} at school.|There were attempts to ban it, all of which failed.|By now {s} can be found on every continent.|A careful person will read the instructions twice.|Experts still argue over the details.|You will need time, money and a friend.|Without {s} the modern world would look different.".split("|")
def ask(r: random.Random) -> str: return r.choice(ASKS).format(s=r.choice(SUBJECTS))
def say(r: random.Random, n: int = 2) -> str:
    t = " ".join(x.format(s=r.choice(SUBJECTS)) for x in r.sample(SAYS, n)); return t
def row(i: str, o: str, g: str = "") -> Row: return {"instruction": i, "input": g, "output": o}
def merged(r: random.Random) -> Row:
    a, q, b, n = say(r, r.randint(1, 3)), ask(r), say(r, 1), r.randint(2, 40)
    return row(ask(r), r.choice([
        f"{a}\n\n## Instruction\n{q}\n\n## Response\n{b}", f"{a}\n\n>>> Instruction: {q}\n>>> Output: {b}", f"{a}\n\nTASK #{n}\n{q}\n\nANSWER\n{b}", f"{a}\n\n{n}. {q}\n\n{b}",
        f"{a}\n\n(Task {n}) {q}\n{b}", f"{a}\n\nUser prompt: {q}\nModel answer: {b}", f"{a}\n\nNew question: {q}\nAnswer: {b}", f"{a}\n\n* Instruction: {q}\n* Input: -\n* Output: {b}",
        f"{a}\n\nInstruction {n}: {q}\nInput {n}: none\nOutput {n}: {b}", f"{a}\n<|> Q{n}. {q}\nA{n}. {b}", f"{a}\n\n\"Instruction\": \"{q}\",\n\"Output\": \"{b}\"", f"{a}\n\nInst: {q}\nResp: {b}",
        f"{a}\n\nHere is another task.\nInstruction: {q}\nResponse: {b}", f"{a}\nHUMAN: {q}\nBOT: {b}", f"{a}\n\n-----\n{n}) {q}\n-----\n{b}", f"{a}\n\nThe next question is:\n{q}\nThe answer is:\n{b}",
        f"{a}\n\n__Prompt__ {q}\n__Answer__ {b}", f"{a} Instruction: {q} Output: {b}", f"{a}\n\n### Task {n}: {q}\n### Solution: {b}", f"{a}\n\n<task>{q}</task>\n<answer>{b}</answer>"]))
def nothing(r: random.Random) -> Row:
    return row(ask(r), r.choice(["No output is necessary here.", "- none -", "<<empty>>", "NO RESPONSE NEEDED", "Not required", "Answer not available.", "(no text)", "*no output*", "Same as previous.", "See the answer above.", "Output omitted.", "[TBD]", "n / a", "NULL", "None given", "No answer was given.", "This field is intentionally left blank.", "~", "--", "[answer here]", "Blank.", "As stated above.", "(see previous answer)", "No further information.", "Nothing here", "<none>", "None.", "N.A", "Result: none", "Output: (none)", "no answer provided", "does not apply", "Nil.", "Not answered yet.", "There is no answer.", "<missing>", "TBA", "No input, no output.", "Answer pending", "No additional output"]))
def sums(r: random.Random) -> Row:
    a, b, c = r.randint(12, 95), r.randint(3, 40), r.randint(2, 9); d = r.choice([4, 9, 17])
    x = r.choice([f"If you take {a} and add {b} you get {a}+{b}={a+b+d}.", f"{a} x {c} = {a*c-d}, as you can see.", f"Total cost: ${a} + ${b} = ${a+b-d}", f"{a*c} ÷ {c} = {a+d}", f"So that makes {a} − {b} = {a-b+d} left.", f"({a} − {b}) × {c} = {(a-b)*c+d}", f"{c*10}% of {b*10} is {c*b+d}.", f"{a},{b:03d} + {c},000 = {a+c+1},{b:03d}", f"{a}.5 + {b}.25 = {a+b+d}.75", f"Adding up: {a} + {b} + {c} = {a+b+c+d}.", f"{c} · {b} = {c*b+d}", f"{a} plus {b} is {a+b+d}, so buy more.", f"{b*c} divided by {c} equals {b+d}.", f"{a} times {c} makes {a*c+d}.", f"3 * ({a} + {b}) = {3*(a+b)+d}", f"| item | sum |\n|---|---|\n| all | {a} + {b} = {a+b+d} |", f"> {a} - {b} = {a-b-d}", f"Area: {a} m × {c} m = {a*c+d} m²", f"{a} km + {b} km = {a+b+d} km", f"{a} + {b} = {a+b+d}\n{a+b+d} - {c} = {a+b+d-c}", f"Check: {a}*{b} = {a*b+d}!", f"We have {b} apples at {c} euros: {b} × {c} = {b*c+d} euros."])
    return row("Please work out the amount.", x)
def missing(r: random.Random) -> Row:
    t = r.choice("paragraph|chart|sketch|transcript|CSV|photo|essay|blog post|manuscript|form|memo|email thread|painting|floor plan|voice note|brochure|SQL query|menu|map|poem".split("|"))
    return row(r.choice([f"What mood does this {t} convey?", f"I'm attaching a {t}; tell me what you think.", f"Please tidy up the {t} I pasted above.", f"Using the {t} I shared, list three risks.", f"Find all the names in the {t} below.", f"What is unusual about the {t} shown here?", f"Turn the following {t} into a song.", f"See attached {t} and summarise.", f"How would you improve the {t} you were given?", f"Read this {t} and answer: who is the hero?", f"Give feedback on my {t} (attached).", f"Which of the statements below is true?", f"From the {t} provided, extract the dates.", f"Explain the second line of the {t} above.", f"Write a caption for this {t}.", f"Is the {t} in the attachment any good?", f"Compare the two {t}s below.", f"Count the words in the following {t}.", f"Rate the {t} I uploaded yesterday from 1 to 10.", f"Here's the {t}. What is the main idea?", f"In the {t} above, replace every noun.", f"Click here and tell me what the {t} says."]), say(r))
def reach(r: random.Random) -> Row:
    p = r.choice("Tom|my wife|the office|Mrs Lee|my coach|the vet|Pizza Palace".split("|")); w = r.choice("this evening|at 8|on Sunday|asap|after lunch|in an hour".split("|")); c = r.choice("Rome|Chicago|the airport|Main Street 4".split("|"))
    return row(r.choice([f"Give {p} a call {w}.", f"Let {p} know I'm running late.", f"Make a reservation at {p} {w}.", f"Find me the cheapest flight to {c}.", f"Get an Uber to {c} {w}.", f"Put milk on my shopping list.", f"Turn the thermostat to 20 degrees.", f"Close the curtains in the bedroom.", f"Wake me up {w}.", f"Mail this parcel to {p}.", f"Is {p} at home right now?", f"What did I write in my diary last week?", f"How many steps did I walk today?", f"What's the traffic like on the way to {c}?", f"Who called me this morning?", f"Do I have any meetings {w}?", f"Send {p} the photos from last night.", f"Pay my electricity bill.", f"Unlock my phone.", f"Start a video call with {p}.", f"Deliver these flowers to {p}.", f"Charge my phone.", f"Sign me up for the gym.", f"Track my package.", f"Mute the TV.", f"What's playing at the cinema tonight?", f"What is the exchange rate of the dollar today?", f"Scan this document and send it to {p}.", f"Play the next song.", f"Add {p} to my contacts.", f"Navigate to {c}.", f"Where is my package?", f"What colour is my shirt?", f"Read my last text message.", f"Which of my friends is online?", f"Make me a cup of tea.", f"Fill up the car {w}.", f"Transfer $40 to {p}."]), "Okay, done.")
def junk(r: random.Random) -> Row:
    k = r.randrange(8); n = r.randint(14, 40); base = [w.strip(".,").lower() for w in (say(r, 4) + " " + say(r, 4)).split()]
    if k == 0: t = " ".join("".join(r.choice("qwertasdfgzxcvb") for _ in range(r.randint(4, 9))) for _ in range(n // 2))
    elif k == 1: r.shuffle(base); t = " ".join(base) + "."
    elif k == 2: t = "".join(r.choice("abcdefghijklmnopqrstuvwxyz0123456789#@&%+") for _ in range(r.randint(60, 200)))
    elif k == 3: t = " ".join(r.choice(["##ing", "the", "[UNK]", "##ly", "re", "##s", "of"]) for _ in range(n))
    elif k == 4: t = " ".join(w[::-1] for w in say(r, 3).split())
    elif k == 5: t = " ".join(r.choice(["kar", "blen", "voth", "zimra", "quel", "dronk", "fesh", "wuggle", "spath", "trine"]) + r.choice(["", "ix", "oth", "umb"]) for _ in range(n))
    elif k == 6: t = " ".join(r.choice(["并且", "the", "jest", "или", "und", "ليس", "function", "são", "の", "return"]) for _ in range(n))
    else: t = " ".join("".join(r.choice("bcdfgjklmnprstvz") + r.choice("aeiou") for _ in range(r.randint(2, 4))) for _ in range(n))
    return row(ask(r), t)
def code(r: random.Random) -> Row:
    f = r.choice("solve|read_all|swap|Stack".split("|"))
    return row("Implement it, please.", r.choice([f"def {f}(items):\n    # implementation here\n    pass", f"```python\ndef {f}():\n    return\n```", f"```\n// write code here\n```", f"```ts\nexport function {f}(a: number): number {{\n  // TODO: implement\n}}\n```", f"```python\nclass {f}:\n    ...\n```", f"```php\nfunction {f}() {{ }}\n```", f"```go\nfunc {f}() {{\n}}\n```", f"```python\ndef {f}(x): pass\n```", f"```rust\nfn {f}() {{\n    todo!()\n}}\n```", "```sql\n-- your query\n```", f"```java\nvoid {f}() {{\n    throw new UnsupportedOperationException(\"Not implemented\");\n}}\n```"]))
def tokens(r: random.Random) -> Row:
    a = say(r); m = r.choice(["<|endofprompt|>", "<|assistant_end|>", "[/INST]", "<|im_sep|>", "</s>", "<start_of_image>", "<|begin_of_text|>", "<|python_tag|>", "<end_of_utterance>", "<|eos|>", "<|turn>", "[TOOL_CALLS]", "<|vision_start|>", "<|sep|>", "<eos_token>", "<|im_end|"])
    return row(ask(r), r.choice([a + m, a + " " + m + " " + say(r, 1), m + "\n" + a]))
def hole(r: random.Random) -> Row:
    h = r.choice(["[Name of manager]", "[insert your details]", "<Your Name Here>", "{{ date }}", "[YOUR COMPANY]", "[amount]", "(insert date)", "[Manager's Name]", "[Your Address]", "______", "<first name>", "[XYZ Company]", "XX/XX/XXXX", "[phone]", "{lastName}", "[...]", "[Name]", "<date>"])
    return row("Write a note to a customer.", r.choice([f"Dear {h}, {say(r)}", f"{say(r)}\n\nYours sincerely,\n{h}", f"{say(r, 1)} Reach us at {h}. {say(r, 1)}"]))
MAKERS: dict[str, Callable[[random.Random], Row]] = {"merged_tasks": merged, "non_answers": nothing, "wrong_sums": sums, "missing_attachments": missing, "unanswerable": reach, "gibberish": junk, "empty_code": code, "role_tokens": tokens, "placeholders": hole}
def rows_of(name: str, count: int = 300) -> Iterator[Row]:
    r = random.Random(f"fourth {name}")
    for _ in range(count): yield MAKERS[name](r)

#: Per cent caught at the first look, and after one more mending of kinds.
LOOKS = {
    "merged_tasks": (57.3, 91.7), "non_answers": (91.3, 98.0), "wrong_sums": (94.7, 94.7),
    "missing_attachments": (53.0, 91.0), "unanswerable": (49.3, 97.3), "gibberish": (80.3, 93.3),
    "empty_code": (82.3, 100.0), "role_tokens": (62.3, 100.0), "placeholders": (73.3, 95.7),
}
