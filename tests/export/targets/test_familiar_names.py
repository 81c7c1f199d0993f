"""Names as people type them lead to the targets and precisions that there are."""

from __future__ import annotations

import pytest

from s2tf_edge.export.targets.familiar_names import PRECISION_NAMES, TARGET_NAMES
from s2tf_edge.export.targets.precisions import AUTO
from s2tf_edge.export.targets.registry import TARGETS
from s2tf_edge.option_fields import Choices


def test_every_target_and_precision_has_a_name() -> None:
    assert set(TARGET_NAMES.purposes) == set(TARGETS)
    assert set(PRECISION_NAMES.purposes) == {AUTO, *(each for target in TARGETS.values() for each in target.precisions)}


@pytest.mark.parametrize("choices", [TARGET_NAMES, PRECISION_NAMES])
def test_other_names_lead_to_names(choices: Choices) -> None:
    assert {*choices.other_names.values(), *choices.switches.values()} <= set(choices.purposes)
    assert not set(choices.other_names) & set(choices.purposes)
    assert all(name == name.lower() for name in choices.other_names)
