"""A calculator or another function as a differentiable layer of BERT, for question answering (Yoshikawa et al.)."""

from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .calculator import Calculator
from .configuration_calculator_qa import CalculatorQAConfig
from .data_collator import CalculatorQADataCollator
from .modeling_calculator_qa import BertForCalculatorQA
from .pipeline import TASK, CalculatorQAPipeline
from .processing_calculator_qa import CalculatorQAProcessor
from .quantities import find_quantities
from .symbolic_function import SymbolicFunction, find_dates, find_names, look_up
from .symbolic_layer import SymbolicLayer
from .trainer import CalculatorQATrainer, CalculatorQATrainingArguments

AutoConfig.register(CalculatorQAConfig.model_type, CalculatorQAConfig)
AutoModel.register(CalculatorQAConfig, BertForCalculatorQA)
AutoModelForQuestionAnswering.register(CalculatorQAConfig, BertForCalculatorQA)
AutoProcessor.register(CalculatorQAConfig, CalculatorQAProcessor)
PIPELINE_REGISTRY.register_pipeline(TASK, CalculatorQAPipeline, pt_model=AutoModelForQuestionAnswering)

# What `save_pretrained` copies beside the weights, so that the model also loads where this package is not installed.
CalculatorQAConfig.register_for_auto_class()
BertForCalculatorQA.register_for_auto_class("AutoModelForQuestionAnswering")
CalculatorQAProcessor.register_for_auto_class()

__all__ = [
    "BertForCalculatorQA",
    "Calculator",
    "CalculatorQAConfig",
    "CalculatorQADataCollator",
    "CalculatorQAPipeline",
    "CalculatorQAProcessor",
    "CalculatorQATrainer",
    "CalculatorQATrainingArguments",
    "SymbolicFunction",
    "SymbolicLayer",
    "find_dates",
    "find_names",
    "find_quantities",
    "look_up",
]
