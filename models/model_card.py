"""The card of a version, for people: what it is, what it learnt from, how good it is and where it is not.

After Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from models.cascade import Cascade
from models.evaluation import CategoryScores, Evaluation
from models.labels import LabelSet

__all__ = ["CardFacts", "model_card"]

_NUM_WEAKEST: Final = 5
_FEW_ROWS: Final = 30
_MARKDOWN: Final = str.maketrans({character: f"\\{character}" for character in r"\`*_{}[]<>()#+!|~"})


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything a card says.

    Attributes:
        name: of the model.
        labels: its categories.
        text: its text encoder, in a few words; None without one.
        image: its image encoder, in a few words; None without one.
        evaluation: on the rows held out.
        ece_before: calibration error before the fusion was fitted.
        alone: modality -> weighted F1 of the rows that have it, the other one hidden.
        cascade: from when on a text alone is certain.
        out_of_fold: rows with both modalities, and the weighted F1 of the fusion, the text and the picture.
        data: what it learnt from: counts and digests.
        training_rows: code of a category -> rows learnt from.
        overrides: what the run was asked for.
        seed: of the run.
        libraries: name -> version.
    """

    name: str
    labels: LabelSet
    text: str | None
    image: str | None
    evaluation: Evaluation
    ece_before: float
    alone: Mapping[str, float | None]
    cascade: Cascade
    out_of_fold: Mapping[str, Any]
    data: Mapping[str, Any]
    training_rows: Mapping[str, int]
    overrides: Sequence[str]
    seed: int
    libraries: Mapping[str, str] = field(default_factory=dict)


def model_card(facts: CardFacts) -> str:
    """The card in Markdown; whatever comes from a catalogue is escaped."""
    sections = (
        f"# {_escaped(facts.name)}",
        _what_it_is(facts),
        _scores(facts),
        _weakest(facts),
        _data(facts),
        _limits(facts),
        _reproduce(facts),
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _what_it_is(facts: CardFacts) -> str:
    parts = [
        f"- {modality}: {_escaped(encoder)}"
        for modality, encoder in (("text", facts.text), ("picture", facts.image))
        if encoder is not None
    ]
    return (
        f"Puts products into {len(facts.labels)} categories by an additive fusion: the logits are the sum of "
        "what each modality says, weighted for each category, and calibrated by temperature. A missing "
        "modality counts as its mean over the training rows.\n\n" + "\n".join(parts)
    )


def _scores(facts: CardFacts) -> str:
    evaluation = facts.evaluation
    rows = [
        ("weighted F1", evaluation.weighted_f1),
        ("macro F1", evaluation.macro_f1),
        ("accuracy", evaluation.accuracy),
        *(
            (f"accuracy of the surest {float(share):.0%}", accuracy)
            for share, accuracy in evaluation.selective_accuracy.items()
        ),
        ("calibration error before the fusion was fitted", facts.ece_before),
        ("calibration error", evaluation.ece),
        *(
            (f"weighted F1 by {modality} alone", score)
            for modality, score in facts.alone.items()
            if score is not None
        ),
    ]
    table = "".join(f"| {name} | {value:.4f} |\n" for name, value in rows)
    modalities = "".join(
        f"| {name} | {scores.rows} | {scores.weighted_f1:.4f} | {scores.accuracy:.4f} | {scores.ece:.4f} |\n"
        for name, scores in evaluation.by_modality.items()
    )
    return (
        f"## Scores on {evaluation.rows} rows held out\n\n| | |\n| --- | --- |\n{table}\n"
        f"| rows with | rows | weighted F1 | accuracy | ECE |\n| --- | --- | --- | --- | --- |\n{modalities}"
        f"{_out_of_fold(facts.out_of_fold)}"
        f"\nCascade, for a loss of at most {facts.cascade.max_loss:g}: {facts.cascade}.\n"
    ).rstrip()


def _out_of_fold(scores: Mapping[str, Any]) -> str:
    if not scores.get("rows"):
        return ""
    return (
        f"\nOn the {scores['rows']} training rows with both modalities, asked out of fold: weighted F1 "
        f"{scores['fusion']:.4f} by fusion, {scores['text_alone']:.4f} by text alone, "
        f"{scores['image_alone']:.4f} by picture alone.\n"
    )


def _weakest(facts: CardFacts) -> str:
    seen = [entry for entry in facts.evaluation.per_class if entry.support]
    weakest: list[CategoryScores] = sorted(seen, key=lambda entry: entry.f1)[:_NUM_WEAKEST]
    if not weakest:
        return ""
    lines = "".join(
        f"| {_escaped(str(entry.code))} | {_escaped(entry.label)} | {entry.support} | {entry.precision:.3f} "
        f"| {entry.recall:.3f} | {entry.f1:.3f} |\n"
        for entry in weakest
    )
    header = "| code | name | rows | precision | recall | F1 |\n| --- | --- | --- | --- | --- | --- |\n"
    return f"## Weakest categories\n\n{header}{lines}".rstrip()


def _data(facts: CardFacts) -> str:
    lines = "".join(
        f"| {_escaped(str(name))} | {_escaped(str(value))} |\n" for name, value in facts.data.items()
    )
    return f"## Data\n\n| | |\n| --- | --- |\n{lines}".rstrip()


def _limits(facts: CardFacts) -> str:
    limits = ["Scores hold for products like those it learnt from, in the same language."]
    few = [code for code, rows in facts.training_rows.items() if rows < _FEW_ROWS]
    if few:
        limits.append(f"Fewer than {_FEW_ROWS} rows were learnt from for {', '.join(map(_escaped, few))}.")
    unmeasured = [str(each.code) for each in facts.evaluation.per_class if not each.support]
    if unmeasured:
        limits.append(
            f"No row held out is of {', '.join(map(_escaped, unmeasured))}: their scores are unknown."
        )
    if facts.text is None:
        limits.append("It reads no text.")
    if facts.image is None:
        limits.append("It looks at no picture.")
    limits.append(
        "A product of any other category is put into one of these all the same: mind the probability."
    )
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _reproduce(facts: CardFacts) -> str:
    overrides = " ".join(facts.overrides).replace("`", "'").replace("\n", " ")
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(facts.libraries.items()))
    return (
        "## Reproduce\n\n"
        f"`shelver train {overrides}`, seed {facts.seed}; the whole configuration is in bundle.json, the "
        f"split in split.json. {_escaped(libraries)}"
    ).rstrip()


def _escaped(text: str) -> str:
    return " ".join(text.split()).translate(_MARKDOWN)
