"""Where an outgoing request may go: schemes, ports, and what an operator allows. Opens nothing."""

import ipaddress
import re
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import httpx2

from adapters.net.addresses import Address, Network, parse_address, refusal
from domain.errors import AddressRefusedError, SetupError

DEFAULT_PORTS: frozenset[int] = frozenset({80, 443, *range(8000, 9000)})
"""Ports of web servers; keeps us from speaking HTTP to mail, database and Temporal ports."""
LOOPBACK: tuple[str, ...] = ("localhost", "127.0.0.0/8", "::1")
"""What `allow_private_hosts` holds on a laptop, where agents run beside us."""

_PORT_OF = {"http": 80, "https": 443}
_LAST_PORT = 65535
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_.])?|[0-9a-f:.]{2,45}")
_ENTRY = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of the operator's allow-list: a network or a host name, on one port or on all."""

    network: Network | None
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "Allowed":
        """Read `10.0.0.0/8`, `::1`, `localhost`, `agents.internal:9000` or `[::1]:9000`.

        Raises:
            SetupError: none of these.
        """
        entry = text.strip().lower()
        try:
            return cls(ipaddress.ip_network(entry), "", None)
        except ValueError:
            pass
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise SetupError(f"allowed host {text!r} is not a network, a host name or host:port")
        port = int(match["port"]) if match["port"] else None
        name = match["v6"] or match["host"]
        try:
            return cls(ipaddress.ip_network(name), "", port)
        except ValueError:
            if not _HOST.fullmatch(name):
                raise SetupError(f"allowed host {text!r} is not a host name") from None
            return cls(None, name.rstrip("."), port)

    def covers(self, host: str, port: int, address: Address) -> bool:
        """Say whether this entry lets a connection for `host` reach `address`."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        why = refusal(address)
        return self.host == host and (why is None or why.waivable)

    def may_cover(self, host: str, port: int) -> bool:
        """Say whether this entry could let a connection for the name `host` go to `port`."""
        if self.port is not None and self.port != port:
            return False
        if self.network is None:
            return self.host == host
        # Names of loopback say so: otherwise every name would have every port on a laptop.
        return _is_local(host) or not self.network.is_loopback


@dataclass(frozen=True)
class AddressPolicy:
    """What may be contacted. `allow_private_hosts` is the operator's word, never a request's.

    An allowed target may have any port (unless its entry names one); everything else must be a
    public address on one of `ports`. `own_ports` are this product's own on loopback (API, Temporal
    and its UI): nobody is led there, whatever is allowed.
    """

    allow_private_hosts: Iterable[str] = ()
    ports: Collection[int] = DEFAULT_PORTS
    schemes: Collection[str] = ("http", "https")
    own_ports: Collection[int] = ()
    _allowed: tuple[Allowed, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        """Read the allow-list once."""
        allowed = tuple(Allowed.parse(entry) for entry in self.allow_private_hosts)
        object.__setattr__(self, "_allowed", allowed)

    def check_url(self, text: str) -> httpx2.URL:
        """Return `text` as a URL that may lead somewhere; what a name stands for is judged later.

        An address in the URL is judged at once. A name may have one of `ports`, or any port that
        the allow-list opens for it; that it stands for loopback has to show in the name.

        Raises:
            AddressRefusedError: malformed, another scheme, credentials in it, no plain host, or an
                address or port that may not be contacted.
        """
        try:
            url = httpx2.URL(text)
        except (httpx2.InvalidURL, ValueError, TypeError) as error:
            raise AddressRefusedError(f"{_shown(text)} is not a URL: {error}") from error
        require_whole(url, text)
        if url.scheme not in self.schemes:
            raise AddressRefusedError(f"{_shown(text)}: only {', '.join(self.schemes)} is allowed")
        if url.userinfo:
            raise AddressRefusedError(f"{_shown(url.host)}: a URL may not hold credentials")
        if not _HOST.fullmatch(url.raw_host.decode("ascii").lower()):
            raise AddressRefusedError(f"{_shown(text)} does not name a plain host")
        self._require_target(url)
        return url

    def _require_target(self, url: httpx2.URL) -> None:
        """Refuse a port that is none, and what no look at a name's addresses could allow."""
        port = _PORT_OF.get(url.scheme, 0) if url.port is None else url.port
        name = url.raw_host.decode("ascii").lower().rstrip(".")
        if not 0 < port <= _LAST_PORT:
            raise AddressRefusedError(f"{_shown(name)}: {port} is not a port")
        address = _literal(name)
        if address is not None:
            self._require(name, port, address)
        elif port in self.own_ports and _is_local(name):
            raise AddressRefusedError(_own(name, port))
        elif port not in self.ports and not any(e.may_cover(name, port) for e in self._allowed):
            raise AddressRefusedError(f"port {port} of host {_shown(name)} may not be contacted")

    def judge(self, host: str, port: int, addresses: Sequence[str]) -> list[str]:
        """Return the addresses to connect to, each of them acceptable, as plain IP text.

        One bad address refuses all: a name that leads both outside and inside is an attack.

        Raises:
            AddressRefusedError: an address or the port may not be contacted, or there is none.
        """
        name = host.lower().rstrip(".")
        judged: list[str] = []
        for text in addresses:
            address = parse_address(text.partition("%")[0])
            self._require(name, port, address)
            judged.append(str(address))
        if not judged:
            raise AddressRefusedError(f"host {_shown(host)} has no address")
        return judged

    def _require(self, name: str, port: int, address: Address) -> None:
        if port in self.own_ports and (address.is_loopback or address.is_unspecified):
            raise AddressRefusedError(_own(name, port))
        if any(entry.covers(name, port, address) for entry in self._allowed):
            return
        why = refusal(address)
        if why is not None:
            raise AddressRefusedError(
                f"host {_shown(name)} may not be contacted: its address is {why.reason}; "
                "an operator can allow it in ORCHESTRATOR_ALLOW_PRIVATE_HOSTS"
            )
        if port not in self.ports:
            raise AddressRefusedError(f"port {port} of host {_shown(name)} may not be contacted")


def require_whole(url: httpx2.URL, text: str) -> None:
    """Refuse a URL, given as `text`, that says too little to be contacted.

    Raises:
        AddressRefusedError: names the part that is missing.
    """
    if not url.scheme:
        raise AddressRefusedError(f"{_shown(text)} names no scheme: begin with http:// or https://")
    if not url.host:
        raise AddressRefusedError(f"{_shown(text)} names no host")


def _is_local(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


def _own(name: str, port: int) -> str:
    return f"port {port} of host {_shown(name)} is this server's own and may not be contacted"


def _literal(name: str) -> Address | None:
    """Return the address that `name` is, in any notation that the system reads; None for names."""
    try:
        return parse_address(name)
    except ValueError:
        pass
    try:
        return parse_address(socket.inet_ntoa(socket.inet_aton(name)))
    except OSError:
        return None


def _shown(text: str) -> str:
    return ascii(text[:200])
