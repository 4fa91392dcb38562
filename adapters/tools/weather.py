"""The `weather` tool over Open-Meteo, which needs no key. Source: seed C; open-meteo.com/en/docs.

GET {geocoding}/v1/search?name=Paris&count=1
{"results": [{"name": "Paris", "country": "France", "latitude": 48.85, "longitude": 2.34}]}

GET {forecast}/v1/forecast?latitude=48.85&longitude=2.34&current=temperature_2m,...
{"current": {"temperature_2m": 20.1, "weather_code": 3, ...}}
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar

import httpx2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.net.bodies import UnreadableBodyError, read_at_most
from adapters.tools.decorator import FunctionTool, tool
from domain.errors import AddressRefusedError, ToolFailedError, TransientError

GEOCODING_URL = "https://geocoding-api.open-meteo.com"
FORECAST_URL = "https://api.open-meteo.com"
MAX_BODY_BYTES = 256 * 1024
BUSY_WAIT = timedelta(seconds=2)

_CONDITIONS = {
    0: "clear sky",
    1: "mainly clear",
    2: "partly cloudy",
    3: "overcast",
    45: "fog",
    48: "fog with rime",
    51: "light drizzle",
    53: "drizzle",
    55: "dense drizzle",
    56: "light freezing drizzle",
    57: "freezing drizzle",
    61: "light rain",
    63: "rain",
    65: "heavy rain",
    66: "light freezing rain",
    67: "freezing rain",
    71: "light snow",
    73: "snow",
    75: "heavy snow",
    77: "snow grains",
    80: "light showers",
    81: "showers",
    82: "violent showers",
    85: "light snow showers",
    86: "snow showers",
    95: "thunderstorm",
    96: "thunderstorm with light hail",
    99: "thunderstorm with heavy hail",
}
"""WMO weather interpretation codes."""


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Place(_Reply):
    name: str
    country: str = ""
    latitude: float
    longitude: float


class _Places(_Reply):
    results: list[_Place] = []


class _Current(_Reply):
    temperature_2m: float
    apparent_temperature: float
    relative_humidity_2m: float
    precipitation: float
    weather_code: int
    wind_speed_10m: float
    time: str


class _Forecast(_Reply):
    current: _Current


R = TypeVar("R", bound=_Reply)


@dataclass(frozen=True, slots=True)
class _OpenMeteo:
    client: httpx2.AsyncClient
    geocoding_url: str
    forecast_url: str

    async def place(self, location: str) -> _Place:
        query = {"name": location, "count": 1, "language": "en", "format": "json"}
        found = await self._get(_Places, f"{self.geocoding_url}/v1/search", query)
        if not found.results:
            raise ToolFailedError(f"no place named {location!r} is known")
        return found.results[0]

    async def current(self, place: _Place, units: str) -> _Current:
        fields = [name for name in _Current.model_fields if name != "time"]
        query = {
            "latitude": place.latitude,
            "longitude": place.longitude,
            "current": ",".join(fields),
            "timezone": "auto",
        }
        if units == "imperial":
            query |= {
                "temperature_unit": "fahrenheit",
                "wind_speed_unit": "mph",
                "precipitation_unit": "inch",
            }
        return (await self._get(_Forecast, f"{self.forecast_url}/v1/forecast", query)).current

    async def _get(self, shape: type[R], url: str, query: dict[str, Any]) -> R:
        try:
            async with self.client.stream("GET", url, params=query) as response:
                body, _ = await read_at_most(response, MAX_BODY_BYTES)
                status = response.status_code
        except (httpx2.HTTPError, AddressRefusedError, UnreadableBodyError) as error:
            raise ToolFailedError(
                "the weather service cannot be reached from here; is there a network? "
                f"({str(error) or type(error).__name__})"
            ) from error
        if status == 429 or status >= 500:
            raise TransientError(f"the weather service answered {status}", retry_after=BUSY_WAIT)
        try:
            return shape.model_validate_json(body)
        except ValidationError as error:
            raise ToolFailedError(
                f"the weather service gave no usable answer ({status})"
            ) from error


def weather_tool(
    client: httpx2.AsyncClient,
    *,
    geocoding_url: str = GEOCODING_URL,
    forecast_url: str = FORECAST_URL,
) -> FunctionTool:
    """Return the `weather` tool over a guarded client."""
    service = _OpenMeteo(client, geocoding_url, forecast_url)

    @tool(name="weather", timeout_seconds=30)
    async def weather(
        location: Annotated[str, Field(min_length=1, max_length=100)],
        units: Literal["metric", "imperial"] = "metric",
    ) -> dict[str, object]:
        """Tell the current weather at a place.

        Args:
            location: City or place name, for example "Paris".
            units: metric (degrees C, km/h, mm) or imperial (degrees F, mph, inch).
        """
        place = await service.place(location)
        now = await service.current(place, units)
        return {
            "location": f"{place.name}, {place.country}".removesuffix(", "),
            "condition": _CONDITIONS.get(now.weather_code, f"WMO code {now.weather_code}"),
            "temperature": now.temperature_2m,
            "feels_like": now.apparent_temperature,
            "humidity_percent": now.relative_humidity_2m,
            "precipitation": now.precipitation,
            "wind_speed": now.wind_speed_10m,
            "units": units,
            "observed_at": now.time,
        }

    return weather
