from copilotapi.metering.calibration import Calibration


def test_an_unknown_model_is_estimated_as_it_is() -> None:
    assert Calibration().apply("m", 1000) == 1000


def test_what_copilot_told_corrects_later_estimates_of_that_model_only() -> None:
    calibration = Calibration()
    calibration.learn("m", told_tokens=1180, estimated_tokens=1000)
    assert (calibration.apply("m", 500), calibration.apply("other", 500)) == (590, 500)


def test_one_odd_answer_moves_little_and_never_out_of_bounds() -> None:
    calibration = Calibration()
    calibration.learn("m", 1000, 1000)
    calibration.learn("m", 1_000_000, 1000)
    assert calibration.apply("m", 1000) == 1200
    for _ in range(100):
        calibration.learn("m", 1_000_000, 1000)
    assert calibration.apply("m", 1000) <= 2000
    calibration.learn("m", 5, 0)


def test_some_requests_teach_and_tiny_ones_never() -> None:
    calibration = Calibration()
    assert [calibration.is_due("m", 1000) for _ in range(101)].count(True) == 3
    assert not calibration.is_due("other", 100)
