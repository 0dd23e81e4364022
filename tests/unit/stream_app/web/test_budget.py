"""What is fetched together is bounded."""

import pytest

from stream_app.web.budget import ByteBudget
from stream_app.web.errors import FetchError, FetchReason


def test_bytes_are_taken_up_to_the_limit_and_no_further() -> None:
    budget = ByteBudget(100)
    budget.take(60)
    budget.take(40)
    with pytest.raises(FetchError, match="more than 100 bytes") as caught:
        budget.take(1)
    assert caught.value.reason is FetchReason.TOO_LARGE
    assert budget.num_bytes == 100


def test_what_is_given_back_can_be_taken_again() -> None:
    budget = ByteBudget(100)
    budget.take(100)
    budget.give_back(30)
    budget.take(30)
