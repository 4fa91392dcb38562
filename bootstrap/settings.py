"""Every setting, its environment name and its default. Knows no object that is built from them.

Precedence: command line, environment, `.env`, `orchestrator.toml`, defaults. Own settings have the
prefix `ORCHESTRATOR_`; names that other tools or the seeds established are taken as they are.
`TEMPORAL_*` is read by the SDK itself (temporalio.envconfig), never here.
"""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from domain.chat import split_model
from domain.tiers import TIER_NAMES, ModelTier

PREFIX = "ORCHESTRATOR_"
RATE_NAME = r"^[^:=,\s]+:(requests|tokens)$"


def _names(own: str, *others: str) -> AliasChoices:
    return AliasChoices(f"{PREFIX}{own}".lower(), *(name.lower() for name in others))


def _list(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _level(value: object) -> object:
    if not isinstance(value, str):
        return value
    return {"warn": "warning", "fatal": "critical"}.get(value.lower(), value.lower())


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class PriceSetting(BaseModel):
    """What a model costs, in USD per million tokens."""

    model_config = ConfigDict(extra="forbid")

    input_per_mtok_usd: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
    output_per_mtok_usd: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
    cached_input_per_mtok_usd: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] | None = None


Level = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_level)]
Format = Annotated[Literal["auto", "json", "console"], BeforeValidator(_lower)]


def _rates(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = (part.partition("=") for part in value.split(",") if part.strip())
    return {name.strip(): amount.strip() for name, _, amount in parts}


Rates = Annotated[
    dict[Annotated[str, Field(pattern=RATE_NAME)], Annotated[int, Field(ge=1)]],
    NoDecode,
    BeforeValidator(_rates),
]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)]
Chain = Annotated[tuple[str, ...], BeforeValidator(_list)]
Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
CrashPoint = Annotated[str, Field(pattern=r"^\w+:(before|after)(:[1-9]\d*)?$")]


class Settings(BaseSettings):
    """What a process is told from outside. Times are in seconds unless the name says otherwise."""

    # With the prefix, a field's own name never counts as a variable: HOST, PORT and TOOLS are
    # exported by many a shell for something else. In the file it does count.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        toml_file="orchestrator.toml",
        extra="ignore",
        populate_by_name=True,
    )

    # Places
    data_dir: Path = Field(Path("data"), validation_alias=_names("DATA_DIR"))
    """Folder of everything that is kept: store, Temporal's data, agents.toml, logs."""
    database_url: str | None = Field(None, validation_alias="database_url")
    """SQLite file or PostgreSQL; default: `orchestrator.db` in the data folder."""
    host: str = Field("127.0.0.1", validation_alias=_names("HOST"))
    """Where the API listens; any other than loopback needs an API key to exist."""
    port: Port = Field(8080, validation_alias=_names("PORT", "HTTP_PORT"))
    """The API's port; 0 is any free one."""
    api_url: str = Field("http://127.0.0.1:8080", validation_alias=_names("API_URL"))
    """Where the API is: what a worker alone, which cannot see it, tells external agents; and, from
    the environment only, what commands talk to."""
    temporal_port: Port = Field(7233, validation_alias=_names("TEMPORAL_PORT"))
    """The embedded Temporal server's port; 0 is any free one."""
    temporal_ui_port: Port = Field(8233, validation_alias=_names("TEMPORAL_UI_PORT"))
    """The port of its UI; 0 is any free one."""
    temporal_ui_url: str | None = Field(None, validation_alias=_names("TEMPORAL_UI_URL"))
    """Address of the Temporal UI when the server is not ours; makes the links of runs."""
    task_queue: str = Field("orchestrator", validation_alias="temporal_task_queue")
    """The Temporal task queue of this product's workers."""
    retention_hours: float = Field(720, validation_alias=_names("RETENTION_HOURS"), ge=24)
    """How long Temporal keeps the history of ended runs."""

    # Logs
    log_level: Level = Field("info", validation_alias=_names("LOG_LEVEL", "LOG_LEVEL"))
    """debug, info, warning, error or critical."""
    log_format: Format = Field("auto", validation_alias=_names("LOG_FORMAT"))
    """`json`, `console`, or `auto`: console on a terminal."""

    # Safety
    auth: Literal["auto", "on"] = Field("auto", validation_alias=_names("AUTH"))
    """`auto`: off on loopback while there is no key but revoked ones; `on`: always."""
    allowed_hosts: Names = Field((), validation_alias=_names("ALLOWED_HOSTS"))
    """Names of the Host header that are served besides localhost, by commas."""
    allowed_origins: Names = Field((), validation_alias=_names("ALLOWED_ORIGINS"))
    """Browser origins (`https://host:port`) besides our own, by commas."""
    allow_private_hosts: Names = Field((), validation_alias=_names("ALLOW_PRIVATE_HOSTS"))
    """Hosts or networks in private ranges that tools and agents may be reached at."""
    max_body_bytes: Count = Field(1 << 20, validation_alias=_names("MAX_BODY_BYTES"))
    """The largest request body that is read."""
    requests_per_second: Seconds = Field(1000, validation_alias=_names("REQUESTS_PER_SECOND"))
    """Of one key, or of one address while authentication is off; five times as many at once."""

    signal_decisions: Literal["auto", "on", "off"] = Field(
        "auto", validation_alias=_names("SIGNAL_DECISIONS")
    )
    """Whether approvals may be decided by a Temporal signal, which nobody signs; `auto`: while no
    API key exists."""

    # Event push
    ingress_url: str | None = Field(None, validation_alias="ingress_url")
    """Where every event is pushed to, as `POST {INGRESS_URL}/internal/send`; nowhere if unset."""
    ingress_token: SecretStr | None = Field(None, validation_alias=_names("INGRESS_TOKEN"))
    """Sent along as a bearer token."""

    # Capacity
    max_open_runs: Count = Field(10_000, validation_alias=_names("MAX_OPEN_RUNS"))
    """Runs in flight, beyond which a start answers 503."""
    worker_slots: Count = Field(200, validation_alias=_names("WORKER_SLOTS"))
    """Steps that a worker runs at once."""
    cached_runs: Count = Field(100, validation_alias=_names("CACHED_RUNS"))
    """Runs whose state a worker keeps at hand, 100 KiB each; others are replayed to go on."""
    pool_size: Count = Field(10, validation_alias=_names("POOL_SIZE"))
    """Connections to PostgreSQL per process."""

    # Patience
    attempt_seconds: Seconds = Field(300, validation_alias=_names("ATTEMPT_SECONDS"))
    """The longest attempt of a model call."""
    agent_timeout_ms: Count = Field(300_000, validation_alias="agent_timeout_ms")
    """The longest attempt of an external agent."""
    agent_check_seconds: Seconds = Field(30, validation_alias=_names("AGENT_CHECK_SECONDS"))
    """How often every external agent is asked how it is, and how often it should say so itself."""
    agent_check_timeout_seconds: Seconds = Field(
        5, validation_alias=_names("AGENT_CHECK_TIMEOUT_SECONDS")
    )
    """How long it may take to say so."""
    agent_unseen_seconds: Seconds = Field(90, validation_alias=_names("AGENT_UNSEEN_SECONDS"))
    """Without a good check, heartbeat or answer for so long an external agent is unhealthy."""
    agent_failures: Count = Field(5, validation_alias=_names("AGENT_FAILURES"))
    """Failed calls in a row that open an external agent's circuit."""
    agent_cool_down_seconds: Seconds = Field(30, validation_alias=_names("AGENT_COOL_DOWN_SECONDS"))
    """How long nobody is sent to an external agent whose circuit opened."""
    first_token_seconds: Seconds = Field(60, validation_alias=_names("FIRST_TOKEN_SECONDS"))
    """How long a model may take until it says anything."""
    idle_seconds: Seconds = Field(60, validation_alias=_names("IDLE_SECONDS"))
    """How long a model may fall silent."""
    retry_seconds: Seconds = Field(1, validation_alias=_names("RETRY_SECONDS"))
    """Pause before the second attempt; doubles after that."""
    provider_failures: Count = Field(3, validation_alias=_names("PROVIDER_FAILURES"))
    """Failures of a provider, or of an external agent, that end a step."""
    heartbeat_seconds: Seconds = Field(10, validation_alias=_names("HEARTBEAT_SECONDS"))
    """Silence after which Temporal gives an attempt to another worker."""
    lease_seconds: float = Field(
        2, validation_alias=_names("LEASE_SECONDS"), ge=0.2, allow_inf_nan=False
    )
    """Silence after which a worker counts as dead."""
    reconcile_seconds: float = Field(
        60, validation_alias=_names("RECONCILE_SECONDS"), ge=0.5, allow_inf_nan=False
    )
    """How often store and Temporal are compared."""
    busy_seconds: Seconds = Field(10, validation_alias=_names("BUSY_SECONDS"))
    """How long a write waits while another process holds the SQLite file."""
    stall_seconds: Seconds = Field(30, validation_alias=_names("STALL_SECONDS"))
    """A viewer that takes nothing for this long is cut; it can resume."""
    ping_seconds: Seconds = Field(15, validation_alias=_names("PING_SECONDS"))
    """How often an idle event stream shows that it lives."""
    drain_seconds: float = Field(
        6, validation_alias=_names("DRAIN_SECONDS"), ge=0, allow_inf_nan=False
    )
    """How long a stopping worker waits for what may not be cut."""

    # Models
    default_models: Names = Field((), validation_alias=_names("DEFAULT_MODELS"))
    """The chain of agents that name none, by commas."""
    max_output_tokens: Count = Field(4096, validation_alias=_names("MAX_OUTPUT_TOKENS"))
    """The longest reply asked of a model."""
    breaker_failures: int = Field(3, validation_alias=_names("BREAKER_FAILURES"), ge=0)
    """Failures in a row after which a model is left alone for a while; 0: never."""
    breaker_cooldown_seconds: Seconds = Field(
        60, validation_alias=_names("BREAKER_COOLDOWN_SECONDS")
    )
    """How long a model is left alone; then one call tries."""
    rate_limits: Rates = Field(default_factory=dict, validation_alias=_names("RATE_LIMITS"))
    """What providers take in a minute, over all workers:
    `openai:requests=500,openai/gpt-x:tokens=200000`."""
    most_output_tokens: Count = Field(131_072, validation_alias=_names("MOST_OUTPUT_TOKENS"))
    """The longest reply that a caller of `/v1/chat/completions` may ask for."""
    tiers: dict[ModelTier, Chain] = Field({}, validation_alias=_names("TIERS"))
    """The chain of each tier (`simple`, `medium`, `complex`, `critical`): a table `[tiers]` in the
    file, JSON in the environment. One that is left out has the default chain."""
    prices: dict[str, PriceSetting] = Field({}, validation_alias=_names("PRICES"))
    """What models cost where the bundled prices are wrong or silent, in USD per million tokens:
    `[prices."openai/gpt-x"]` with `input_per_mtok_usd`, `output_per_mtok_usd` and, if it differs,
    `cached_input_per_mtok_usd`. A price set over the API wins."""
    anthropic_api_key: SecretStr | None = Field(None, validation_alias="anthropic_api_key")
    """Makes `anthropic/...` models available."""
    anthropic_auth_token: SecretStr | None = Field(None, validation_alias="anthropic_auth_token")
    """The same, by bearer token."""
    anthropic_base_url: str | None = Field(None, validation_alias="anthropic_base_url")
    """Where Anthropic's API is, if elsewhere."""
    openai_api_key: SecretStr | None = Field(None, validation_alias="openai_api_key")
    """Makes `openai/...` models available."""
    openai_base_url: str | None = Field(None, validation_alias="openai_base_url")
    """Where OpenAI's API, or one that speaks like it, is."""
    openai_org_id: str | None = Field(None, validation_alias="openai_org_id")
    """Sent along to OpenAI."""
    openai_project_id: str | None = Field(None, validation_alias="openai_project_id")
    """Sent along to OpenAI."""
    ollama_host: str | None = Field(None, validation_alias="ollama_host")
    """Makes `ollama/...` models available; `localhost:11434`."""

    # Extensions and tests
    tools: Names = Field((), validation_alias=_names("TOOLS"))
    """More tools as `module:function`."""
    crash_point: CrashPoint | None = Field(None, validation_alias=_names("CRASH_POINT"))
    """For fault tests: `<commit>:<before|after>[:<n>]`, where the process kills itself."""

    @field_validator("ingress_url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if not url:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError("it is an address as http://localhost:8090")
        if "@" in parts.netloc:
            raise ValueError(
                "it holds a user or a password, which would be shown with it; leave them out and"
                " set ORCHESTRATOR_INGRESS_TOKEN, which is sent as a bearer token"
            )
        return url

    @field_validator("prices")
    @classmethod
    def _price_models(cls, prices: dict[str, PriceSetting]) -> dict[str, PriceSetting]:
        for model in prices:
            split_model(model)
        return prices

    @field_validator("default_models")
    @classmethod
    def _name_providers(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for model in models:
            split_model(model)
        return models

    @field_validator("tiers", mode="before")
    @classmethod
    def _name_tiers(cls, tiers: object) -> object:
        """Take `reasoning` for critical, as `/v1/models` does; refuse two names of one tier."""
        if not isinstance(tiers, dict):
            return tiers
        named: dict[object, object] = {}
        for name, chain in tiers.items():
            tier = TIER_NAMES.get(str(name).lower(), name)
            if tier in named:
                raise ValueError(f"{name} names tier {tier} once more; give it one chain")
            named[tier] = chain
        return named

    @field_validator("tiers")
    @classmethod
    def _name_their_providers(
        cls, tiers: dict[ModelTier, tuple[str, ...]]
    ) -> dict[ModelTier, tuple[str, ...]]:
        for chain in tiers.values():
            cls._name_providers(chain)
        return tiers

    @property
    def database(self) -> str:
        """Return the store's URL or path."""
        return self.database_url or str(self.data_dir / "orchestrator.db")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's shape
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the file below the environment."""
        toml = TomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, dotenv_settings, toml


def shown(settings: Settings) -> dict[str, Any]:
    """Return every setting as it counts, with secrets masked."""
    return settings.model_dump(mode="json")
