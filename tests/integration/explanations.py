"""What came out for requests of explanations, and requests to send."""

import json
import time
from typing import Self

from aiokafka import AIOKafkaConsumer

from schemas.explanations import CategoryExplained
from tests.integration.workers import PATIENCE_SECONDS, Sent, Topics


class Explanations:
    """Reads what came out for requests: answers by request id, dead letters by their source's body."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._topics = topics
        self._consumer = AIOKafkaConsumer(
            topics.explained, topics.dead, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
        )
        self.answers: dict[str, list[CategoryExplained]] = {}
        self.keys: dict[str, bytes] = {}
        self.dead: list[tuple[bytes, str, str]] = []

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    @property
    def num_duplicates(self) -> int:
        return sum(len(answers) - 1 for answers in self.answers.values())

    async def until(self, num_answers: int, num_dead: int = 0) -> None:
        """Read until so many different requests are answered and so many dead letters have come out."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.answers) < num_answers or len(self.dead) < num_dead:
            assert time.monotonic() < deadline, f"{len(self.answers)} answers, dead: {self.dead}"
            for partition, records in (await self._consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    if partition.topic == self._topics.explained:
                        answer = CategoryExplained.model_validate_json(record.value)
                        self.answers.setdefault(answer.request_id, []).append(answer)
                        self.keys[answer.request_id] = record.key
                    else:
                        headers = {name: (value or b"").decode() for name, value in record.headers}
                        self.dead.append(
                            (record.value, headers["shelver.reason"], headers["shelver.message"])
                        )


def request(number: int, **fields: object) -> Sent:
    return str(number).encode(), json.dumps({"request_id": f"r-{number}", **fields}).encode(), []


def product(title: str, **fields: object) -> dict[str, object]:
    return {"product_id": "p-1", "title": title, **fields}
