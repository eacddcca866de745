"""Templates and static files of the pages; every text is shown as text, whatever it holds.

The templates are those of the report (`report.page.environment`): everything is escaped, hidden
characters become names. The style begins with the report's. Not covered: caching, which nothing on
loopback needs.
"""

from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from localinstruct.report.page import environment

TYPES = {"css": "text/css", "js": "text/javascript"}


def respond(template: str, status: int = 200, **values: object) -> HTMLResponse:
    """A page from `web/templates`, with these values in it."""
    return HTMLResponse(_environment().get_template(template).render(values), status)


@cache
def _environment() -> Environment:
    made = environment().overlay(loader=PackageLoader("localinstruct.web", "templates"))
    return made


def static_route() -> Route:
    """The route of the style, the scripts and what is vendored: /static/NAME."""
    return Route("/static/{name}", _static)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    content = _files().get(name)
    if content is None:
        return PlainTextResponse("No such file.\n", 404)
    return Response(content, media_type=TYPES[name.rpartition(".")[2]])


@cache
def _files() -> dict[str, str]:
    """Name -> text of every static file."""
    folder = resources.files("localinstruct.web")
    found = {
        entry.name: entry.read_text(encoding="utf-8")
        for part in ("static", "vendored")
        for entry in (folder / part).iterdir()
        if entry.name.rpartition(".")[2] in TYPES
    }
    report = resources.files("localinstruct.report") / "style.css.j2"
    return {**found, "style.css": report.read_text(encoding="utf-8") + found["style.css"]}
