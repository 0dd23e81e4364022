"""Which product a page is about, whatever it says so with."""

from typing import Any

import pytest

from stream_app.shop_pages.errors import PageError, PageReason
from stream_app.shop_pages.products import ListedProduct, PageSource
from tests.unit.stream_app.shop_pages.pages import ADDRESS, ROBOT, ld, page, read

OPENGRAPH = (
    '<meta property="og:title" content="Robot du graphe"><meta property="og:image" content="/graphe.jpg">'
    '<meta property="og:description" content="Du graphe.">'
)
MICRODATA = (
    '<div itemscope itemtype="https://schema.org/Product"><h1 itemprop="name">Robot <b>microdonnées</b></h1>'
    '<img itemprop="image" src="/micro.jpg"><div itemprop="description"><p>Un.</p><p>Deux.</p></div>'
    '<div itemprop="offers" itemscope itemtype="https://schema.org/Offer"><b itemprop="name">Offre</b></div>'
    "</div>"
)
RDFA = (
    '<div vocab="https://schema.org/" typeof="Product"><span property="name">Robot RDFa</span>'
    '<img property="image" src="/rdfa.jpg"><p property="schema:description">Une phrase.</p></div>'
)


def refusal(text: str, address: str = ADDRESS) -> PageError:
    with pytest.raises(PageError) as caught:
        read(text, address)
    return caught.value


class TestSources:
    def test_a_product_in_json_ld_is_read(self) -> None:
        assert read(page(ld(ROBOT))) == ListedProduct(
            title="Robot aspirateur",
            description="Il aspire.",
            image_urls=("https://cdn.example/robot.jpg",),
            address=ADDRESS,
            source=PageSource.JSON_LD,
        )

    def test_microdata_is_read_without_what_belongs_to_another_item(self) -> None:
        product = read(page(body=MICRODATA))
        assert (product.title, product.description) == ("Robot microdonnées", "Un. Deux.")
        assert product.image_url == "https://shop.example/micro.jpg"
        assert product.source is PageSource.MICRODATA

    def test_rdfa_lite_is_read(self) -> None:
        product = read(page(body=RDFA))
        assert (product.title, product.description) == ("Robot RDFa", "Une phrase.")
        assert product.image_url == "https://shop.example/rdfa.jpg"
        assert product.source is PageSource.RDFA

    def test_opengraph_is_read(self) -> None:
        product = read(page('<meta property="og:type" content="product">' + OPENGRAPH))
        assert (product.title, product.description) == ("Robot du graphe", "Du graphe.")
        assert product.image_url == "https://shop.example/graphe.jpg"
        assert product.source is PageSource.OPENGRAPH

    def test_title_and_description_of_the_page_are_the_last_resort(self) -> None:
        product = read(page('<title>Robot</title><meta name="Description" content="De la page.">'))
        assert (product.title, product.description) == ("Robot", "De la page.")
        assert (product.image_url, product.source) == (None, PageSource.PAGE)

    def test_the_more_reliable_source_goes_first(self) -> None:
        everything = page(ld(ROBOT) + OPENGRAPH, MICRODATA + RDFA)
        assert read(everything).source is PageSource.JSON_LD
        assert read(page(OPENGRAPH, RDFA + MICRODATA)).source is PageSource.MICRODATA
        assert read(page(OPENGRAPH, RDFA)).source is PageSource.RDFA

    def test_what_one_source_does_not_tell_comes_from_the_next(self) -> None:
        product = read(page(ld({"@type": "Product", "name": "Robot"}) + OPENGRAPH, MICRODATA))
        assert product.title == "Robot"
        assert product.description == "Un. Deux."
        assert product.image_url == "https://shop.example/micro.jpg"
        assert product.source is PageSource.JSON_LD

    def test_a_product_without_a_name_has_the_title_of_its_page(self) -> None:
        product = read(page("<title>Robot</title>" + ld({"@type": "Product", "image": "/r.jpg"})))
        assert (product.title, product.source) == ("Robot", PageSource.PAGE)
        assert product.image_url == "https://shop.example/r.jpg"


class TestJsonLd:
    @pytest.mark.parametrize(
        "nodes",
        [
            [[{"@type": "BreadcrumbList"}, ROBOT]],
            [{"@graph": [{"@type": "Organization", "name": "Boutique"}, ROBOT]}],
            [{"@type": "ItemPage", "name": "La page", "mainEntity": ROBOT}],
            [{"@type": "WebPage", "mainEntity": {"@id": "#p"}}, [{**ROBOT, "@id": "#p"}]],
            [{"@type": "Offer", "itemOffered": ROBOT}],
            [{**ROBOT, "@type": ["Thing", "http://schema.org/Product"]}],
            [{**ROBOT, "@type": "schema:IndividualProduct"}],
            [{**ROBOT, "name": ["", {"@value": "Robot aspirateur", "@language": "fr"}]}],
            [{**ROBOT, "isSimilarTo": [{"@type": "Product", "name": "Autre robot"}]}],
            [{"@type": "ProductGroup", "hasVariant": [ROBOT, {**ROBOT, "name": "Robot rouge"}]}],
            [{"@graph": [{"@type": "ProductGroup", "hasVariant": [{"@id": "#v"}]}, {**ROBOT, "@id": "#v"}]}],
            [
                {
                    "@type": "Product",
                    "name": ROBOT["name"],
                    "isVariantOf": {**ROBOT, "@type": "ProductGroup", "name": "Robots"},
                }
            ],
        ],
    )
    def test_a_product_is_found_wherever_it_stands(self, nodes: list[Any]) -> None:
        product = read(page(ld(*nodes)))
        assert (product.title, product.description) == ("Robot aspirateur", "Il aspire.")
        assert product.image_url == "https://cdn.example/robot.jpg"

    @pytest.mark.parametrize(
        "image",
        [
            ["/1.jpg", "/2.jpg"],
            "//shop.example/1.jpg",
            "https://shop.example/1.jpg#zoom",
            {"@type": "ImageObject", "url": "/1.jpg"},
            {"@type": "ImageObject", "contentUrl": "/1.jpg", "url": "/seite.html"},
            [{"@type": "ImageObject", "url": ["../1.jpg", "../2.jpg"]}],
            ["data:image/gif;base64,R0lGOD", "", None, 7, "javascript:alert(1)", "file:///1.jpg", "/1.jpg"],
            ["https://user:secret@shop.example/0.jpg", "https://[broken", "/1.jpg"],
            {"@id": "#main"},
            "/" + "../" * 5 + "1.jpg",
        ],
    )
    def test_a_picture_is_an_absolute_address_however_it_is_written(self, image: Any) -> None:
        graph = [{**ROBOT, "image": image}, {"@type": "ImageObject", "@id": "#main", "url": "/1.jpg"}]
        product = read(page(ld({"@graph": graph})))
        assert product.image_url == "https://shop.example/1.jpg"

    def test_addresses_are_relative_to_the_base_of_the_page(self) -> None:
        product = read(page('<base href="//cdn.example/img/">' + ld({**ROBOT, "image": "1.jpg"})))
        assert product.image_url == "https://cdn.example/img/1.jpg"

    def test_a_page_over_https_has_its_pictures_over_https(self) -> None:
        images = ["http://cdn.example/1.jpg", "http://cdn.example:8080/2.jpg", "https://cdn.example/1.jpg"]
        text = page(ld({**ROBOT, "image": images}))
        assert read(text).image_urls == ("https://cdn.example/1.jpg", "http://cdn.example:8080/2.jpg")
        assert read(text, "http://shop.example/p").image_url == "http://cdn.example/1.jpg"

    def test_the_variant_whose_address_was_asked_for_is_the_product(self) -> None:
        variants = [
            {"@type": "Product", "name": f"Robot {colour}", "url": f"/p/42?colour={colour}"}
            for colour in ("rouge", "vert")
        ]
        text = page(ld({**ROBOT, "@type": "ProductGroup", "name": "Robot", "hasVariant": variants}))
        assert read(text, f"{ADDRESS}?colour=vert").title == "Robot vert"
        assert read(text, f"{ADDRESS}?colour=vert").description == "Il aspire."
        assert read(text).title == "Robot"

    def test_one_broken_script_takes_nothing_from_another(self) -> None:
        broken = '<script type="application/ld+json">{"@type": "Product", "name": }</script>'
        assert read(page(broken + ld(ROBOT))).title == "Robot aspirateur"

    def test_texts_are_plain(self) -> None:
        node = {
            **ROBOT,
            "name": "Caf&eacute; <b>&amp; th\u00e9</b>\u200b",
            "description": "&lt;p&gt;Un&lt;/p&gt;\n\n<style>x</style>Deux",
        }
        product = read(page(ld(node)))
        assert (product.title, product.description) == ("Café & thé", "Un Deux")


class TestMicrodata:
    @pytest.mark.parametrize(
        "image",
        [
            '<img itemprop="image" src="/1.jpg">',
            '<link itemprop="image" href="/1.jpg">',
            '<a itemprop="image" href="/1.jpg">zoom</a>',
            '<meta itemprop="image" content="/1.jpg">',
            '<img itemprop="image" src="data:image/gif;base64,R0lGOD" data-src="/1.jpg">',
            '<span itemprop="image">/1.jpg</span>',
            '<div itemprop="image" itemscope itemtype="https://schema.org/ImageObject">'
            '<img itemprop="contentUrl" src="/1.jpg"></div>',
        ],
    )
    def test_a_picture_is_where_its_element_has_it(self, image: str) -> None:
        item = f'<div itemscope itemtype="http://schema.org/Product"><b itemprop="name">R</b>{image}</div>'
        assert read(page(body=item)).image_urls == ("https://shop.example/1.jpg",)

    def test_a_product_is_found_within_the_item_of_its_page(self) -> None:
        product = MICRODATA.replace("itemscope", 'itemprop="mainEntity" itemscope', 1)
        text = page(body=f'<div itemscope itemtype="https://schema.org/ItemPage">{product}</div>')
        assert read(text).source is PageSource.MICRODATA

    def test_scripts_and_styles_are_no_text(self) -> None:
        name = '<p itemprop="name">R<style>b{}</style><script>1</script>2</p>'
        item = f'<div itemscope itemtype="http://schema.org/Product">{name}</div>'
        assert read(page(body=item)).title == "R2"


class TestSeveralProducts:
    OTHERS = ({"@type": "Product", "name": "Balai", "url": "/p/7"}, {"@type": "Product", "name": "Seau"})

    def test_the_one_with_the_address_of_the_page_is_meant(self) -> None:
        found = {**ROBOT, "offers": [{"@type": "Offer", "url": "http://www.shop.example/p/42/?from=ld"}]}
        assert read(page(ld(*self.OTHERS, found))).title == "Robot aspirateur"

    def test_else_the_one_with_the_title_of_the_page(self) -> None:
        text = page("<title>ROBOT-ASPIRATEUR pas cher</title>" + ld(*self.OTHERS, ROBOT))
        assert read(text).title == "Robot aspirateur"

    def test_else_what_the_page_sells(self) -> None:
        sells = '<meta property="product:price:amount" content="99">' + OPENGRAPH
        assert read(page(sells + ld(*self.OTHERS, ROBOT))).title == "Robot du graphe"

    def test_else_it_is_a_list(self) -> None:
        error = refusal(page("<title>Nouveautés</title>" + OPENGRAPH + ld(*self.OTHERS, ROBOT)))
        assert error.reason is PageReason.NO_PRODUCT
        assert "lists several products; give the address of one product's page" in str(error)


class TestNoProduct:
    @pytest.mark.parametrize(
        "text",
        [
            page(),
            " ",
            "<",
            "plain words",
            page("<title>Connexion</title>"),
            page('<meta name="description" content="Sans titre.">'),
            page(ld({"@type": "Product", "image": "/1.jpg"})),
            page('<meta property="og:type" content="article">' + OPENGRAPH),
            page(OPENGRAPH + ld({"@type": "CollectionPage"})),
            page(OPENGRAPH + ld({"@type": "ItemList", "itemListElement": [{"item": ROBOT}]})),
            page("<title> &nbsp; </title>" + '<meta name="description" content="x">'),
        ],
    )
    def test_a_page_that_is_about_no_product_says_so(self, text: str) -> None:
        error = refusal(text)
        assert error.reason is PageReason.NO_PRODUCT
        assert str(error).startswith(error.problem)
        assert "fill in title, description and picture by hand" in str(error)

    def test_a_home_page_is_no_product(self) -> None:
        assert refusal(page(OPENGRAPH), "https://shop.example/").reason is PageReason.NO_PRODUCT
        assert read(page(OPENGRAPH + ld(ROBOT)), "https://shop.example/").title == "Robot aspirateur"

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"%PDF-1.7", "application/pdf"),
            (b"{}", "application/json;charset=utf-8"),
            (b"\xff\xd8\xff\xe0", ""),
        ],
    )
    def test_what_is_no_page_is_told_by_its_type(self, body: bytes, content_type: str) -> None:
        with pytest.raises(PageError) as caught:
            read(body, content_type=content_type)
        assert caught.value.reason is PageReason.NOT_HTML

    @pytest.mark.parametrize("content_type", ["", "TEXT/HTML", "application/xhtml+xml; charset=UTF-8"])
    def test_a_page_is_a_page_under_any_of_its_types(self, content_type: str) -> None:
        text = '\ufeff<?xml version="1.0" encoding="UTF-8"?>' + page(ld(ROBOT))
        assert read(text, content_type=content_type).title == "Robot aspirateur"


class TestAddress:
    @pytest.mark.parametrize(
        ("head", "address"),
        [
            ('<link rel="canonical" href="/robot-42">', "https://shop.example/robot-42"),
            ('<link rel="canonical" href="https://www.shop.example/r">', "https://www.shop.example/r"),
            ('<meta property="og:url" content="/og-42">', "https://shop.example/og-42"),
            (ld({**ROBOT, "url": "/ld-42"}), "https://shop.example/ld-42"),
            ('<link rel="canonical" href="https://other.example/p/42">', f"{ADDRESS}?ref=mail"),
            ('<link rel="canonical" href="/">', f"{ADDRESS}?ref=mail"),
            ('<link rel="canonical" href="javascript:x">', f"{ADDRESS}?ref=mail"),
            ("", f"{ADDRESS}?ref=mail"),
        ],
    )
    def test_a_page_may_give_itself_an_address_of_its_own_host(self, head: str, address: str) -> None:
        assert read(page(head + OPENGRAPH + ld(ROBOT)), f"{ADDRESS}?ref=mail").address == address


class TestBounds:
    def test_texts_and_pictures_are_cut(self) -> None:
        product = read(
            page(
                ld(
                    {
                        "@type": "Product",
                        "name": "r" * 1_000,
                        "description": "d " * 50_000,
                        "image": [f"/{number}.jpg" for number in range(100)],
                    }
                )
            )
        )
        assert len(product.title) == 500
        assert len(product.description or "") <= 20_000
        assert len(product.image_urls) == 20

    def test_a_picture_with_an_endless_address_is_left_out(self) -> None:
        assert read(page(ld({**ROBOT, "image": "/" + "a" * 10_000}))).image_urls == ()
