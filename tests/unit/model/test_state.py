"""What sentences say of a job's state."""

from gpuctl.model.job import State


def test_a_sentence_tells_what_is_from_what_was() -> None:
    assert [state.told for state in State] == [
        "is queued",
        "is starting",
        "is running",
        "has succeeded",
        "has failed",
        "was cancelled",
        "was cut",
        "was lost",
    ]
