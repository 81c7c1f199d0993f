"""Settings that hold for a kind of data and network, shipped as TOML files."""

from s2tf_edge.training.recipes.choice import AUTO, NONE, check_recipe, list_recipes, recipe_settings

__all__ = ["AUTO", "NONE", "check_recipe", "list_recipes", "recipe_settings"]
