"""What is said of a batch that the brokers do not take: the topic, and what to do."""

import asyncio

import pytest
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from stream_app.errors import FatalError
from stream_app.publishing import Confirmation, Publisher, PublishSettings

ADVICE = "raise max.message.bytes of topic dead or lower SHELVER_PUBLISH_BATCH_BYTES"


def confirmations(**errors: KafkaError | None) -> list[Confirmation]:
    """One for each topic: failed with its error, or delivered."""
    found = []
    for topic, error in errors.items():
        delivery = asyncio.get_running_loop().create_future()
        if error is None:
            delivery.set_result(None)
        else:
            delivery.set_exception(error)
        found.append(Confirmation(topic, delivery))
    return found


def publisher(seconds: float = 60) -> Publisher:
    return Publisher(PublishSettings.model_construct(publish_timeout_seconds=seconds), {})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MessageSizeTooLargeError(), ADVICE),
        (RecordListTooLargeError(), ADVICE),
        (OutOfOrderSequenceNumber(), "topic dead: OutOfOrderSequenceNumber"),
        (TopicAuthorizationFailedError("dead"), "do not allow WRITE on topic dead any more"),
    ],
)
async def test_a_batch_that_is_refused_is_fatal_and_names_its_topic(error: KafkaError, words: str) -> None:
    with pytest.raises(FatalError, match="could not be delivered") as caught:
        await publisher().confirm(confirmations(assigned=None, dead=error))
    assert words in str(caught.value)
    assert "read again" in str(caught.value)
    assert "assigned" not in str(caught.value)


async def test_topics_that_confirm_nothing_in_time_are_named_and_no_others() -> None:
    waiting = [
        Confirmation(topic, asyncio.get_running_loop().create_future()) for topic in ("dead", "b", "b")
    ]
    with pytest.raises(FatalError, match=r"not confirmed after 0\.01 s: topic b, dead;"):
        await publisher(0.01).confirm([*confirmations(assigned=None), *waiting])
    assert all(each.delivery.cancelled() for each in waiting), "a stop would wait for them"


async def test_a_topic_whose_delivery_fails_as_the_time_is_up_is_named_too() -> None:
    late = Confirmation("late", asyncio.get_running_loop().create_future())
    late.delivery.set_exception(TimeoutError())
    with pytest.raises(FatalError, match="topic late;"):
        await publisher().confirm([*confirmations(assigned=None), late])


async def test_what_is_delivered_and_nothing_at_all_are_confirmed() -> None:
    await publisher().confirm(confirmations(assigned=None, dead=None))
    await publisher().confirm([])
