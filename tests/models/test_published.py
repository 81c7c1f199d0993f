from s2tf_edge.models import list_models
from s2tf_edge.models.published import PUBLISHED


def test_names_networks_that_there_are() -> None:
    assert set(PUBLISHED) <= set(list_models())


def test_the_paper_s_figures_are_its_gains_apart() -> None:
    ours = {top1.dataset: top1.percent for top1 in PUBLISHED["s2tf_nl_i3d_r50"]}
    assert ours == {"Kinetics-400": 74.8, "UCF101": 95.1, "HMDB51": 80.9}
    baseline = next(top1 for top1 in PUBLISHED["nl_i3d_r50"] if "Liu" in top1.source)
    assert round(ours["Kinetics-400"] - baseline.percent, 1) == 4.1
    assert baseline.source == "baseline of Liu et al. 2025"
