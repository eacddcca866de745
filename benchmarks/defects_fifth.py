"""A fifth set of known defects: the four classes that were weakest at the fourth, as chatty models and hurried people write them.

Written by somebody who had read the rules and the earlier sets, before it was run once; other frames, languages and fields than there.
`rows_of(name, count)` gives Alpaca rows; all of them should be caught.
"""
# fmt: off
# ruff: noqa: D103, E501, E701, E702, E704, F541, SIM905, I001

import random
from collections.abc import Callable, Iterator
Row = dict[str, str]
QA = [line.split(" | ") for line in """\
How do I get red wine out of a tablecloth? | Great question! Blot the stain first, never rub it. Then pour on soda water and cover it with salt for ten minutes.
Explain recursion to a beginner. | Sure! Recursion is when a function calls itself on a smaller part of the problem. It needs a base case, otherwise it never stops.
What is the difference between a virus and a bacterium? | A bacterium is a living cell that can divide on its own. A virus needs a host cell, and antibiotics do nothing against it.
Write a tagline for a bakery. | **Baked before you wake.** It is short, it rhymes a little, and it tells people that the bread is fresh.
Which exercises help against back pain? | Try the bird dog, the glute bridge and a gentle cat stretch. Do each ten times and stop when it hurts.
Convert 30 degrees Celsius to Fahrenheit. | Multiply by 9/5 and add 32, which makes 86 degrees Fahrenheit.
Why do companies buy back their own shares? | Fewer shares are left, so each one earns more. It also tells the market that the management thinks the price is low.
Give me a name for a grey cat. | How about Pebble? It fits the colour, it is easy to call, and it sounds friendly.
What does the SQL keyword HAVING do? | HAVING filters groups after they were aggregated. WHERE filters single rows before that.
Describe a thunderstorm in one sentence. | The sky cracked open over the rooftops and the whole street held its breath.
How long should I boil an egg? | Six minutes give you a soft yolk, nine a firm one. Start counting when the water boils again.
Who painted The Night Watch? | Rembrandt finished it in 1642. It hangs in the Rijksmuseum in Amsterdam.
List two causes of the First World War. | Alliances pulled one country after another into the conflict. Nationalism in the Balkans gave the spark.
Should I rent or buy a flat? | It depends on how long you stay. Under five years renting is mostly cheaper, because buying has high fees.
How can I be more polite in emails? | Greet people by name, ask instead of telling, and thank them for their time at the end.
What is a mutex? | It is a lock that only one thread can hold at a time, so that shared data is not changed by two at once.""".splitlines()]
def pair(r: random.Random) -> list[str]: return list(r.choice(QA))
def row(i: str, o: str, g: str = "") -> Row: return {"instruction": i, "input": g, "output": o}
def merged(r: random.Random) -> Row:
    (q1, a1), (q2, a2), (q3, a3) = r.sample([tuple(one) for one in QA], 3); n = r.randint(2, 30); low = q2[0].lower() + q2[1:]
    return r.choice([
        lambda: row(q1, f"{a1}\n\n---\n\n**Next prompt:** {q2}\n\n**Answer:** {a2}"), lambda: row(q1, f"{a1}\n\nQ: {q2}\nA: {a2}\n\nQ: {q3}\nA: {a3}"),
        lambda: row(q1, f"{a1}\n\nInstruction:\n{q2}\n\nResponse:\n{a2}"), lambda: row(q1, f"{a1}\n\nUser: {q2}\nAssistant: {a2}"), lambda: row(q1, f"{a1}\n\n{n}. **Instruction:** {q2}\n   **Output:** {a2}"),
        lambda: row(q1, f"{a1}\n\n=== TASK {n} ===\n{q2}\n\n{a2}"), lambda: row(q1, f"{a1}\n\n{{\"instruction\": \"{q2}\", \"input\": \"\", \"output\": \"{a2}\"}}"), lambda: row(q1, f"{a1}\n\nExample {n}\nInstruction: {q2}\nOutput: {a2}"),
        lambda: row(f"{q1}\n\n{q2}", f"{a1}\n\n{a2}"), lambda: row(f"1. {q1}\n2. {q2}\n3. {q3}", f"{a1}"), lambda: row(f"{q1} Also, {low}", f"{a1}"), lambda: row(f"{q1}\nOutput: {a1}\n\nInstruction: {q2}", a2),
        lambda: row(f"Task 1: {q1}\nTask 2: {q2}", f"{a1}"), lambda: row(q1, a1, f"Input: none\nOutput: {a1}\nInstruction {n}: {q2}"), lambda: row(q1, f"{a1}\n\nAufgabe: {q2}\nAntwort: {a2}"), lambda: row(q1, f"{a1}\n\n# Question {n}\n{q2}\n\n# Answer {n}\n{a2}"),
        lambda: row(q1, f"{a1}\n\n[Instruction] {q2} [Response] {a2}"), lambda: row(q1, f"{a1}\n\nHere's another one for you:\n\nInstruction: {q2}\nAnswer: {a2}"), lambda: row(q1, f"{a1}\n\nHuman: {q2}\n\nAI: {a2}"), lambda: row(q1, f"{a1}\n\n{n}. {q2}\nAnswer: {a2}"),
        lambda: row(q1, f"{a1}\n\nProblem {n}. {q2}\nSolution. {a2}"), lambda: row(q1, f"Output: {a1}\n\n###\n\n{n}. Instruction: {q2}\n{n}. Input: <noinput>\n{n}. Output: {a2}"), lambda: row(q1, f"{a1} ### User: {q2} ### Assistant: {a2}"), lambda: row(q1, f"{a1}\n\n- Question: {q2}\n- Answer: {a2}\n- Question: {q3}\n- Answer: {a3}"),
    ])()
THINGS = "spreadsheet|X-ray|quarterly report|cover letter|error log|invoice|floor plan|song|clause|dataset|screenshot|lab result|novel excerpt|speech|PDF|CV|stack trace|product photo|meeting notes|email|code snippet|wiring diagram|recipe|bank statement|survey|abstract|map|slide deck".split("|")
def missing(r: random.Random) -> Row:
    t, u = r.sample(THINGS, 2); _, a = pair(r)
    return row(r.choice([
        f"Can you proofread the attached {t} before I send it?", f"Summarize the {t} in three bullet points for my boss.", f"Based on the {t} provided, what should we do next quarter?", f"What's wrong with this {t}? It keeps failing.", f"hey, could u look over my {t} real quick and tell me if its ok",
        f"The following {t} contains two mistakes. Find them.", f"Please translate the {t} below into Italian, keeping the formatting.", f"Given the {t} and the {u}, decide which one is more convincing.", f"According to the {t} above, who is responsible for the delay?", f"I have pasted the {t} underneath. Shorten it to 100 words.",
        f"Take the {t} that was sent with this message and list every date in it.", f"Continue the {t} from where it stops.", f"Who wrote the {t} shown above?", f"Rewrite the second paragraph of the {t}.", f"Which of the following options fits the {t} best?",
        f"In the {t}, what does the author mean by the last line?", f"See the enclosed {t}. Is it genuine?", f"Fasse den folgenden Text zusammen.", f"Übersetze den untenstehenden Absatz ins Englische.", f"Was ist auf dem Bild zu sehen?", f"Korrigiere die Fehler im angehängten Dokument.",
        f"Résume le texte suivant en deux phrases.", f"Traduis le paragraphe ci-dessous en anglais.", f"Que montre l'image ci-jointe ?", f"Resume el siguiente texto en una frase.", f"¿Qué se ve en la imagen adjunta?", f"Corrige los errores del documento adjunto.",
        f"Using the numbers in the {t}, calculate the average.", f"Classify the following {t} as urgent or not urgent.", f"A {t} has been uploaded. Describe what it shows.", f"Extract the names and phone numbers from the {t} I just sent you.", f"What is the tone of the passage?", f"Answer the question using only the context below.", f"Identify the speaker in the given {t}.",
        f"Our {t} is attached to this request; suggest a better title for it.", f"Read the passage and choose the best answer.", f"Compare this {t} with the one from last year.", f"Fix the bug in the code above.", f"Sort the list below alphabetically.", f"What is the value of x in the equation shown?",
    ]), a)
def word(r: random.Random, s: str, lo: int, hi: int) -> str: return "".join(r.choice(s) for _ in range(r.randint(lo, hi)))
def junk(r: random.Random) -> Row:
    q, a = pair(r); words = [w.strip(".,!?*").lower() for one in r.sample(QA, 6) for w in one[1].split()]; n = r.randint(16, 45)
    t = r.choice([
        lambda: " ".join(word(r, "asdfghjkl", 3, 8) for _ in range(n)), lambda: " ".join(r.sample(words, min(n + 15, len(words)))).capitalize() + ".", lambda: a + " " + " ".join(word(r, "bcdghklmnprstvwz", 2, 9) for _ in range(n)),
        lambda: " ".join(w[: len(w) // 2] + r.choice("xqzjvk") + w[len(w) // 2 :] + r.choice(["", "q", "zx"]) for w in words[:n]), lambda: "".join(r.choice(["ing", "tion", "the", "un", "er", "pre", "ly", "ob", "str", "ent"]) for _ in range(n * 2)),
        lambda: " ".join(r.choice(["the", "of", "and", "is", "to", "in", "that"]) for _ in range(n)), lambda: word(r, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/", 80, 200) + "=", lambda: " ".join(r.choice(["lorp", "snib", "quarf", "blint", "drozz", "vemp", "klaft", "murgle"]) + r.choice(["ing", "ed", "s", "ly", ""]) for _ in range(n)),
        lambda: " ".join("".join(r.sample(w, len(w))) for w in words[:n]), lambda: " ".join(r.choice(["▁the", "▁of", "Ġand", "Ġto", "##ed", "Ċ", "▁", "Ġis"]) for _ in range(n)), lambda: " ".join(r.choice(["это", "the", "です", "que", "und", "العربية", "är", "मैं"]) for _ in range(n)),
        lambda: " ".join(str(r.randint(0, 9)) + word(r, "abcdefghij%$#;&", 3, 6) for _ in range(n)), lambda: " ".join(w for one in zip(words[:n], ["of the", "which", "and to", "an", "but by"] * 20, strict=False) for w in one), lambda: "".join(chr(r.randint(0xC0, 0x24F)) for _ in range(r.randint(50, 120))),
        lambda: " ".join(word(r, "aeiou", 1, 4) + word(r, "qxzjkv", 1, 3) for _ in range(n)), lambda: " ".join(w.upper() if r.random() < 0.4 else w[::-1] for w in words[:n]), lambda: ", ".join(word(r, "etaoinshrdlu", 2, 10) for _ in range(n)) + "."])()
    return row(q, t)
def sums(r: random.Random) -> Row:
    a, b, c, k = r.randint(120, 980), r.randint(11, 99), r.randint(3, 9), r.choice([1, 2, 7, 10, 30, 100]); p = r.choice([10, 20, 25, 50]); m = 100 * r.randint(2, 40)
    q, u = r.choice([("How much is it in total?", "dollars"), ("Work out the distance.", "km"), ("How many boxes are needed?", "boxes"), ("What is the result?", "kg"), ("Compute the cost.", "euros")])
    return row(q, r.choice([
        f"Step 1: {a} + {b} = {a+b+k}\nStep 2: {a+b+k} × 2 = {2*(a+b+k)}\nFinal answer: {2*(a+b+k)}", f"Let's see. {b} times {c} equals {b*c+k}, so the answer is {b*c+k}.", f"Total = {a} + {b} + {c} = {a+b+c+k} {u}", f"We multiply: {b} x {c} = {b*c-k} {u}.", f"\\[ {a} - {b} = {a-b+k} \\]", f"${a} - {b} = {a-b-k}$",
        f"**{a} + {b} = {a+b+k}**", f"{p}% of {m} is {m*p//100+k}.", f"The sum of {a} and {b} is {a+b+k}.", f"The product of {b} and {c} is {b*c+k}.", f"The difference between {a} and {b} is {a-b+k} {u}.", f"{b*c} / {c} = {b+k}, i.e. {b+k} each.", f"Adding {a} and {b} gives {a+b+k}.", f"Multiply {b} by {c} to get {b*c+k}.", f"Subtracting {b} from {a} leaves {a-b+k}.", f"If you divide {b*c} by {c}, you get {b+k}.",
        f"({a} + {b}) / 1 = {a+b+k}", f"{c} × ({a} + {b}) = {c*(a+b)+k}", f"{a},000 + {b},000 = {a+b+k},000", f"It is {a} {u} + {b} {u} = {a+b+k} {u}.", f"{a} + {b}\n= {a+b+k}", f"{c} * {b} = {c*b+k}; {c*b+k} + {a} = {c*b+k+a}", f"- Rent: {a}\n- Food: {b}\n- Total: {a} + {b} = {a+b+k}", f"`{a} + {b} = {a+b+k}`", f"{a} plus {b} makes {a+b+k}.", f"{a} minus {b} is {a-b-k}.", f"A {p}% discount on ${m} is ${m*p//100+k}.", f"{m} increased by {p}% is {m*(100+p)//100+k}.", f"{c}² = {c*c+k}", f"{c}^2 + {b} = {c*c+b+k}", f"Half of {2*b} is {b+k}.", f"Twice {a} is {2*a+k}.", f"{b} squared is {b*b+k}.",
    ]))
MAKERS: dict[str, Callable[[random.Random], Row]] = {"merged_tasks": merged, "missing_attachments": missing, "gibberish": junk, "wrong_sums": sums}
def rows_of(name: str, count: int = 200) -> Iterator[Row]:
    r = random.Random(f"fifth {name}")
    for _ in range(count): yield MAKERS[name](r)

#: Per cent caught at the first look (200 rows a class).
FIRST_LOOK = {"merged_tasks": 60.5, "missing_attachments": 57.0, "gibberish": 85.0, "wrong_sums": 58.0}
