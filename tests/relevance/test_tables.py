"""results/tables.py on made-up results: forms and weights of the relevance loss are told apart, missing runs told."""

import copy
import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROBUSTNESS = {
    "median_tvd": {"mean": 0.25, "median": 0.2},
    "max_jsd": {"mean": 0.5, "median": 0.6},
    "share_over_threshold": 0.75,
}


@pytest.fixture
def tables(tmp_path):
    """The functions of results/tables.py, with a folder of results of its own, and what writes a run there."""
    functions = runpy.run_path(str(ROOT / "results" / "tables.py"))
    functions["load"].__globals__.update(RESULTS=tmp_path / "results")
    template = json.loads((ROOT / "results" / "relevance" / "sst_l1-seed0.json").read_text())

    def write(name, seed=0, accuracy=80.0, split="test", tau=0.5, robustness=None, **settings):
        run = copy.deepcopy(template) | {"name": name, "seed": seed}
        run["settings"] |= settings
        run["metrics"][split]["accuracy"] = accuracy
        run["metrics"]["agreement"]["leave_one_out"]["kendall_tau"] = tau
        if split == "validation":
            del run["metrics"]["test"]
        if robustness:
            run["metrics"]["robustness"] = robustness
        path = tmp_path / "results" / "relevance" / f"{name}-seed{seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(run))

    functions["write"] = write
    return functions


def rows(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_runs_of_another_form_or_weight_or_split_are_another_row(tables):
    tables["write"]("plain", relevance_weight=0.0)
    tables["write"]("a", accuracy=81.0)
    tables["write"]("b", accuracy=82.0, relevance_weight=0.1)
    tables["write"]("c", accuracy=83.0, relevance_measure="embedding_gradient")
    tables["write"]("d", accuracy=84.0, relevance_measure="embedding_gradient", diversity_weight=0.5)
    tables["write"]("e", accuracy=90.0, split="validation")
    found = {row[1]: (row[3], row[4]) for row in rows(tables["relevance_accuracy"]())}
    assert found == {
        "none": ("80.0", "-"),
        "l1": ("81.0", "1.0"),
        "l1, weight 0.1": ("82.0", "2.0"),
        "l1 of embedding gradient": ("83.0", "3.0"),
        "l1 of embedding gradient, diversity 0.5": ("84.0", "4.0"),
    }
    assert [row[1:3] + row[4:5] for row in rows(tables["relevance_search"]())] == [["l1", "1", "90.0"]]


def test_a_pair_has_one_seed_and_the_same_vectors(tables):
    for seed, (plain, other) in enumerate([(80.0, 81.0), (80.0, 82.0), (80.0, 84.0)]):
        tables["write"]("plain", seed, plain, relevance_weight=0.0)
        tables["write"]("l1", seed, other)
    tables["write"]("plain", 3, 10.0, relevance_weight=0.0, vectors_sha256="other")
    tables["write"]("l1", 3, 90.0)
    gain = rows(tables["relevance_accuracy"]())[1][4]
    assert gain == "2.3 ± 3.8 (p 0.118)"  # Student's t of 1, 2 and 4


def test_missing_runs_are_told(tables):
    assert rows(tables["relevance_search"]())[0][0] == "not run"
    assert rows(tables["adversarial"]())[0][0] == "not run"
    tables["write"]("plain", relevance_weight=0.0)
    tables["write"]("l1", robustness=ROBUSTNESS)
    assert [row[2:] for row in rows(tables["relevance_robustness"]())] == [
        ["not run", "-", "-", "-", "-"],
        ["[0](results/relevance/l1-seed0.json)", "0.250", "0.500", "0.600", "75.0"],
    ]


def test_the_figure_over_weights_is_of_validation_texts(tables, tmp_path):
    drawn = []
    draw = tables["draw_weights"]
    draw()  # nothing to draw

    class Figure:
        def savefig(self, path, dpi):
            drawn[-1] += (path.name,)

    def weight_figure(*arguments):
        drawn.append(arguments)
        return Figure()

    draw.__globals__.update(weight_figure=weight_figure)
    tables["write"]("test")
    tables["write"]("plain", split="validation", relevance_weight=0.0, accuracy=80.0, tau=0.3)
    tables["write"]("l1", split="validation", relevance_weight=0.1, accuracy=81.0, tau=0.4)
    tables["write"]("l1", 1, split="validation", relevance_weight=0.1, accuracy=82.0, tau=0.6)
    draw()
    (accuracies, *_, one), (taus, *_, other) = drawn
    assert accuracies["l1"] == {0.0: [80.0], 0.1: [81.0, 82.0]}
    assert taus["l1"] == {0.0: [0.3], 0.1: [0.4, 0.6]}
    assert accuracies["softmax"] == {0.0: [80.0]}
    assert (one, other) == ("weights_sst2_accuracy.png", "weights_sst2_agreement.png")
