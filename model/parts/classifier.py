"""The classification head: one linear layer on mu (paper Section 3.3)."""

from torch import Tensor, nn

from adavae.model.parts.stacked import AdapterIndex, StackedLinear


class ClassificationHead(nn.Module):
    """mu to one score per label; slots with fewer labels leave the last scores unused."""

    def __init__(self, num_slots: int, latent_size: int, num_labels: int) -> None:
        super().__init__()
        self.linear = StackedLinear(num_slots, latent_size, num_labels)

    def forward(self, mu: Tensor, index: AdapterIndex) -> Tensor:
        """Logits, (B, labels), from mu, (B, Z)."""
        logits: Tensor = self.linear(mu, index)
        return logits.float()
