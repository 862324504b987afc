"""Configuration of `BertForCalculatorQA`: a BERT encoder and two facts about what stands on it."""

from transformers import BertConfig


class CalculatorQAConfig(BertConfig):
    """A `BertConfig` with the facts of the calculator model; any BERT checkpoint's encoder fits.

    Args:
        use_calculator: False gives the paper's baseline, BERT with span extraction and nothing else.
        share_encoder: whether one encoder serves both passes, as in section 5 of the paper. With False the second
            pass has an encoder of its own, which starts from the same checkpoint.
        kwargs: everything of `BertConfig`.
    """

    model_type = "calculator_qa"

    use_calculator: bool = True
    share_encoder: bool = True

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
        super().__post_init__(**kwargs)
