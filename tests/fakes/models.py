"""The models that an installation has, none of which is asked."""

from collections.abc import Sequence

from adapters.llm.offline import OfflineChat
from domain.chat import ModelInfo, split_model
from domain.errors import ModelNotConfiguredError
from domain.ports import ChatModel


class FakeModels:
    """The offline models, a provider without credentials, and one that passes bytes through."""

    def __init__(self) -> None:
        self._offline = OfflineChat()

    def resolve(self, model: str) -> ChatModel:
        provider, _ = split_model(model)
        if provider == "offline":
            return self._offline
        raise ModelNotConfiguredError(f"there is no provider {provider}")

    def providers(self) -> Sequence[str]:
        return ("offline", "ollama", "openai", "raw")

    def models(self) -> Sequence[ModelInfo]:
        return (
            *(
                ModelInfo(
                    model=f"offline/{name}",
                    provider="offline",
                    configured=True,
                    input_per_mtok_usd="0",
                    output_per_mtok_usd="0",
                )
                for name in ("echo", "assistant", "script")
            ),
            ModelInfo(model="raw/one", provider="raw", configured=True),
            ModelInfo(model="openai/gpt-x", provider="openai", configured=False),
        )
