"""A deployment's set-up job: the store's schema and Temporal's namespace, before any role starts.

`python -m bootstrap.deploy_setup` reads `DATABASE_URL` and `TEMPORAL_*`; run again, it changes
nothing. Roles would do the same when they start, but a namespace is only made here.
"""

import asyncio
import time
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.store.schema.migrate import upgrade
from bootstrap.devserver.find import to_stderr
from bootstrap.exit import leave
from bootstrap.settings import Settings
from bootstrap.temporal_config import load_connect_config
from bootstrap.temporal_setup import create_namespace
from domain.errors import OrchestratorError, StoreUnavailableError

_PATIENCE = timedelta(seconds=60)
"""How long database and server may take to come up beside this job."""

_PAUSE_SECONDS = 1.0


async def prepare(settings: Settings) -> str:
    """Bring the store to this release's schema and make the namespace ready; return its name.

    Raises:
        SetupError, StoreUnavailableError: the store, or a setting, cannot be used.
        RPCError, RuntimeError: Temporal does not answer or refuses.
    """
    await asyncio.to_thread(upgrade, settings.database)
    client = await Client.connect(**load_connect_config())
    await create_namespace(client, timedelta(hours=settings.retention_hours))
    return client.namespace


async def prepare_patiently(settings: Settings) -> str:
    """Do `prepare`, again and again while something is only not up yet. Raises as `prepare`."""
    deadline = time.monotonic() + _PATIENCE.total_seconds()
    while True:
        try:
            return await prepare(settings)
        except (StoreUnavailableError, RPCError, RuntimeError) as error:
            is_refusal = isinstance(error, RPCError) and error.status not in (
                RPCStatusCode.UNAVAILABLE,
                RPCStatusCode.DEADLINE_EXCEEDED,
            )
            if is_refusal or time.monotonic() > deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


def main() -> int:
    """Prepare and say so; 1 with one line when something does not answer."""
    try:
        namespace = asyncio.run(prepare_patiently(Settings()))
    except (OrchestratorError, RPCError, RuntimeError) as error:
        to_stderr(f"not set up: {error}")
        return 1
    to_stderr(f"the store and the namespace {namespace} are ready")
    return 0


if __name__ == "__main__":
    leave(main())
