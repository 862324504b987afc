"""Configuration of `BertForCalculatorQA`: a BERT encoder and the facts of what stands on it."""

from typing import TYPE_CHECKING

from transformers import BertConfig

if TYPE_CHECKING:  # never so: saving and loading copy the files whose import they read here, this one as well
    from .pipeline import CalculatorQAPipeline  # noqa: F401

FORMAT_VERSION = 1  # goes up when older code would misread what newer code saves


class CalculatorQAConfig(BertConfig):
    """A `BertConfig` with the facts of the calculator model; any BERT checkpoint's encoder fits.

    Args:
        use_calculator: False gives the paper's baseline, BERT with span extraction and nothing else.
        share_encoder: whether one encoder serves both passes, as in section 5 of the paper. With False the second
            pass has an encoder of its own, which starts from the same checkpoint.
        num_arguments: K, how many mentions of the text the symbolic function takes; the paper's calculator takes two.
        num_steps: how often the model may calculate before it answers, each time also with the results so far.
        operations, calculator_token_ids: what it needs to calculate by itself in several steps; together with
            num_steps they come from `CalculatorQAProcessor.calculation`.
        digit_places: how many places of digits, counted from the right of their number, have an embedding that is
            added to the digit's, see digits.py; 0 for none. At least twice the digits of training numbers, since
            training counts from up to half of them; it needs calculator_token_ids.
        hide_arguments: whether the second pass reads no digit of the chosen numbers in the text, only how many there
            are, so that it knows their values from the result alone. Without it a reader may come to do the sums by
            itself (see `calculator_use`). For a single step.
        mask_mentions: whether the pass that chooses reads every mention that may be an argument as one token without a
            word, so that it goes by what is said around it alone: within a window, a choice does not change with the
            numbers. For a single step.
        search_comparisons: whether training may tell from questions "who has more, A or B?", and those for the larger
            of two numbers, what to calculate with, see comparison_search.py; for a single step of two arguments, or of
            the six of `changed_comparison`.
        format_version: of what was saved.
        kwargs: everything of `BertConfig`.

    Raises:
        ValueError: no arguments, no steps, two encoders without use_calculator, several steps or places without all
            that they need, search_comparisons without use_calculator, two or six arguments and a single step,
            hide_arguments or mask_mentions without use_calculator and a single step, or the model was saved by a newer
            version than this code can read.
    """

    model_type = "calculator_qa"

    use_calculator: bool = True
    share_encoder: bool = True
    num_arguments: int = 2
    num_steps: int = 1
    operations: list[str] | None = None
    calculator_token_ids: list[int] | None = None
    search_comparisons: bool = False
    hide_arguments: bool = False
    mask_mentions: bool = False
    digit_places: int = 0
    format_version: int = FORMAT_VERSION

    def __post_init__(self, **kwargs):
        # Saving a model enters the one class that was saved; the others must be found in its folder as well.
        kwargs.setdefault(
            "auto_map",
            {
                "AutoConfig": "configuration_calculator_qa.CalculatorQAConfig",
                "AutoModel": "modeling_calculator_qa.BertForCalculatorQA",
                "AutoModelForQuestionAnswering": "modeling_calculator_qa.BertForCalculatorQA",
                "AutoProcessor": "processing_calculator_qa.CalculatorQAProcessor",
            },
        )
        # This package has registered its pipeline; of one named in a config, `pipeline` asks to be trusted first.
        if __package__ == "hf_calc":
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)
        if self.format_version > FORMAT_VERSION:
            raise ValueError(
                f"the model has format {self.format_version} and this code reads up to {FORMAT_VERSION}: upgrade "
                "hf-calc-relevance, or load an older revision of the model"
            )
        if self.num_arguments < 1:
            raise ValueError(f"num_arguments must be at least 1, got {self.num_arguments}")
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        if self.num_steps > 1 and not (self.use_calculator and self.num_arguments == 2):
            raise ValueError(
                f"num_steps={self.num_steps} needs use_calculator=True and num_arguments=2, the calculator's own; got "
                f"{self.use_calculator} and {self.num_arguments}"
            )
        if not (self.use_calculator or self.share_encoder):
            raise ValueError("share_encoder=False needs use_calculator=True: without one there is a single pass")
        calculates_once = self.use_calculator and self.num_steps == 1
        if self.search_comparisons and not (calculates_once and self.num_arguments in (2, 6)):
            raise ValueError("search_comparisons needs use_calculator=True, num_arguments of 2 or 6 and num_steps=1")
        for name in ("hide_arguments", "mask_mentions"):
            if getattr(self, name) and not calculates_once:
                raise ValueError(f"{name} needs use_calculator=True and num_steps=1")
        if self.num_steps > 1 and not (self.operations and self.calculator_token_ids):
            raise ValueError(
                f"num_steps={self.num_steps} makes the model calculate by itself, for which it lacks operations and "
                "calculator_token_ids: give CalculatorQAConfig(..., **processor.calculation), with num_steps given to "
                "the processor"
            )
        if self.digit_places < 0 or (self.digit_places and not self.calculator_token_ids):
            raise ValueError(
                f"digit_places must be at least 0, and places need calculator_token_ids, got {self.digit_places} and "
                f"{self.calculator_token_ids}: give CalculatorQAConfig(..., **processor.calculation)"
            )

    def to_dict(self) -> dict:
        """The fields, and the pipeline that is saved along."""
        pipeline = {"impl": "pipeline.CalculatorQAPipeline", "pt": ["AutoModelForQuestionAnswering"]}
        return super().to_dict() | {"custom_pipelines": {"calculator-question-answering": pipeline}}
