import subprocess
import sys
from types import ModuleType

import pytest

import schemas
from schemas.base import Message

MESSAGES = (
    schemas.ProductListed,
    schemas.CategoryAssigned,
    schemas.ExplanationRequested,
    schemas.CategoryExplained,
    schemas.CategoryCorrected,
)
HEAVY = ("numpy", "torch", "faust", "aiokafka", "aiohttp", "lightning", "hydra", "typer", "rich", "PIL")


def test_the_package_exports_what_it_says_and_nothing_else() -> None:
    public = {
        name
        for name, value in vars(schemas).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(schemas.__all__)
    assert len(schemas.__all__) == len(set(schemas.__all__))


def test_importing_the_package_loads_nothing_heavy_and_sets_nothing_up() -> None:
    code = f"import sys, schemas; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"
    assert ran.stderr == ""


def test_all_messages_are_listed_here() -> None:
    assert set(Message.__subclasses__()) == set(MESSAGES)


@pytest.mark.parametrize("message_type", MESSAGES)
def test_every_message_says_how_it_is_identified_dated_and_typed(message_type: type[Message]) -> None:
    fields = message_type.model_fields
    assert message_type.IDENTIFIER_FIELD in fields
    assert message_type.TIME_FIELD is None or message_type.TIME_FIELD in fields
    assert message_type.EVENT_TYPE.startswith("shelver.")


def test_no_two_messages_have_the_same_event_type() -> None:
    assert len({message_type.EVENT_TYPE for message_type in MESSAGES}) == len(MESSAGES)


@pytest.mark.parametrize(
    "error",
    [
        schemas.MalformedError("x"),
        schemas.FramingError("x", schema_id=7),
        schemas.MessageTooLargeError("x", size_bytes=2, limit_bytes=1),
        schemas.InvalidMessageError("x", fields=["a"]),
        schemas.EmptyListingError("x"),
    ],
)
def test_errors_of_messages_have_one_root_and_are_their_text(error: Exception) -> None:
    assert isinstance(error, schemas.MessageError)
    assert isinstance(error, schemas.ShelverError)
    assert not isinstance(error, ValueError)
    assert str(error) == "x"


def test_errors_of_catalogues_are_the_operators() -> None:
    assert issubclass(schemas.CatalogueError, ValueError)
    assert not issubclass(schemas.CatalogueError, schemas.MessageError)
