"""An agent as a run takes it along: checked, completed, frozen. Asks only the catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.agent import Agent, AgentKind, Limits, endpoint_flaw
from domain.chat import ModelInfo, split_model
from domain.errors import InvalidRequestError, NotFoundError
from domain.money import to_pico
from domain.ports import ModelCatalog
from domain.run import RunSpec
from domain.tiers import is_choice, tier_of
from domain.tool import SPAWN_TOOL, ToolSpec

OFFLINE = "offline"
"""The provider that is ours: it has no models but those on the list. Others may have new ones."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What is filled in where an agent says nothing."""

    limits: Limits
    models: tuple[str, ...]


def snapshot(
    agent: Agent,
    tools: Mapping[str, ToolSpec],
    defaults: Defaults,
    *,
    asked: Limits,
    context: dict[str, Any],
) -> RunSpec:
    """Return `agent` as a run takes it along, with the caps that the request asks to be lower.

    Raises:
        InvalidRequestError: the agent names a tool that is not there (any more).
    """
    is_llm = agent.kind is AgentKind.LLM
    return RunSpec(
        agent_kind=agent.kind,
        agent_name=agent.name,
        instructions=agent.instructions,
        models=(agent.models or defaults.models) if is_llm else (),
        tools=_specs(agent, tools) if is_llm else (),
        endpoint=agent.endpoint,
        degradation=agent.degradation,
        limits=lower(agent.limits.over(defaults.limits), asked),
        context=context,
        tool_policy=agent.tool_policy,
    )


def with_client_tools(spec: RunSpec, tools: Sequence[ToolSpec]) -> RunSpec:
    """Return a snapshot with the tools that the client who starts the run brings along.

    Raises:
        InvalidRequestError: the agent calls no tools of ours, or a name is taken.
    """
    if not tools:
        return spec
    if spec.agent_kind is AgentKind.HTTP:
        raise InvalidRequestError(
            "an agent of kind http calls its tools itself; it takes no others"
        )
    if any(tool.name == SPAWN_TOOL for tool in tools):
        raise InvalidRequestError(
            f"{SPAWN_TOOL} is how runs make child runs; give the tool of yours another name",
            field="client_tools",
        )
    names = [tool.name for tool in (*spec.tools, *tools)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidRequestError(f"two tools of this run are named {', '.join(twice)}")
    return spec.model_copy(update={"tools": (*spec.tools, *tools)})


def check_agent(agent: Agent, tools: Mapping[str, ToolSpec], models: ModelCatalog) -> None:
    """Refuse an agent that no run could be made of.

    A known provider without credentials here is fine: the workers may hold them.

    Raises:
        InvalidRequestError: names the tool, model or field that is wrong.
    """
    if agent.kind is AgentKind.HTTP and not agent.endpoint:
        raise InvalidRequestError("an agent of kind http needs an endpoint", field="endpoint")
    if agent.kind is AgentKind.LLM and agent.endpoint:
        said = "an agent of kind llm has no endpoint; use kind http"
        raise InvalidRequestError(said, field="endpoint")
    flaw = endpoint_flaw(agent.endpoint or "")
    if flaw is not None:
        raise InvalidRequestError(flaw, field="endpoint")
    _specs(agent, tools, field="tools")
    named = [model for model in agent.models if not _is_choice(model)]
    check_models((*named, *agent.degradation.models), models)


def check_models(chain: Sequence[str], models: ModelCatalog) -> None:
    """Refuse a chain of models that no provider serves.

    Raises:
        InvalidRequestError: names the model that is wrong.
    """
    # The list of every known model is long: a chain that names none does not need it.
    known = models.models() if chain else ()
    for model in chain:
        _check_model(model, known, models)


def lower(limits: Limits, asked: Limits) -> Limits:
    """Return `limits` with every cap that is asked to be lower; none is ever raised."""
    merged = limits.model_dump()
    for name, cap in asked.model_dump(exclude_none=True).items():
        mine = merged[name]
        if mine is None or _amount(name, cap) < _amount(name, mine):
            merged[name] = cap
    return Limits.model_validate(merged)


def recap(limits: Limits, asked: Limits, allowed: Limits) -> Limits:
    """Return `limits` with the caps that are asked for, none of them above what is `allowed`."""
    merged = limits.model_dump()
    most = lower(allowed, asked).model_dump()
    return Limits.model_validate(merged | {n: most[n] for n in asked.model_dump(exclude_none=True)})


def _amount(name: str, cap: float | str) -> float:
    return to_pico(str(cap)) if name == "max_cost_usd" else float(cap)


def _specs(
    agent: Agent, tools: Mapping[str, ToolSpec], field: str | None = None
) -> tuple[ToolSpec, ...]:
    unknown = [name for name in agent.tools if name not in tools]
    if unknown:
        raise InvalidRequestError(
            f"agent {agent.agent_id} names tools that are not there: {', '.join(unknown)}",
            field=field,
        )
    return tuple(tools[name] for name in dict.fromkeys(agent.tools))


def _is_choice(model: str) -> bool:
    """Whether a name stands for a choice of models.

    Raises:
        InvalidRequestError: it looks like a tier, and there is no such tier.
    """
    if is_choice(model):
        try:
            tier_of(model)
        except NotFoundError as error:
            raise InvalidRequestError(error.message, field="models") from error
        return True
    return False


def _check_model(model: str, known: Sequence[ModelInfo], models: ModelCatalog) -> None:
    try:
        provider, _ = split_model(model)
    except ValueError as error:
        raise InvalidRequestError(str(error), field="models") from error
    if provider == OFFLINE:
        _check_offline(model, [info.model for info in known if info.provider == OFFLINE])
    if provider not in models.providers():
        named = ", ".join(sorted(models.providers()))
        raise InvalidRequestError(
            f"model {model}: there is no provider {provider}; there are {named}", field="models"
        )


def _check_offline(model: str, there: Sequence[str]) -> None:
    if model not in there:
        raise InvalidRequestError(
            f"there is no model {model}; there are {', '.join(there)}", field="models"
        )
