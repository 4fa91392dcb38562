"""All failures that the product can name, one by one."""

from domain.errors import OrchestratorError


def leaves(root: type[OrchestratorError] = OrchestratorError) -> list[type[OrchestratorError]]:
    """Return every class below `root`, depth first."""
    return [leaf for child in root.__subclasses__() for leaf in (child, *leaves(child))]
