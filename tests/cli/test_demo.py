from __future__ import annotations

from pathlib import Path

from s2tf_edge.cli.demo import _begin


def test_only_a_run_of_the_same_settings_is_gone_on_with(tmp_path: Path) -> None:
    recipe, checkpoint = tmp_path / "recipe.toml", tmp_path / "last.ckpt"
    _begin(recipe, "seed = 0\n")
    checkpoint.touch()
    _begin(recipe, "seed = 0\n")
    assert checkpoint.exists()
    _begin(recipe, "seed = 1\n")
    assert (recipe.read_text(), checkpoint.exists()) == ("seed = 1\n", False)
