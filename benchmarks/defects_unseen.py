# ruff: noqa: E501  -- tables of texts
# fmt: off
"""Defective rows written by somebody who had not seen the rules: 240 a class, for `benchmarks.rules`.

A second author's idea of each class in the words of its issue, from templates and a seed, kept apart
from the set by which the rules were built: `defects.py` and `defects_marks.py` were seen then, this was not.
Secrets are put together from random digits here, so that no scanner finds one in this file.
"""

import random
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator

import phonenumbers
from stdnum import iban, luhn

ROWS_PER_CLASS = 240
Row = dict[str, str]

#: Requests with a sound answer; every answer is long enough to be cut, echoed or repeated.
SOUND = [
    line.split(" | ")
    for line in """\
Explain why bread rises. | Yeast eats the sugars in the dough and gives off carbon dioxide. The gas is caught in the stretchy gluten, so the loaf swells. Baking sets the bubbles for good.
How do I remove a rusted screw? | Put a drop of penetrating oil on it and wait an hour. Press the driver in firmly while you turn. If the head is worn, lay a rubber band under the tip for grip.
What causes the tides? | The moon pulls the water on its near side more strongly than the earth as a whole. The sun does the same with less force. As the earth turns, each coast passes two bulges a day.
Suggest a name for a small bookshop by a canal. | The Drifting Page would suit it. It hints at boats and at getting lost in a story, and it is easy to paint on a sign.
Describe the taste of a ripe mango. | It is sweet and a little sour, with a scent of pine and honey. The flesh is soft and almost creamy, and the juice runs down your wrist.
Give advice to someone who starts running at fifty. | Begin with brisk walks and add one minute of jogging at a time. Buy shoes in a shop that watches you run. Rest a day between outings and see a doctor about your heart first.
Why do cats purr? | They purr when they are content, but also when they are hurt or afraid. The low vibration may help bones and muscles to heal. Kittens learn it in their first week, so that their mother finds them.
Compare tea and coffee as morning drinks. | Coffee has about twice the caffeine and works faster. Tea contains theanine, which makes the effect gentler and longer. People with a sensitive stomach often do better with tea.
Write a short product description for a wool blanket. | This blanket is woven from the wool of mountain sheep and keeps you warm without weight. Its edges are stitched by hand. It can be aired instead of washed, and lasts for decades.
How does a bill become a law? | A member introduces it and a committee examines the text. Both chambers debate and vote on the same wording. The head of state signs it, and it is published with a date from which it holds.
Name an advantage of living in a village. | Neighbours know each other and help when something breaks. Children can walk to the woods alone, and rents are lower than in town.
What should I pack for a winter hike? | Take layers of wool, a windproof jacket, gloves and a hat. Carry hot tea, a headlamp and a map, because days are short. Leave word with somebody about your route.
Explain inflation to a ten-year-old. | Imagine your pocket money stays the same while sweets cost a bit more each month. You can buy fewer of them, though you have as many coins. That slow climb of prices is called inflation.
How can a teacher calm a loud class? | Stop speaking and wait where everybody can see you. Lower your voice instead of raising it. Praise the first row that is ready, and give the lively ones a task.
Outline the life cycle of a frog. | Eggs float in jelly on a pond. Tadpoles hatch, breathe through gills and grow legs within weeks. The tail shrinks, lungs develop and the young frog climbs ashore.
What makes a good apology? | It names what was done and does not explain it away. It says how the other person was hurt. It offers to put things right and asks for nothing in return.
Why is the sky blue? | Sunlight holds all colours. Air scatters short waves far more than long ones, so blue light reaches us from every side. At sunset the path is longer and mostly red is left.
Draft a polite reminder about an unpaid invoice. | I hope you are well. Our invoice of 3 March has not been settled yet, and I would like to ask whether it reached you. Please let us know if anything is unclear.
Tell me how to sharpen a kitchen knife. | Wet the stone and hold the blade at about fifteen degrees. Draw it along the whole edge ten times on each side. Finish on the fine side and strop it on leather.
Describe a market in the early morning. | Crates thump on the cobbles and somebody whistles behind the fish stall. The light is grey, the oranges are bright, and the first customers bargain half asleep.
What is the role of a conductor? | A conductor sets the tempo and shows entries with the hands. Most of the work happens before, in rehearsal, where balance and phrasing are shaped. On stage the orchestra breathes with that plan.
How do bees find flowers? | They see ultraviolet patterns that we cannot. Scent guides them at close range. A forager that found a rich meadow dances in the hive, and the dance tells direction and distance.
Recommend a houseplant for a dark room. | The cast-iron plant lives up to its name. It needs water only when the soil is dry, takes poor light and does not mind draughts. Wipe its leaves now and then.
Why did the Roman Empire fall in the west? | Civil wars drained its army and its treasury. Pressure on the borders grew while taxes shrank. In 476 the last emperor was set aside, and few noticed a difference at first.
Summarise the idea of natural selection. | Individuals differ, and some differences are inherited. Those that help their bearers to survive become more common. Over many generations a population fits its surroundings.
How should I store tomatoes? | Keep them at room temperature with the stem side down. The fridge takes their aroma, so put only cut ones there. Eat them within a week.
What is a budget deficit? | A government runs a deficit when it spends more in a year than it takes in. It borrows the difference by selling bonds. The sum of all past deficits is the public debt.
Explain how a vaccine works. | It shows the immune system a harmless part of a germ. The body forms antibodies and memory cells. When the real germ arrives, the answer is quick and the illness mild or absent.
Give three tips for a job interview. | Read about the company the day before. Prepare two stories that show how you solved a problem. Ask a question of your own at the end, for silence looks like lack of interest.
How is glass made? | Sand, soda and lime are melted at about 1,500 degrees. The glowing mass is blown, pressed or floated on liquid tin. Slow cooling keeps it from cracking.
Invent a riddle about a candle. | I am tall when I am young and short when I am old. I weep without eyes and die of a breath. Who am I, at your birthday table?
Which habits help people to sleep? | Go to bed at the same time each night and keep the room cool. Avoid screens and heavy meals in the last hour. A dull book helps more than counting sheep.
What does a lighthouse keeper do? | In the past keepers trimmed the lamp, wound the clockwork and kept a log of the weather. Today lamps are automatic, and the few keepers left look after the buildings.
Why do leaves change colour? | When days shorten, trees take the green chlorophyll out of their leaves. Yellow and orange pigments that were there all along become visible. Red ones are made anew in sunny autumns.
Explain the offside rule in football. | An attacker may not be nearer to the goal line than the ball and the second-last defender when the ball is played. Level is fine. It does not count in the own half or at a throw-in.
Tell a very short story about a lost umbrella. | The umbrella rode the number nine for three days. On the fourth it rained, and a stranger opened it. By evening it had a new home and a worse-tempered dog.
How do I calm a barking dog? | Find out what it barks at before you do anything else. Turn it away from the window and reward the first quiet second. Shouting sounds like barking to a dog.
What is an algorithm? | It is a list of exact steps that turns an input into a result. A recipe is one if it leaves nothing to taste. Computers need every step spelt out.
Describe how to fold a paper boat. | Fold the sheet in half and fold both upper corners to the middle. Turn up the lower strips. Open the hat, flatten it to a square, fold up the points and pull the ends apart.
Why is biodiversity important? | Many species share the work of pollinating, cleaning water and building soil. When one fails, others step in. A poor system has no such spare parts and breaks sooner.""".splitlines()
]
NOUNS = [
    "article", "poem", "email", "paragraph", "report", "review", "transcript", "contract", "speech",
    "essay", "letter", "table",
]
NAMES = [
    "Amara", "Bogdan", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hiro", "Ines", "Jonas", "Kavya",
    "Lars",
]
CITIES = [
    "Lisbon", "Nairobi", "Oslo", "Quito", "Hanoi", "Tbilisi", "Denver", "Perth", "Cork", "Graz",
]


def row(instruction: str, output: str, input_text: str = "") -> Row:
    """A row as files have it."""
    return {"instruction": instruction, "input": input_text, "output": output}


def sound(rng: random.Random) -> tuple[str, str]:
    """A request and its answer."""
    instruction, answer = rng.choice(SOUND)
    return instruction, answer


def merged_tasks(rng: random.Random) -> Row:
    """Several tasks of a numbered list in one request, as a bad split leaves them."""
    (one, answer), (two, _), (three, _) = (sound(rng) for _ in range(3))
    k = rng.randint(2, 19)
    shapes = [
        f"{one}\n{k}. {two}", f"{k - 1}. {one}\n{k}. {two}\n{k + 1}. {three}",
        f"{one}\n###\n{k}. Instruction: {two}",
        f"{one}\n\n{k}. Instruction: {two}\n{k}. Input:\n<noinput>",
        f"{one} {k}. {two} {k + 1}. {three}", f"{one}\n\nTask {k}: {two}",
        f"{one}\n{k}) {two}\n{k + 1}) {three}", f"{one}\nInstruction: {two}",
        f"{one}\nOutput: {answer}\n{k}. {two}",
    ]
    return row(rng.choice(shapes), answer)


def empty_answers(rng: random.Random) -> Row:
    """Answers without a letter or a digit."""
    marks = rng.choice(
        [".", "-", "—", "…", "_", "*", "?", " ", "\n", "​", "#", "=", "·", "!", '"', "|"]
    )
    text = marks * rng.randint(1, 9)
    return row(
        sound(rng)[0],
        rng.choice([text, f" {text}\n", f"```\n{text}\n```", f"**{text}**", f"({text})"]),
    )


def non_answers(rng: random.Random) -> Row:
    """Words that stand where an answer should."""
    word = rng.choice(
        [
            "N/A", "n/a", "None", "NONE", "null", "nil", "NaN", "undefined", "TBD", "TODO",
            "To be determined", "No output", "No answer", "Not applicable", "No response",
            "Not available", "nooutput", "<nooutput>", "[empty]", "(blank)", "No output required",
            "Empty", "No result", "Output not provided", "Answer not available", "No answer provided",
            "Not provided", "Unknown output",
        ]
    )
    return row(
        sound(rng)[0],
        rng.choice(["{}", "{}.", "Output: {}", "{}\n", "[{}]", "Answer: {}"]).format(word),
    )


def no_input_markers(rng: random.Random) -> Row:
    """An input that only says that there is none."""
    instruction, answer = sound(rng)
    word = rng.choice(
        [
            "<noinput>", "<no input>", "noinput", "No input", "No input required", "None", "N/A", "n/a",
            "Not applicable", "[no input]", "(none)", "(no input)", "No input needed",
            "No input is required", "no input necessary", "Input: none", "NA", "<none>",
            "No additional input", "nothing", "-", "None needed", "Input not required", "null",
            "No input provided", "<empty>",
        ]
    )
    form = rng.choice(["{}", "{}.", " {} ", "{}\n", '"{}"'])
    return row(instruction, answer, form.format(rng.choice([word, word.upper(), word.lower()])))


def repetition(rng: random.Random) -> Row:
    """An answer that goes round in a circle."""
    instruction, answer = sound(rng)
    sentences = [f"{s.strip().rstrip('.')}." for s in answer.split(". ")]
    words = answer.split()
    start = rng.randrange(max(1, len(words) - 6))
    phrase = " ".join(words[start : start + rng.randint(2, 5)])
    many = rng.randint(5, 14)
    shapes = [
        answer + (" " + sentences[-1]) * many,
        " ".join(words[: start + 5]) + (" " + phrase) * (many + 4),
        "\n".join([sentences[0]] * many),
        "\n".join(f"{k}. {sentences[0]}" for k in range(1, many + 3)),
        (answer + "\n\n") * 4,
        " ".join([*words[:4], *([words[4].strip(".,")] * (many + 12))]),
        answer + " " + "".join(rng.choice(["ha", "na", "lo", "!?", "very "]) * 40),
        "\n".join([f"- {s}" for s in sentences] * (many // 2 + 2)),
        "1, 2, 3, " * 30
        if rng.random() < 0.3
        else f"{answer} {', '.join([words[0].lower()] * 25)}",
    ]
    return row(instruction, rng.choice(shapes))


def role_tokens(rng: random.Random) -> Row:
    """Marks of a prompt or of a conversation left in the answer."""
    (two, reply), (instruction, answer) = sound(rng), sound(rng)
    shapes = [
        "{a}<|im_end|>", "<|im_start|>assistant\n{a}", "{a}<|endoftext|>", "{a}</s>", "<s>{a}", "{a} [/INST]",
        "[INST] {q} [/INST] {a}", "### Response:\n{a}", "{a}\n\n### Instruction:\n{t}\n\n### Response:\n{r}",
        "{a}\nHuman: {t}\nAssistant: {r}", "Assistant: {a}\nUser: {t}", "{a}<|eot_id|>", "{a}<end_of_turn>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n{a}", "{a}\n\nUser: {t}\n\nAssistant: {r}",
        "<|assistant|>\n{a}", "{a}\n<|user|>\n{t}", "<<SYS>> You help. <</SYS>> {a}", "{a}\n### Human: {t}",
        "{a}<unk><unk>", "{a}<pad><pad><pad>", "USER: {t} ASSISTANT: {r}", "{a}<|end|>", "<bos>{a}<eos>",
    ]  # fmt: skip
    return row(instruction, rng.choice(shapes).format(a=answer, q=instruction, t=two, r=reply))


def cut_answers(rng: random.Random) -> Row:
    """Answers that stop in the middle."""
    instruction, answer = sound(rng)
    words = answer.split()
    end = rng.choice([k for k in range(8, len(words)) if words[k - 1][-1].isalpha()])
    head = " ".join(words[:end])
    glue = rng.choice(
        ["and the", "because", "such as", "which is", "of", "but if the", "with a", "so that"]
    )
    code = rng.choice([
        "```python\ndef area(r):\n    return 3.14 * r", "```js\nfunction add(a, b) {\n  return a + b;",
        "```\nSELECT name FROM users\nWHERE", "```bash\nfor f in *.txt; do\n  mv $f",
    ])  # fmt: skip
    first = answer.split(". ")[0]
    shapes = [
        f"{first}. {head[:1].lower()}{head[1:]} {glue}", f"{first}. This matters {glue}",
        f"{answer} Here is how it looks:\n\n{code}", f"{first} (see the part on {words[2]}",
        f"{answer}\n\n1. {words[0]} comes first.\n2. Then look at the {words[3].strip('.,')},",
        f"{answer} The most important thing is", f"{answer} To sum up:", f"{head},",
        f"{answer} [as shown in the {words[-2]}", f"{first}. In addition, {words[0].lower()} {glue}",
    ]
    return row(instruction, rng.choice(shapes))


def escapes(rng: random.Random) -> Row:
    """Escapes shown as text, control characters and wrongly decoded letters."""
    instruction, answer = sound(rng)
    a, b = answer.split(". ", 1)
    shapes = [
        f"{a}.\\n\\n{b}", f"{a}.\\n{b}\\n", f"{a}\\u2019s part. {b}", f"{a}. \\u201c{b}\\u201d", f"{a} &amp; more. {b}",
        f"{a}&#39;s. {b}", f"&lt;p&gt;{a}.&lt;/p&gt; {b}", f"{a}.\x00 {b}", f"{a}.\x1b[0m {b}", f"{a}.\x08 {b}",
        f"{a}â€™s work. {b}", f"{a}Ã©. {b}", f"{a}. \ufffd{b}", f"{a}.\\t{b}\\t", f"{a} &nbsp;{b}", f"{a}.\x07 {b}",
        f"{a}.<br><br>{b}", f"&quot;{a}.&quot; {b}", f"{a}.\\r\\n{b}", f"{a}â€œ{b}â€\x9d", f"{a}. \\xe2\\x80\\x99{b}",
    ]  # fmt: skip
    return row(instruction, rng.choice(shapes))


def placeholders(rng: random.Random) -> Row:
    """Templates that nobody filled in."""
    slot = rng.choice(
        [
            "[Your Name]", "[Name]", "[Insert Date]", "[Company Name]", "<insert name here>",
            "{{name}}", "{{ company }}", "[your city]", "[Recipient's Name]", "[Date]", "<your name>",
            "[X]", "XXXX", "[insert link here]", "[Product Name]", "{your_name}", "<NAME>",
            "[Position]", "[Address]", "___________", "[phone number]", "[INSERT TEXT]", "%NAME%",
            "$NAME$", "[Street Address]",
        ]
    )
    name, city = rng.choice(NAMES), rng.choice(CITIES)
    shapes = [
        "Dear {s},\n\nThank you for your visit to {c}. We look forward to seeing you again.\n\nKind regards,\n{n}",
        "Hello, my name is {s} and I have worked in {c} for ten years.",
        "The meeting takes place on Tuesday in {c}. Please bring the papers to {s}.",
        "{n} was born in {c}. In 1990 the family moved to {s}, where the children went to school.",
        "Best wishes from {c}\n{s}",
        "Our shop in {c} is proud to present {s}, a new way to drink coffee.",
        "Dear Hiring Manager,\n\nI apply for the post of {s} in {c}.\n\nSincerely,\n{n}",
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit. {n} from {c}.",
    ]
    return row(
        rng.choice(
            [
                "Write a note to a guest.", f"Write a letter for {name}.",
                f"Introduce somebody from {city}.",
            ]
        ),
        rng.choice(shapes).format(s=slot, c=city, n=name),
    )


def missing_attachments(rng: random.Random) -> Row:
    """Requests about something that is not there."""
    noun, name = rng.choice(NOUNS), rng.choice(NAMES)
    shapes = [
        "Summarize the following {n}.", "Translate the following {n} into French.", "Proofread this {n}:",
        "What is the main point of the {n} below?", "Rewrite the given {n} in a formal tone.",
        "Look at the attached {n} and list its mistakes.", "Classify the sentiment of this {n}.",
        "Describe what you see in the image below.", "Based on the {n} above, who is {p}?",
        "Identify the subject of the following sentence.", "Correct the grammar in the sentence below.",
        "Given the {n}, find three facts about {p}.", "Read the {n} below and answer the questions.",
        "Fix the bug in the following code.", "Sort the following list of numbers.", "Explain this code:",
        "Find the outlier in the given list of words.", "Extract all names from the text provided.",
        "Edit the {n} I attached so that it sounds friendlier.", "Convert the following sentences to passive voice.",
        "Choose the correct option from the list below.", "Use the table below to compute the average.",
        "Paraphrase the passage below.", "What is the tone of the {n} that follows?",
    ]  # fmt: skip
    request = rng.choice(shapes).format(n=noun, p=name)
    return row(request, sound(rng)[1])


def echoes(rng: random.Random) -> Row:
    """Answers that say only what the request said."""
    instruction, answer = sound(rng)
    bare = instruction.rstrip(".?")
    given = answer if rng.random() < 0.4 else ""
    shapes = [
        instruction, instruction.upper(), instruction.lower(), f'"{instruction}"', f"{bare}!", f"{bare}:",
        f"Instruction: {instruction}", f"Question: {instruction}", f"{instruction}\n{instruction}", f" {bare} ",
        f"**{instruction}**", f"{instruction}\n{given}" if given else f"Task: {instruction}", given or f"> {instruction}",
    ]  # fmt: skip
    return row(instruction, rng.choice(shapes), given)


def refusals(rng: random.Random) -> Row:
    """Answers that decline, also behind a friendly opener."""
    topic = rng.choice(["that", "this request", "this kind of content", "your question", "it"])
    opener = rng.choice(
        [
            "", "", "Great question! ", "Thanks for asking. ", "Sure, I understand. ", "Hello! ",
            "Hmm, ",
        ]
    )
    core = rng.choice([
        "I'm sorry, but I can't help with {t}.", "I cannot assist with {t}.", "As an AI language model, I have no opinion.",
        "I’m unable to help with {t}.", "Unfortunately, I am not able to provide an answer to {t}.",
        "I apologize, but I cannot fulfil {t}.", "Sorry, I don't have access to the internet to answer {t}.",
        "As a large language model, I cannot do {t}.", "I must decline to answer {t}.", "I won't be able to help with {t}.",
        "I'm just an AI and do not have the ability to do {t}.", "It would not be appropriate for me to answer {t}.",
        "My programming does not allow me to respond to {t}.", "I do not feel comfortable answering {t}.",
        "I'm afraid I can't do {t}.", "I regret that I cannot comply with {t}.", "Sorry, but I can't assist with {t}.",
        "As an artificial intelligence, I don't have personal experience with {t}.", "I am not programmed to handle {t}.",
        "I don't have enough information to answer {t}.", "I can’t comment on {t}.",
    ]).format(t=topic)  # fmt: skip
    tail = rng.choice(
        [
            "", " Is there something else I can help you with?", " Please ask a professional.",
            " My apologies.",
        ]
    )
    return row(sound(rng)[0], opener + core + tail)


def wrong_sums(rng: random.Random) -> Row:
    """Simple sums in the answer whose result is wrong."""
    a, b, off = (
        rng.randint(2, 900),
        rng.randint(2, 90),
        rng.choice([-10, -3, -2, -1, 1, 2, 5, 9, 10, 100]),
    )
    sign, right = rng.choice(
        [("+", a + b), ("-", a - b), ("*", a * b), ("×", a * b), ("x", a * b), ("−", a - b)]
    )
    if rng.random() < 0.2:
        a, sign, right = a * b, rng.choice(["/", "÷"]), a
    wrong = right + off
    unit = rng.choice(["", "", " apples", " km", "$"])
    left, middle, result = (
        f"${n}" if unit == "$" else f"{n}{unit if k == 2 else ''}"
        for k, n in enumerate((a, b, wrong))
    )
    claim = f"{left} {sign} {middle} = {result}"
    shapes = [
        "{c}", "The answer is {w}, because {c}.", "We compute {c}.", "First, {c}. Then we are done.", "So {c}, which is the total.",
        "Step 1: {c}\nStep 2: Write it down.", "**{c}**", "Adding it up gives {c}.", "The shop sells both, so {c} in total.",
        "- {c}", "`{c}`", "Result: {c}.",
    ]  # fmt: skip
    return row(f"What do you get for {a} {sign} {b}?", rng.choice(shapes).format(c=claim, w=result))


def secrets(rng: random.Random) -> Row:
    """Keys, passwords and personal data, of random digits with the checksums that such data has."""

    def some(alphabet: str, length: int) -> str:
        return "".join(rng.choice(alphabet) for _ in range(length))

    digits, upper = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    mixed = digits + upper + upper.lower()
    card = rng.choice(["4" + some(digits, 14), "5" + rng.choice("12345") + some(digits, 13)])
    card += luhn.calc_check_digit(card)
    german = "DE00" + some(digits[1:], 18)
    german = "DE" + iban.calc_check_digits(german) + german[4:]
    region = rng.choice(["DE", "FR", "GB", "CH", "ES", "IT", "NL", "SE"])
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None and example.national_number is not None  # noqa: PT018
    form = phonenumbers.PhoneNumberFormat
    varied = example.national_number - example.national_number % 100 + rng.randrange(100)
    number = phonenumbers.PhoneNumber(country_code=example.country_code, national_number=varied)
    phone = phonenumbers.format_number(number, rng.choice([form.INTERNATIONAL, form.E164]))
    payload = urlsafe_b64encode(f'{{"sub":"{some(digits, 10)}"}}'.encode()).decode().rstrip("=")
    person = f"{rng.choice(NAMES).lower()}.{rng.choice(NAMES).lower()}{rng.randint(1, 99)}"
    mail = f"{person}@{rng.choice(CITIES).lower()}-{rng.choice(['mail', 'post', 'net'])}.{rng.choice(['com', 'org', 'de'])}"
    found = [
        "AKIA" + some("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16), "ghp_" + some(mixed, 36),
        f"xoxb-{some(digits, 12)}-{some(digits, 12)}-{some(mixed, 24)}", "sk_live_" + some(mixed, 24),
        "AIza" + some(mixed, 35), "glpat-" + some(mixed, 20),
        f"-----BEGIN RSA PRIVATE KEY-----\n{some(mixed, 64)}\n{some(mixed, 64)}\n-----END RSA PRIVATE KEY-----",
        f"eyJhbGciOiJIUzI1NiJ9.{payload}.{some(mixed, 43)}", card, " ".join(card[k : k + 4] for k in (0, 4, 8, 12)),
        german, " ".join(german[k : k + 4] for k in range(0, 22, 4)), phone, mail, mail, phone,
    ]  # fmt: skip
    shapes = [
        "You can use {f} for it.", "Here it is: {f}", "Set it in the settings:\n\n{f}\n\nThen restart.", "It is {f}, as agreed.",
        "The contact is {f} and nothing else.", "I noted {f} yesterday.",
    ]  # fmt: skip
    return row(
        "Write down how to reach the service.", rng.choice(shapes).format(f=rng.choice(found))
    )


def empty_code(rng: random.Random) -> Row:
    """Code that was asked for and is not there."""
    language = rng.choice(
        ["python", "javascript", "java", "c", "bash", "sql", "html", "json", "yaml", "rust", "go"]
    )
    comment = (
        "--"
        if language == "sql"
        else "//"
        if language in ("javascript", "java", "c", "rust", "go")
        else "#"
    )
    todo = rng.choice(
        [
            "your code here", "TODO", "code goes here", "add your code", "implementation", "...",
            "write code here",
        ]
    )
    body = rng.choice(
        ["", "\n", "   \n", f"{comment} {todo}\n", f"{comment} {todo}\n\n", "...\n", "\n\n\n"]
    )
    lead = rng.choice(
        [
            "", "Here is the code:\n\n", "Sure:\n\n", f"In {language} it looks like this:\n\n",
            "Code:\n",
        ]
    )
    tail = rng.choice(["", "\n\nThis prints the result.", "\n\nRun it with care."])
    task = rng.choice(
        [
            "adds two numbers", "reverses a string", "reads a file", "counts words", "sorts a list",
            "prints a tree",
        ]
    )
    return row(f"Write {language} code that {task}.", f"{lead}```{language}\n{body}```{tail}")


def broken_code(rng: random.Random) -> Row:
    """Code that does not parse in the language that its fence names."""
    name = rng.choice(["total", "count", "value", "price", "items", "score", "width"])
    n, m = rng.randint(2, 99), rng.randint(2, 99)
    shapes = [
        ("python", "def {v}(a, b)\n    return a + b * {n}"), ("python", "for {v} in range({n}):\nprint({v})"),
        ("python", "print(({v} + {n})"), ("python", "if {v} = {n}:\n    print({v})"), ("python", "{v} = [{n}, {m}\nprint({v})"),
        ("python", "def f(x):\n    y = x + {n}\n  return y"), ("python", "while {v} < {n}\n    {v} += {m}"),
        ("python", "{v} == 'a\nprint({n})"), ("python", "class {v}:\ndef __init__(self):\n    self.n = {n}"),
        ("python", "{v} = {n} +\nprint({v})"), ("python", "else:\n    print({n} + {m})"), ("py", "import {v} from os\nprint({n})"),
        ("json", '{{"{v}": {n},}}'), ("json", "{{'{v}': {n}}}"), ("json", '{{"{v}": {n} "b": {m}}}'), ("json", '{{"{v}": [{n}, {m}}}'),
        ("json", '{{{v}: {n}}}'), ("json", '{{"{v}": {n}'), ("yaml", "{v}: {n}\n  b: {m}\n c: 1"), ("yaml", "{v}: [{n}, {m}"),
        ("yaml", "{v}:\n\t- {n}"), ("yaml", '{v}: "{n}'), ("xml", "<{v}><b>{n}</{v}></b>"), ("xml", "<{v}>{n}"),
        ("xml", "<{v} a={n}>{m}</{v}>"), ("xml", "<{v}>{n} & {m}</{v}>"), ("xml", "<{v}>{n}</{v}"),
    ]  # fmt: skip
    language, code = rng.choice(shapes)
    lead = rng.choice(["", "Here it is:\n\n", "You can write:\n\n", "For example:\n\n"])
    return row(
        f"Show me a small {language} example with {name}.",
        f"{lead}```{language}\n{code.format(v=name, n=n, m=m)}\n```"
        + rng.choice(["", "\n\nThat is all."]),
    )


FOREIGN = """\
Die Hefe frisst den Zucker im Teig und gibt dabei ein Gas ab. Deshalb geht das Brot auf und wird locker.
Man sollte zuerst einen Arzt fragen und dann langsam beginnen. Ein Tag Ruhe zwischen den Läufen ist wichtig.
La luna attira l'acqua sul lato più vicino e così nascono le maree. Anche il sole ha una parte, ma più piccola.
Pour bien dormir, il faut se coucher à la même heure chaque soir et garder la chambre fraîche.
Les abeilles voient des couleurs que nous ne voyons pas, et elles dansent pour montrer le chemin aux autres.
El cielo es azul porque el aire dispersa la luz de onda corta mucho más que la de onda larga.
Para el invierno conviene llevar ropa de lana, guantes y una linterna, porque los días son cortos.
A folha muda de cor quando os dias ficam curtos e a árvore retira a clorofila dela.
Чай содержит меньше кофеина, чем кофе, но его действие мягче и длится дольше.
Чтобы успокоить собаку, сначала нужно понять, на что она лает, и увести её от окна.
面包发酵是因为酵母吃掉面团里的糖，并放出二氧化碳气体。
月亮吸引海水，所以每天有两次涨潮和两次退潮。
Een goede verontschuldiging noemt wat er gedaan is en vraagt niets terug van de ander.
Kissat kehräävät tyytyväisinä, mutta myös silloin kun niitä pelottaa tai sattuu.
Chleb rośnie, ponieważ drożdże zjadają cukier i wydzielają gaz, który zostaje w cieście.
パンがふくらむのは、酵母が糖を食べて炭酸ガスを出すからです。""".splitlines()
FOREIGN_REQUESTS = """\
Erkläre bitte, warum das Brot beim Backen aufgeht und was die Hefe damit zu tun hat.
Explique-moi s'il te plaît pourquoi le ciel est bleu pendant la journée.
¿Por qué ronronean los gatos cuando están contentos en casa?
Объясни, пожалуйста, почему листья осенью меняют свой цвет.
Spiegami per favore come si affila un coltello da cucina con la pietra.
请解释一下为什么每天会有两次涨潮。""".splitlines()


def wrong_language(rng: random.Random) -> Row:
    """Answers in another language than the request, which names none."""
    if rng.random() < 0.3:
        return row(rng.choice(FOREIGN_REQUESTS), sound(rng)[1])
    text = rng.choice(FOREIGN)
    return row(
        sound(rng)[0],
        text if rng.random() < 0.6 else f"{text} {rng.choice([text, text.split('. ')[0]])}",
    )


def gibberish(rng: random.Random) -> Row:
    """Text that no language is."""
    instruction, answer = sound(rng)
    letters = list(answer.replace(" ", "").lower())
    rng.shuffle(letters)
    words = answer.split()
    rng.shuffle(words)
    glued = "".join(letters)
    steps = [rng.randint(2, 9) for _ in range(60)]
    soup = " ".join(
        glued[sum(steps[:k]) % max(1, len(glued) - 9) :][:size] for k, size in enumerate(steps[:30])
    )
    mash = " ".join("".join(rng.choice(row_) for _ in range(rng.randint(3, 11))) for row_ in
                    rng.choices(["asdfghjkl", "qwertyuiop", "zxcvbnm", "jkl;uiop"], k=rng.randint(4, 25)))  # fmt: skip
    pieces = [
        "tion", "ing", "ed", "##er", "the", "ly", "pre", "sub", "ation", "est", "un", "ment", "ous",
        "ize", "ful", "##ward", "xi", "qu", "ph", "zz",
    ]
    pieced = " ".join(
        "".join(rng.choices(pieces, k=rng.randint(2, 5))) for _ in range(rng.randint(6, 30))
    )
    signs = "".join(rng.choice("#@$%^&*()~{}[]<>/\\|;:0q7x") for _ in range(rng.randint(20, 90)))
    scripts = "".join(
        chr(rng.choice([0x430, 0xE01, 0x4E00, 0x5D0, 0x61, 0x3042, 0x10D0]) + rng.randint(0, 25))
        for _ in range(60)
    )
    vowels = " ".join(
        "".join(rng.choice("bcdfghjklmnpqrstvwxz") for _ in range(rng.randint(3, 9)))
        for _ in range(12)
    )
    return row(instruction, rng.choice([soup, mash, pieced, signs, scripts, vowels]))


def unanswerable(rng: random.Random) -> Row:
    """Requests that a text model cannot do: acts, live facts, the asker's own life, other media."""
    name, city = rng.choice(NAMES), rng.choice(CITIES)
    shapes = [
        "Send an email to {n} and tell them that I am late.", "What is the weather in {c} right now?", "Turn on the lights in the kitchen.",
        "Order a pizza to my flat in {c}.", "Play a song by {n}.", "What did I have for breakfast yesterday?", "Call {n} on my phone.",
        "Set an alarm for seven tomorrow.", "Take a photo of the street in {c}.", "Open the browser and go to the news page.",
        "Book a flight to {c} for next Friday.", "What is the current price of gold?", "Record a voice message for {n}.",
        "Remind me to water the plants tonight.", "Who won the match in {c} last night?", "Show me a video of a frog.",
        "Draw a picture of {c} at night.", "Download the file from my cloud folder.", "Where did I leave my keys?",
        "Add a meeting with {n} to my calendar.", "What time is it in {c} now?", "Print the document on my desk.",
        "Upload my photos of {c} to the album.", "Buy two tickets for the concert in {c}.", "Start a timer for ten minutes.",
        "Check my inbox for a letter from {n}.", "Generate an image of {n} on a horse.", "Create an audio clip of waves.",
        "Tell me how much money is on my account.", "Search the web for hotels in {c}.",
    ]  # fmt: skip
    return row(rng.choice(shapes).format(n=name, c=city), sound(rng)[1])


#: A second set for the classes that the first made us mend, written after that and before it was
#: run: class -> what stands in the field. {q} {a} a request and its answer, {t} {r} others, {k} {l}
#: numbers that follow each other, {n} a name, {c} a town, {d} a thing.
AGAIN: dict[str, tuple[str, list[str]]] = {
    "merged tasks": ("instruction", [
        "{q}\n{k}: {t}", "{q}\n\n{k}. {t}\n\n{l}. {q}", "{k}) {q}\n{l}) {t}", "{q} ({k}) {t} ({l}) {t}",
        "{q}\nNext task: {t}", "{q}\n#{k} {t}", "{q}\n**{k}.** {t}\n**{l}.** {t}", "{q}\n- Instruction: {t}",
        "Task: {q}\nTask: {t}", "{q}\nQ{k}: {t}\nQ{l}: {t}", "{q}\n---\n{t}\n---\n{t}", "{q}\nInput: none\n{k}. {t}",
    ]),
    "empty answers": ("output", [
        "--- ---", "[ ]", "......", "\u2022", "\u3000", "\u200b\u200b", "***", "\u2013 \u2013", "_ _ _", "``", "''", "<>", "{{}}", "~~", "||", "==", "##",
    ]),
    "non-answers": ("output", [
        "Not given", "no data", "N.A.", "Nil", "No content", "none.", "(none)", "Not specified", "<none>", "No response needed",
        "Output: none", "Answer not found", "Result: N/A", "Unavailable", "No valid output", "There is no answer.", "Pending",
    ]),
    "no-input markers": ("input", [
        "no inputs", "<no_input>", "None given", "Not needed", "n.a.", "No context", "None.", "(empty)", "[none]", "Not provided",
        "<n/a>", "No input given.", "'none'", "[N/A]", "There is no input", "input: n/a", "NOINPUT", "no extra input",
    ]),
    "placeholders": ("output", [
        "Dear [Client Name],\n\n{a}", "{a}\n\n[Your Signature]", "I live in [City, State] and work for {n}.", "Yours, {{{{sender}}}}",
        "{n} met [Friend's Name] in {c}.", "Call us at [Phone] before noon.", "The price is [Amount] in {c}.", "<insert example>",
        "{a} (insert source here)", "Date: ____________\n{a}", "Signed: <Signature>\n{a}", "Welcome to [Hotel Name] in {c}!", "{a} [Add more details]",
    ]),
    "missing attachments": ("instruction", [
        "Can you proofread my {d} below?", "Rate the {d} provided.", "What does this {d} mean?", "Turn the {d} below into a list.",
        "Shorten this {d}:", "Answer the question using the {d} above.", "Which words in the following {d} are verbs?",
        "I have attached a {d}. Check it for errors.", "Here is the {d}. Summarize it.", "Determine the author of this {d}.",
        "Identify the theme of the given {d}.", "Rewrite the {d} provided in the input.", "Make this {d} shorter.",
    ]),
    "refusals": ("output", [
        "I'd rather not answer that.", "That is outside of what I can help with.", "I'm not able to discuss this.",
        "As a chatbot, I have no way to do that.", "I can't do that, {n}.", "Sorry, that's not something I can do.",
        "I'm sorry, I can't provide that.", "Regrettably, I cannot fulfill this request.", "I do not have the capability to do so.",
        "I have to decline.", "Apologies, but I am unable to answer.", "I'm an AI, so I have no feelings.", "Well, I cannot help you there.",
        "I don't have real-time data, so I cannot say.", "This request goes against my guidelines.",
    ]),
    "wrong sums": ("output", [
        "* {k} + {k} = 1{k}9", "We get {k} + {l} = 9{l}, as asked.", "_{k} - 1 = {l}_", "1. {k} x 3 = {k}", "Total = {k} + {l} = {k}",
        "> {k} + 2 = {l}", "It is ${k} + $2 = ${l}.", "\\({k} + 2 = {l}\\)", "Since {k} + 2 = {l}, we stop.", "{k} + 2 = {l} in all",
        "a) {k} + 5 = {l}", "| sum | {k} + 2 = {l} |", "Therefore: {k} * 2 = {l}0", "{k}.5 + 1 = {l}",
    ]),
    "wrong language": ("output", [
        "Det beror p\u00e5 vad man vill g\u00f6ra, men det \u00e4r oftast b\u00e4st att b\u00f6rja med det enkla.",
        "Zale\u017cy to od tego, co chcesz zrobi\u0107, ale najlepiej jest zacz\u0105\u0107 od prostych rzeczy.",
        "Bu, ne yapmak istedi\u011fine ba\u011fl\u0131 ama en iyisi basit bir \u015fey ile ba\u015flamak.",
        "\uadf8\uac83\uc740 \ubb34\uc5c7\uc744 \ud558\uace0 \uc2f6\uc740\uc9c0\uc5d0 \ub2ec\ub824 \uc788\uc2b5\ub2c8\ub2e4.",
        "\u0647\u0630\u0627 \u064a\u0639\u062a\u0645\u062f \u0639\u0644\u0649 \u0645\u0627 \u062a\u0631\u064a\u062f \u0623\u0646 \u062a\u0641\u0639\u0644\u0647.",
        "\u0395\u03be\u03b1\u03c1\u03c4\u03ac\u03c4\u03b1\u03b9 \u03b1\u03c0\u03cc \u03c4\u03bf \u03c4\u03b9 \u03b8\u03ad\u03bb\u03b5\u03b9\u03c2 \u03bd\u03b1 \u03ba\u03ac\u03bd\u03b5\u03b9\u03c2.",
        "C'est une question de go\u00fbt, mais il vaut mieux commencer par les choses simples.",
        "Das h\u00e4ngt davon ab, was man vorhat, aber am besten f\u00e4ngt man mit einfachen Dingen an.",
        "Depende de lo que quieras hacer, pero lo mejor es empezar por lo sencillo.",
        "Depende do que se quer fazer, mas o melhor \u00e9 come\u00e7ar pelas coisas simples.",
        "Dipende da quello che si vuole fare, ma \u00e8 meglio cominciare dalle cose semplici.",
        "Het hangt ervan af wat je wilt doen, maar het beste is om eenvoudig te beginnen.",
    ]),
    "gibberish": ("output", [
        "qzx vbnk wrtp lkjh mnbv zxcv qwrt plmk {n}", "\u044fa\u05d0\u3042 \u0431b\u05d1\u3044 \u0432c\u05d2\u3046 \u0433d\u05d3\u3048 \u0434e\u05d4\u304a",
        "xk7#pq^ 9@lz&* !!~vb ;;q=+ zz|\\w {k} $$%% ^^&*( )_+", "hjkl hjkl asdf;lkj qpwoeiruty zmxncbv alskdjfh",
        "th##e ##ing ##ed un##der ##ly re##ad", "aaabbbcccdddeeefffggghhhiiijjjkkk lllmmmnnnooo ppp",
        "the a of in to the on a it of by the in a to of the at a of in the to a on of the it a", "\ufffdx\ufffd\ufffdz\ufffd q\ufffd\ufffd",
        "sdlfkj weoriu xcvmn sldkfj woeiru mxcnv lskdjf oweiru nxmcv ksldfj iowuer vnmxc",
        "lamp seven green run cloud table never fish stone walk blue paper cold night spoon car leaf jump door sand milk tree rope hat ink",
    ]),
    "requests nobody can answer": ("instruction", [
        "Text {n} that dinner is ready.", "Is it raining in {c} right now?", "What's on my calendar for Monday?", "Dim the lamp in the hall.",
        "How warm is it in {c} at the moment?", "Take a screenshot of this page.", "What is the score of the game right now?",
        "Order me a taxi to {c}.", "Play some jazz.", "Google the best cafe in {c}.", "Read me my last message.", "What am I wearing today?",
        "Transfer 50 euros to {n}.", "Draw me a map of {c}.", "Wake me up at six.", "Tell me today's headlines.", "Turn the heating down.",
    ]),
}  # fmt: skip


def again(name: str) -> Callable[[random.Random], Row]:
    """The maker of a class of the second set."""
    field, texts = AGAIN[name]

    def make(rng: random.Random) -> Row:
        (q, a), (t, r), k = sound(rng), sound(rng), rng.randint(5, 80)
        text = rng.choice(texts).format(
            q=q,
            a=a,
            t=t,
            r=r,
            k=k,
            l=k + 1,
            n=rng.choice(NAMES),
            c=rng.choice(CITIES),
            d=rng.choice(NOUNS),
        )
        return {**row(q, a), field: text}

    return make


CLASSES: dict[str, Callable[[random.Random], Row]] = {
    "merged tasks": merged_tasks, "empty answers": empty_answers, "non-answers": non_answers,
    "no-input markers": no_input_markers, "repetition": repetition, "role tokens": role_tokens,
    "cut answers": cut_answers, "escapes and control characters": escapes, "placeholders": placeholders,
    "missing attachments": missing_attachments, "echoes": echoes, "refusals": refusals,
    "wrong sums": wrong_sums, "secrets": secrets, "empty code": empty_code, "broken code": broken_code,
    "wrong language": wrong_language, "gibberish": gibberish, "requests nobody can answer": unanswerable,
}  # fmt: skip


def rows_of(
    name: str, count: int = ROWS_PER_CLASS, seed: int = 11, *, second: bool = False
) -> Iterator[Row]:
    """Different rows of a class, the same for the same seed; repeats only where a class is too small."""
    rng = random.Random(f"{seed} {name}")
    seen: set[tuple[str, ...]] = set()
    make = again(name) if second else CLASSES[name]
    for attempt in range(count * 20):
        defective = make(rng)
        key = tuple(defective.values())
        if key not in seen or attempt > count * 15:
            seen.add(key)
            yield defective
        if len(seen) == count:
            return


#: Per cent caught at the first look, before any rule was changed: of the first set (whose secrets
#: then held e-mail addresses, which are looked for only where named), and of the second.
FIRST_LOOK: dict[str, tuple[float, float | None]] = {
    "merged tasks": (35.0, 30.8),
    "empty answers": (83.3, 100.0),
    "non-answers": (88.3, 81.7),
    "no-input markers": (70.0, 76.7),
    "repetition": (100.0, None),
    "role tokens": (95.8, None),
    "cut answers": (99.2, None),
    "escapes and control characters": (97.1, None),
    "placeholders": (75.8, 80.8),
    "missing attachments": (75.8, 77.9),
    "echoes": (100.0, None),
    "refusals": (77.9, 92.9),
    "wrong sums": (79.2, 61.7),
    "secrets": (80.8, None),
    "empty code": (100.0, None),
    "broken code": (100.0, None),
    "wrong language": (85.8, 82.5),
    "gibberish": (76.2, 90.4),
    "requests nobody can answer": (51.7, 33.3),
}
