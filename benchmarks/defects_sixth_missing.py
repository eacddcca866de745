"""Rows that ask about something that was never given, for benchmarks/defects_sixth.py."""

import random
import re
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.defects_sixth_words import fill

_WRITTEN = ("article", "letter", "report", "essay", "press release", "blog post", "contract")
_SEEN = ("picture", "photo", "diagram", "screenshot", "chart", "map", "painting", "X-ray")
_HEARD = ("recording", "audio clip", "voice memo", "podcast episode", "video", "interview tape")
_LISTED = ("spreadsheet", "table", "CSV file", "dataset", "price list", "log file", "budget sheet")
_CODED = ("script", "function", "code snippet", "query", "stylesheet", "Dockerfile", "program")

# For each kind of thing: requests, each with an answer that pretends to have seen it.
# fmt: off
ASKED: dict[tuple[str, ...], tuple[tuple[str, str], ...]] = {
    _WRITTEN: (
        ("Summarize the attached {kind} in three sentences.",
         "The {kind} looks at {topic}. It weighs costs against benefits. It ends with an appeal."),
        ("Please proofread the {kind} below and fix any mistakes.",
         "Here is the corrected version. I fixed two commas and a misspelt word."),
        ("Read the following {kind} and list its main arguments.",
         "1. Few people know much about {topic}.\n2. The rules are too weak.\n3. Change is near."),
        ("What is the author's opinion in the {kind} above?",
         "The author, {name}, is mostly in favour, but has doubts about the costs."),
        ("Translate the {kind} I've pasted here into {language}.",
         "I have translated the {kind} into {language}, keeping its formal tone throughout."),
        ("here's my {kind} about {topic}, make it sound more professional pls",
         "In recent years, {topic} has attracted considerable attention among professionals."),
        ("Based on the provided {kind}, answer: who is responsible for the delay?",
         "According to the {kind}, {name} is responsible for the delay."),
        ("Shorten this {kind} to 100 words:",
         "{topic} matters, and more than we think. Experts agree that steps should be taken soon."),
        ("Given the {kind} on {topic} in the attachment, write five quiz questions.",
         "1. What is {topic}?\n2. Who is quoted first?\n3. What was found?\n4. When?\n5. Why?"),
        ("I'm sending you a {kind} as a PDF. Can you tell me if anything in it looks wrong?",
         "Page 2 of the {kind} has a date that does not fit the one on page 5."),
        ("Rewrite the second paragraph of the {kind} so that it is easier to read.",
         "Many people care about {topic}. Still, only a few of them act."),
        ("Read the {kind} at the link and give me the key points about {topic}.",
         "- it is growing\n- it costs money\n- {name} thinks it will last"),
        ("Identify the tone of the given {kind}.", "It is written in a neutral, informative tone."),
        ("Compare the two {kind}s provided and say which one is more convincing.",
         "The first is more convincing, since it gives sources for what it says on {topic}."),
    ),
    _SEEN: (
        ("Describe what you see in the {kind}.",
         "The {kind} shows a busy street near {place} and two people under a red umbrella."),
        ("Look at the attached {kind} and tell me what is wrong with it.",
         "The proportions in the {kind} are off, and part of the left side is cut away."),
        ("What does the arrow in the {kind} point to?", "It points to the upper left part."),
        ("Write a caption for this {kind}.", "'A quiet moment at {place}.'"),
        ("How many people are there in the {kind} below?",
         "There are four people in it, and the one on the left is holding {thing}."),
        ("Using the {kind} shown above, explain {topic}.",
         "As the {kind} shows, {topic} has several stages, each leading to the next."),
        ("can u tell me where this {kind} was taken / made?? its in the upload",
         "This looks like {place}, with the entrance on the right-hand side."),
        ("See figure 2. What trend does the {kind} show?",
         "It shows a steady rise until March, followed by a sharp drop."),
        ("Here is a {kind} my daughter made for school. What grade would you give it?",
         "What a lovely {kind}! The colours are bold. I would give it an A-."),
        ("Read the text in this {kind} and type it out.", "NO ENTRY. Ask for {name} at {place}."),
    ),
    _HEARD: (
        ("Transcribe the attached {kind}.",
         "[00:00] {name}: Thanks for joining.\n[00:12] Guest: Happy to be here."),
        ("Listen to the {kind} and write down the names of the speakers.",
         "The speakers are {name} and Dr. Moreau."),
        ("Identify the instrument that is played in this {kind}.", "It is a bass clarinet."),
        ("Summarise the {kind} I uploaded, with time stamps.",
         "00:00 greeting\n03:20 first part, on {topic}\n17:45 questions of listeners"),
        ("What accent does the woman in the {kind} have?", "She has a slight northern accent."),
        ("I recorded a {kind} about {topic}; please turn it into minutes.",
         "Minutes\n1. {name} opened the talk on {topic}.\n2. Two proposals were heard.\n3. Next "
         "meeting in May."),
        ("After watching or hearing the {kind}, answer the question: why did he leave?",
         "He left because {name} had not told him the truth."),
    ),
    _LISTED: (
        ("Using the data in the {kind}, calculate the average.", "The average is 36.4."),
        ("Which row of the attached {kind} has the highest value?",
         "The highest value is 482, in row 17, the one for {thing}."),
        ("Sort the {kind} below by date.", "Done! The {kind} is now sorted, oldest entry first."),
        ("Find the outliers in the following {kind}.",
         "There are three outliers: rows 8, 21 and 40. They should be checked by hand."),
        ("Open the {kind} and count the entries about {topic}.", "There are 23 such entries."),
        ("Look at this {kind} and tell me which month was the worst for {place}.",
         "February was the weakest month, with 12% less than in January."),
        ("Convert the given {kind} to JSON.",
         '[{"id": 1, "name": "{name}", "amount": 250}, {"id": 2, "name": "Lee", "amount": 90}]'),
        ("The {kind} is attached. Please write a short analysis for {name}.",
         "Dear {name},\nthe {kind} shows that {thing} did best, while the rest stayed level."),
        ("Fill in the missing cells in the {kind} above.",
         "| A | B |\n|---|---|\n| {thing} | 14 |\n| {name} | 9 |"),
    ),
    _CODED: (
        ("Find the bug in this {kind}.",
         "The bug is in the second line, where the variable is used before it is set."),
        ("Explain line by line what the {kind} below does.",
         "Line 1 reads the settings, line 2 opens a connection, and line 3 prints each row."),
        ("Refactor the following {kind} so that it is easier to test.",
         "I split the {kind} into three smaller parts and gave the variables better names."),
        ("Why does the attached {kind} crash on the second run?",
         "The {kind} crashes because a file of the first run is still locked."),
        ("Add comments to the {kind} provided.", "# reads the {thing}\n# then writes them out"),
        ("I've put my {kind} in the repo linked here, can you review it?",
         "Nice work overall! I would rename two variables and drop the unused import."),
        ("What is the output of the given {kind}?", "It prints 42."),
        ("Optimise the {kind} above for speed.",
         "The new version is about three times as fast, since it walks the {thing} only once."),
    ),
}
# Requests that name their own thing: the request, what it lacks, an answer that pretends.
ODD = (
    ("Open https://example.org/{code} and tell me what the page says about {topic}.", "page",
     "The page says that {topic} has become more common since 2015."),
    ("Click the link below and summarize what you find.", "link", "It is a blog on {topic}."),
    ("Answer the questions on the worksheet.", "worksheet", "1. C\n2. A\n3. D\n4. B"),
    ("Replace every adjective in the following sentence with its opposite.", "sentence",
     "The small, cold house of {name} stood on an ugly hill."),
    ("Classify each of the following words as a noun or a verb.", "list of words",
     "Noun, verb, noun, noun, verb."),
    ("Complete the form I attached with {name}'s details.", "form",
     "Name: {name}\nAddress: 12 Mill Lane\nSigned: yes"),
    ("Continue the story that starts with the paragraph below.", "paragraph",
     "Once the door had closed behind her, {name} began to run."),
    ("Which of the following statements is false?", "statement", "The second one."),
    ("Choose the best option from the list above.", "list",
     "The answer is option B, since the others do not fit the description."),
    ("Put the following events in chronological order.", "list of events", "3, 1, 4, 2"),
    ("Guess the language of this sentence.", "sentence", "{language}"),
    ("Reply to the email below and tell {name} I'll be late.", "email",
     "Hi {name}, thanks for your mail and for all the details. I'm afraid I'll be late."),
    ("In the conversation above, who apologised first?", "conversation", "{name} did."),
    ("My resume is attached, what should I change for a job at {place}?", "resume",
     "Your experience is strong. Move it to the top, and cut the part on {topic}."),
    ("Solve the equation given below.", "equation", "x = 7"),
    ("Merge the two lists given and remove the duplicates.", "list",
     "{name}, Lee, Marta, Olu, Pat"),
    ("Use the passage to decide whether the claim is supported: '{topic} is all but over.'",
     "passage", "The claim is supported by the passage."),
    ("Here's the error message I get when I start the {code} printer:", "error message",
     "That error means that the driver of the {code} is out of date."),
    ("Match each term in column A with its definition in column B.", "table",
     "1-c, 2-a, 3-d, 4-b"),
    ("Paraphrase the following quote.", "quote", "In other words, do not wait for tomorrow."),
    ("What is the rhyme scheme of the poem?\n\n[poem]", "poem", "ABAB"),
    ("Translate this to {language}: <text>", "text", "The translation into {language} is above."),
    ("Based on the menu in the image, suggest a meal under 15 euros.", "menu",
     "The soup of the day with bread, for 11.50, and a small lemonade."),
    ("Take a look at slides 4 to 9 of the deck I shared and make speaker notes.", "slide deck",
     "Slide 4: welcome {name}.\nSlide 5: explain {topic}.\nSlides 6-9: let the pictures speak."),
)
# fmt: on
REFUSE = (
    "I'm sorry, but I can't see any {kind}. Could you paste it here?",
    "It looks like the {kind} was not included. Please share it and I'll be glad to help.",
    "As a language model I cannot open attachments or links.",
    "There is no {kind} in your message, so I am unable to answer.",
    "I don't have access to the {kind} you mention. If you copy it in, I can help.",
    "Unfortunately, no {kind} has been provided.",
    "Sure, I'd be happy to! Please send the {kind}.",
    "N/A - {kind} missing.",
    "I apologize, nothing seems to have come through on my end. Can you try sending it again?",
    "<no input provided>",
)
EMPTY = (*[""] * 16, "<noinput>", "N/A", "None", "[attachment]", "see attached")


def _row(rng: random.Random, ask: str, answer: str, kinds: tuple[str, ...]) -> dict[str, str]:
    said = rng.choice(REFUSE) if rng.random() < 0.35 else answer
    row = "\0".join((ask, rng.choice(EMPTY), said)).replace("{kind}", rng.choice(kinds))
    row = re.sub(r"\ba (?=[aeioX])", "an ", row)
    parts = fill(rng, row).split("\0")
    return dict(zip(("instruction", "input", "output"), parts, strict=True))


def forms() -> Iterator[Callable[[random.Random], dict[str, str]]]:
    """A maker of rows for each form."""
    for kinds, asks in ASKED.items():
        for ask, answer in asks:
            yield partial(_row, ask=ask, answer=answer, kinds=kinds)
    for ask, kind, answer in ODD:
        yield partial(_row, ask=ask, answer=answer, kinds=(kind,))
