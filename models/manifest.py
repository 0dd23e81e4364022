"""`bundle.json`: what one version of a model is, and the size and sha256 of each of its files.

The manifest seals itself. Its `sha256` field is the digest of the same document without that field, in the
one form that is written: keys sorted, two spaces of indent, UTF-8. A document in any other form is refused,
so there is no byte of it that can change unnoticed.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NoReturn, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from models.errors import BundleError

__all__ = [
    "FORMAT_VERSION",
    "NAME_PATTERN",
    "VERSION_PATTERN",
    "EncoderEntry",
    "FileEntry",
    "Manifest",
    "decode_json",
    "encode_json",
    "open_manifest",
    "seal_manifest",
]

FORMAT: Final = "shelver.bundle"
FORMAT_VERSION: Final = 2
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names of models: no separator, no leading dot, so a name is never a path."""
VERSION_PATTERN: Final = r"^[1-9][0-9]{0,8}$"

_FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
_SHOWN_FAULTS = 3

FileName = Annotated[str, StringConstraints(pattern=_FILE_NAME)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileEntry(_Entry):
    """One file of a version."""

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class EncoderEntry(_Entry):
    """How one encoder is built again: its kind, its arguments and the names of its files."""

    kind: str = Field(min_length=1, max_length=100)
    config: dict[str, Any]
    assets: list[FileName] = Field(default_factory=list)


class Manifest(_Entry):
    """All of `bundle.json` but its own digest."""

    format: Literal["shelver.bundle"] = FORMAT
    format_version: Literal[2] = FORMAT_VERSION
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    created_at: AwareDatetime
    codes: list[int | str] = Field(min_length=1)
    text: EncoderEntry | None
    image: EncoderEntry | None
    files: dict[FileName, FileEntry]
    data_fingerprint: dict[str, Any]
    config: dict[str, Any]
    libraries: dict[str, str]

    @classmethod
    def create(cls, **fields: Any) -> Self:
        """A manifest of these fields.

        Raises:
            BundleError: one of them is missing or not allowed.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            raise _not_a_version(error) from error

    @property
    def assets(self) -> frozenset[str]:
        """Names of the encoders' own files."""
        return frozenset(
            asset for encoder in (self.text, self.image) if encoder is not None for asset in encoder.assets
        )


def seal_manifest(manifest: Manifest) -> bytes:
    """The bytes of `bundle.json`.

    Raises:
        BundleError: a value is not JSON (NaN and infinity are not).
    """
    fields = manifest.model_dump() | {"created_at": manifest.created_at.isoformat()}
    # Once through JSON: keys that are numbers become text now and are sorted as what will be read.
    document = json.loads(encode_json(fields, "bundle.json"))
    return encode_json(document | {"sha256": _digest(document)}, "bundle.json")


def open_manifest(data: bytes) -> Manifest:
    """The manifest in the bytes of `bundle.json`.

    Raises:
        BundleError: the bytes are cut, edited, of a newer format, or no manifest at all.
    """
    document = decode_json(data, "bundle.json")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BundleError(f'bundle.json is not the manifest of a version: its "format" must be "{FORMAT}"')
    _check_format_version(document.get("format_version"))
    body = {key: value for key, value in document.items() if key != "sha256"}
    if document.get("sha256") != _digest(body) or encode_json(document, "bundle.json") != data:
        raise BundleError("bundle.json was changed after it was written: its sha256 differs; publish again")
    return _validate(body)


def encode_json(document: object, file_name: str) -> bytes:
    """A document in the one form in which the JSON files of a version are written.

    Raises:
        BundleError: a value is not JSON (NaN and infinity are not).
    """
    try:
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{file_name} cannot be written, a value is not JSON: {error}") from error


def decode_json(data: bytes, file_name: str) -> Any:
    """The document in the bytes of a JSON file of a version.

    Raises:
        BundleError: the bytes are not JSON.
    """
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file_name} is not readable JSON, cut or damaged: {str(error)[:120]}") from error


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(encode_json(document, "bundle.json")).hexdigest()


def _check_format_version(found: object) -> None:
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise BundleError(f'bundle.json has no usable "format_version": {str(found)[:40]!r}')
    if found != FORMAT_VERSION:
        remedy = "update Shelver" if found > FORMAT_VERSION else "train it again"
        raise BundleError(
            f"bundle.json is of format {found}, this release reads format {FORMAT_VERSION}: {remedy}"
        )


def _validate(body: dict[str, Any]) -> Manifest:
    try:
        return Manifest.model_validate_json(json.dumps(body))
    except ValidationError as error:
        raise _not_a_version(error) from error


def _not_a_version(error: ValidationError) -> BundleError:
    faults = [
        f"{'.'.join(map(str, fault['loc']))[:80]}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)[:_SHOWN_FAULTS]
    ]
    return BundleError(f"bundle.json does not describe a version: {'; '.join(faults)}")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
