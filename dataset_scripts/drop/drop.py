"""DROP: questions over passages of Wikipedia whose answers take a calculation, a count, a comparison or a span.

    data_dir    drop/train.jsonl.gz and validation.jsonl.gz, objects of passage_id, passage, question and answers
    repository  ucinlp/drop

Rows fit `CalculatorQATrainer`: `answer` is the list of the annotators' answers, each of which counts as a spelling.

What is unusual: every passage ends in " 100", the number from which a share is subtracted ("how many percent were
not ...?") and which hardly any text contains; figure 2 of Yoshikawa, Heinzerling and Inui shows it there. And two
columns that DROP does not have say what a question asks for, by rules that a reader can check:

    answer_type    of the first answer: `number`; `date`; `spans`, which are joined by "and"; else `span`.
                   The plain files do not say it. There a date is a text of day, month and year, or one that begins
                   with the blanks of a day and a month that are missing; and an answer that no text holds, though it
                   holds all the parts between its "and"s, is `spans`.
    question_type  `comparison`   names two to choose from by "or", and a text or date is the answer;
                   `complement`   asks for a percentage of what is not, and a number is the answer;
                   `difference`   asks how many more, fewer, longer and so on, by how many, or for a time that passed
                                  or lasted, and a number is the answer;
                   `count`        asks how many, of no unit of measure and no total, and a whole number that the
                                  passage does not have is the answer;
                   `other`        all else.

The config `numbers` has comparison, complement and difference, the questions that the paper trained on; `all` has all.

The Hub's training rows have one annotator each. Its validation rows do not tell which spans belong to one annotator:
each counts as an answer of its own, so `spans` are missing there and scores of them are higher than official ones.

    python -m dataset_scripts.drop.drop --output DIR --data_dir DIR
"""

import argparse
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import datasets

from dataset_scripts.export import export, parse
from dataset_scripts.reading import read_objects, read_repository, stamped
from hub import errors_in_a_line

VERSION = datasets.Version("1.0.0")
SPLITS = ("train", "validation")
CALCULATED = ("comparison", "complement", "difference")
ANSWER_TYPES = ("number", "date", "span", "spans")
QUESTION_TYPES = (*CALCULATED, "count", "other")
COLUMNS = ("passage_id", "passage", "question", "answers")
HUB_COLUMNS = ("section_id", "passage", "question", "answers_spans")
TEXTS = ("id", "passage_id", "question", "passage", "answer_type", "question_type")
FEATURES = datasets.Features(
    {name: datasets.Value("string") for name in TEXTS}
    | {"answer": datasets.List(datasets.Value("string")), "length": datasets.Value("int32")}
)

NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?<=\d)")
MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
DATE = re.compile(rf" .*|(?:\d\d? )?(?:{MONTH})(?: \d+)?", re.DOTALL)

HOW_MANY = re.compile(r"\bhow (?:many|much|long)\b", re.IGNORECASE)
# "two or more races" and "65 or older" name nothing to choose from.
CHOICE = re.compile(
    r"(?<!\btwo )(?<!\b2 )\bor\b(?! (?:more|older|over|less|fewer|above|below|under)\b)", re.IGNORECASE
)
PERCENT = re.compile(r"percent|%", re.IGNORECASE)
NEGATION = re.compile(r"\bnot\b|\b(?:is|are|was|were|do|does|did|has|have|had)n['\u2019]?t\b", re.IGNORECASE)
TIME = r"(?:years?|months?|weeks?|days?|hours?|minutes?|decades?|centuries)"
MORE = (
    r"more|fewer|less|longer|shorter|higher|lower|larger|smaller|bigger|greater|older|younger|further|farther|earlier"
)
DIFFERENCE = re.compile(
    rf"""\bhow\ (?:many|much)\b.*\b(?:(?:{MORE})(?!\ than\ \d)|differences?|apart|compared)\b
    |\bby\ how\ (?:many|much)\b|\b(?:win|won|beat|lose|lost|lead|led|trail|trailed|increased?|decreased?)\b.*\bby\b
    |\bhow\ many\ (?:\w+\ )?{TIME}\b.*\b(?:after|before|between|from|since|until|till|pass|passed|last|lasted|take|took
    |elapsed?|span|spanned|later|reign|reigned|rule|ruled|war)\b|\bhow\ long\b""",
    re.IGNORECASE | re.VERBOSE,
)
UNIT = re.compile(
    rf"\bhow many (?:\w+ )?(?:yards?|points?|percent\w*|{TIME}|dollars|miles|kilometers|meters|feet|acres)\b"
    r"|\b(?:total|combined|altogether|average|sum|both)\b",
    re.IGNORECASE,
)

CARD = """
# DROP, for a model with a calculator

The questions of DROP (Dua et al. 2019, CC BY-SA 4.0) with all answers of its annotators, and by rules what each asks
for: `answer_type` ({answer_types}) and `question_type` ({question_types}). Passages end in " 100", from which a share
is subtracted. `numbers` has comparison, complement and difference alone.

> **{question}** {answer}

Made by version {version} of `drop.py` with

{parameters}
"""


@dataclass
class DropConfig(datasets.BuilderConfig):
    """What to read.

    Args:
        data_dir: a folder with the folder `drop` of plain files; by default rows come from `repository`.
        question_types: which of `QUESTION_TYPES` to keep.
        repository: a dataset of the Hub with the columns of ucinlp/drop.
    """

    version: datasets.Version = VERSION
    question_types: tuple[str, ...] = QUESTION_TYPES
    repository: str = "ucinlp/drop"

    def create_config_id(self, config_kwargs: dict, custom_features: datasets.Features | None = None) -> str:
        """Key of the cache, with the sizes and times of the files to read: changed files are read again."""
        files = Path(self.data_dir, "drop").glob("*.jsonl.gz") if self.data_dir else ()
        return super().create_config_id(stamped(config_kwargs, files), custom_features)


def is_number(text: str) -> bool:
    """Whether a text is a number and nothing else.

    >>> is_number("1,200"), is_number(".5"), is_number("43-yard"), is_number("")
    (True, True, False, False)
    """
    return NUMBER.fullmatch(text.strip()) is not None


def holds(text: str, words: str) -> bool:
    """Whether a text holds words as whole words, in either case."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


def answer_type(answer: str, *texts: str) -> str:
    """One of `ANSWER_TYPES`, see the top of this file.

    Args:
        answer: as it stands in the plain files, blanks included.
        texts: question and passage.

    >>> answer_type("  1942"), answer_type("43"), answer_type("3 May 1945"), answer_type("the Poles", "Poles lost")
    ('date', 'number', 'date', 'span')
    >>> answer_type("Poles and Tatars", "Who lost?", "Poles lost, Tatars did."), answer_type("A and B", "A and B.")
    ('spans', 'span')
    """
    if answer.startswith(" ") or not is_number(answer):
        if DATE.fullmatch(answer):
            return "date"
        parts = answer.split(" and ")
        found = [any(holds(text, part) for text in texts) for part in (answer, *parts)]
        return "spans" if len(parts) > 1 and not found[0] and all(found[1:]) else "span"
    return "number"


def question_type(question: str, passage: str, answer: str, kind: str) -> str:
    """One of `QUESTION_TYPES`, see the top of this file.

    Args:
        question, passage: the texts.
        answer: the first one.
        kind: its `answer_type`.

    >>> question_type("Who had more, Poles or Tatars?", "", "Poles", "span")
    'comparison'
    >>> question_type("How many percent were not Irish?", "", "87.1", "number")
    'complement'
    >>> question_type("How many more people are there than families?", "", "106572", "number")
    'difference'
    >>> question_type("How many touchdowns did they score?", "a 3-yard run", "2", "number")
    'count'
    """
    if kind != "number":
        is_choice = len(CHOICE.findall(question)) == 1 and kind != "spans" and not HOW_MANY.search(question)
        return "comparison" if is_choice else "other"
    if PERCENT.search(question) and NEGATION.search(question):
        return "complement"
    if DIFFERENCE.search(question):
        return "difference"
    is_count = HOW_MANY.search(question) and not UNIT.search(question) and answer.isdecimal()
    return "count" if is_count and not holds(passage, answer) else "other"


def make_row(passage_id: str, passage: str, question: str, answers: list[str], kind: str) -> dict:
    """A row of `FEATURES`; its id is of the texts, so it is the same from every source."""
    answers = list(dict.fromkeys(answer.strip() for answer in answers))
    return {
        "id": hashlib.sha256(f"{passage}\n{question}".encode()).hexdigest()[:12],
        "passage_id": passage_id,
        "question": question,
        "passage": f"{passage.rstrip()} 100",
        "answer": answers,
        "answer_type": kind,
        "question_type": question_type(question, passage, answers[0], kind),
        "length": len(question) + len(passage),  # characters, for batches of about equal length
    }


def folder_rows(folder: Path, split: str) -> Iterator[dict]:
    """Rows of a split of the plain files.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: it is cut off, or a line is no question with answers.
    """
    for place, row in read_objects(folder / f"{split}.jsonl.gz", COLUMNS):
        answers = row["answers"]
        if not isinstance(answers, list) or not answers or not all(isinstance(answer, str) for answer in answers):
            raise ValueError(f"{place} must have a list of answers, texts, got {answers!r}.")
        kind = answer_type(answers[0], row["question"], row["passage"])
        yield make_row(**row, kind=kind)


def hub_rows(config: DropConfig, split: str) -> Iterator[dict]:
    """Rows of a split of the Hub's copy.

    Raises:
        ConnectionError: the Hub cannot be reached.
        ValueError: a repository of other columns.
    """
    for row in read_repository(config, split, HUB_COLUMNS):
        spans, kind = row["answers_spans"]["spans"], row["answers_spans"]["types"][0]
        if split == "train" and len(spans) > 1:
            spans, kind = [" and ".join(spans)], "spans"
        yield make_row(row["section_id"], row["passage"], row["question"], spans, kind)


class Drop(datasets.GeneratorBasedBuilder):
    """Builder of the configs `all` and `numbers`. Keyword arguments are those of `DropConfig`.

    Raises:
        ValueError: at construction, if a question type is unknown.
        ConnectionError, FileNotFoundError, ValueError: from `download_and_prepare`, if rows cannot be read.
    """

    BUILDER_CONFIG_CLASS = DropConfig
    BUILDER_CONFIGS: ClassVar[list[DropConfig]] = [
        DropConfig(name="all"),
        DropConfig(name="numbers", question_types=CALCULATED),
    ]
    DEFAULT_CONFIG_NAME = "all"

    def _info(self) -> datasets.DatasetInfo:
        if unknown := {*self.config.question_types} - {*QUESTION_TYPES}:
            raise ValueError(f"question_types must be among {QUESTION_TYPES}, got {sorted(unknown)}.")
        return datasets.DatasetInfo(features=FEATURES, license="cc-by-sa-4.0")

    def _split_generators(self, dl_manager) -> list[datasets.SplitGenerator]:
        # All is read here, because datasets hides what goes wrong in _generate_examples.
        config, splits = self.config, {}
        for split in SPLITS:
            rows = folder_rows(Path(config.data_dir, "drop"), split) if config.data_dir else hub_rows(config, split)
            splits[split] = [row for row in rows if row["question_type"] in config.question_types]
            if not splits[split]:
                raise ValueError(f"the {split} part has no question of {', '.join(config.question_types)}.")
        return [datasets.SplitGenerator(name=split, gen_kwargs={"rows": rows}) for split, rows in splits.items()]

    def _generate_examples(self, rows: list[dict]) -> Iterator[tuple[int, dict]]:
        yield from enumerate(rows)


def main(arguments: list[str] | None = None) -> None:
    """Write configs as Parquet files with a card, which `load_dataset(output, config_name)` reads, and publish them.

    Args:
        arguments: words of the command line, by default those of the process.

    Raises:
        OSError, TypeError, ValueError: as the builder and `export` say.
    """
    parser = argparse.ArgumentParser(description="Export DROP as Parquet files with a card.")
    names = [config.name for config in Drop.BUILDER_CONFIGS]
    parser.add_argument("--configs", nargs="+", choices=names, default=names, help=", ".join(names))
    parser.add_argument("--data_dir", help="folder of plain files, by default the Hub")
    parameters, options = parse(parser, arguments)

    def card(answer: list[str], answer_type: str, question_type: str, **row: str) -> str:
        lists = {"answer_types": ", ".join(ANSWER_TYPES), "question_types": ", ".join(QUESTION_TYPES)}
        return CARD.format(answer=" / ".join(answer), **lists, **row)

    export(
        Drop,
        parameters.pop("configs"),
        parameters,
        card=card,
        language="en",
        license="cc-by-sa-4.0",
        pretty_name="DROP",
        task_categories=["question-answering"],
        **options,
    )


if __name__ == "__main__":
    with errors_in_a_line():
        main()
