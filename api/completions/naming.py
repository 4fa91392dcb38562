"""Which models a name stands for."""

from collections import defaultdict

from api.access import Access
from api.completions.asking import Ask
from api.completions.reading import last_user_text
from api.ports import ProxyPorts
from domain.chat import split_model
from domain.errors import ModelNotConfiguredError
from domain.ports import ModelCatalog
from domain.tiers import Choice, Question, is_choice, tier_of


class Names:
    """Turns the name in a request into a chain of models, most often of one."""

    def __init__(self, ports: ProxyPorts, models: ModelCatalog) -> None:
        self._ports = ports
        self._models = models
        self._bare: dict[str, list[str]] | None = None

    async def chain(self, access: Access, ask: Ask) -> Choice:
        """Return the models to ask, in turn, and why where there was a choice.

        Raises:
            NotFoundError: no such tier.
            ModelNotConfiguredError: no such model here, or several providers have one.
        """
        if is_choice(ask.model):
            question = Question(
                text=last_user_text(ask),
                tools=_count(ask.body.get("tools")),
                messages=len(ask.body["messages"]),
                session_id=ask.session_id,
                owner=access.who.owner,
            )
            return await self._ports.router.choose(tier_of(ask.model), question)
        return Choice((self._model(ask.model),))

    def _model(self, name: str) -> str:
        try:
            split_model(name)
            self._ports.raw.passes(name)
        except ValueError:
            return self._by_bare_name(name, None)
        except ModelNotConfiguredError as error:
            return self._by_bare_name(name, error)
        return name

    def _by_bare_name(self, name: str, why: ModelNotConfiguredError | None) -> str:
        if self._bare is None:
            self._bare = defaultdict(list)
            for info in self._models.models():
                if info.configured:
                    self._bare[split_model(info.model)[1]].append(info.model)
        found = self._bare.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            said = f"several providers have a model {name}: name one of {', '.join(found)}"
            raise ModelNotConfiguredError(said, field="model")
        if why is not None:
            why.field = "model"
            raise why
        said = f"there is no model {name[:100]!a}; GET /v1/models lists them"
        raise ModelNotConfiguredError(said, field="model")


def _count(tools: object) -> int:
    """Return how many tools a request brings; what is wrong with them is their reader's word."""
    return len(tools) if isinstance(tools, list) else 0
