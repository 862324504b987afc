"""Export to sharded Parquet with a card: the same rows however they are written, in little memory, all or nothing."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

from dataset_scripts.calculator_qa import calculator_qa
from dataset_scripts.calculator_qa.calculator_qa import BLOCK_ROWS, FEATURES, SPLITS, TABLE_BLOCKS, CalculatorQA
from dataset_scripts.export import export
from dataset_scripts.reviews.reviews import Reviews

# Python 3.12, where pyarrow has threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

PARAMETERS = {
    CalculatorQA: {"owners": 3, "digits": 2, "train_size": 7 * BLOCK_ROWS + 5, "validation_size": 3},
    Reviews: {"train_size": 2500, "validation_size": 3, "test_size": 2},
}
CONFIG = {CalculatorQA: "max_transfer", Reviews: "default"}
CARD = "\nVersion {version} with\n\n{parameters}\n"


@pytest.fixture(autouse=True)
def one_block_a_table(monkeypatch):
    """Or else a second table would take many rows."""
    monkeypatch.setattr(calculator_qa, "TABLE_BLOCKS", 1)


def write(output, builder_class=CalculatorQA, config_names=None, card=CARD.format, parameters=None, **options):
    config_names, parameters = config_names or [CONFIG[builder_class]], PARAMETERS[builder_class] | (parameters or {})
    export(builder_class, config_names, parameters, output, card, license="apache-2.0", **options)
    return output


@pytest.mark.parametrize("builder_class", [CalculatorQA, Reviews])
@pytest.mark.parametrize(
    ("options", "train_shards"),
    [
        ({}, 1),
        ({"num_proc": 2}, 2),
        ({"num_proc": 3}, 3),
        ({"max_shard_size": "100KB"}, 3),
        ({"num_proc": 2, "max_shard_size": 100_000}, 4),
    ],
)
def test_rows_and_order_depend_on_neither_processes_nor_shards(tmp_path, builder_class, options, train_shards):
    name = CONFIG[builder_class]
    builder = builder_class(config_name=name, cache_dir=tmp_path / "cache", **PARAMETERS[builder_class])
    builder.download_and_prepare()
    output, files = write(tmp_path / "data", builder_class, **options), {"README.md"}
    loaded = load_dataset(str(output), name, cache_dir=str(tmp_path / "loaded"))
    for split, dataset in builder.as_dataset().items():
        shards = sorted((output / name).glob(f"{split}-*"))
        assert len(shards) >= (train_shards if split == "train" else 1)
        names = [f"{split}-{number:05d}-of-{len(shards):05d}.parquet" for number in range(len(shards))]
        assert [shard.name for shard in shards] == names
        files.update(f"{name}/{shard}" for shard in names)
        assert [row for shard in shards for row in pq.read_table(shard).to_pylist()] == dataset.to_list()
        assert loaded[split].to_list() == dataset.to_list()
        assert loaded[split].features == dataset.features
    assert {path.relative_to(output).as_posix() for path in output.rglob("*.*")} == files
    assert {path.name for path in tmp_path.iterdir()} == {"data", "loaded", "cache"}, "nothing is left beside it"


def test_memory_grows_with_the_table_and_not_with_the_rows(tmp_path, monkeypatch):
    make_table = calculator_qa.make_table

    def peak(blocks):
        """The most bytes that Arrow holds when a block is made, over those when the first one is."""
        held = []

        def count_and_make_table(*args):
            held.append(pa.total_allocated_bytes())
            return make_table(*args)

        monkeypatch.setattr(calculator_qa, "make_table", count_and_make_table)
        write(tmp_path / str(blocks), parameters={"train_size": blocks * BLOCK_ROWS})
        assert len(held) == blocks + 1, "the last is the validation split's"
        return max(held) - held[0]

    config = CalculatorQA(cache_dir=tmp_path, **PARAMETERS[CalculatorQA]).config
    block = make_table(config, "train", 0).nbytes
    assert peak(64) < peak(4) + 2 * block
    monkeypatch.setattr(calculator_qa, "TABLE_BLOCKS", 16)
    assert peak(32) > 10 * block, "or else nothing is measured"


def test_a_table_is_a_row_group(tmp_path, monkeypatch):
    monkeypatch.setattr(calculator_qa, "TABLE_BLOCKS", 3)
    (shard,) = (write(tmp_path / "data") / "max_transfer").glob("train-*")
    groups = pq.read_metadata(shard).to_dict()["row_groups"]
    assert [group["num_rows"] for group in groups] == [3 * BLOCK_ROWS, 3 * BLOCK_ROWS, BLOCK_ROWS + 5]
    assert CalculatorQA.DEFAULT_WRITER_BATCH_SIZE == TABLE_BLOCKS * BLOCK_ROWS


def test_the_card_says_what_is_there_and_how_it_was_made(tmp_path):
    names = ["max_transfer", "argmax_generalization"]
    output = write(tmp_path / "data", config_names=names, parameters={"items": ["pens", "books"]}, num_proc=2)
    card = DatasetCard.load(output / "README.md")
    assert (card.data.builder, card.data.version, card.data.license) == ("CalculatorQA", "1.1.0", "apache-2.0")
    assert card.data.parameters == PARAMETERS[CalculatorQA] | {"items": "pens books"}
    parameters = "- owners: 3\n- digits: 2\n- train_size: 3589\n- validation_size: 3\n- items: pens books"
    assert card.text == CARD.format(version="1.1.0", parameters=parameters)
    defaults = {config["config_name"]: config.get("default", False) for config in card.data.configs}
    assert defaults == {"argmax_generalization": False, "max_transfer": True}
    infos = DatasetInfosDict.from_directory(output)
    assert [*infos] == sorted(names)
    for name, info in infos.items():
        assert info.features == FEATURES
        sizes = {split: PARAMETERS[CalculatorQA][f"{split}_size"] for split in SPLITS}
        assert {name: split.num_examples for name, split in info.splits.items()} == sizes
        assert info.dataset_size == sum(split.num_bytes for split in info.splits.values()) > 0
        assert info.download_size == sum(path.stat().st_size for path in (output / name).iterdir())


@pytest.mark.parametrize("num_proc", [1, 2])
def test_a_full_disk_is_a_clear_error_and_leaves_nothing(tmp_path, full_disk, num_proc):
    error = r"^no rows were exported, because of OSError: .*File too large$"
    with full_disk(50_000), pytest.raises(OSError, match=error):
        write(tmp_path / "data", num_proc=num_proc)
    assert [*tmp_path.iterdir()] == []


def test_an_error_at_the_end_leaves_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(KeyError, match="color"):
        write(tmp_path / "data", config_names=["max_plain", "max_transfer"], card="{color}".format)
    assert [*tmp_path.rglob("*")] == [tmp_path / "data"]
    write(tmp_path / "data")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameters": {"owners": 2}}, "owners must be from 3"),
        ({"config_names": ["max_plain", "none"]}, "not found. Available"),
        ({"num_proc": 0}, "processes must be at least 1"),
        ({"max_shard_size": "many"}, "size=many"),
        ({"push_to_hub": "data"}, "must be named user/name, got 'data'"),
    ],
)
def test_wrong_options_leave_nothing(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "data", **options)
    assert [*tmp_path.iterdir()] == []


def test_a_command_ends_with_its_error_in_a_line(tmp_path):
    (tmp_path / "mine").touch()
    command = [sys.executable, "-m", "dataset_scripts.calculator_qa.calculator_qa", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {tmp_path} must be empty, since the card describes one export: choose a new folder.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
