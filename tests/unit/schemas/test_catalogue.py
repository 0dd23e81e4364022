import base64
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.catalogue import CatalogueRow, count_rows, read_catalogue, read_label_names
from schemas.codec import decode, encode
from schemas.errors import CatalogueError, InvalidMessageError
from schemas.products import ImageReference, ProductListed

PICTURE = b"\xff\xd8\xff\xe0 a picture"


def write_lines(path: Path, *objects: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in objects), encoding="utf-8")
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_bytes(PICTURE)
    return tmp_path


def test_a_table_has_products_with_pictures_categories_and_splits(pictures: Path) -> None:
    path = pictures / "products.csv"
    path.write_text(
        "product_id;title;description;image;category;split;price\n"
        "3804725264;Robot;<p>été</p>;pictures/a.jpg;2583;val;3\n"
        "2.0;;;https://shop.example/b.jpg;;;\n",
        encoding="utf-8",
    )
    assert list(read_catalogue(path)) == [
        CatalogueRow(
            "3804725264", "Robot", "<p>été</p>", pictures / "pictures" / "a.jpg", category="2583", split="val"
        ),
        CatalogueRow("2.0", "", "", image=ImageReference(url="https://shop.example/b.jpg")),
    ]
    assert count_rows(path) == 2


def test_the_names_of_the_challenge_are_accepted_in_a_table(tmp_path: Path) -> None:
    path = tmp_path / "X_train_update.csv"
    path.write_text(
        ",designation,description,productid,imageid,prdtypecode\n0,Robot,,7,8,10\n", encoding="utf-8"
    )
    assert list(read_catalogue(path)) == [CatalogueRow("7", "Robot", "", category="10")]


def test_lines_of_json_are_listings(pictures: Path) -> None:
    path = write_lines(
        pictures / "products.jsonl",
        {"event_id": "e", "product_id": 12345678901234567890123, "title": None, "listed_at": "never"},
        {"productid": "a", "designation": "Robot", "image": {"data": "AAAA"}, "category": 2583},
        {
            "product_id": "b",
            "image": {"url": "http://shop.example/b.jpg"},
            "prdtypecode": "A",
            "split": "train",
        },
        {"product_id": "c", "image": "pictures/a.jpg"},
        {"product_id": "d", "image": {"url": None}, "category": None, "explain": "perhaps"},
    )
    assert list(read_catalogue(path)) == [
        CatalogueRow("12345678901234567890123", "", ""),
        CatalogueRow("a", "Robot", "", category="2583", image=ImageReference(data="AAAA")),
        CatalogueRow(
            "b", "", "", category="A", split="train", image=ImageReference(url="http://shop.example/b.jpg")
        ),
        CatalogueRow("c", "", "", pictures / "pictures" / "a.jpg"),
        CatalogueRow("d", "", ""),
    ]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"title": "x"}, "line 2: not a valid ProductListed: product_id is missing"),
        ({"product_id": 1, "title": 7}, "line 2: not a valid ProductListed: title should be a string"),
        ({"product_id": 1, "image": "no.jpg"}, "line 2: image 'no.jpg' is not in the folder"),
        ({"product_id": 1, "image": "../secret.jpg"}, "line 2: image '../secret.jpg' is outside the folder"),
        ({"product_id": 1, "image": "/etc/hostname"}, "line 2: image '/etc/hostname' is outside the folder"),
        ({"product_id": 1, "image": {}}, "line 2: not a valid ProductListed: image"),
        ({"product_id": 1, "category": 1.5}, "line 2: category should be a string or an integer"),
        ({"product_id": 1, "split": True}, "line 2: split should be a string or an integer, got True"),
    ],
)
def test_a_row_that_is_wrong_is_named_after_the_rows_before_it(
    pictures: Path, body: dict[str, Any], fault: str
) -> None:
    folder = pictures / "pictures"
    (pictures / "secret.jpg").write_bytes(PICTURE)
    rows = read_catalogue(write_lines(folder / "products.jsonl", {"product_id": "good"}, body))
    assert next(rows).product_id == "good"
    with pytest.raises(CatalogueError) as caught:
        next(rows)
    assert str(caught.value).startswith(f"{folder / 'products.jsonl'}, {fault}")


def test_a_link_out_of_the_folder_is_not_followed(pictures: Path) -> None:
    folder = pictures / "catalogue"
    folder.mkdir()
    (folder / "link.jpg").symlink_to(pictures / "pictures" / "a.jpg")
    path = write_lines(folder / "products.jsonl", {"product_id": 1, "image": "link.jpg"})
    with pytest.raises(CatalogueError, match="outside the folder"):
        list(read_catalogue(path))


@pytest.mark.parametrize("name", ["products.xlsx", "products", "products.json"])
def test_what_is_no_catalogue_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogueError, match="no such file or folder"):
        read_catalogue(tmp_path / name)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CatalogueError, match=r"should be a folder .* or a file that ends in \.csv"):
        read_catalogue(tmp_path / name)


def test_errors_of_catalogues_are_value_errors_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        count_rows(tmp_path / "missing.csv")


def test_a_row_becomes_a_listing_with_its_picture(pictures: Path) -> None:
    row = CatalogueRow("7", "Robot", "", pictures / "pictures" / "a.jpg", category="10")
    listing = row.to_listing("e-7", explain=True)
    assert listing == ProductListed(
        event_id="e-7",
        product_id="7",
        title="Robot",
        image=ImageReference(data=base64.b64encode(PICTURE).decode()),
        explain=True,
    )
    assert decode(ProductListed, encode(listing), default_event_id="unused") == listing


def test_a_row_can_go_without_its_picture_file(pictures: Path) -> None:
    row = CatalogueRow("7", "Robot", "x", pictures / "pictures" / "a.jpg")
    assert row.to_listing("e-7", inline_image=False).image is None
    address = ImageReference(url="https://shop.example/a.jpg")
    assert CatalogueRow("7", "", "", image=address).to_listing("e", inline_image=False).image == address


def test_a_picture_that_is_gone_is_named(tmp_path: Path) -> None:
    row = CatalogueRow("7", "Robot", "", tmp_path / "gone.jpg")
    with pytest.raises(CatalogueError, match=r"gone\.jpg: the picture cannot be read: No such file"):
        row.to_listing("e-7")


def test_a_row_with_an_unfit_id_makes_no_listing() -> None:
    with pytest.raises(InvalidMessageError, match="product_id"):
        CatalogueRow("a\0", "Robot", "").to_listing("e-7")


def test_names_of_categories_are_read_by_language(tmp_path: Path) -> None:
    (tmp_path / "label_names.csv").write_text(
        'prdtypecode,label_fr,label_en,n\n10,Livres (occasion),Books,3\n40,"Jeux, vidéo",,4\n',
        encoding="utf-8",
    )
    names = {"10": {"fr": "Livres (occasion)", "en": "Books"}, "40": {"fr": "Jeux, vidéo"}}
    assert read_label_names(tmp_path) == names
    assert read_label_names(tmp_path / "label_names.csv") == names


def test_a_folder_may_have_no_names_but_a_file_that_is_asked_for_has_to_be_there(tmp_path: Path) -> None:
    assert read_label_names(tmp_path) == {}
    with pytest.raises(CatalogueError, match=r"names\.csv: cannot be read"):
        read_label_names(tmp_path / "names.csv")
    (tmp_path / "names.csv").write_text("code,label_fr\n1,x\n", encoding="utf-8")
    with pytest.raises(CatalogueError, match="no column prdtypecode; the columns are 'code', 'label_fr'"):
        read_label_names(tmp_path / "names.csv")
