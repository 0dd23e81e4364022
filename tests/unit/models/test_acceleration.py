from hypothesis import given
from hypothesis import strategies as st

from models.acceleration import graph_sizes


@given(max_batch=st.integers(1, 4096))
def test_no_batch_is_padded_to_more_than_twice_its_size(max_batch: int) -> None:
    sizes = graph_sizes(max_batch)
    assert list(sizes) == sorted(set(sizes))
    assert sizes[-1] == max_batch
    for num_pictures in range(1, max_batch + 1, max(1, max_batch // 50)):
        assert min(size for size in sizes if size >= num_pictures) < 2 * num_pictures
