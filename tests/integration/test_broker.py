"""The embedded broker: what it keeps, how it ends, and that it never outlives us."""

from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream_app.broker import EmbeddedBroker


async def test_a_record_goes_in_and_comes_out(
    kafka: EmbeddedBroker, topic_names: Callable[[str], str], create_topics: Callable[..., Awaitable[None]]
) -> None:
    topic = topic_names("echo")
    await create_topics(topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, b"value", key=b"key")
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        record = await consumer.getone()
    assert (record.key, record.value) == (b"key", b"value")
