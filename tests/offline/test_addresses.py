"""Other machines: allowed by a person alone, at a pinned address of a closed network, never in the
seal."""

import socket
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import LocalInstructError, RecipeError, UsageError
from localinstruct.models.catalog import load_catalog
from localinstruct.offline import addresses, seal, switches
from localinstruct.teacher.transport import http_transport

ENTRY = """
m:
  endpoints: [http://gpu-2:8000/v1, "unix:///run/m.sock"]
  served_name: m
  roles: [teacher]
  context: 512
  licence: MIT
"""


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_found", {})
    monkeypatch.setenv(switches.ALLOWED_HOSTS, "")  # put back after the test


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Name -> addresses that are found for it; a look-up is counted under "asked"."""
    known: dict[str, list[str]] = {"asked": []}

    really = socket.getaddrinfo

    def look_up(host: str, *more: Any, **given: Any) -> list[Any]:
        if host.startswith("127."):  # an address, which a connection is made to
            return list(really(host, *more, **given))
        known["asked"].append(host)
        if host not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(2, 1, 6, "", (address, 0)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def test_a_machine_is_asked_only_when_a_person_has_allowed_it(
    tmp_path: Path, names: dict[str, list[str]]
) -> None:
    names["gpu-2"] = ["10.1.2.3"]
    (tmp_path / "models.yaml").write_text(ENTRY)
    spec = load_catalog(tmp_path).get("m")
    with pytest.raises(RecipeError, match="gpu-2 is not allowed") as caught:
        addresses.resolve("http://gpu-2:8000/v1", spec.allowed)
    assert "--allow-host gpu-2" in caught.value.hint
    assert "hosts.yaml" in caught.value.hint
    assert names["asked"] == []

    (tmp_path / "hosts.yaml").write_text("allow: [GPU-2]\n")
    spec = load_catalog(tmp_path).get("m")
    assert addresses.resolve("http://gpu-2:8000/v1", spec.allowed).ip == "10.1.2.3"

    (tmp_path / "hosts.yaml").unlink()
    addresses.allow(["gpu-2"])
    spec = load_catalog(tmp_path).get("m")
    assert addresses.resolve("http://gpu-2:8000/v1", spec.allowed).host == "gpu-2"
    with pytest.raises(RecipeError, match="gpu-3 is not allowed"):
        addresses.resolve("http://gpu-3:8000/v1", spec.allowed)


def test_a_models_yaml_cannot_allow_by_itself(tmp_path: Path) -> None:
    for key in ("allowed", "_allowed", "allow"):
        (tmp_path / "models.yaml").write_text(f"{ENTRY}  {key}: [gpu-2]\n")
        with pytest.raises(RecipeError, match="unknown key"):
            load_catalog(tmp_path)


@pytest.mark.parametrize(
    "found",
    [
        ["8.8.8.8"],
        ["10.0.0.1", "8.8.8.8"],
        ["2001:db8::1"],
        ["::ffff:8.8.8.8"],
        ["64:ff9b::a00:1"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
    ],
)
def test_public_addresses_are_refused_whatever_is_allowed(
    names: dict[str, list[str]], found: list[str]
) -> None:
    names["gpu-2"] = found
    with pytest.raises(RecipeError, match="nobody can allow"):
        addresses.resolve("http://gpu-2:8000/v1", {"gpu-2"})


@pytest.mark.parametrize(
    "found", ["10.0.0.1", "172.31.0.1", "192.168.0.1", "169.254.7.7", "fd00::1", "::ffff:10.0.0.1"]
)
def test_addresses_of_closed_networks_are_taken(names: dict[str, list[str]], found: str) -> None:
    names["gpu-2"] = [found]
    assert addresses.resolve("http://gpu-2:8000/v1", {"gpu-2"}).ip == found


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/v1",
        "http://[2001:4860:4860::8888]/v1",
        "http://gpu-2@8.8.8.8/v1",
        "http://gpu-2:8000/v1?x=1",
        "http://2130706433:8000/v1",
        "http://10.1:8000/v1",
        "http://*.lan:8000/v1",
        "http://0.0.0.0:8000",
        "unix://gpu-2/s",
        "ssh://gpu-2/v1",
        "http://gpu-2:99999/v1",
        "http://gpu 2/v1",
    ],
)
def test_what_names_no_other_machine_is_refused_before_a_look_up(
    names: dict[str, list[str]], url: str
) -> None:
    with pytest.raises(RecipeError):
        addresses.resolve(url, {"gpu-2", "8.8.8.8", "10.1", "0.0.0.0"})
    assert names["asked"] == []


def test_a_name_is_looked_up_once_and_its_address_is_kept(names: dict[str, list[str]]) -> None:
    """A name that later leads elsewhere changes nothing."""
    names["gpu-2"] = ["10.1.2.3"]
    addresses.resolve("http://gpu-2:8000/v1", {"gpu-2"})
    names["gpu-2"] = ["8.8.8.8"]
    assert addresses.resolve("http://gpu-2:9000/v1", {"gpu-2"}).ip == "10.1.2.3"
    assert names["asked"] == ["gpu-2"]


def test_connections_go_to_the_pinned_address_with_the_name_in_their_head(
    names: dict[str, list[str]],
) -> None:
    """A server on loopback plays the other machine, whose name nobody looks up again."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    import httpx2

    heads = list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heads.append(self.headers["Host"])
            self.send_response(302 if self.path == "/v1/away" else 200)
            self.send_header("Location", "http://elsewhere/v1/models")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        names["gpu-2"], url = ["127.0.0.1"], f"http://gpu-2:{server.server_port}/v1"
        base, transport = http_transport(url, asynchronous=False, allowed={"gpu-2"})
        with httpx2.Client(transport=transport, trust_env=False) as http:
            assert http.get(f"{base}/models").status_code == 200
            assert http.get(f"{base}/away").status_code == 302
            with pytest.raises(httpx2.UnsupportedProtocol, match="elsewhere is not gpu-2"):
                http.get(f"{base}/away", follow_redirects=True)
        server.shutdown()
    assert heads == [f"gpu-2:{server.server_port}"] * 3
    assert names["asked"] == ["gpu-2"]


def test_in_the_seal_other_machines_are_refused_before_a_look_up(
    names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "_current", [seal.Seal(True, "own namespaces", (), ())])
    with pytest.raises(RecipeError, match="the run is sealed: no road leads there") as caught:
        addresses.resolve("http://gpu-2:8000/v1", {"gpu-2"})
    assert "ssh -N -L" in caught.value.hint
    with pytest.raises(UsageError, match="no road leads to another machine in the seal"):
        addresses.allow(["gpu-2"])
    assert addresses.resolve("unix:///run/m.sock").road == "unix socket"
    assert addresses.resolve("http://127.0.0.1:1/v1").road == "loopback"
    assert names["asked"] == []


@pytest.mark.parametrize("name", ["", "gpu-2:8000", "*.lan", "http://gpu-2", "localhost", "a b"])
def test_only_single_machines_can_be_allowed(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="one machine"):
        addresses.allow([name])
    (tmp_path / "hosts.yaml").write_text(f"allow: ['{name}']\n")
    with pytest.raises(LocalInstructError, match="single machines"):
        addresses.allowed_hosts(tmp_path)


def test_how_a_prompt_gets_there_is_said(names: dict[str, list[str]]) -> None:
    names["gpu-2"] = ["10.1.2.3"]
    plain = addresses.resolve("http://gpu-2:8000/v1", {"gpu-2"})
    assert plain.road == "network, plain HTTP, unencrypted, to 10.1.2.3"
    secret = addresses.resolve("https://gpu-2:8000/v1", {"gpu-2"})
    assert secret.road == "network, HTTPS, to 10.1.2.3"
