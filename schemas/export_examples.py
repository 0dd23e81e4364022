"""Examples of records, for the AsyncAPI document and the page that is made of it."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["EXAMPLES"]

_TRACE: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_MODEL: Final = {"name": "fusion", "version": "7"}


def _headers(event_type: str, identifier: str, instant: str) -> dict[str, str]:
    return {
        "ce_specversion": "1.0",
        "ce_id": identifier,
        "ce_type": event_type,
        "ce_source": "/shelver",
        "content-type": "application/json",
        "ce_time": instant,
        "traceparent": _TRACE,
    }


Example = tuple[str, str, dict[str, Any]]
"""Name, summary, and `headers` and `payload`, as AsyncAPI has them."""

EXAMPLES: Final[dict[str, tuple[Example, ...]]] = {
    "product-listed": (
        (
            "address",
            "A listing with a picture by address.",
            {
                "headers": {"traceparent": _TRACE},
                "payload": {
                    "event_id": "e-1",
                    "product_id": "3804725264",
                    "title": "Robot de piscine",
                    "description": "<p>Nettoie tout</p>",
                    "image": {"url": "https://shop.example/robot.jpg"},
                    "listed_at": "2026-11-25T08:00:00Z",
                    "explain": False,
                },
            },
        ),
        (
            "challenge",
            "The names of the Rakuten challenge; the event is identified by a header.",
            {
                "headers": {"ce_id": "e-2"},
                "payload": {
                    "productid": 3804725264,
                    "imageid": 1263597046,
                    "designation": "Robot de piscine",
                },
            },
        ),
        (
            "data",
            "A listing with the picture inside; the event is identified by the place of its record.",
            {
                "payload": {
                    "product_id": "3804725265",
                    "title": "Lampe",
                    "image": {"data": "/9j/4AAQSkZJRg=="},
                }
            },
        ),
    ),
    "category-assigned": (
        (
            "both",
            "Decided on text and picture.",
            {
                "headers": _headers(
                    "shelver.category.assigned",
                    "bfd2c5a0-d9f7-5aad-8be7-ad65e204df46",
                    "2026-11-25T08:00:00.120000Z",
                ),
                "payload": {
                    "assignment_id": "bfd2c5a0-d9f7-5aad-8be7-ad65e204df46",
                    "event_id": "e-1",
                    "product_id": "3804725264",
                    "category": {"code": 2583, "label": "Piscine", "probability": 0.97},
                    "alternatives": [{"code": 2585, "label": "Bricolage", "probability": 0.02}],
                    "modalities": {"text": "used", "image": "used"},
                    "image_reason": None,
                    "model": _MODEL,
                    "source": {"topic": "product-listed", "partition": 0, "offset": 42},
                    "assigned_at": "2026-11-25T08:00:00.120000Z",
                },
            },
        ),
    ),
    "explanation-requested": (
        (
            "product",
            "With the product itself.",
            {
                "payload": {
                    "request_id": "r-1",
                    "product": {"product_id": "3804725264", "title": "Robot de piscine"},
                    "categories": [2583],
                }
            },
        ),
        ("event", "About an event that was listed.", {"payload": {"request_id": "r-2", "event_id": "e-1"}}),
    ),
    "category-explained": (
        (
            "words",
            "Of a product without a picture: two of its words decide.",
            {
                "headers": _headers(
                    "shelver.category.explained",
                    "90e8f5c1-58f8-579b-ab1c-2c7b81924c91",
                    "2026-11-25T08:00:01.250000Z",
                ),
                "payload": {
                    "explanation_id": "90e8f5c1-58f8-579b-ab1c-2c7b81924c91",
                    "request_id": "r-1",
                    "event_id": "r-1",
                    "product_id": "3804725264",
                    "model": _MODEL,
                    "explanations": [
                        {
                            "category": {"code": 2583, "label": "Piscine"},
                            "base_value": -1.5,
                            "value": 4.0,
                            "text": [
                                {
                                    "field": "title",
                                    "start": 0,
                                    "end": 5,
                                    "text": "Robot",
                                    "attribution": 1.25,
                                },
                                {"field": "title", "start": 6, "end": 8, "text": "de", "attribution": 0.0},
                                {
                                    "field": "title",
                                    "start": 9,
                                    "end": 16,
                                    "text": "piscine",
                                    "attribution": 4.25,
                                },
                            ],
                            "image": None,
                            "by_modality": {"text": 5.5, "image": 0.0},
                        }
                    ],
                    "method": {"text": "exact", "image": None, "evaluations": 1},
                    "additivity_error": 0.0,
                    "explained_at": "2026-11-25T08:00:01.250000Z",
                },
            },
        ),
    ),
    "dead-letter": (
        (
            "invalid",
            "A listing without a product id.",
            {
                "headers": {
                    "shelver.stage": "validate",
                    "shelver.reason": "invalid",
                    "shelver.message": "not a valid ProductListed: product_id is missing",
                    "shelver.source": "product-listed-0-43",
                    "shelver.attempts": "1",
                },
                "payload": {"title": "Lampe"},
            },
        ),
    ),
    "category-corrected": (
        (
            "corrected",
            "A person put the product on another shelf.",
            {
                "payload": {
                    "correction_id": "c-1",
                    "product_id": "3804725264",
                    "category": {"code": 2585, "label": "Bricolage"},
                    "event_id": "e-1",
                    "assignment_id": "bfd2c5a0-d9f7-5aad-8be7-ad65e204df46",
                    "corrected_by": "catalogue",
                    "comment": "a robot for the workshop",
                    "corrected_at": "2026-11-25T09:30:00Z",
                }
            },
        ),
    ),
}
