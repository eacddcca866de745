"""Rows of two or more unrelated tasks, for benchmarks/defects_sixth.py."""

import random
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.defects_sixth_tasks import WITH_INPUT, unrelated
from benchmarks.defects_sixth_words import lowered

# A form: instruction, input, output. Capitals: the asking of the first to third task (A, B, C) and
# as it reads in the middle of a sentence (Am, Bm, Cm); a, b, c: their answers; n, m: numbers that
# follow each other; I, J: input and instruction of a task with a text of its own, j its answer.
FORMS: tuple[tuple[str, str, str], ...] = (
    ("{A} {B}", "", "{a} {b}"),
    ("{A} {B}", "", "{a}"),
    ("{A}\n\n{B}", "", "{a}\n\n{b}"),
    ("{A}\n{B}\n{C}", "", "{a}\n{b}\n{c}"),
    ("{A} Also, {Bm}", "", "{a}\n\n{b}"),
    ("{At} and {Bm}", "", "{a} {b}"),
    ("{At}; {Bm}", "", "{a}; {b}"),
    ("1. {A} 2. {B} 3. {C}", "", "1. {a} 2. {b} 3. {c}"),
    ("{n}. {A}\n{m}. {B}", "", "{n}. {a}\n{m}. {b}"),
    ("a) {A} b) {B} c) {C}", "", "a) {a}\nb) {b}\nc) {c}"),
    ("Task 1: {A} Task 2: {B}", "", "Task 1: {a} Task 2: {b}"),
    ("Question 1: {A} Question 2: {B} Question 3: {C}", "", "{a} {b} {c}"),
    ("{A} Output: {a} Instruction: {B}", "", "{b}"),
    ("{A}\n###\n{n}. Instruction: {B}", "", "{a}"),
    ("{A}\nInput: <noinput>\nOutput: {a}\n\n{m}. {B}", "", "{b}"),
    ("hey can you {Am} oh and {Bm} thx", "", "Sure! {a} And for the other one: {b}"),
    ("First, {Am} Then {Bm} Finally, {Cm}", "", "{a}\n\n{b}\n\n{c}"),
    ("{A} When you are done with that, {Bm}", "", "{a} {b}"),
    ("{A}\t{B}", "", "{a}\t{b}"),
    ("{A} | {B} | {C}", "", "{a} | {b} | {c}"),
    ("{A} [SEP] {B}", "", "{a}"),
    ("- {A}\n- {B}\n- {C}", "", "- {a}\n- {b}\n- {c}"),
    ("Do the following tasks.", "1. {A}\n2. {B}\n3. {C}", "1. {a}\n2. {b}\n3. {c}"),
    ("Answer.", "{A} {B}", "{a} {b}"),
    ("{A}", "{B}", "{a}\n{b}"),
    ("{A}", "Next instruction: {B}", "{a}"),
    ("{J}", "{I}\n\nInstruction: {B}\nInput:", "{j}"),
    ("{J}", "{I}\n{m}. {B}", "{j}\n{m}. {b}"),
    ("{J} {B}", "{I}", "{j} {b}"),
    ("{B} {J}", "{I}", "{b}\n\n{j}"),
    ("{A}", "", "{a}\n\nInstruction: {B}\nOutput: {b}"),
    ("{A}", "", "{a}\n\n### Instruction:\n{B}\n\n### Response:\n{b}"),
    ("{A}", "", "{a}\n\nTask {m}: {B}\nInput: <noinput>\nOutput: {b}"),
    ("{A}", "", "{a}\n\n{m}. {B}"),
    ("{A}", "", "{a}\n\n{m}. Instruction: {B}\n{m}. Input:\n{m}. Output: {b}"),
    ("{A}", "", "{a}\n\nQ: {B}\nA: {b}"),
    ("{A}", "", "{a}\nQuestion: {B}\nAnswer: {b}\nQuestion: {C}"),
    ("{A}", "", "{a}\n\nNext task: {B}\n{b}"),
    ("{A}", "", "{a}\n\n---\n\n{B}\n\n{b}"),
    ("{A}", "", "{a}</s><s>[INST] {B} [/INST] {b}"),
    ("{A}", "", "{a}\n\nUser: {B}\nAssistant: {b}"),
    ("{A}", "", "{a}\nHuman: {B}"),
    ("{A}", "", '{a}"}}, {{"instruction": "{B}", "input": "", "output": "{b}'),
    ("{A}", "", "{a}<|im_end|>\n<|im_start|>user\n{B}"),
    ("{A}", "", "{a}\n\n## {B}\n\n{b}"),
    ("{A}", "", "{a}\n\nExercise {m}: {B}\n\nSolution: {b}"),
    ("{A}", "", "{a}\n\nExample {m}\nInstruction: {J}\nInput: {I}\nOutput: {j}"),
    ("{J}", "{I}", "{j}\n\nInstruction: {B}"),
    ("{J}", "{I}", "{j} {m}. {B} {b}"),
    ("Prompt: {A} Prompt: {B}", "", "Response: {a} Response: {b}"),
    ("{A} Answer: {a} {B}", "", "Answer: {b}"),
    ("pls {Am} and while you're at it {Bm}", "", "{a}\n\n{b}"),
    ("I have two requests. {A} My second request: {Bm}", "", "{a} Regarding the second: {b}"),
    ("{A} (2) {B}", "", "{a} (2) {b}"),
)


def _row(rng: random.Random, form: tuple[str, str, str]) -> dict[str, str]:
    one, two, three = unrelated(rng, 3)
    instruction, text, answer = rng.choice(WITH_INPUT)
    number = rng.randint(1, 14)
    slots = {"a": one.answer, "b": two.answer, "c": three.answer, "n": number, "m": number + 1}
    slots |= {"A": one.ask, "B": two.ask, "C": three.ask, "At": one.ask.rstrip(".?")}
    slots |= {"Am": lowered(one.ask), "Bm": lowered(two.ask), "Cm": lowered(three.ask)}
    slots |= {"J": instruction, "I": text, "j": answer}
    return dict(
        zip(
            ("instruction", "input", "output"), (part.format(**slots) for part in form), strict=True
        )
    )


def forms() -> Iterator[Callable[[random.Random], dict[str, str]]]:
    """A maker of rows for each form."""
    for form in FORMS:
        yield partial(_row, form=form)
