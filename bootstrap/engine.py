"""The connection to Temporal: one client, the namespace made ready, and whose cluster it is."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import GrpcCompression, RPCError

from adapters.payloads import data_converter
from adapters.store.runs.upkeep import SqlUpkeep
from adapters.temporal import engine_identity
from bootstrap.devserver.process import own_namespace
from bootstrap.settings import Settings
from bootstrap.temporal_config import load_connect_config, refused
from bootstrap.temporal_setup import prepare_namespace
from domain.errors import EngineUnavailableError

_log = logging.getLogger(__name__)

ENGINE_KEY = "engine"
DEFAULT_TARGET = "localhost:7233"
"""Where a role apart looks for Temporal when nothing names it."""
_STARTING = "not healthy yet"
_STARTING_SECONDS = 30.0
_LOOK_SECONDS = 0.1


async def connect(settings: Settings, own_address: str | None) -> Client:
    """Return a client of our own server, or of the one that `TEMPORAL_*` names.

    Raises:
        EngineUnavailableError: nothing answers there.
        SetupError: a setting of `TEMPORAL_*` cannot be used.
    """
    config = load_connect_config()
    if own_address is not None:
        config = {"target_host": own_address, "namespace": own_namespace()}
    target = config.setdefault("target_host", DEFAULT_TARGET)
    is_local = target.startswith(("127.", "localhost", "[::1]"))
    try:
        client = await patiently(
            lambda: Client.connect(
                **config,
                data_converter=data_converter,
                grpc_compression=GrpcCompression.NONE if is_local else GrpcCompression.GZIP,
            )
        )
        await _prepare(client, settings, is_ours=own_address is not None)
    except ValueError as error:
        raise refused(error) from error
    except (RuntimeError, RPCError, TimeoutError) as error:
        _log.debug("connecting to %s failed", target, exc_info=error)
        raise EngineUnavailableError(
            f"the Temporal server at {target} does not answer: {reason_of(error)}; check"
            " TEMPORAL_ADDRESS (`orchestrator up` without one brings its own)"
        ) from error
    return client


def reason_of(error: Exception) -> str:
    """Return the words in what the SDK says of a failure; it writes its own types around them."""
    text = str(error)
    if "tonic::" not in text:
        return text or "no answer in time"
    unreadable = re.search(r"Transport, (\w+)\)", text)
    if unreadable is not None:
        return f"{unreadable[1]}, a certificate or key of TEMPORAL_TLS_* is none"
    said = re.findall(r'"([^"]+)"', text)
    return str(said[-1]).rpartition(": ")[2] if said else "its connection broke"


async def patiently(connect: Callable[[], Awaitable[Client]]) -> Client:
    """Connect; a server that answers but still starts is given a moment.

    Raises:
        RuntimeError: the SDK's word for a server that does not answer.
    """
    async with asyncio.timeout(_STARTING_SECONDS):
        while True:
            try:
                return await connect()
            except RuntimeError as error:
                if _STARTING not in str(error):
                    raise
            await asyncio.sleep(_LOOK_SECONDS)


async def _prepare(client: Client, settings: Settings, *, is_ours: bool) -> None:
    try:
        await prepare_namespace(client, timedelta(hours=settings.retention_hours))
    except RPCError as error:
        if is_ours:
            raise
        # A cluster's operator may have made the namespace ready and forbid us to.
        _log.warning("the namespace was not prepared from here: %s", error)


async def claim_engine(client: Client, upkeep: SqlUpkeep, *, is_ours: bool) -> str:
    """Note whose cluster this store belongs to and return its identity, this one's or another's.

    Our own dev server is ours by its data file: a new file is a new engine, and runs it does not
    know are ended by the reconciler. A cluster that others run fails nothing.
    """
    identity = await engine_identity(client)
    known = await upkeep.meta(ENGINE_KEY, identity)
    if known is not None and known != identity and not is_ours:
        return known
    if known != identity:
        await upkeep.set_meta(ENGINE_KEY, identity)
    return identity
