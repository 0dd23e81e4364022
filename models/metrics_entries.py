"""What is kept in `metrics.json` beside the scores, read back whole or not at all."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from models.errors import BundleError

__all__ = ["entry_of_metrics"]

Entry = TypeVar("Entry", bound=BaseModel)


def entry_of_metrics(kind: type[Entry], metrics: Mapping[str, Any], key: str) -> Entry | None:
    """What the metrics of a version hold under a key; None in those of a release that wrote none.

    Raises:
        BundleError: what stands there is something else.
    """
    if (found := metrics.get(key)) is None:
        return None
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, (key, *fault["loc"])))[:80]
        raise BundleError(f"metrics.json describes no {key}: {place}: {fault['msg']}") from error
