"""LoRA adapters for both families (Hu et al. 2021): what of a model they touch, and what they stand on.

What is unusual: an adapter is worth nothing without the very model that it was trained on. Unless the Hub has that
one, it is saved beside the adapter, in the folder `base`, with our configuration and code, where the Auto classes of
peft and transformers find it by `base_model_name_or_path`. Nothing of the base changes in training: the adapter's
matrices and the heads do, which are trained as a whole and saved in the adapter.

An LSTM reads its weights inside one kernel, where no adapter reaches them, so the one of the relevance family stays as
it is: the base must be a trained model there. The calculator family may also begin with a bare BERT.
"""

import filecmp
import importlib.metadata
from functools import partial
from pathlib import Path

from huggingface_hub import hf_hub_download
from transformers import AutoConfig, PreTrainedModel

from hub import replace_files

ADAPTER, BASE = "adapter_config.json", "base"  # of an adapter's folder
LORA_HELP = "Rank of a LoRA adapter, trained in place of the model; 0: train the model."

# Of a family: its task in peft, the layers with an adapter (by their whole names), the heads that peft does not know.
LORA = {
    "calc": {
        "task_type": "QUESTION_ANS",  # qa_outputs is a head
        "target_modules": r"(bert|reader)\.encoder\..*\.(query|key|value|dense)",
        "modules_to_save": ["argument_scorer", "comparison_search", "digit_places"],
    },
    "relevance": {
        "task_type": "SEQ_CLS",  # classifier and score, the last layer of the attention, are heads
        "target_modules": r"bilstm\.(embed_tokens|attention\.projection)",
        "modules_to_save": None,
    },
}


def add_adapter(model: PreTrainedModel, processor, family: str, rank: int, folder: str | Path, is_main_process=True):
    """Puts a LoRA adapter, which changes no output yet, on a model, and leaves it and the heads alone to train.

    Args:
        model: of ours, as the adapter will always need it; it is changed in place.
        processor: of the model, or its tokenizer: saved with the base.
        family: `calc` or `relevance`.
        rank: of what is added to a layer's matrix W: W + 2 B A, lora_alpha being twice the rank.
        folder: where the adapter will be saved.
        is_main_process: whether this process saves the base.

    Returns:
        The `PeftModel`.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: a rank under 1, or `folder` has an adapter on another base.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("LoRA needs peft: pip install 'hf-calc-relevance[peft]'") from error
    if rank < 1:
        raise ValueError(f"the rank must be at least 1, got {rank}")
    config = LoraConfig(r=rank, lora_alpha=2 * rank, **LORA[family])
    revision = published_revision(model)
    if revision is None:
        base = Path(folder, BASE).absolute()
        model.name_or_path = str(base)
        if is_main_process:
            with replace_files(base) as new:
                model.save_pretrained(new)
                processor.save_pretrained(new)
                _, changed, _ = filecmp.cmpfiles(base, new, [path.name for path in new.iterdir()], shallow=False)
                if changed and Path(folder, ADAPTER).is_file():
                    raise ValueError(
                        f"{folder} has an adapter on another base, which it would lose: give another output_dir, or "
                        "remove this one"
                    )
    adapted = get_peft_model(model, config, revision=revision)
    # All embeddings are in the base; where some have an adapter, peft would save them again.
    adapted.save_pretrained = partial(adapted.save_pretrained, save_embedding_layers=False)
    return adapted


def published_revision(model: PreTrainedModel) -> str | None:
    """The commit of the Hub that a model was loaded from; None if it was another kind of model there, or a folder."""
    if Path(model.name_or_path).is_dir():
        return None
    path = Path(hf_hub_download(model.name_or_path, "config.json"))  # in the cache, in a folder named by the commit
    config, published = model.config, AutoConfig.from_pretrained(path)
    facts = ("model_type", *type(config).__annotations__)
    same = all(getattr(config, fact) == getattr(published, fact, None) for fact in facts)
    return path.parent.name if same else None


def adapter_settings(model) -> dict | None:
    """What a model's adapter is, for the results; None for a model without one."""
    if not hasattr(model, "peft_config"):
        return None
    config = model.peft_config["default"]
    names = ("r", "lora_alpha", "target_modules", "modules_to_save")
    return {"peft": importlib.metadata.version("peft")} | {name: getattr(config, name) for name in names}
