"""A run of the relevance family: options, data, trainer and scores; train.py carries it out."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import torch
from datasets import ClassLabel, Dataset, DatasetDict, Value, concatenate_datasets, load_dataset
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, TextClassificationPipeline

from adapters import LORA_HELP, add_adapter
from dataset_scripts.imdb.imdb import Imdb
from dataset_scripts.newsgroups.newsgroups import Newsgroups
from dataset_scripts.reviews.reviews import Reviews
from dataset_scripts.sst2.sst2 import Sst2
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
from hf_relevance.word_vectors import embedding_matrix, read_texts

CORPORA = {"sst2": Sst2, "imdb": Imdb, "newsgroups": Newsgroups}


@dataclass
class RelevanceArguments:
    """Data and model of a run of the relevance family.

    Args:
        name: of the run.
        results_dir: a folder that the results also go to, beside those of other runs.
        dataset: `sst2`, `imdb` or `newsgroups` (see dataset_scripts), `reviews`, which are made up, or a dataset
            folder or Hub name with the splits train, validation and test and the columns text and label.
        dataset_config: a configuration of a folder or Hub name, if it has several.
        data_dir: a folder with the plain files of one of the three, which by default comes from the Hub.
        min_words, max_words: texts of one of the three with fewer or more words are left out of every split.
        unlabeled_texts: a file of texts that are trained on as well, each as the class that `teacher` finds for it:
            one a line, or JSON Lines with `text`. Those that stand in a split are left out, and of one of the three
            they are cleaned and chosen by their length as its own.
        teacher: a trained model of this family, as a folder or Hub name, with its tokenizer.
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
    results_dir: str | None = field(default=None, metadata={"help": "A folder that the results also go to."})
    dataset: str = field(default="sst2", metadata={"help": f"{', '.join(CORPORA)}, reviews, a folder or a Hub name."})
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a dataset that has several."})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of plain files instead of the Hub."})
    min_words: int | None = field(default=None, metadata={"help": "Leave out texts with fewer words."})
    max_words: int | None = field(default=None, metadata={"help": "Leave out texts with more words."})
    unlabeled_texts: str | None = field(default=None, metadata={"help": "More texts, which the teacher labels."})
    teacher: str | None = field(default=None, metadata={"help": "Trained model that labels the unlabeled texts."})
    base_model: str | None = field(default=None, metadata={"help": "Trained model to go on from; default: a new one."})
    lora_rank: int = field(default=0, metadata={"help": LORA_HELP})
    vectors: str | None = field(default=None, metadata={"help": "Word vectors; default: random embeddings."})
    min_frequency: int | None = field(default=2, metadata={"help": "A rarer word is unknown."})
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
        if (self.unlabeled_texts is None) != (self.teacher is None):
            raise ValueError("unlabeled_texts and teacher go together: the texts, and the model that labels them")
        if self.agreement_texts < 0:
            raise ValueError(f"agreement_texts must be 0 or more, got {self.agreement_texts}")

    @property
    def scale(self) -> str:
        """`paper` if the corpus is one of the poster's and the model began with no other one, else `small`."""
        return "paper" if self.dataset in CORPORA and self.base_model is None else "small"


def corpus_options(arguments: RelevanceArguments) -> dict:
    """The given arguments of a corpus's builder."""
    options = {name: getattr(arguments, name) for name in ("data_dir", "min_words", "max_words")}
    return {name: value for name, value in options.items() if value is not None}


def load_texts(arguments: RelevanceArguments) -> DatasetDict:
    """A corpus by its builder, or any dataset with the same splits and columns."""
    options = corpus_options(arguments)
    if options and arguments.dataset not in CORPORA:
        raise ValueError(f"{', '.join(options)} is for {', '.join(CORPORA)} alone, not for {arguments.dataset}")
    if arguments.dataset in {*CORPORA, "reviews"}:
        if arguments.dataset_config is not None:
            raise ValueError(f"dataset_config is for a folder or Hub name alone, not for {arguments.dataset}")
        builder = CORPORA.get(arguments.dataset, Reviews)(**options)
        builder.download_and_prepare()
        return builder.as_dataset()
    data = load_dataset(arguments.dataset, arguments.dataset_config)
    for split in ("train", "validation", "test"):
        if split not in data or not {"text", "label"} <= {*data[split].column_names}:
            raise ValueError(
                f"{arguments.dataset} has {data.column_names}; it needs the splits train, validation and test, each "
                "with the columns text and label"
            )
        # In the test split a wrong one would only be met after training.
        num_labels = len(label_names(data["train"]))
        if wrong := [label for label in data[split].unique("label") if label not in range(num_labels)]:
            raise ValueError(
                f"labels of {arguments.dataset} must be whole numbers from 0 to {num_labels - 1}, the classes of the "
                f"training texts, got {wrong[0]!r} in {split}"
            )
    return data


def labeled_texts(arguments: RelevanceArguments, data: DatasetDict, run: RelevanceTrainingArguments) -> Dataset:
    """The unlabeled texts that stand in no split, the shortest first, each with the class that the teacher finds."""
    texts = read_texts([Path(arguments.unlabeled_texts)])
    if arguments.dataset in CORPORA:
        texts = CORPORA[arguments.dataset](**corpus_options(arguments)).prepared(texts)
    known = {text for rows in data.values() for text in rows["text"]}
    texts = sorted({*filter(str.strip, texts)} - known, key=lambda text: (len(text), text))
    if not texts:
        raise ValueError(f"{arguments.unlabeled_texts} has no text that is not in {arguments.dataset} already")
    model = load_model(arguments.teacher, data["train"])
    if run.should_save:
        print(f"{arguments.teacher} labels {len(texts):,} texts")
    classify = TextClassificationPipeline(
        model=model, tokenizer=AutoTokenizer.from_pretrained(arguments.teacher), device=run.device
    )
    found = classify(texts, batch_size=run.per_device_eval_batch_size)
    labels = [model.config.label2id[row["label"]] for row in found]
    features = data["train"].select_columns(["text", "label"]).features
    return Dataset.from_dict({"text": texts, "label": labels}, features=features)


def load_model(name: str, texts: Dataset) -> BiLSTMAttentionForClassification:
    """A trained model, which must have the classes of training texts."""
    model = BiLSTMAttentionForClassification.from_pretrained(name, dtype=torch.float32)
    id2label = dict(enumerate(label_names(texts)))
    if model.config.id2label != id2label:
        raise ValueError(f"{name} has the labels {model.config.id2label}, the data {id2label}")
    return model


def label_names(texts: Dataset) -> list[str]:
    """Names of the classes of training texts, by default their numbers."""
    label = texts.features["label"]
    if isinstance(label, ClassLabel):
        return label.names
    if not isinstance(label, Value) or "int" not in label.dtype:
        raise ValueError(f"labels must be whole numbers or a ClassLabel of datasets, got {label}: cast them to one")
    return [*map(str, range(max((label for label in texts.unique("label") if label is not None), default=0) + 1))]


def build_relevance_model(arguments: RelevanceArguments, texts: Dataset, seed: int):
    """Tokenizer and model for training texts: those of base_model, or new ones."""
    if arguments.base_model is not None:
        model = load_model(arguments.base_model, texts)
        arguments.min_frequency = None  # this and the next for the results
        for size in ("embedding_size", "hidden_size", "attention_size"):
            setattr(arguments, size, getattr(model.config, size))
        return AutoTokenizer.from_pretrained(arguments.base_model), model
    tokenizer = build_tokenizer(texts["text"], arguments.min_frequency)
    if arguments.vectors is not None:
        vectors = embedding_matrix(tokenizer, arguments.vectors, seed)
        arguments.embedding_size = vectors.shape[1]
    names = label_names(texts)
    model = BiLSTMAttentionForClassification(
        BiLSTMAttentionConfig(
            vocab_size=len(tokenizer),
            embedding_size=arguments.embedding_size,
            hidden_size=arguments.hidden_size,
            attention_size=arguments.attention_size,
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
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
    if arguments.teacher is not None:
        own = data["train"].select_columns(["text", "label"])
        data["train"] = concatenate_datasets([own, labeled_texts(arguments, data, run)])
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
    # Small batches of texts of about one length: the search of other attentions pays for padding 500 times.
    loader = DataLoader(sample, min(32, trainer.args.eval_batch_size), collate_fn=trainer.data_collator)
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
