from coffer_common.wire import ConfigurationRequest, RejectedConfiguration, RejectionCause
from coffer_guest.configuration.patience import PATIENCE_S, Patience
from coffer_guest.configuration.record import Record, accept, applied, behind, reset


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def request(digest: str) -> ConfigurationRequest:
    return ConfigurationRequest(hash=digest, values={"max_connections": 5})


def test_one_that_takes_long_is_told_with_its_trouble() -> None:
    clock = Clock()
    patience = Patience(clock)
    patience.met("lock wait timeout")
    assert patience.hindered("a") is None
    clock.now_s += PATIENCE_S - 1
    assert patience.hindered("a") is None
    clock.now_s += 1
    assert patience.hindered("a") == "lock wait timeout"
    patience.met("")
    assert patience.hindered("a") == "the engine does not answer"


def test_the_clock_begins_anew_for_another_request_and_after_success() -> None:
    clock = Clock()
    patience = Patience(clock)
    patience.hindered("a")
    clock.now_s += PATIENCE_S
    assert patience.hindered("b") is None
    clock.now_s += PATIENCE_S
    assert patience.hindered("b") is not None
    assert patience.hindered(None) is None
    assert patience.hindered("b") is None


def test_behind_until_in_force_or_rejected() -> None:
    record = Record(uid="u")
    assert behind(record) is None
    record = accept(record, request("a"))
    assert behind(record) == "a"
    assert behind(applied(record, request("a"))) is None
    rejected = RejectedConfiguration(hash="a", cause=RejectionCause.REFUSED, message="no")
    record = record.model_copy(update={"rejected": rejected})
    assert behind(record) is None
    assert behind(reset(record)) == "a"
