"""Export of a builder's configs as Parquet files with a card, a folder that `load_dataset` reads."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import datasets
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData


def export(
    builder_class: type[datasets.DatasetBuilder],
    config_names: list[str],
    parameters: dict,
    output: Path,
    card: Callable[..., str],
    **card_data: object,
) -> None:
    """Write configs of a builder as Parquet files with a card, which `load_dataset(output, config_name)` reads.

    Args:
        builder_class: the builder.
        config_names: those of its configs to write.
        parameters: keyword arguments of the builder, for all of them.
        output: folder to write to, new or empty.
        card: makes the text of the card from the columns of the first training row, given as keywords.
        card_data: what the head of the card says, see `DatasetCardData`; configs and splits are added.

    Raises:
        FileExistsError: if the output folder is not empty.
        TypeError, ValueError: if the builder refuses its parameters; then nothing is written.
    """
    if output.exists() and any(output.iterdir()):
        raise FileExistsError(f"{output} must be empty, since the card describes one export: choose a new folder.")
    infos, files = DatasetInfosDict(), MetadataConfigs()
    with tempfile.TemporaryDirectory() as cache_dir:
        builders = [builder_class(config_name=name, cache_dir=cache_dir, **parameters) for name in config_names]
        for name, builder in zip(config_names, builders, strict=True):
            builder.download_and_prepare()
            splits = builder.as_dataset()
            (output / name).mkdir(parents=True)
            for split, dataset in splits.items():
                dataset.to_parquet(output / name / f"{split}-00000-of-00001.parquet")
            infos[name] = builder.info
            infos[name].download_size = sum(path.stat().st_size for path in (output / name).iterdir())
            files[name] = {"data_files": [{"split": split, "path": f"{name}/{split}-*"} for split in splits]}
        text = card(**builders[0].as_dataset(split="train")[0])
    head = DatasetCardData(**card_data)
    infos.to_dataset_card_data(head)
    files.to_dataset_card_data(head)
    (output / "README.md").write_text(f"---\n{head}\n---\n{text}", encoding="utf-8")
