"""The arrows of the house: which file may import what, read from the sources without running them.

Imports are compared as they are written, dots included, so that the same table holds the form that files copied into
a model repository need: `from .calculator import Calculator`, and not `from hf_calc.calculator import ...`,
`from ..calculator import ...` or `from . import calculator`.
"""

import ast
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAMILIES = {"hf_calc", "hf_relevance"}
OURS = {*FAMILIES, "dataset_scripts", "benchmarks", "tests", "publish", "hub", "adapters", "reproduce"}
OURS |= {"train", "train_calc", "train_relevance"}

# Other packages that a file may import, the standard library apart.
SHIPPED = ["torch", "transformers", "tokenizers"]  # all that a model repository may ask of its user
ANY = None

MODEL = (
    ".configuration_* .calculator .chains .symbolic_layer .relevance_loss .processing_* .modeling_* "
    ".span_decoding .tokenization .word_vectors .data_collator"
)

# Files (the first row that fits counts), modules of this repository that they may import, other packages.
RULES = [
    ("hf_*/configuration_*.py", ".pipeline", SHIPPED),
    ("hf_*/calculator.py", ".configuration_*", SHIPPED),
    ("hf_*/symbolic_layer.py", ".configuration_*", SHIPPED),
    ("hf_*/relevance_loss.py", ".configuration_*", SHIPPED),
    ("hf_*/quantities.py", ".calculator", SHIPPED),
    ("hf_*/mentions.py", ".quantities", SHIPPED),
    ("hf_*/chains.py", ".calculator", SHIPPED),
    ("hf_*/argument_scorer.py", "", SHIPPED),
    ("hf_*/comparison_search.py", ".calculator .mentions", SHIPPED),
    ("hf_*/digits.py", "", SHIPPED),
    ("hf_*/losses.py", ".symbolic_layer", SHIPPED),
    ("hf_*/symbolic_function.py", ".calculator .quantities", SHIPPED),
    ("hf_*/candidate_results.py", ".mentions .quantities .symbolic_function", SHIPPED),
    ("hf_*/span_decoding.py", ".calculator .candidate_results .chains .mentions .symbolic_function", SHIPPED),
    (
        "hf_*/processing_*.py",
        ".configuration_* .calculator .chains .comparison_search .digits .mentions .quantities "
        ".symbolic_function .candidate_results .span_decoding",
        SHIPPED,
    ),
    (
        "hf_*/modeling_*.py",
        ".configuration_* .argument_scorer .calculator .chains .comparison_search .digits .losses .mentions "
        ".symbolic_layer .relevance_loss",
        SHIPPED,
    ),
    ("hf_*/pipeline.py", ".span_decoding", SHIPPED),
    ("hf_*/data_collator.py", ".configuration_* .calculator .processing_*", ANY),
    ("hf_*/metrics/*.py", "", ANY),
    ("hf_*/plotting.py", "", ANY),
    ("hf_*/__init__.py", f"{MODEL} .quantities .symbolic_function .pipeline .trainer", ANY),
    ("hf_*/cli.py", ".*", ANY),
    ("hf_relevance/trainer.py", f"{MODEL} .attribution", ANY),  # a measure of importance to train on
    ("hf_*/*.py", MODEL, ANY),  # trainer, attribution and whatever else reads a model
    ("dataset_scripts/*.py", "dataset_scripts* hub", ANY),
    ("benchmarks/common.py", "", ANY),
    ("benchmarks/*.py", "hf_* dataset_scripts* benchmarks.common", ANY),
    ("tests/*.py", "hf_* dataset_scripts* benchmarks* tests* train_* adapters reproduce", ANY),
    ("results/*.py", "hf_*.plotting", ANY),  # and each other
    ("hub.py", "", ANY),
    ("reproduce.py", "", ANY),
    ("adapters.py", "hub", ANY),
    ("publish.py", "adapters hub", ANY),
    ("train_calc.py", "hf_calc* dataset_scripts* adapters", ANY),
    ("train_relevance.py", "hf_relevance* dataset_scripts* adapters", ANY),
    ("train.py", "train_* hf_* publish adapters hub", ANY),
]
MAY_IMPORT_BOTH_FAMILIES = ("train.py", "tests/")

FILES = [
    *ROOT.glob("*.py"),
    *ROOT.glob("results/*.py"),
    *(path for name in OURS for path in (ROOT / name).rglob("*.py")),
]


def imports(source):
    """Modules imported by the text of a file, as written (`torch.nn`, `.calculator`), those inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def violations(path, source):
    """What RULES have against `source`, the text of the file at `path` (from the root), one message each."""
    rule = next((rule for rule in RULES if fnmatch(path, rule[0])), None)
    if rule is None:
        return [f"{path} fits no row of RULES: add one that says what it may import"]
    _, modules, packages = rule
    found = []
    families = set()
    for name in imports(source):
        top = name.split(".")[0]  # empty for a relative import
        families |= {top} & FAMILIES
        if not top or top in OURS:
            allowed = any(fnmatch(name, module) for module in modules.split())
        else:
            allowed = packages is ANY or top in packages or top in sys.stdlib_module_names
        if not allowed:
            found.append(f"{path} imports {name!r}; of ours it may import {modules!r}, of others {packages or 'any'}")
    if families == FAMILIES and not path.startswith(MAY_IMPORT_BOTH_FAMILIES):
        found.append(f"{path} imports both families, as only train.py may")
    return found


@pytest.mark.parametrize("path", sorted(path.relative_to(ROOT).as_posix() for path in FILES))
def test_imports_follow_the_arrows(path):
    assert violations(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("hf_calc/configuration_calculator_qa.py", "from .calculator import Calculator"),
        ("hf_calc/calculator.py", "import numpy as np"),
        ("hf_calc/calculator.py", "def add(a, b):\n    from scipy import special"),
        ("hf_calc/symbolic_layer.py", "from .modeling_calculator_qa import BertForCalculatorQA"),
        ("hf_calc/processing_calculator_qa.py", "from .modeling_calculator_qa import BertForCalculatorQA"),
        ("hf_calc/modeling_calculator_qa.py", "from .trainer import CalculatorQATrainer"),
        ("hf_calc/modeling_calculator_qa.py", "from hf_calc.calculator import Calculator"),
        ("hf_calc/modeling_calculator_qa.py", "from ..calculator import Calculator"),
        ("hf_calc/modeling_calculator_qa.py", "from . import calculator"),
        ("hf_calc/data_collator.py", "from .modeling_calculator_qa import BertForCalculatorQA"),
        ("hf_calc/plotting.py", "if TYPE_CHECKING:\n    from .modeling_calculator_qa import BertForCalculatorQA"),
        ("hf_calc/metrics/drop_f1/drop_f1.py", "import hf_calc.modeling_calculator_qa"),
        ("hf_calc/trainer.py", "from . import BertForCalculatorQA"),
        ("hf_calc/trainer.py", "from hf_relevance.trainer import RelevanceTrainer"),
        ("hf_relevance/trainer.py", "import os, hf_calc"),
        ("hf_calc/cli.py", "from train import main"),
        ("dataset_scripts/calculator_qa/calculator_qa.py", "from hf_calc.calculator import Calculator"),
        ("benchmarks/steps.py", "import hf_calc\nimport hf_relevance"),
        ("train_calc.py", "from hf_relevance import relevance_loss"),
        ("tests/test_train.py", "import train"),
        ("shared.py", ""),
    ],
)
def test_a_wrong_import_is_found(path, source):
    assert len(violations(path, source)) == 1


def test_right_imports_pass():
    source = "import math\nfrom torch import nn\nfrom .calculator import Calculator\nfrom .symbolic_layer import x"
    assert violations("hf_calc/modeling_calculator_qa.py", source) == []
