"""One piece of a pass, so that what is wrong with it keeps no other piece from its turn."""

import logging
from collections.abc import Awaitable, Callable

from domain.errors import EngineUnavailableError, OrchestratorError, StoreUnavailableError

_LOG = logging.getLogger(__name__)


async def alone(
    what: str, which: str, work: Awaitable[int], check: Callable[[], Awaitable[None]]
) -> int:
    """Return how much `work` had to mend; nothing if it failed, which is logged with its id.

    `check` tells an engine that is away, for everybody, from one that only this piece cannot reach.

    Raises:
        StoreUnavailableError: the store does not answer.
        EngineUnavailableError: as `check` says.
    """
    try:
        return await work
    except StoreUnavailableError:
        raise
    except EngineUnavailableError as error:
        await check()
        _say(what, which, error)
    except OrchestratorError as error:
        _say(what, which, error)
    except Exception:  # noqa: BLE001 - one piece that breaks must not stop the pass for all owners
        _LOG.exception("%s %s cannot be mended", what, which, extra={f"{what}_id": which})
    return 0


def _say(what: str, which: str, error: OrchestratorError) -> None:
    extra = {f"{what}_id": which}
    _LOG.error("%s %s cannot be mended: %s", what, which, error.message, extra=extra)
