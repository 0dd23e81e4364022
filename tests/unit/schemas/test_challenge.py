from pathlib import Path

import pytest

from schemas.catalogue import CatalogueRow, count_rows, read_catalogue
from schemas.errors import CatalogueError

TEXTS = """,designation,description,productid,imageid
4,La Guerre Des Tuques,"Luc a des id&eacute;es,
sur deux lignes",278535884,1077757786
7,Robot,,12,34
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "X_train_update.csv": TEXTS,
        "Y_train_CVw08PX.csv": ",prdtypecode\n7,10\n4,2705\n",
        "rows.csv": "index,kind,has_image,split\n4,raw,True,val\n7,raw,False,train\n",
        "X_test_update.csv": ",designation,description,productid,imageid\n90,Pompe,,1,2\n91,Chaise,,3,4\n",
        "Y_test_pseudo.csv": ",prdtypecode\n91,1560\n",
        "images/image_train/image_1077757786_product_278535884.jpg": "jpeg",
        "images/image_test/image_4_product_3.jpg": "jpeg",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


def test_texts_categories_splits_and_pictures_are_brought_together(folder: Path) -> None:
    picture = folder / "images" / "image_train" / "image_1077757786_product_278535884.jpg"
    assert list(read_catalogue(folder)) == [
        CatalogueRow(
            "278535884",
            "La Guerre Des Tuques",
            "Luc a des id&eacute;es,\nsur deux lignes",
            picture,
            category="2705",
            split="val",
        ),
        CatalogueRow("12", "Robot", "", category="10", split="train"),
    ]


def test_rows_whose_category_models_gave_come_after_and_only_when_asked_for(folder: Path) -> None:
    assert (count_rows(folder), count_rows(folder, include_pseudo=True)) == (2, 3)
    assert list(read_catalogue(folder, include_pseudo=True))[2] == CatalogueRow(
        "3",
        "Chaise",
        "",
        folder / "images" / "image_test" / "image_4_product_3.jpg",
        category="1560",
        split="train",
        pseudo=True,
    )


@pytest.mark.parametrize(
    ("missing", "fields"),
    [
        ("Y_train_CVw08PX.csv", {"category": None}),
        ("rows.csv", {"split": None}),
        ("images/image_train/image_1077757786_product_278535884.jpg", {"image_path": None}),
    ],
)
def test_what_is_not_there_is_none(folder: Path, missing: str, fields: dict[str, None]) -> None:
    (folder / missing).unlink()
    row = next(read_catalogue(folder))
    assert {name: getattr(row, name) for name in fields} == fields
    assert row.title == "La Guerre Des Tuques"


def test_a_folder_without_rows_by_models_has_none(folder: Path) -> None:
    (folder / "Y_test_pseudo.csv").unlink()
    assert count_rows(folder, include_pseudo=True) == 2


def test_a_folder_without_texts_is_refused_at_once(folder: Path) -> None:
    (folder / "X_train_update.csv").unlink()
    with pytest.raises(CatalogueError, match=r"it has no X_train_update\.csv"):
        read_catalogue(folder)


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("X_train_update.csv", ",designation\n1,x\n", "X_train_update.csv: no column productid; the columns"),
        ("X_train_update.csv", TEXTS.replace(",12,", ",,"), "X_train_update.csv, line 4: productid is empty"),
        ("Y_train_CVw08PX.csv", ",code\n1,x\n", "Y_train_CVw08PX.csv: no column prdtypecode"),
        ("Y_train_CVw08PX.csv", ",prdtypecode\n4,\n", "Y_train_CVw08PX.csv, line 2: prdtypecode is empty"),
        ("rows.csv", "index,split\n4\n", "rows.csv, line 2: 1 fields"),
    ],
)
def test_a_file_that_is_wrong_is_named(folder: Path, file: str, content: str, fault: str) -> None:
    (folder / file).write_text(content, encoding="utf-8")
    with pytest.raises(CatalogueError) as caught:
        list(read_catalogue(folder))
    assert fault in str(caught.value)
