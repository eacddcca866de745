"""Endpoints of an entry in models.yaml: servers of one model that others have started."""

from pydantic import Field, field_validator, model_validator

from localinstruct.config import Section
from localinstruct.errors import LocalInstructError
from localinstruct.offline.addresses import require_form


class Endpoint(Section):
    """A server of the OpenAI protocol that is already there."""

    url: str
    """unix:///absolute/path.sock, http://127.0.0.1:PORT/v1, or http://HOST:PORT/v1 of a machine
    that the person allows."""
    timeout: float | None = Field(None, gt=0)
    """Seconds for one request before it is asked elsewhere; None means serve.request_timeout."""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, data: object) -> object:
        """Take an address alone."""
        return {"url": data} if isinstance(data, str) else data

    @field_validator("url")
    @classmethod
    def _of_the_form(cls, value: str) -> str:
        return usable(value)


def usable(url: str) -> str:
    """The address; ValueError where it can be that of no endpoint, whoever allows it."""
    try:
        require_form(url)
    except LocalInstructError as error:
        raise ValueError(error.message) from None
    return url


def all_different(endpoints: list[Endpoint]) -> list[Endpoint]:
    """The endpoints; ValueError where one stands twice: it would be given twice the work."""
    urls = [endpoint.url.rstrip("/") for endpoint in endpoints]
    if twice := [url for url in urls if urls.count(url) > 1]:
        raise ValueError(f"expected each endpoint once, found {twice[0]} again")
    return endpoints
