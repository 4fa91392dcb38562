"""Attack 8: no URL, name, redirect or DNS answer leads the guarded client inside."""

import asyncio
from collections.abc import Iterable

import httpcore2
import httpx2
import pytest

from adapters.net.guard import guarded_client, resolve
from adapters.net.policy import LOOPBACK, AddressPolicy
from domain.errors import AddressRefusedError
from tests.unit.adapters.net.rawserver import http, raw_server

PUBLIC = "93.184.216.34"
ANY_PORT = AddressPolicy(ports=range(1, 65536))
_TRICKS = """
http://127.0.0.1:{port}/
http://127.1:{port}/
http://127.0.1:{port}/
http://2130706433:{port}/
http://0x7f000001:{port}/
http://0x7f.0.0.1:{port}/
http://0x7F.0x0.0x0.0x1:{port}/
http://0177.0.0.1:{port}/
http://017700000001:{port}/
http://0177.0.0.0x1:{port}/
http://127.000.000.001:{port}/
http://127.0.0.1.:{port}/
http://127.255.255.254:{port}/
http://0:{port}/
http://0.0.0.0:{port}/
http://0.0.0.0.:{port}/
http://00000000.0.0.0:{port}/
http://localhost:{port}/
http://LOCALHOST:{port}/
http://localhost.:{port}/
http://evil.test:{port}/
http://EVIL.test.:{port}/
http://mixed.test:{port}/
http://mapped.test:{port}/
http://nat64.test:{port}/
http://metadata.test/latest/meta-data/
http://nothing.test:{port}/
http://\uff11\uff12\uff17.\uff10.\uff10.\uff11:{port}/
http://127\u30020\u30020\u30021:{port}/
http://\u2460\u2461\u2466.0.0.1:{port}/
http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}/
http://[::1]:{port}/
http://[0:0:0:0:0:0:0:1]:{port}/
http://[::]:{port}/
http://[::127.0.0.1]:{port}/
http://[::ffff:127.0.0.1]:{port}/
http://[::ffff:7f00:1]:{port}/
http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/
http://[64:ff9b::127.0.0.1]:{port}/
http://[64:ff9b::7f00:1]:{port}/
http://[64:ff9b:1::7f00:1]:{port}/
http://[2002:7f00:1::]:{port}/
http://[2001:0:0:0:0:0:80ff:fffe]:{port}/
http://[fe80::1]:{port}/
http://[fe80::1%25lo]:{port}/
http://[fec0::1]:{port}/
http://[fc00::1]:{port}/
http://[ff02::1]:{port}/
http://[fd00:ec2::254]/latest/meta-data/
http://169.254.169.254/latest/meta-data/
http://2852039166/latest/meta-data/
http://0xa9fea9fe/latest/meta-data/
http://0251.0376.0251.0376/latest/meta-data/
http://[::ffff:169.254.169.254]/latest/meta-data/
http://[::ffff:a9fe:a9fe]/latest/meta-data/
http://192.0.0.192/opc/v2/
http://100.100.100.200/latest/meta-data/
http://168.63.129.16/machine
http://100.64.0.1:{port}/
http://10.0.0.1:{port}/
http://172.16.0.1:{port}/
http://192.168.1.1:{port}/
http://198.18.0.1:{port}/
http://224.0.0.1:{port}/
http://255.255.255.255:{port}/
http://example.com@127.0.0.1:{port}/
http://user:secret@127.0.0.1:{port}/
http://user:secret@public.test:{port}/
http://1.1.1.1&@127.0.0.1:{port}#@public.test/
http://127.0.0.1:{port}\\@public.test/
http://public.test\\@127.0.0.1:{port}/
http://public.test%2f@127.0.0.1:{port}/
http://127.0.0.1%00.public.test:{port}/
http://127.0.0.1%0d%0a:{port}/
http://%31%32%37.0.0.1:{port}/
http://127.0.0.1%23.public.test:{port}/
http://:{port}/
http:///127.0.0.1:{port}/
http:127.0.0.1:{port}
//127.0.0.1:{port}/
127.0.0.1:{port}
ftp://127.0.0.1:{port}/
file:///etc/passwd
gopher://127.0.0.1:{port}/_x
unix:///var/run/x.sock
http+unix://%2Fvar%2Frun%2Fx.sock/
dict://127.0.0.1:{port}/
https://127.0.0.1:{port}/
"""
TRICKS = _TRICKS.split()

NAMES = {
    "evil.test": ["127.0.0.1"],
    "evil.test.": ["127.0.0.1"],
    "mixed.test": [PUBLIC, "127.0.0.1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "metadata.test": ["169.254.169.254"],
    "nothing.test": [],
    "public.test": [PUBLIC],
}


async def names_or_system(host: str, port: int) -> list[str]:
    """Answer names of the corpus here; numbers in any notation as the system reads them."""
    return NAMES[host] if host in NAMES else await resolve(host, port)


class RecordingNetwork(httpcore2.AsyncNetworkBackend):
    """Opens nothing: notes where it should connect and which name TLS is asked for."""

    def __init__(self) -> None:
        self.connected: list[tuple[str, int]] = []
        self.stream = RecordingStream([http(200, b"hello")])

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.connected.append((host, port))
        return self.stream


class RecordingStream(httpcore2.AsyncMockStream):
    written = b""
    tls_name: str | None = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.written += buffer

    async def start_tls(
        self, ssl_context: object, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        self.tls_name = server_hostname
        return self


class FlippingResolver:
    """Says something else each time it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self._answers.pop(0)


def test_corpus_is_large_enough() -> None:
    assert len(set(TRICKS)) >= 60


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_url_reaches_inside(trick: str) -> None:
    refused = (AddressRefusedError, httpx2.InvalidURL, httpx2.UnsupportedProtocol)
    async with raw_server() as canary, guarded_client(ANY_PORT, resolver=names_or_system) as client:
        with pytest.raises((*refused, httpx2.ConnectError)) as caught:
            await client.get(trick.replace("{port}", str(canary.port)))

        assert canary.connections == 0
    # Some systems do not read some notations at all; a refused *connection* would be a hole.
    assert isinstance(caught.value, refused) or "cannot be resolved" in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "127.1"])
async def test_numeric_notations_do_lead_to_loopback_when_it_is_allowed(host: str) -> None:
    """The corpus above is refused for the address, not for a failure to understand it."""
    policy = AddressPolicy(allow_private_hosts=LOOPBACK)
    async with raw_server() as server, guarded_client(policy) as client:
        reply = await client.get(f"http://{host}:{server.port}/")

    assert reply.text == "canary"


async def test_name_that_flips_to_loopback_is_refused_at_the_next_connection() -> None:
    resolver, network = FlippingResolver([PUBLIC], ["127.0.0.1"]), RecordingNetwork()
    async with guarded_client(ANY_PORT, resolver=resolver, inner=network) as client:
        await client.get("http://flip.test/")
        with pytest.raises(AddressRefusedError, match="loopback"):
            await client.get("http://flip.test/")

    assert network.connected == [(PUBLIC, 80)]


async def test_judged_address_is_the_one_connected_to() -> None:
    """One look at DNS per connection: a second answer never decides where the socket goes."""
    resolver, network = FlippingResolver([PUBLIC], ["127.0.0.1"]), RecordingNetwork()
    async with guarded_client(ANY_PORT, resolver=resolver, inner=network) as client:
        await client.get("http://flip.test/")

    assert resolver.asked == 1
    assert network.connected == [(PUBLIC, 80)]


async def test_tls_and_host_header_keep_the_name() -> None:
    network = RecordingNetwork()
    resolver = FlippingResolver([PUBLIC])
    async with guarded_client(ANY_PORT, resolver=resolver, inner=network) as client:
        await client.get("https://secure.test/path")

    assert network.connected == [(PUBLIC, 443)]
    assert network.stream.tls_name == "secure.test"
    assert b"Host: secure.test\r\n" in network.stream.written


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_handed_back_not_followed(status: int) -> None:
    policy = AddressPolicy(allow_private_hosts=LOOPBACK)
    async with raw_server() as canary:
        answer = http(status, Location=f"http://127.0.0.1:{canary.port}/")
        async with raw_server({"": [answer]}) as server, guarded_client(policy) as client:
            reply = await client.get(server.url)

        assert reply.status_code == status
        assert canary.connections == 0


async def test_cookies_are_not_kept_between_requests() -> None:
    policy = AddressPolicy(allow_private_hosts=LOOPBACK)
    answer = http(200, b"x", Set_Cookie="session=secret; Path=/")
    async with raw_server({"": [answer]}) as server, guarded_client(policy) as client:
        await client.get(server.url)
        await client.get(server.url)

    assert b"secret" not in b"".join(server.requests)


async def test_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = AddressPolicy(allow_private_hosts=LOOPBACK)
    async with raw_server() as proxy, raw_server() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        async with guarded_client(policy) as client:
            await client.get(server.url)

    assert (proxy.connections, server.connections) == (0, 1)


async def test_next_address_is_tried_when_one_does_not_answer() -> None:
    policy = AddressPolicy(allow_private_hosts=LOOPBACK)
    async with raw_server() as server:
        resolver = FlippingResolver(["127.0.0.2", "127.0.0.1"])
        async with guarded_client(policy, resolver=resolver) as client:
            reply = await client.get(f"http://two.localhost:{server.port}/")

    assert reply.text == "canary"


async def test_name_without_dns_is_a_connection_error() -> None:
    async def no_dns(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    async with guarded_client(AddressPolicy(), resolver=no_dns) as client:
        with pytest.raises(httpx2.ConnectError, match=r"nowhere\.test cannot be resolved"):
            await client.get("http://nowhere.test/")


async def test_refused_connection_is_a_connection_error() -> None:
    async with raw_server() as server:
        port = server.port
    async with guarded_client(AddressPolicy(allow_private_hosts=LOOPBACK)) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_slow_dns_is_cut_by_the_connect_timeout() -> None:
    async def stuck(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    timeout = httpx2.Timeout(None, connect=0.05)
    async with guarded_client(AddressPolicy(), resolver=stuck, timeout=timeout) as client:
        with pytest.raises(httpx2.ConnectTimeout):
            await client.get("http://slow.test/")


async def test_broken_reply_is_an_error_of_the_client_library() -> None:
    policy = AddressPolicy(allow_private_hosts=LOOPBACK)
    async with raw_server({"": [b"NONSENSE\r\n\r\n"]}) as server, guarded_client(policy) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(server.url)


async def test_reply_cut_in_its_body_is_an_error_of_the_client_library() -> None:
    policy = AddressPolicy(allow_private_hosts=LOOPBACK)
    answer = http(200, b"short", Content_Length="100")
    async with raw_server({"": [answer]}) as server, guarded_client(policy) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(server.url)


async def test_overlong_label_is_a_name_that_cannot_be_resolved() -> None:
    with pytest.raises(OSError, match="is not a host name"):
        await resolve("a" * 64 + ".test", 80)
