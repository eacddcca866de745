"""The pages of a review: a list, one row, what is decided there, undo.

Every page is whole HTML, forms and links work without scripts; htmx only swaps the body, and
`keys.js` presses what has the key. A decision is committed before the next page is shown.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from localinstruct.dataset.reviewed import counts, words
from localinstruct.errors import LocalInstructError
from localinstruct.records import Instance, JsonObject, Neighbour, Reject
from localinstruct.store.reviews import MENDED, Review, Reviewed
from localinstruct.web.pages import respond, static_route
from localinstruct.web.review import look
from localinstruct.web.review.blind import joined
from localinstruct.web.review.desk import Desk
from localinstruct.web.review.index import Found
from localinstruct.web.review.query import KINDS, ORDERS, STATES, Query
from localinstruct.web.review.sample import good_share

PER_PAGE = 50
MOST_RELATIVES = 12
LONGEST_TAG = 60
LONGEST_WAIT, LOOKS_PER_SECOND = 15, 5
"""Seconds for which an answer waits for a comparison, and how often it looks."""


def routes(desk: Desk) -> list[BaseRoute]:
    """The routes of a review's pages, and of the static files."""
    pages = Pages(desk)
    return [
        Route("/", pages.begin),
        Route("/rows", pages.rows),
        Route("/next", pages.next),
        Route("/row/{n:int}", pages.row),
        Route("/row/{n:int}/standing", pages.standing),
        Route("/row/{n:int}/decide", pages.decide, methods=["POST"]),
        Route("/undo", pages.undo, methods=["POST"]),
        static_route(),
    ]


class Pages:
    """The pages on one desk; they are answered one after the other."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def begin(self, request: Request) -> Response:
        """The sample where one is proposed, else the list."""
        asked = Query(sample="1" if self._desk.reviews.sample() else "")
        return _to("/next" if asked.sample else "/rows", asked)

    async def rows(self, request: Request) -> Response:
        """A list of rows, with the filters beside it."""
        desk, query = self._desk, Query.of(request.query_params)
        desk.refresh()
        total = desk.index.count(query)
        page = min(_whole(request.query_params.get("page")), max(0, (total - 1) // PER_PAGE))
        found = desk.index.page(query, page * PER_PAGE, PER_PAGE)
        last = max(0, (total - 1) // PER_PAGE)
        values = self._values(request, query) | {
            "rows": [self._line(one) for one in found],
            "total": total,
            "page": page,
            "pages": last + 1,
            "before": _at(query, page - 1) if page else "",
            "after": _at(query, page + 1) if page < last else "",
            "choices": self._choices(query),
        }
        return respond("list.html.j2", **values)

    async def row(self, request: Request) -> Response:
        """One row, with what it came from and what is like it."""
        query = Query.of(request.query_params)
        self._desk.refresh()
        found = self._desk.index.at(request.path_params["n"])
        if found is None:
            return _gone()
        return self._shown(request, query, found)

    async def standing(self, request: Request) -> Response:
        """What stands against a row that a person wrote, when comparing it has ended."""
        desk, found = self._desk, self._desk.index.at(request.path_params["n"])
        if found is None:
            return _gone()
        looked = desk.compared(found.key)
        for _ in range(LONGEST_WAIT * LOOKS_PER_SECOND):
            if looked is None or looked.done.is_set():
                break
            await asyncio.sleep(1 / LOOKS_PER_SECOND)
        desk.refresh()
        query, seen = Query.of(request.query_params), request.query_params.get("seen")
        values = self._standing(found) | {"query": query, "row": found, "seen": _whole(seen)}
        return respond("standing.html.j2", **values)

    def _standing(self, found: Found) -> JsonObject:
        """Values of the part that says what stands against a row, and what it is most like."""
        desk = self._desk
        looked = desk.compared(found.key)
        is_done = looked is not None and looked.done.is_set()
        if is_done:
            desk.late.pop(found.key, None)
        return {
            "breaks": self._breaks(found),
            "looked": looked,
            "is_done": is_done,
            "nearest": [self._near(one) for one in looked.near] if looked and is_done else [],
            "novelty": desk.comparing.novelty if desk.comparing else None,
        }

    def _near(self, one: Neighbour) -> JsonObject:
        """A neighbour with its number in the index, if it is a row of it."""
        other = self._desk.index.by_key(one.id)
        return {"text": one.text, "score": one.score, "n": other.n if other else None}

    async def next(self, request: Request) -> Response:
        """Go to the row after (or before) `after` in the query's order; to the first without."""
        desk, query = self._desk, Query.of(request.query_params)
        desk.refresh()
        here = desk.index.at(_whole(request.query_params.get("after")))
        back = "back" in request.query_params
        found = desk.index.step(query, here, back=back)
        if found is not None:
            return _to(f"/row/{found.n}", query)
        end = "first" if back else "last"
        what = "No row is left of these." if query.asks else f"That was the {end} row."
        return _to("/rows", query, said=desk.say(what))

    async def decide(self, request: Request) -> Response:
        """Commit what a form says of a row, then go on."""
        desk, query = self._desk, Query.of(request.query_params)
        found = desk.index.at(request.path_params["n"])
        if found is None:
            return _gone()
        form = {name: str(value) for name, value in (await request.form()).items()}
        said = ""
        try:
            self._commit(found, form)
        except LocalInstructError as problem:
            words = f"Not decided: {problem.message} {problem.hint or ''}"
            if form.get("action") == "edit":
                return self._kept_open(request, query, found, form, words)
            said = desk.say(words)
        desk.refresh()
        desk.compared(found.key)
        if not said and form.get("action") in ("keep", "edit") and self._breaks(found):
            reasons = ", ".join(one.reason for one in self._breaks(found))
            words = f"Saved, but the data set leaves it out as it stands: {reasons}."
            there = form.get("back") == "list"
            said = desk.say(f"{words} Open it: e mends it." if there else words)
        if form.get("back") == "list":
            page = form.get("page", "0")
            return RedirectResponse(query.address("/rows") + _more(query, page, said), 303)
        is_done = form.get("action") in ("keep", "drop", "better", "insist") and not said
        if is_done and not (form["action"] == "better" and self._reveals(found)):
            return _to("/next", query, after=str(found.n))
        return _to(f"/row/{found.n}", query, said=said)

    def _kept_open(
        self, request: Request, query: Query, found: Found, form: Mapping[str, str], words: str
    ) -> Response:
        """The form of an edit that was refused, with what was written in it."""
        self._desk.refresh()
        texts = {name: _lines(form[name]) for name in MENDED if name in form}
        said = f"{words} What you wrote stands below, unsaved: save it again, or leave it."
        others = {"texts": texts, "editing": True, "unsaved": True, "said": said}
        page = self._shown(request, query, found, **others)
        page.status_code = 409
        page.headers["HX-Push-Url"] = query.address(f"/row/{found.n}", edit="1")
        return page

    def _commit(self, found: Found, form: Mapping[str, str]) -> None:
        """Commit what a form says of a row; a form that changes nothing is no decision."""
        desk, action = self._desk, form.get("action", "")
        shared = desk.reviews.state(found.key)[0]
        review, is_hidden = desk.seen(found.key)
        after = self._decided(found, review, form)
        after = joined(shared, review, after) if is_hidden else after
        if after != shared or self._confirms(found, action):
            row = (found.key, found.kind, found.data)
            desk.reviews.decide(row, action, after, desk.who, _whole(form.get("seen")))

    def _breaks(self, found: Found) -> list[Reject]:
        """Rules that a row breaks which a person wrote."""
        one = self._desk.decided.get(found.key)
        return self._desk.breaks(one) if one else []

    async def undo(self, request: Request) -> Response:
        """Take back this person's last decision, and show its row."""
        desk, query = self._desk, Query.of(request.query_params)
        try:
            undone = desk.reviews.undo(desk.who)
        except LocalInstructError as problem:
            return _to("/rows", query, said=desk.say(f"Not undone: {problem.message}"))
        if undone is None:
            return _to("/rows", query, said=desk.say("There is nothing to undo."))
        desk.refresh()
        found = desk.index.by_key(undone.row)
        said = desk.say(f"Undone: {undone.action}.")
        return _to(f"/row/{found.n}" if found else "/rows", query, said=said)

    def _confirms(self, found: Found, action: str) -> bool:
        """A person says of a row what another has said: an opinion of one's own."""
        log = self._desk.reviews.log(found.key) if action in ("keep", "drop") else []
        return bool(log) and log[-1].who != self._desk.who

    def _reveals(self, found: Found) -> bool:
        """A pair that was just labelled is shown once with its names."""
        return look.pair_of(found, Review(), self._desk.seed) is not None

    def _decided(self, found: Found, review: Review, form: Mapping[str, str]) -> Review:
        """The opinion on a row after one action of the form; unknown ones change nothing."""
        action = form.get("action", "")
        if action in ("keep", "drop"):
            return replace(review, verdict=action)  # type: ignore[arg-type]
        if action == "clear":
            return Review()
        if action == "insist":
            reasons = (*review.despite, *(one.reason for one in self._breaks(found)))
            return replace(review, verdict="keep", despite=reasons)
        if action == "grade":
            return replace(review, scores=self._scores(review, form))
        if action == "better":
            pair = look.pair_of(found, review, self._desk.seed)
            letter = form.get("better", "")
            return replace(review, better=pair.better(letter) if pair else "")  # type: ignore[arg-type]
        if action == "tags":
            named = (tag.strip()[:LONGEST_TAG] for tag in form.get("tags", "").split(","))
            return replace(review, tags=tuple(sorted({tag for tag in named if tag})))
        if action == "edit":
            before = look.fields_of(found, Review())
            texts = {name: _lines(form[name]) for name in MENDED if name in form}
            edited = {
                name: text for name, text in texts.items() if text != _lines(before.get(name, ""))
            }
            despite = review.despite if edited == review.edited else ()
            return replace(review, edited=edited, verdict="keep", despite=despite)
        return review

    def _scores(self, review: Review, form: Mapping[str, str]) -> dict[str, int]:
        """Grades of the form, of the rubric's criteria or of the whole, within the scale."""
        scale = self._desk.rubric.scale
        names = ["grade", *(criterion.name for criterion in self._desk.rubric.criteria)]
        scores = dict(review.scores)
        for name in names:
            if name not in form:
                continue
            scores.pop(name, None)
            if form[name].isdigit() and scale.lowest <= int(form[name]) <= scale.highest:
                scores[name] = int(form[name])
        return scores

    def _shown(
        self, request: Request, query: Query, found: Found, **others: object
    ) -> HTMLResponse:
        desk = self._desk
        one = desk.decided.get(found.key)
        review = one.review if one else Review()
        number = desk.reviews.state(found.key)[1]
        is_hidden = found.key in desk.hidden
        log = [one for one in desk.reviews.log(found.key) if not is_hidden or one.who == desk.who]
        pair = look.pair_of(found, review, desk.seed)
        values = self._values(request, query) | {
            "row": found,
            "review": review,
            "seen": number,
            "parts": look.parts(found, review),
            "texts": look.fields_of(found, review),
            "pair": pair,
            "facts": look.facts(found),
            "claims": look.claims(found, review, desk.rubric),
            "editing": "edit" in request.query_params,
            "unsaved": False,
            "scale": range(desk.rubric.scale.lowest, desk.rubric.scale.highest + 1),
            "rubric": desk.rubric,
            "log": [look.log_line(entry) for entry in reversed(log)],
            **self._standing(found),
            **self._relatives(found),
        }
        return respond("row.html.j2", **(values | others))

    def _relatives(self, found: Found) -> JsonObject:
        """Neighbours, parents and children of a row; the passage of a grounded one."""
        if found.kind == "reject":
            return {
                "near": look.near_of_reject(found),
                "parents": [],
                "children": [],
                "passage": [],
            }
        desk, lineage = self._desk, found.data["lineage"]
        parents = [(key, desk.relative(key)) for key in lineage["parents"][:MOST_RELATIVES]]
        near = [
            {**one, "n": other.n if (other := desk.index.by_key(one["id"])) else None}
            for one in found.near[:MOST_RELATIVES]
        ]
        passage: look.Pieces = []
        if lineage["source"] and lineage.get("evidence") and not found.data["input"]:
            source = next((p for _, p in parents if isinstance(p, Instance)), None)
            passage = look.quoted(source.input, lineage["evidence"]) if source else []
        return {
            "near": near,
            "parents": [look.relative(key, one) for key, one in parents],
            "children": [
                look.relative(one.key, one)
                for one in desk.index.children(found.key, MOST_RELATIVES)
            ],
            "passage": passage,
        }

    def _values(self, request: Request, query: Query) -> JsonObject:
        """What every page shows: names, counts, the sample, words of the last step."""
        desk = self._desk
        found = counts(desk.decided.values())
        every = desk.index.count(Query())
        sample = good_share(desk.reviews.sample(), desk.decided)
        return {
            "name": desk.name,
            "who": desk.who,
            "query": query,
            "counts": found,
            "counted": words(found, every),
            "hidden": len(desk.hidden),
            "every": every,
            "rejects": desk.index.count(Query(kind="rejects")),
            "sample": sample,
            "sample_words": look.sample_words(sample),
            "late": self._late(),
            "said": desk.notes.pop(request.query_params.get("said", ""), ""),
            "takes": desk.takes,
        }

    def _late(self) -> list[JsonObject]:
        """Rows that turned out to be like others when their page was gone."""
        desk = self._desk
        for key in [key for key in desk.late if key not in desk.decided]:
            del desk.late[key]
        rows = [(desk.index.by_key(key), reason) for key, reason in desk.late.items()]
        return [self._line(row) | {"reason": reason} for row, reason in rows if row]

    def _choices(self, query: Query) -> JsonObject:
        index, kind = self._desk.index, KINDS[query.kind]
        return {
            "state": list(STATES),
            "order": [name for name in ORDERS if name],
            "reason": index.choices("reason", kind),
            "topic": index.choices("topic", kind),
            "source": index.choices("source", kind),
            "tag": index.tags(),
        }

    def _line(self, found: Found) -> JsonObject:
        """A row in the list."""
        one: Reviewed | None = self._desk.decided.get(found.key)
        review = one.review if one else Review()
        now = look.fields_of(found, review)
        return {
            "n": found.n,
            "kind": found.kind,
            "title": now["instruction"] or now["input"],
            "input": now["input"] if now["instruction"] else "",
            "output": now["output"],
            "reason": found.reason,
            "topic": found.topic,
            "score": found.score,
            "likeness": found.likeness,
            "review": review,
            "seen": one.number if one else self._desk.reviews.state(found.key)[1],
        }


def _lines(text: str) -> str:
    """A text as a browser gives it back, less how its lines end."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _whole(text: str | None) -> int:
    return min(int(text), 2**53) if text and text.isascii() and text.isdigit() else 0


def _at(query: Query, page: int) -> str:
    return query.address("/rows") + _more(query, str(page), "")


def _more(query: Query, page: str, said: str) -> str:
    """The page of the list, and words to say there, after a query's address."""
    parts = [f"page={quote(page)}"] if page and page != "0" else []
    parts += [f"said={quote(said)}"] if said else []
    mark = "&" if "?" in query.address("/rows") else "?"
    return mark + "&".join(parts) if parts else ""


def _to(path: str, query: Query, **more: str) -> Response:
    return RedirectResponse(query.address(path, **more), 303)


def _gone() -> Response:
    return respond("gone.html.j2", 404)
