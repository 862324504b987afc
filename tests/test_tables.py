"""The pages of results are those of its files, and tables from made-up results tell what they should.

Forms and weights of the relevance loss are told apart, missing runs are told.
"""

import copy
import json
import re
from pathlib import Path

import pytest

import common
import relevance_tables
import tables

ROOT = Path(__file__).parents[1]
ROBUSTNESS = {
    "median_tvd": {"mean": 0.25, "median": 0.2},
    "max_jsd": {"mean": 0.5, "median": 0.6},
    "share_over_threshold": 0.75,
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Gives the tables a folder of results of its own; returns what writes a run there."""
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    template = json.loads((ROOT / "results" / "relevance" / "sst_poster-seed0.json").read_text())
    template["settings"]["relevance_normalizer"] = "l1"
    del template["metrics"]["robustness"]

    def write(name, seed=0, accuracy=80.0, split="test", tau=0.5, entropy=0.5, robustness=None, **settings):
        run = copy.deepcopy(template) | {"name": name, "seed": seed}
        run["settings"] |= settings
        run["metrics"][split]["accuracy"] = accuracy
        run["metrics"]["agreement"]["leave_one_out"] |= {"kendall_tau": tau, "attention_entropy": entropy}
        if split == "validation":
            del run["metrics"]["test"]
        if robustness:
            run["metrics"]["robustness"] = robustness
        path = tmp_path / "results" / "relevance" / f"{name}-seed{seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(run))

    return write


def rows(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_runs_of_another_form_or_weight_or_split_are_another_row(write):
    write("plain", relevance_weight=0.0)
    write("a", accuracy=81.0)
    write("b", accuracy=82.0, relevance_weight=0.1)
    write("c", accuracy=83.0, relevance_measure="embedding_gradient")
    write("d", accuracy=84.0, relevance_measure="embedding_gradient", diversity_weight=0.5)
    write("diverse", accuracy=79.0, relevance_weight=0.0, diversity_weight=0.5)
    write("sharp", accuracy=85.0, relevance_temperature=0.05)
    write("slower", accuracy=86.0, lr_scheduler_type="linear")
    for epochs, accuracy in ((1, 87.0), (2, 88.0)):
        taught = {"teacher": "runs/plain-seed0", "num_train_epochs": epochs, "lr_scheduler_type": "linear"}
        write(f"taught_{epochs}", accuracy=accuracy, **taught, amsgrad=epochs == 1)
    write("e", accuracy=90.0, split="validation")
    assert [(row[1], row[3], row[4]) for row in rows(relevance_tables.relevance_accuracy())] == [
        ("none", "80.0", "-"),
        ("none, diversity 0.5", "79.0", "-1.0"),
        ("l1, weight 0.1", "82.0", "2.0"),
        ("l1", "81.0", "1.0"),
        ("l1, linear rate", "86.0", "6.0"),
        ("l1 of embedding gradient", "83.0", "3.0"),
        ("l1, relevance_temperature 0.05", "85.0", "5.0"),
        ("l1, taught for 1 epoch, linear rate", "87.0", "7.0"),
        ("l1 of embedding gradient, diversity 0.5", "84.0", "4.0"),
        ("l1, taught for 2 epochs, AdamW, linear rate", "88.0", "8.0"),
    ]
    assert [row[1:3] + row[4:5] for row in rows(relevance_tables.relevance_search())] == [["l1", "1", "90.0"]]


def test_a_pair_has_one_seed_and_the_same_vectors(write):
    for seed, (plain, other) in enumerate([(80.0, 81.0), (80.0, 82.0), (80.0, 84.0)]):
        write("plain", seed, plain, relevance_weight=0.0)
        write("l1", seed, other)
    write("plain", 3, 10.0, relevance_weight=0.0, vectors_sha256="other")
    write("l1", 3, 90.0)
    gain = rows(relevance_tables.relevance_accuracy())[1][4]
    assert gain == "2.3 ± 3.8 (p 0.118, 3 pairs)"  # Student's t of 1, 2 and 4


def test_the_gains_in_agreement_and_robustness_are_paired_too(write):
    for seed, (plain, other) in enumerate([(0.2, 0.3), (0.2, 0.4), (0.2, 0.6)]):
        write("plain", seed, tau=plain, robustness=ROBUSTNESS, relevance_weight=0.0)
        less = {"median_tvd": {"mean": 0.25 - other / 10}, "max_jsd": {"mean": 0.5, "median": 0.6}}
        write("l1", seed, tau=other, robustness=ROBUSTNESS | less)
    plain, ours = rows(relevance_tables.relevance_agreement())
    assert (plain[9], ours[9]) == ("-", "0.23 ± 0.38 (p 0.118)")
    assert ours[6].startswith("0.00 ± 0.00")  # of the embedding gradient, which is the template's in all
    plain, ours = rows(relevance_tables.relevance_robustness())
    assert (plain[4], ours[4][:6]) == ("-", "-0.043")


def test_the_search_chooses_by_its_rule(write):
    def search(name, corpus, accuracy, tau, entropy=0.5, **settings):
        write(f"{name}_{corpus}", 0, accuracy, "validation", tau, entropy=entropy, dataset=corpus, **settings)

    def chosen():
        return {(row[1], row[2]) for row in rows(relevance_tables.relevance_search()) if "**" in row[1]}

    for corpus in ("sst2", "newsgroups"):
        search("none", corpus, 80.0, 0.1, relevance_weight=0.0)
    assert chosen() == {("**none**", "0")}
    search("uneven", "sst2", 80.0, 0.2)
    search("uneven", "newsgroups", 80.0, 0.9)
    search("even", "sst2", 79.5, 0.3, relevance_weight=0.1)
    search("even", "newsgroups", 79.5, 0.3, relevance_weight=0.1)
    search("inaccurate", "sst2", 78.5, 0.8, relevance_weight=10)
    search("inaccurate", "newsgroups", 90.0, 0.8, relevance_weight=10)
    search("flat", "sst2", 80.0, 0.8, 0.96, relevance_weight=2)
    search("flat", "newsgroups", 80.0, 0.8, relevance_weight=2)
    search("half", "newsgroups", 80.0, 0.8, relevance_weight=3)  # not on every corpus
    assert chosen() == {("**l1**", "0.1")}


def test_missing_runs_are_told(write):
    assert rows(relevance_tables.relevance_search())[0][0] == "not run"
    assert rows(tables.adversarial())[0][0] == "not run"
    write("plain", relevance_weight=0.0)
    write("l1", robustness=ROBUSTNESS)
    assert [row[2:] for row in rows(relevance_tables.relevance_robustness())] == [
        ["not run", *"------"],
        ["[0](results/relevance/l1-seed0.json)", "0.250", "-", "0.500", "-", "0.600", "75.0"],
    ]


def test_every_table_can_be_made_before_anything_was_run(tmp_path, monkeypatch):
    for module in (common, tables):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    for name, made in tables.TABLES.items():
        assert "not run" in made() or "the paper's" in made(), name


def test_drop_scores_stand_beside_what_can_be_answered_of_the_same_questions_alone(monkeypatch):
    ways = {"span": 1, "calculation": 3, "none": 0}
    monkeypatch.setattr(tables, "drop_reach", lambda: {"digits": {"answer_type": {"number": ways, "date": ways}}})
    scores = {"exact_match": 50.0, "f1": 60.0}
    by = {"number": scores | {"examples": 4}, "date": scores | {"examples": 5}}
    for run in (None, {"metrics": {"by": {"answer_type": by}}}):
        monkeypatch.setattr(tables, "drop_runs", lambda run=run: {"drop": run})
        figures = [row[-2:] for row in rows(tables.drop_types())]
        assert figures == [["50.0", "60.0"] if run else ["not run"] * 2, ["not run"] * 2]


def test_the_figure_over_weights_is_of_validation_texts(write, tmp_path, monkeypatch):
    drawn = {}

    class Figure:
        def __init__(self, scores, *_):
            self.scores = scores

        def savefig(self, path, dpi):
            drawn[path.name] = self.scores

    monkeypatch.setattr(relevance_tables, "weight_figure", Figure)
    write("test")
    write("plain", split="validation", relevance_weight=0.0, accuracy=80.0, tau=0.3)
    relevance_tables.draw_weights(tmp_path)
    assert not drawn  # no weight but 0
    write("l1", split="validation", relevance_weight=0.1, accuracy=81.0, tau=0.4)
    write("l1", 1, split="validation", relevance_weight=0.1, accuracy=82.0, tau=0.6)
    diverse = {"split": "validation", "relevance_measure": "embedding_gradient", "diversity_weight": 0.5}
    write("diverse", **diverse, relevance_weight=0.0, accuracy=70.0, tau=0.7)
    write("both", **diverse, relevance_weight=0.1, accuracy=71.0, tau=0.8)
    relevance_tables.draw_weights(tmp_path)
    both = "l1 of embedding gradient, diversity 0.5"
    assert drawn == {
        "weights_sst2_accuracy.png": {"l1": {0.0: [80.0], 0.1: [81.0, 82.0]}, both: {0.0: [70.0], 0.1: [71.0]}},
        "weights_sst2_agreement.png": {"l1": {0.0: [0.3], 0.1: [0.4, 0.6]}, both: {0.0: [0.7], 0.1: [0.8]}},
    }


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_the_tables_of_the_results(page):
    assert tables.render(page) == page.read_text()


def test_every_table_stands_on_one_page():
    names = re.findall(r"<!-- table: (.+) -->", "".join(page.read_text() for page in tables.PAGES))
    assert sorted(names) == sorted(tables.TABLES)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "results/README.md", "results/NOTES.md"])
def test_what_a_page_links_is_there(page):
    links = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text())
    assert [link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()] == []


def test_an_example_of_a_run_is_drawn_from_what_the_command_line_printed(tmp_path):
    """All that were printed, and the pages show each."""
    tables.draw_saliency(tmp_path)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == [f"saliency_{path.stem}.png" for path in sorted((tables.RESULTS / "saliency").glob("*.json"))]
    page = (tables.RESULTS / "README.md").read_text()
    assert drawn
    assert all(f"](pictures/{name})" in page for name in drawn)


@pytest.mark.parametrize(("hardware", "said"), [({}, "16 x H100"), ({"gpus": 2}, "2 x H100")])
def test_a_run_says_how_many_of_what_it_trained_on(hardware, said):
    run = {"seconds": 90.0, "hardware": {"device": "H100", "cpus": 16} | hardware}
    assert common.training(run, 1) == f"1.5 min, {said}"
