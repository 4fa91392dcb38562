"""Every setting, its environment name and its default. Knows no object that is built from them.

Precedence: command line, environment, `.env`, `orchestrator.toml`, defaults. Own settings have the
prefix `ORCHESTRATOR_`; names that other tools or the seeds established are taken as they are.
`TEMPORAL_*` is read by the SDK itself (temporalio.envconfig), never here.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "ORCHESTRATOR_"


def _names(own: str, *others: str) -> AliasChoices:
    return AliasChoices(f"{PREFIX}{own}".lower(), own.lower(), *(name.lower() for name in others))


def _list(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)]


class Settings(BaseSettings):
    """What a process is told from outside. Times are in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(
        env_file=".env", toml_file="orchestrator.toml", extra="ignore", populate_by_name=True
    )

    # Places
    data_dir: Path = Field(Path("data"), validation_alias=_names("DATA_DIR"))
    database_url: str | None = Field(None, validation_alias="database_url")
    """SQLite file or PostgreSQL; default: `orchestrator.db` in the data folder."""
    host: str = Field("127.0.0.1", validation_alias=_names("HOST"))
    port: int = Field(8080, validation_alias=_names("PORT", "HTTP_PORT"), ge=0, le=65535)
    api_url: str = Field("http://127.0.0.1:8080", validation_alias=_names("API_URL"))
    """Where external agents reach the API; for a worker alone, which cannot see it."""
    temporal_port: int = Field(7233, validation_alias=_names("TEMPORAL_PORT"), ge=0, le=65535)
    temporal_ui_port: int = Field(8233, validation_alias=_names("TEMPORAL_UI_PORT"), ge=0)
    temporal_ui_url: str | None = Field(None, validation_alias=_names("TEMPORAL_UI_URL"))
    """Address of the Temporal UI when the server is not ours; makes the links of runs."""
    task_queue: str = Field("orchestrator", validation_alias="temporal_task_queue")
    retention_hours: float = Field(720, validation_alias=_names("RETENTION_HOURS"), ge=24)
    """How long Temporal keeps the history of ended runs."""

    # Logs
    log_level: str = Field("info", validation_alias=_names("LOG_LEVEL"))
    log_format: str = Field("auto", validation_alias=_names("LOG_FORMAT"))
    """`json`, `console`, or `auto`: console on a terminal."""

    # Safety
    auth: str = Field("auto", validation_alias=_names("AUTH"))
    """`auto`: off on loopback while no key exists; `on`: always."""
    allowed_hosts: Names = Field((), validation_alias=_names("ALLOWED_HOSTS"))
    allowed_origins: Names = Field((), validation_alias=_names("ALLOWED_ORIGINS"))
    allow_private_hosts: Names = Field((), validation_alias=_names("ALLOW_PRIVATE_HOSTS"))
    """Hosts or networks in private ranges that tools and agents may be reached at."""
    max_body_bytes: int = Field(1 << 20, validation_alias=_names("MAX_BODY_BYTES"))
    requests_per_second: float = Field(1000, validation_alias=_names("REQUESTS_PER_SECOND"))
    """Of one key, or of one address while authentication is off; five times as many at once."""

    # Capacity
    max_open_runs: int = Field(10_000, validation_alias=_names("MAX_OPEN_RUNS"), ge=1)
    worker_slots: int = Field(200, validation_alias=_names("WORKER_SLOTS"), ge=1)
    pool_size: int = Field(10, validation_alias=_names("POOL_SIZE"), ge=1)

    # Patience
    attempt_seconds: float = Field(300, validation_alias=_names("ATTEMPT_SECONDS"))
    agent_timeout_ms: int = Field(300_000, validation_alias="agent_timeout_ms")
    first_token_seconds: float = Field(60, validation_alias=_names("FIRST_TOKEN_SECONDS"))
    idle_seconds: float = Field(60, validation_alias=_names("IDLE_SECONDS"))
    retry_seconds: float = Field(1, validation_alias=_names("RETRY_SECONDS"))
    provider_failures: int = Field(3, validation_alias=_names("PROVIDER_FAILURES"), ge=1)
    heartbeat_seconds: float = Field(10, validation_alias=_names("HEARTBEAT_SECONDS"))
    lease_seconds: float = Field(2, validation_alias=_names("LEASE_SECONDS"))
    reconcile_seconds: float = Field(60, validation_alias=_names("RECONCILE_SECONDS"))
    busy_seconds: float = Field(10, validation_alias=_names("BUSY_SECONDS"))
    """How long a write waits while another process holds the SQLite file."""
    stall_seconds: float = Field(30, validation_alias=_names("STALL_SECONDS"))
    """A viewer that takes nothing for this long is cut; it can resume."""
    ping_seconds: float = Field(15, validation_alias=_names("PING_SECONDS"))
    drain_seconds: float = Field(6, validation_alias=_names("DRAIN_SECONDS"))

    # Models
    default_models: Names = Field((), validation_alias=_names("DEFAULT_MODELS"))
    max_output_tokens: int = Field(4096, validation_alias=_names("MAX_OUTPUT_TOKENS"))
    anthropic_api_key: SecretStr | None = None
    anthropic_auth_token: SecretStr | None = None
    anthropic_base_url: str | None = None
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    openai_org_id: str | None = None
    openai_project_id: str | None = None
    ollama_host: str | None = None

    # Extensions and tests
    tools: Names = Field((), validation_alias=_names("TOOLS"))
    """More tools as `module:function`."""
    crash_point: str | None = Field(None, validation_alias=_names("CRASH_POINT"))
    """For fault tests: `<commit>:<before|after>[:<n>]`, where the process kills itself."""

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
