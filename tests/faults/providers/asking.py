"""Models at the stub provider, and what a run of them leaves: free slots, bills."""

import uuid

import httpx2

from tests.faults.product import Api, Json, data_of
from tests.rig.waiting import until

FIRST_TOKEN_SECONDS = 2.0
IDLE_SECONDS = 2.0
"""Longer than a busy machine keeps anybody from reading."""
ATTEMPT_SECONDS = 6.0


class Stub:
    """The stub provider as a test uses it: models that no other test asks for."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def model(self, marks: str = "", vendor: str = "openai") -> str:
        """Return a new model that behaves like this."""
        name = f"m-{uuid.uuid4().hex[:8]}"
        await self.control(f"{vendor}/{name}", marks)
        return f"{vendor}/{name}"

    async def control(self, model: str, marks: str) -> None:
        await self._http.post("/control", json={model.partition("/")[2]: marks})

    async def log(self, *models: str) -> list[Json]:
        """Return the requests for these models, by arrival."""
        names = ",".join(model.partition("/")[2] for model in models)
        answer = await self._http.get("/log", params={"models": names})
        found: list[Json] = answer.json()["requests"]
        return found

    async def arrived(self, model: str, outcome: str | None = None) -> Json:
        """Wait for a request for this model, and for how it ended."""
        found: list[Json] = []

        async def is_there() -> bool:
            found.extend(e for e in await self.log(model) if outcome in (None, e["outcome"]))
            return bool(found)

        await until(f"{model} is asked, outcome {outcome}", is_there)
        return found[0]


async def busy_slots(api: Api) -> int:
    slots = (await api.call("GET", "/api/v1/agents"))["agents"]
    assert slots, "the pool has slots"
    return sum(slot["state"] == "busy" for slot in slots)


async def all_slots_free(api: Api) -> None:
    async def are_free() -> bool:
        return not await busy_slots(api)

    await until("all slots are free", are_free, 10)


def bills_of(log: list[Json]) -> list[tuple[str, str | None]]:
    """Return of each billed attempt the model and the error's code."""
    bills = data_of(log, "llm_call_done")
    return [(b["model"], b["error"] and b["error"]["code"]) for b in bills]
