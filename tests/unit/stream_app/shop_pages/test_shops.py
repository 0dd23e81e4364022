"""What single shops do beside what all do. The pages are ours, made in the shapes that such shops use."""

import pytest

from stream_app.shop_pages.products import PageSource
from stream_app.shop_pages.shops import SHOPS
from stream_app.web.urls import host_pattern
from tests.unit.stream_app.shop_pages.pages import ROBOT, ld, page, read

RAKUTEN = "https://fr.shopping.rakuten.com/offer/buy/3804725264/robot.html"
RUE_DU_COMMERCE = "https://www.rueducommerce.fr/p-robot-r2-m123.html"


def test_a_page_of_rakuten_with_json_ld() -> None:
    head = ld({**ROBOT, "name": "Robot R2 pas cher", "image": ["https://cdn.rakuten.example/1.jpg"]})
    product = read(page(head), RAKUTEN + "?bbaid=7&t=180#xtatc=x")
    assert (product.title, product.shop) == ("Robot R2", "Rakuten")
    assert (product.address, product.source) == (RAKUTEN, PageSource.JSON_LD)


@pytest.mark.parametrize(
    "title",
    [
        "Robot R2 pas cher | Rakuten",
        "Robot R2 - Achat et vente neuf et d'occasion | Rakuten",
        "Robot R2 à prix bas - Neuf et occasion - Rakuten",
        "Robot R2 - Rakuten France",
    ],
)
def test_a_page_of_rakuten_with_opengraph_only(title: str) -> None:
    head = f'<meta property="og:title" content="{title}"><meta property="og:image" content="/photo/1.jpg">'
    product = read(page(head), RAKUTEN)
    assert product.title == "Robot R2"
    assert product.image_url == "https://fr.shopping.rakuten.com/photo/1.jpg"


@pytest.mark.parametrize(
    "title",
    [
        "Robot R2 - Achat / Vente robot aspirateur sur RueDuCommerce",
        "Robot R2 pas cher - RueDuCommerce",
        "Robot R2 au meilleur prix | Rue du Commerce",
        "RueDuCommerce - Robot R2 - 49,99 €",
    ],
)
def test_a_page_of_rue_du_commerce(title: str) -> None:
    item = (
        '<div itemscope itemtype="http://schema.org/Product">'
        '<img itemprop="image" src="//media.example/1.jpg">'
        '<meta itemprop="description" content="Il aspire."></div>'
    )
    product = read(page(f"<title>{title}</title>", item), RUE_DU_COMMERCE)
    assert (product.title, product.shop) == ("Robot R2", "Rue du Commerce")
    assert (product.description, product.image_url) == ("Il aspire.", "https://media.example/1.jpg")


def test_the_rules_of_a_shop_hold_nowhere_else() -> None:
    product = read(page(ld({**ROBOT, "name": "Robot R2 pas cher"})), "https://rakuten.com.shop.example/p?a=b")
    assert (product.title, product.shop) == ("Robot R2 pas cher", None)
    assert product.address.endswith("?a=b")


@pytest.mark.parametrize("title", ["Rakuten", "pas cher", "Rakuten | Rakuten"])
def test_a_title_of_nothing_but_clutter_keeps_something(title: str) -> None:
    assert read(page(ld({**ROBOT, "name": title})), RAKUTEN).title in title


def test_hosts_are_written_as_they_are_compared() -> None:
    for shop in SHOPS:
        assert shop.hosts == tuple(map(host_pattern, shop.hosts))
