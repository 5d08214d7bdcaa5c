"""What a figure or table is told of its block of the configuration."""

from dqv2.config.experiments import Figure, Table


def test_a_key_that_is_not_set_has_its_default_or_is_left_out():
    assert Figure(kind="methods", x="label").spec() == {"kind": "methods", "x": "label", "y": "test_accuracy"}
    assert Table().spec() == {"y": "test_accuracy", "better": "higher"}


def test_null_is_a_value_where_it_means_none():
    assert Table(better=None, column=None).spec() == {
        "y": "test_accuracy",
        "better": None,
        "column": None,
    }
    spec = Figure(kind="mixing", panel=None, hue=None).spec()
    assert spec == {"kind": "mixing", "y": "test_accuracy", "panel": None, "hue": None}


def test_null_elsewhere_undoes_what_was_set_before():
    spec = Figure(kind="line", order=None, width=None, where=None, reference=None, values=None).spec()
    assert spec == {"kind": "line", "y": "test_accuracy"}


def test_a_null_among_the_values_of_a_key_stays():
    """It picks the rows without a mask."""
    assert Figure(kind="line", where={"mask": None}).spec()["where"] == {"mask": None}
