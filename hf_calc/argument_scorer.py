"""The scores of numbers to calculate with, by their vectors (section 4 of Yoshikawa et al.).

Shapes: B rows, N mentions, D candidates of K arguments each, H hidden size.
"""

import torch
import torch.nn.functional as F
from torch import nn


class _TupleScores(torch.autograd.Function):
    """The scores w . relu(sum over k of table[index[i, k]]) of tuples i, with neither pass ever holding all sums.

    The sums are made a part at a time, small enough for a processor's cache, and made again in the backward pass.

    Shapes: table (R, H), index (C, K) and w (H,), in at least fp32, to (C,).
    """

    @staticmethod
    def parts(table, index) -> int:
        """How many tuples are a part; all of them in a compiled graph, which is the same for any number of tuples."""
        if torch.compiler.is_compiling():
            return len(index)
        return max(1, (2**17 if table.device.type == "cpu" else 2**24) // table.shape[1])

    @staticmethod
    def forward(ctx, table, index, w):
        ctx.save_for_backward(table, index, w)
        parts = index.split(_TupleScores.parts(table, index))
        return torch.cat([F.embedding_bag(part, table, mode="sum").relu_() @ w for part in parts])

    @staticmethod
    def backward(ctx, grad):
        table, index, w = ctx.saved_tensors
        if not torch.compiler.is_compiling():  # over a ceiling few candidates get a gradient
            used = grad.nonzero().squeeze(-1)
            index, grad = index[used], grad[used]
        size = _TupleScores.parts(table, index)
        grad_table, grad_w = torch.zeros_like(table), torch.zeros_like(w)
        with torch.autocast(grad.device.type, enabled=False):
            for part, g in zip(index.split(size), grad.split(size), strict=True):
                active = F.embedding_bag(part, table, mode="sum").relu_()
                grad_w += g @ active
                active.sign_().mul_(g.unsqueeze(-1))
                for argument in part.unbind(-1):
                    grad_table.index_add_(0, argument, active)
        return grad_table * w, None, grad_w


class ArgumentScorer(nn.Module):
    """Scores tuples of K mentions by a 2-layer ReLU network over their concatenated vectors (section 4, there K = 2).

    `W [a; b] = W1 a + W2 b`, so each mention is multiplied K times and no (B, D, K H) tensor of tuples is made, nor
    one of (B, D, H) of their sums, see `_TupleScores`.
    """

    def __init__(self, hidden_size: int, num_arguments: int = 2):
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(hidden_size, hidden_size, bias=k == 0) for k in range(num_arguments))
        self.score = nn.Linear(hidden_size, 1, bias=False)  # what all candidates share, a softmax does not see

    def forward(self, mentions: torch.Tensor, arguments: torch.Tensor) -> torch.Tensor:
        """(B, N, H) vectors and (B, D, K) indices of the arguments, -1 for one left out, to (B, D) scores."""
        if arguments.shape[-1] != len(self.hidden):
            raise ValueError(
                f"got candidates of {arguments.shape[-1]} arguments, but the model takes {len(self.hidden)}: make it "
                f"with num_arguments={arguments.shape[-1]}, or load the processor that it was trained with"
            )
        batch, count, _ = mentions.shape
        table = torch.stack([layer(mentions) for layer in self.hidden], 1).flatten(0, 2)  # (B K N, H)
        table = F.pad(table.to(torch.promote_types(table.dtype, torch.float32)), (0, 0, 0, 1))  # 0 for one left out
        start = torch.arange(0, len(table) - 1, count, device=table.device).view(batch, 1, -1)  # (B, 1, K)
        index = torch.where(arguments < 0, len(table) - 1, arguments + start)
        with torch.autocast(table.device.type, enabled=False):
            scores = _TupleScores.apply(table, index.flatten(0, 1), self.score.weight[0].to(table.dtype))
        return scores.view(index.shape[:2])
