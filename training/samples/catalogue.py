"""Writes the sample catalogue: French titles, HTML descriptions, drawn pictures, in the challenge's layout.

Of the products that have a picture, some can only be told apart by it (a generic title), some only by their
text (a neutral picture), the rest by either; `kind` in rows.csv says which, `side` where the object is drawn.
"""

import csv
import html
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.samples.categories import GENERIC_TITLES, SAMPLE_CATEGORIES, SampleCategory
from training.samples.drawings import draw_neutral, draw_product, encode_picture

__all__ = ["write_sample_catalogue"]

_BRANDS = ("Lumea", "Orvane", "Kestrel", "Maison Belval", "Tibo", "Novalis", "Rivoire", "Petit Cèdre")
_QUALITIES = (
    "bleu nuit",
    "rouge",
    "vert forêt",
    "décor étoilé",
    "grand modèle",
    "édition limitée",
    "année 2024",
)
_SHARED_SENTENCES = (
    "Expédié sous 24 h.",
    "Idéal pour offrir à Noël.",
    "Garantie 2 ans & retour gratuit.",
    "Photo non contractuelle.",
    "Vendu à l'unité.",
)
_PSEUDO_SHARE = 10


@dataclass(frozen=True, slots=True)
class _SampleProduct:
    index: int
    category: SampleCategory
    kind: str
    side: str
    split: str
    title: str
    description: str
    picture: bytes | None

    @property
    def product_id(self) -> int:
        return 3_800_000_000 + 7 * self.index

    @property
    def image_id(self) -> int:
        return 1_200_000_000 + 13 * self.index

    @property
    def file_name(self) -> str:
        return f"image_{self.image_id}_product_{self.product_id}.jpg"


def write_sample_catalogue(folder: Path, num_products: int = 600, seed: int = 1) -> Path:
    """Write `num_products` labelled products, and a tenth as many with pseudo labels, under `folder`.

    The layout is the challenge's: X_train_update.csv, Y_train_CVw08PX.csv, rows.csv (split train | val),
    label_names.csv, images/image_train/, and X_test_update.csv, Y_test_pseudo.csv, images/image_test/ for the
    pseudo-labelled ones. A seed and a version of Pillow give the same bytes; product i does not depend on
    `num_products`. Some files named .jpg hold a PNG, as in real catalogues.

    Args:
        folder: created when missing; files of the same names are overwritten.
        num_products: labelled products, at least 1. About 2 ms and 6 KB each.
        seed: any integer.

    Returns:
        `folder`.

    Raises:
        ValueError: `num_products` is below 1.
    """
    if num_products < 1:
        raise ValueError(f"num_products is {num_products}: at least 1 product is needed")
    labelled = [_product(seed, index) for index in range(num_products)]
    first_pseudo = 10_000_000
    pseudo = [_product(seed, first_pseudo + index) for index in range(num_products // _PSEUDO_SHARE)]
    folder.mkdir(parents=True, exist_ok=True)
    _write_part(folder, "X_train_update.csv", "Y_train_CVw08PX.csv", "image_train", labelled)
    _write_part(folder, "X_test_update.csv", "Y_test_pseudo.csv", "image_test", pseudo)
    _write_rows(folder, labelled)
    _write_label_names(folder, labelled)
    return folder


def _write_part(
    folder: Path, x_name: str, y_name: str, images_name: str, products: Sequence[_SampleProduct]
) -> None:
    columns = ("", "designation", "description", "productid", "imageid")
    _write_csv(
        folder / x_name,
        columns,
        ((row.index, row.title, row.description, row.product_id, row.image_id) for row in products),
    )
    _write_csv(folder / y_name, ("", "prdtypecode"), ((row.index, row.category.code) for row in products))
    images = folder / "images" / images_name
    images.mkdir(parents=True, exist_ok=True)
    for product in products:
        if product.picture is not None:
            (images / product.file_name).write_bytes(product.picture)


def _write_rows(folder: Path, products: Sequence[_SampleProduct]) -> None:
    _write_csv(
        folder / "rows.csv",
        ("index", "kind", "has_image", "split", "side"),
        ((row.index, row.kind, row.picture is not None, row.split, row.side) for row in products),
    )


def _write_label_names(folder: Path, products: Sequence[_SampleProduct]) -> None:
    num_of = {category.code: 0 for category in SAMPLE_CATEGORIES}
    for product in products:
        num_of[product.category.code] += 1
    _write_csv(
        folder / "label_names.csv",
        ("prdtypecode", "label_fr", "label_en", "n_train_full"),
        ((label.code, label.name_fr, label.name_en, num_of[label.code]) for label in SAMPLE_CATEGORIES),
    )


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _product(seed: int, index: int) -> _SampleProduct:
    rng = random.Random(f"{seed}:{index}")  # noqa: S311 - a reproducible drawing, not a secret
    category = SAMPLE_CATEGORIES[index % len(SAMPLE_CATEGORIES)]
    kind = rng.choices(("both", "picture", "text"), (0.5, 0.25, 0.25))[0]
    split = "val" if rng.random() < 0.2 else "train"
    side, picture = _picture(category, kind, rng)
    return _SampleProduct(
        index=index,
        category=category,
        kind=kind,
        side=side,
        split=split,
        title=_title(category, kind, rng),
        description=_description(category, kind, rng),
        picture=picture,
    )


def _picture(category: SampleCategory, kind: str, rng: random.Random) -> tuple[str, bytes | None]:
    if kind == "text" and rng.random() < 0.4:
        return "", None
    as_png = rng.random() < 0.1
    if kind == "text":
        return "", encode_picture(draw_neutral(rng), as_png=as_png)
    on_right = rng.random() < 0.5
    picture = draw_product(category.drawing, on_right=on_right, rng=rng)
    return "right" if on_right else "left", encode_picture(picture, as_png=as_png)


def _title(category: SampleCategory, kind: str, rng: random.Random) -> str:
    noun = rng.choice(GENERIC_TITLES if kind == "picture" else category.nouns)
    words = [noun, rng.choice(_QUALITIES), f"réf. {rng.randrange(100, 1000)}"]
    if rng.random() < 0.7:
        words.insert(rng.randrange(2), rng.choice(_BRANDS))
    title = " ".join(words)
    return title.upper() if rng.random() < 0.1 else title


def _description(category: SampleCategory, kind: str, rng: random.Random) -> str:
    if rng.random() < 0.3:
        return ""
    sentences = rng.sample(_SHARED_SENTENCES, 2)
    if kind != "picture":
        sentences.insert(rng.randrange(3), rng.choice(category.features))
    text = "".join(f"<p>{_escaped(sentence, rng)}</p>" for sentence in sentences)
    return f'<div class="fiche">{text}<br /></div>' if rng.random() < 0.3 else text


def _escaped(sentence: str, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return html.escape(sentence)
    named = {"é": "&eacute;", "è": "&egrave;", "à": "&agrave;", "â": "&acirc;", "É": "&Eacute;"}
    return "".join(named.get(character, character) for character in html.escape(sentence))
