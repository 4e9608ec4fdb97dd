"""The backbone as it is, whose -ELBO and perplexity a row of Tables 1 and 2 must beat to have learned anything."""

from adavae.model.training.reproduction.rows import Row, Setting, Trained
from adavae.model.training.reproduction.systems.gpt2 import GPT2LanguageModel

NAME = "GPT-2, untrained"


def untrained_row() -> Row:
    """A language model that sees none of the data set's texts."""
    return Row(NAME, _untrained)


def _untrained(setting: Setting) -> Trained:
    backbone = setting.pretrained.backbone
    model = GPT2LanguageModel(backbone, None).to(setting.device).requires_grad_(False)
    return Trained(model, 0, backbone.num_parameters, "the backbone's")
