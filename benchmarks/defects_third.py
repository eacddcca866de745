"""A third set of known defects, written by somebody who had read neither the rules nor the other sets.

Topics and sentences come from word lists, layouts from lists of their own, so that few rows repeat
a wording. `rows_of(name, count)` gives Alpaca rows; all of them should be caught.
"""

# fmt: off
# ruff: noqa: D103, E501, F541, SIM905

import json
import random
import string
from collections.abc import Callable, Iterator

Row = dict[str, str]
THINGS = (
    "lighthouses|sourdough bread|tax returns|honey bees|the Roman army|solar panels|kite surfing|"
    "hash tables|antibiotics|jazz guitar|volcanoes|public libraries|rain gardens|chess openings|"
    "coral reefs|steam engines|insurance|marathon training|black tea|sign language|glaciers|"
    "bicycle brakes|medieval castles|photosynthesis|stamp collecting|wind turbines|dental care|"
    "the printing press|house plants|sleep|owls|cotton|tides|comets|folk dances|opera|salt|rivers"
).split("|")
PEOPLE = "a ten-year-old|new colleagues|my landlord|a patient|tourists|farmers|the school board|nurses".split("|")
TASKS = (
    "Explain {a} to {p}.|Name three facts about {a}.|Write a short poem about {a}.|What are {a} good for?|"
    "Give {p} some advice on {a}.|Summarise the history of {a}.|Why do people care about {a}?|"
    "Compare {a} with {b}.|Suggest a title for an essay on {a}.|How do {a} differ from {b}?|"
    "List the drawbacks of {a}.|Describe {a} in one paragraph.|Draft a letter to {p} about {a}."
).split("|")
SENTENCES = (
    "People have valued {a} for a long time.|Most books on {a} begin with a warning.|Few topics divide {p} as {a} does.|"
    "It takes patience to learn about {a}, but the effort pays off.|Compared with {b}, this is the simpler subject.|"
    "In spring the demand for {a} grows.|Start small, keep notes, and ask {p} for help.|There are three kinds, of which the first is the oldest.|"
    "The cost depends on the season and on the region.|A museum near the coast tells the whole story.|"
    "Nobody knows who first combined {a} and {b}.|Good light and clean water matter most.|The name comes from an old word for stone."
).split("|")


def fill(rng: random.Random, text: str) -> str:
    a, b = rng.sample(THINGS, 2)
    return text.format(a=a, b=b, p=rng.choice(PEOPLE))


def task(rng: random.Random) -> str:
    return fill(rng, rng.choice(TASKS))


def prose(rng: random.Random, low: int = 1, high: int = 4) -> str:
    some = rng.sample(SENTENCES, rng.randint(low, high))
    return " ".join(text[0].upper() + text[1:] for text in (fill(rng, one) for one in some))


def row(instruction: str, output: str, given: str = "") -> Row:
    return {"instruction": instruction, "input": given, "output": output}


def merged(rng: random.Random) -> Row:
    first, new, answer = prose(rng), task(rng), prose(rng, 1, 2)
    n = rng.randint(2, 30)
    layouts = [
        f"{first}\n\n### Instruction:\n{new}\n\n### Response:\n{answer}",
        f"{first}\n###\n{n}. {new}\n{answer}",
        f"{first}\n\nInstruction: {new}\nInput: <noinput>\nOutput: {answer}",
        f"{first}\n\nTask {n}: {new}\n{answer}",
        f"{first}\nTask {n}\n{new}",
        f"{first}\n\n{n}. Instruction: {new}\n{n}. Input: none\n{n}. Output: {answer}",
        f"{first}\n\nQ: {new}\nA: {answer}",
        f"{first}\n\nQuestion {n}: {new}\nAnswer {n}: {answer}",
        f"{first}\n\nUser: {new}\nAssistant: {answer}",
        f"{first}\n\nHuman: {new}\n\nAI: {answer}",
        f'{first}\n\n{{"instruction": {json.dumps(new)}, "input": "", "output": {json.dumps(answer)}}}',
        f'{first}", "input": ""}}, {{"instruction": "{new}", "output": "{answer}',
        f"{first}\n\n## Task {n}\n\n{new}\n\n## Answer\n\n{answer}",
        f"{first}\n\n**Instruction:** {new}\n**Output:** {answer}",
        f"{first}\n\n# Next task\n{new}\n\n{answer}",
        f"{first}\n---\nPrompt: {new}\nCompletion: {answer}",
        f"{first}\n\n=====\n\nExercise {n}. {new}\nSolution. {answer}",
        f"{first}\n\nINSTRUCTION\n{new}\n\nOUTPUT\n{answer}",
        f"{first}\n\n[Instruction] {new}\n[Response] {answer}",
        f"{first}\n\n<instruction>{new}</instruction>\n<response>{answer}</response>",
        f"{first}\n\nInstruction - {new}\nResponse - {answer}",
        f"{first}\n\n({n}) Instruction: {new}",
        f"{first}\n\nNow the next instruction: {new}\n{answer}",
        f"{first}\n\nInput: {prose(rng, 1, 1)}\nOutput: {answer}",
        f"{first}\n\nExample {n}:\nInstruction: {new}\nOutput: {answer}",
        f"{first}\n\n{n}) Task: {new}\n   Answer: {answer}",
        f"{first} ### Instruction: {new} ### Output: {answer}",
        f"{first}\n***\nuser\n{new}\nassistant\n{answer}",
        f"{first}\n\nProblem {n}: {new}\nSolution: {answer}",
        f"{first}\n\n- instruction: {new}\n  input: ''\n  output: {answer}",
    ]
    return row(task(rng), rng.choice(layouts))


def dress(rng: random.Random, text: str) -> str:
    shape = rng.choice(["{}", "{}", "{}.", "({})", "[{}]", "<{}>", "**{}**", "_{}_", "- {}", '"{}"', "`{}`", "{}!", "# {}", "{}\n", "* {} *"])
    cases: list[Callable[[str], str]] = [str, str, str.upper, str.lower, str.title, str.capitalize]
    case = rng.choice(cases)
    return shape.format(case(text))


def non_answer(rng: random.Random) -> Row:
    words = (
        "N/A|n.a.|not applicable|no output|no output needed|no output required|none|None needed|none required|empty|blank|"
        "left blank|intentionally left blank|see above|see below|TBD|to be determined|to be added|TODO|no answer|no answer required|"
        "no answer needed|no answer given|no response|no response required|not available|nil|null|nothing|nothing to add|no comment|"
        "unknown|no data|no result|output goes here|no output is required for this task|answer not provided|not provided|"
        "there is no output|the output is empty|same as above|same as the input|as above|pending|no reply|not answered|skipped|"
        "skip|no text|no content|missing|no solution provided|undefined|no further output|this task has no output|ditto|"
        "the answer is left blank|no output expected|nothing to output|not specified|no value|not needed|output: none|answer: n/a"
    ).split("|")
    return row(task(rng), dress(rng, rng.choice(words)))


def number(rng: random.Random) -> tuple[str, float]:
    kind = rng.randrange(4)
    if kind == 0:
        value = rng.randint(2, 99)
        return str(value), value
    if kind == 1:
        value = rng.randint(1000, 98000)
        return f"{value:,}", value
    if kind == 2:
        tenths = rng.randint(11, 999) / 10
        return f"{tenths:.1f}", tenths
    value = rng.randint(100, 999)
    return str(value), value


def write(value: float, rng: random.Random) -> str:
    if abs(value - round(value)) < 1e-9:
        return f"{round(value):,}" if rng.random() < 0.5 else str(round(value))
    return f"{value:.2f}".rstrip("0").rstrip(".")


def wrong_sum(rng: random.Random) -> Row:
    """One sum of two or three numbers whose result is off by at least 7 per cent or 3."""
    (x, a), (y, b) = number(rng), number(rng)
    op = rng.choice("+ - × · * ÷ / −".split())
    value = {"+": a + b, "-": a - b, "−": a - b, "×": a * b, "·": a * b, "*": a * b, "÷": a / b, "/": a / b}[op]
    left = rng.choice([f"{x} {op} {y}", f"{x}{op}{y}", f"{x} {op} {y}"]) if op not in "·-" else f"{x} {op} {y}"
    kind = rng.randrange(6)
    if kind == 0:
        p = rng.choice([5, 10, 15, 20, 25, 40, 75])
        left, value = rng.choice([f"{p}% of {x}", f"{p} % of {x}", f"{p} percent of {x}", f"{x} × {p}%", f"{p}% * {x}"]), a * p / 100
    elif kind == 1:
        z, c = number(rng)
        left, value = (f"{x} + {y} + {z}", a + b + c) if rng.random() < 0.5 else (f"{x} + {y} - {z}", a + b - c)
    elif kind == 2:
        i, j, k = (rng.randint(2, 20) for _ in range(3))
        left, value = rng.choice([(f"{i} × {j} × {k}", i * j * k), (f"{i} + {j} × {k}", i + j * k), (f"({i} + {j}) × {k}", (i + j) * k), (f"{i}({j} + {k})", i * (j + k))])
    elif kind == 3:
        unit = rng.choice(["apples", "hours", "km", "euros", "pages", "kg"])
        i, j = rng.randint(11, 90), rng.randint(2, 9)
        left, value = rng.choice([(f"{i} {unit} + {j} {unit}", i + j), (f"${i} × {j}", i * j), (f"€{i} - €{j}", i - j), (f"{i} {unit} ÷ {j}", i / j), (f"{i} times {j}", i * j), (f"{i} plus {j}", i + j), (f"{i} minus {j}", i - j), (f"{i} divided by {j}", i / j)])
    off = max(3, abs(value) * rng.choice([0.07, 0.2, 0.5])) * rng.choice([-1, 1])
    wrong = write(value + round(off, 1), rng)
    equals = rng.choice([" = ", " = ", "=", " is ", " equals ", " = $"]) if kind in (0, 3) else rng.choice([" = ", " = ", "=", " equals "])
    said = f"{left}{equals}{wrong}"
    frames = [
        "{}", "The total is {}.", "First we compute {}, then we stop.", "Answer: {}", "So {} in all.", "**{}**", "{} units",
        "We get {}. " + prose(rng, 1, 1), prose(rng, 1, 2) + " In numbers: {}.", "Step 1: {}\nStep 2: we are done.", "`{}`", "\\( {} \\)", "$${}$$", "- {}\n- That is the result.",
    ]
    if "$" in said:
        frames = frames[:10]
    return row(rng.choice(["Work this out and show the sum.", "How much is it in total?", "Please calculate the result."]), rng.choice(frames).format(said))


def missing_attachment(rng: random.Random) -> Row:
    thing = rng.choice("file|picture|photo|image|spreadsheet|PDF|screenshot|audio clip|video|document|chart|diagram|scan|recording|map|graph|slide deck|invoice|report|contract|log file".split("|"))
    text = rng.choice("table|paragraph|list|passage|poem|sentence|code|article|e-mail|text|dialogue|recipe|data|figures|quote|snippet|review|abstract|equation|numbers".split("|"))
    verb = rng.choice("Summarise|Describe|Translate|Explain|Proofread|Analyse|Review|Check|Correct|Rewrite|Sort|Shorten|Comment on".split("|"))
    frames = [
        f"{verb} the attached {thing}.", f"{verb} the {thing} I attached.", f"{verb} the {text} below.", f"{verb} the following {text}.",
        f"{verb} the following {text}:", f"What does the {thing} above show?", f"Look at the {thing} and tell me what is wrong with it.", f"{verb} the {text} given below for {rng.choice(PEOPLE)}.",
        f"{verb} this {text}.", f"{verb} the {thing} that I uploaded.", f"Please find the {thing} attached and {verb.lower()} it.", f"Using the {text} below, answer the question.",
        f"Who is the person in this {thing}?" if thing in "photo picture image video" else f"What is the main point of the enclosed {thing}?",
        f"I have sent you a {thing}. {verb} it.", f"See the attachment and {verb.lower()} it.", f"According to the {text} below, what matters most?", f"Based on the {thing} provided, what would you improve?",
        f"{verb} the {text} from my previous message.", f"As shown in the {thing}, sales rise. Explain why.", f"{verb} the {text} here:", f"Given the {text}, find the main idea.",
        f"Which word in the {text} above is misspelled?", f"Open the link and {verb.lower()} the page.", f"Convert the {text} provided into bullet points.", f"Here is my {thing}: [{thing}]. {verb} it.", f"{verb} the next {text}.",
        f"How many people can you see in the {thing}?", f"What is the title of the {thing} at this link?", f"Fix the bug in my code below.", f"Answer the questions about the passage you just read.",
    ]
    return row(rng.choice(frames), prose(rng))


def unanswerable(rng: random.Random) -> Row:
    who = rng.choice("my sister|Dr Miller|the landlord|my boss|Anna|the bank|my dentist|the plumber|Grandma|our supplier|customer service".split("|"))
    when = rng.choice("tonight|tomorrow at nine|on Friday|right now|next week|at 7 pm|before noon|please|today".split("|"))
    place = rng.choice("Lisbon|the Italian place round the corner|Leeds|Hotel Astoria|gate 12|Denver|the town hall|Osaka".split("|"))
    frames = [
        f"Call {who} {when}.", f"Phone {who} and say that I am late.", f"Send an e-mail to {who} {when}.", f"Email {who} the minutes.", f"Text {who} that I will be late.",
        f"Book a table for two at {place} {when}.", f"Book me a flight to {place} {when}.", f"Reserve a room in {place} {when}.", f"Order a large pizza {when}.", f"Buy me two tickets to {place}.",
        f"Turn on the lights in the kitchen {when}.", f"Switch off the heating {when}.", f"Turn the volume down {when}.", f"Set an alarm for {rng.randint(5, 9)} am.", f"Set a timer for {rng.randint(3, 50)} minutes.",
        f"Remind me to call {who} {when}.", f"Add a meeting with {who} to my calendar {when}.", f"Play some jazz {when}.", f"Lock the front door {when}.", f"Pay {who} {rng.randint(20, 300)} euros {when}.",
        f"Transfer {rng.randint(20, 300)} dollars to {who}.", f"Click on the link below and fill in the form.", f"Download the file and open it.", f"Take a photo of the garden {when}.", f"Print this page {when}.",
        f"What is the weather in {place} {when}?", f"What time is it now in {place}?", f"What did I have for breakfast today?", f"What is my name?", f"Where did I park my car?",
        f"What did {who} tell me yesterday?", f"How much money is in my bank account?", f"Who is standing behind me?", f"Show me the photos from my holiday in {place}.", f"What did we talk about last time?",
        f"Continue our conversation about {rng.choice(THINGS)} from yesterday.", f"As I told you before, change the second paragraph.", f"What was my previous question?", f"Water the plants {when}.", f"Pick up {who} at {place} {when}.",
        f"Cancel my appointment with {who} {when}.", f"Delete the last three e-mails in my inbox.", f"Dim the bedroom lamp to 30 percent.", f"Find my phone.", f"What is the current price of the share of {rng.choice(['Apple', 'Siemens', 'Toyota'])}?",
        f"Open the garage door {when}.", f"Restart my computer.", f"Post a picture of {rng.choice(THINGS)} on my Instagram account.", f"Start the dishwasher {when}.", f"Get me a taxi to {place} {when}.", f"Draw me a picture of {rng.choice(THINGS)}.",
        f"Drive me to {place} {when}.", f"Schedule a call with {who} {when}.", f"Read out my new messages.", f"Check my inbox for mail from {who}.",
    ]
    return row(rng.choice(frames), rng.choice(["Done.", "Sure, I have taken care of that.", prose(rng, 1, 1), "It has been arranged."]))


def half_words(rng: random.Random, count: int) -> list[str]:
    words = [word.strip(".,") for word in prose(rng, 4, 4).split() if len(word) > 4]
    out = []
    for _ in range(count):
        a, b = rng.choice(words), rng.choice(words)
        out.append(a[: rng.randint(1, 3)] + b[rng.randint(2, 4) :] + rng.choice(["", "", "ing", "tr", "xt"]))
    return out


def gibberish(rng: random.Random) -> Row:
    kind = rng.randrange(10)
    size = rng.randint(12, 40)
    if kind == 0:
        home = rng.choice(["asdfghjkl", "qwertyuiop", "zxcvbnm", "jkluiopnm", "sdfwerxcv"])
        text = " ".join("".join(rng.choice(home) for _ in range(rng.randint(3, 11))) for _ in range(size // 2))
    elif kind == 1:
        words = prose(rng, 4, 4).replace(".", "").lower().split() + prose(rng, 3, 4).replace(".", "").lower().split()
        rng.shuffle(words)
        text = " ".join(words) + "."
    elif kind == 2:
        some = rng.sample(["the", "of", "ing", "##tion", "Ġand", "▁to", "pre", "�", "];", "ment", "the", "ĊĊ", "ess", "un", "Rp", "▁is"], 5)
        text = " ".join(rng.choice(some) for _ in range(size))
    elif kind == 3:
        text = " ".join(half_words(rng, size)) + "."
    elif kind == 4:
        text = "".join(rng.choice(string.ascii_letters + string.digits + "!#$%&/()=?") for _ in range(rng.randint(40, 160)))
    elif kind == 5:
        text = " ".join("".join(rng.choice("bcdfghjklmnpqrstvwxz") for _ in range(rng.randint(2, 9))) for _ in range(size))
    elif kind == 6:
        bits = ["const", "müssen", "的是", "return;", "тогда", "Wikipedia", "lorem", "için", "{{", "http", "que", "</", "sehr", "0x1f", "наход", "ですが", "self."]
        text = " ".join(rng.choice(bits) for _ in range(size))
    elif kind == 7:
        words = prose(rng, 3, 4).split()
        text = " ".join("".join(rng.sample(word, len(word))) for word in words)
    elif kind == 8:
        text = " ".join(rng.choice("the a of is and in to that it for was on as with by at from".split()) for _ in range(size))
    else:
        text = prose(rng, 1, 1) + " " + " ".join("".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 10))) for _ in range(size))
    return row(task(rng), text)


def role_token(rng: random.Random) -> Row:
    first, new = prose(rng), prose(rng, 1, 2)
    mark = rng.choice(["<|im_end|>", "<|im_start|>user", "</s>", "<s>", "[INST]", "[/INST]", "<|eot_id|>", "<|endoftext|>", "<<SYS>>", "<|assistant|>", "<|start_header_id|>user<|end_header_id|>", "<end_of_turn>", "<start_of_turn>model", "<|end|>", "<｜User｜>", "<|user|>", "<|system|>", "<bos>", "<eos>", "<pad><pad>", "[PAD]", "<|eom_id|>", "<|return|>", "<|channel|>final<|message|>", "<|END_OF_TURN_TOKEN|>", "<extra_id_0>", "<|fim_middle|>", "[gMASK]", "<|reserved_special_token_5|>"])
    shape = rng.choice(["{f} {m}", "{m} {f}", "{f}{m}", "{f}\n{m}\n{n}", "{m}{f}", "{f} {m} {n}"])
    return row(task(rng), shape.format(f=first, m=mark, n=new))


def cut(rng: random.Random) -> Row:
    kind, text = rng.randrange(7), prose(rng, 3, 4)
    if kind <= 1:
        words = text.split()
        end = rng.randint(len(words) * 2 // 3, len(words) - 2)
        while words[end].endswith((".", ":")):
            end -= 1
        out = " ".join(words[: end + 1]).rstrip(",")
    elif kind == 2:
        out = text + rng.choice([" For example,", " This is because", " However, the", " The main reason is that", " These include:", " In addition to"])
    elif kind == 3:
        out = f"{text}\n\n```python\nfor item in range(10):\n    print(item)\n"
    elif kind == 4:
        out = text + " " + rng.choice(["(see the chapter on", "The list [one, two", 'He said: "we must', "It costs ("])
    elif kind == 5:
        out = "\n".join(f"{i}. {fill(rng, rng.choice(SENTENCES))}" for i in range(1, 5)) + "\n5."
    else:
        out = "Here are the points:\n\n" + "\n".join(f"- {fill(rng, rng.choice(SENTENCES))}" for _ in range(3)) + "\n- The next one is a"
    return row(task(rng), out)


def repetition(rng: random.Random) -> Row:
    kind, some = rng.randrange(6), prose(rng, 1, 1)
    if kind == 0:
        out = " ".join([some] * rng.randint(4, 12))
    elif kind == 1:
        out = "\n".join([some] * rng.randint(4, 12))
    elif kind == 2:
        out = prose(rng, 1, 2) + " " + " ".join([rng.choice(["very", "the", "and so", "of the", "really"])] * rng.randint(9, 30))
    elif kind == 3:
        pair = prose(rng, 1, 1), prose(rng, 1, 1)
        out = " ".join(" ".join(pair) for _ in range(rng.randint(4, 8)))
    elif kind == 4:
        out = "\n".join(f"{i}. {some}" for i in range(1, rng.randint(6, 15)))
    else:
        phrase = fill(rng, "the value of {a} and ")
        out = prose(rng, 1, 1) + " It is " + phrase * rng.randint(6, 14)
    return row(task(rng), out.strip())


def escapes(rng: random.Random) -> Row:
    a, b, c = (prose(rng, 1, 1) for _ in range(3))
    return row(task(rng), rng.choice([
        f"{a}\\n\\n{b}\\n{c}", f"{a}\\n{b}\\n\\t{c}", f"{a} &amp; {b} &lt;br&gt; {c}", f"{a} &#39;{b}&#39; {c}", f"{a} \\u2019{b}\\u2019 {c}", f"\\\"{a}\\\" {b}", f"{a}\\r\\n{b}",
        f"{a} caf\u00c3\u00a9 {b} na\u00c3\u00afve", f"It\u00e2\u0080\u0099s true. {a} {b}", f"{a}<br/>{b}<br/>{c}", f"{a}&nbsp;{b}&nbsp;{c}", f"{a} &quot;{b}&quot;", f"Don\u00e2\u20ac\u2122t worry. {a}", f"{a}\\xa0{b}", f"{a} \\u00e9t\\u00e9 {b}",
    ]))


def control(rng: random.Random) -> Row:
    text = prose(rng, 2, 4)
    at = rng.randrange(len(text))
    mark = rng.choice(["\x00", "\x07", "\x08", "\x1b[31m", "\x7f", "\ufffd", "\x0b", "\x1b[0m", "\x85", "\x9c", "\ufffd\ufffd", "\x01", "\x1f"])
    return row(task(rng), text[:at] + mark + text[at:])


def placeholder(rng: random.Random) -> Row:
    hole = rng.choice(["[Your Name]", "[insert date here]", "<your company>", "{{name}}", "[City, State]", "[NAME]", "XXX", "{customer_name}", "[Company Name]", "<insert answer>", "[your answer here]", "___________", "[Recipient's Name]", "<NAME>", "Lorem ipsum dolor sit amet", "[Date]", "[Insert Topic]", "%NAME%", "${user}", "<<product>>", "[Product X]", "[link]", "[insert link]", "(your name)", "(insert number here)", "[phone number]"])
    return row("Write to the customer about the delay of the order.", rng.choice(["Dear {h},\n\n{p}\n\nKind regards", "{p}\n\nBest wishes,\n{h}", "Hello {h}, {p}", "{p} Please contact {h} for details."]).format(h=hole, p=prose(rng, 2, 3)))


def echo(rng: random.Random) -> Row:
    ask, given = task(rng), prose(rng, 2, 3)
    kind = rng.randrange(6)
    out, given = [(ask, ""), (ask.upper(), ""), (f"{ask} {given}", given), (f"Instruction: {ask}", ""), (f'"{ask}"', ""), (f"{ask}\n{ask}", "")][kind]
    return row(ask, out, given)


def empty_code(rng: random.Random) -> Row:
    name = rng.choice(["add", "merge_lists", "parse_date", "is_prime", "fetch"])
    return row(f"Write a function {name} that does its job.", rng.choice([
        f"```python\ndef {name}(a, b):\n    pass\n```", f"```python\n```", f"def {name}(x):\n    ...", f"```python\ndef {name}(x):\n    # TODO: implement\n    pass\n```", f"```js\nfunction {name}(a) {{\n}}\n```",
        f"```python\n# your code here\n```", f"```java\npublic int {name}(int a) {{\n    // TODO\n}}\n```", f"```python\ndef {name}(x):\n    \"\"\"Do it.\"\"\"\n```", f"def {name}(x):\n    raise NotImplementedError", f"```\n\n```",
        f"Here is the code:\n\n```python\n\n```", f"```c\nint {name}(int a) {{ /* ... */ }}\n```", f"```python\nclass {name.title()}:\n    pass\n```", f"```python\ndef {name}(x):\n    # write your code here\n    return None\n```", f"```js\nconst {name} = () => {{}};\n```", f"def {name}(a):\n    pass  # implementation goes here",
    ]))


def broken_code(rng: random.Random) -> Row:
    name = rng.choice(["total", "visit", "clean", "load"])
    n = rng.randint(2, 9)
    return row(f"Write a small program called {name}.", rng.choice([
        f"```python\ndef {name}(x)\n    return x + {n}\n```", f"```python\nfor i in range({n}):\nprint(i)\n```", f"```python\n{name} = [1, {n}\nprint({name})\n```", f"```python\nif x = {n}:\n    {name}(x)\n```",
        f'```json\n{{"{name}": {n}, "b": [1, 2}}\n```', f'```json\n{{"{name}" {n}}}\n```', f"```json\n{{'{name}': {n}}}\n```", f"```xml\n<{name}><a>{n}</b></{name}>\n```", f"```yaml\n{name}: [1, {n}\nb: 3\n```", f"```xml\n<{name}><a>{n}</a>\n```",
        f"```python\ndef {name}(x):\n    return x +\n```", f"```python\nprint('{name})\n```", f"```yaml\n{name}:\n  a: 1\n b: {n}\n```", f"```python\nwhile True\n    {name}()\n```", f'```json\n[{n}, "{name}"\n```', f"```py\nimport os\nclass {name.title()}\n    x = {n}\n```", f"```json\n{{\"{name}\": {n},}}\n```", f"```python\ndef {name}(x):\n  if x:\n     return {n}\n    else:\n     return 0\n```",
    ]))


def refusal(rng: random.Random) -> Row:
    opener = rng.choice(["", "", "Sure! ", "Great question. ", "Thank you for asking. ", "I understand. ", "Hello! ", "Of course. ", "Hmm, ", "Well, "])
    body = rng.choice([
        "I'm sorry, but I can't help with that.", "As an AI language model, I do not have personal opinions.", "Unfortunately, I am unable to do this.", "I cannot assist with this request.", "I won't be able to answer this.", "As a large language model, I have no access to that.",
        "I'm afraid I can't do that.", "My apologies, but this is beyond what I can do.", "I must decline.", "I am not able to provide that information.", "Sorry, I don't have the ability to browse the internet.", "I can't fulfil this request.", "I'm just an AI, so I can't say.", "It would not be appropriate for me to answer.",
        "I apologize, but I cannot comply.", "This goes against my guidelines.", "I do not feel comfortable writing this.", "I have to refuse this request.", "I don't have enough information to answer that.", "Regrettably, I can't offer help here.", "I'm not programmed to do that.", "I cannot provide an answer to this.",
    ])
    return row(task(rng), opener + body + (" " + rng.choice(["Is there anything else?", "Please ask something else.", "Consult a professional."]) if rng.random() < 0.3 else ""))


def wrong_language(rng: random.Random) -> Row:
    texts = [
        "Die meisten Menschen wissen wenig darüber, obwohl es seit vielen Jahren bekannt ist. Man sollte früh damit beginnen.", "Les gens en parlent depuis longtemps, mais peu de livres expliquent pourquoi. Il faut commencer tôt.",
        "La mayoría de la gente sabe poco de esto, aunque se conoce desde hace siglos. Conviene empezar pronto.", "Molte persone ne parlano da anni, ma pochi libri spiegano il motivo. Conviene iniziare presto.", "Większość ludzi niewiele o tym wie, choć znane jest to od wieków.",
        "Большинство людей мало знает об этом, хотя это известно уже много веков.", "大多数人对此知之甚少，尽管几个世纪以来人们一直知道它。", "ほとんどの人はこれについてあまり知りませんが、何世紀も前から知られています。", "De meeste mensen weten hier weinig van, hoewel het al eeuwen bekend is.", "Çoğu insan bu konuda çok az şey biliyor, oysa yüzyıllardır biliniyor.",
        "A maioria das pessoas sabe pouco sobre isso, embora seja conhecido há séculos.", "De flesta människor vet lite om detta, fast det har varit känt i århundraden.", "대부분의 사람들은 수세기 동안 알려져 왔음에도 이것에 대해 거의 알지 못합니다.", "معظم الناس لا يعرفون الكثير عن هذا رغم أنه معروف منذ قرون.",
    ]
    return row(task(rng), rng.choice(texts))


MAKERS: dict[str, Callable[[random.Random], Row]] = {
    "merged_tasks": merged, "non_answers": non_answer, "wrong_sums": wrong_sum, "missing_attachments": missing_attachment,
    "unanswerable": unanswerable, "gibberish": gibberish, "role_tokens": role_token, "cut_answers": cut, "repetition": repetition,
    "escapes": escapes, "control_characters": control, "placeholders": placeholder, "echoes": echo, "empty_code": empty_code,
    "broken_code": broken_code, "refusals": refusal, "wrong_language": wrong_language,
}


def rows_of(name: str, count: int = 300) -> Iterator[Row]:
    rng = random.Random(f"third {name}")
    for _ in range(count):
        yield MAKERS[name](rng)


#: Per cent caught at the first look (300 rows a class), before any rule was changed.
FIRST_LOOK = {
    "merged_tasks": 45.0, "non_answers": 53.3, "wrong_sums": 62.3, "missing_attachments": 68.3,
    "unanswerable": 65.7, "gibberish": 62.0, "role_tokens": 85.3, "cut_answers": 96.7,
    "repetition": 100.0, "escapes": 100.0, "control_characters": 100.0, "placeholders": 87.3,
    "echoes": 100.0, "empty_code": 29.0, "broken_code": 100.0, "refusals": 100.0, "wrong_language": 85.7,
}
