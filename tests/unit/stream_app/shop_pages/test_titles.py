"""Titles without what a page puts around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.shop_pages.titles import is_price, without_clutter

NAMES = ["Rue du Commerce", "www.rueducommerce.fr", "rueducommerce"]


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("Robot R2", "Robot R2"),
        ("Robot R2 | Rue du Commerce", "Robot R2"),
        ("Robot R2 - RueDuCommerce", "Robot R2"),
        ("RUE DU COMMERCE : Robot R2", "Robot R2"),
        ("Robot R2 – 49,99 € | Rue du Commerce", "Robot R2"),
        ("Robot R2 - 1 049,99 EUR", "Robot R2"),
        ("Robot R2 - Prix : 49€90", "Robot R2"),
        ("Robot R2 à 12,90€ | Rue du Commerce", "Robot R2"),
        ("Robot R2 à partir de 12 euros", "Robot R2"),
        ("£5 | Robot R2 | $10.50", "Robot R2"),
        ("Robot - bleu - grand", "Robot - bleu - grand"),
        ("Rue du Commerce", "Rue du Commerce"),
        ("Rue du Commerce | 12 €", "Rue du Commerce"),
        ("Carte cadeau 50 €", "Carte cadeau 50 €"),
        ("Porte-clés T-shirt 2-en-1", "Porte-clés T-shirt 2-en-1"),
        ("Le jeu à 12 joueurs", "Le jeu à 12 joueurs"),
    ],
)
def test_the_shop_and_the_price_are_left_out_at_the_ends(title: str, kept: str) -> None:
    assert without_clutter(title, NAMES) == kept


@pytest.mark.parametrize("text", ["12 €", "€12", "12,50 EUR", "1.299,00 euros", "49€90", " prix : 9 $ "])
def test_an_amount_of_money_is_a_price(text: str) -> None:
    assert is_price(text)


@pytest.mark.parametrize("text", ["", "12", "12 pièces", "€", "lot de 3 à 12 €", "2 europes"])
def test_anything_else_is_none(text: str) -> None:
    assert not is_price(text)


@given(st.text(st.sampled_from(" -|€1a:à."), max_size=60), st.lists(st.text(max_size=5), max_size=3))
def test_a_title_is_never_longer_and_keeps_something(title: str, names: list[str]) -> None:
    kept = without_clutter(title, names)
    assert len(kept) <= len(title)
    assert kept in title
