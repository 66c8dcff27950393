"""Pruning: rank once, then any share of the weights is a cursor in that history."""

from napari_topiary.pruning.counts import counts_job, filter_counts
from napari_topiary.pruning.criteria import (
    Criterion,
    CriterionInput,
    criteria,
    criteria_for,
    criterion_of,
)
from napari_topiary.pruning.filter_plan import FilterPlan
from napari_topiary.pruning.gradual import ABOVE_RATIO, GradualPruning, pruning_schedule
from napari_topiary.pruning.making import (
    learned_part,
    make_plan,
    plan_from_json,
    plan_job,
    prune,
    recalibrate,
)
from napari_topiary.pruning.outcome import (
    measure_speed,
    pruning_doubt,
    pruning_problems,
)
from napari_topiary.pruning.plan import LayerKept, PlanStatistics, PruningPlan
from napari_topiary.pruning.sensitivity import Sensitivity, sensitivity
from napari_topiary.pruning.structure import LayerSearch, Search
from napari_topiary.pruning.weight_plan import WeightPlan

__all__ = [
    "ABOVE_RATIO",
    "Criterion",
    "CriterionInput",
    "FilterPlan",
    "GradualPruning",
    "LayerKept",
    "LayerSearch",
    "PlanStatistics",
    "PruningPlan",
    "Search",
    "Sensitivity",
    "WeightPlan",
    "counts_job",
    "criteria",
    "criteria_for",
    "criterion_of",
    "filter_counts",
    "learned_part",
    "make_plan",
    "measure_speed",
    "plan_from_json",
    "plan_job",
    "prune",
    "pruning_doubt",
    "pruning_problems",
    "pruning_schedule",
    "recalibrate",
    "sensitivity",
]
