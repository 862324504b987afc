"""Time of the search for other attentions over a batch beside one text at a time.

    python -m benchmarks.adversarial [--texts 128] [--steps 500] [--output FILE]

Both call `hf_relevance.faithfulness.adversarial_attentions` with its defaults (5 attentions a text, 500 steps of Adam)
on a model of the default sizes in fp32, reading the texts included: once with all texts as one padded batch, once with
each text alone and without padding. Lengths are drawn from T/2 to T. Both are timed in turn, three times each; the
figure is the median over turns of the ratio of that turn.
"""

import torch

from benchmarks.common import command_line, in_turn, write
from hf_relevance import BiLSTMAttentionConfig, BiLSTMAttentionForClassification
from hf_relevance.faithfulness import adversarial_attentions, read_texts

LENGTHS, ROUNDS = (20, 200, 400), 3


def search(model, inputs, steps: int) -> None:
    """Reads a batch and searches."""
    adversarial_attentions(*read_texts(model, inputs), inputs["attention_mask"], steps=steps)


def measure(length: int, texts: int, steps: int) -> dict:
    """Median seconds of both ways, and the median ratio of one text at a time to the batch."""
    torch.manual_seed(0)
    model = BiLSTMAttentionForClassification(BiLSTMAttentionConfig(initializer_range=0.3)).eval()
    lengths = torch.randint(length // 2, length + 1, (texts,))
    mask = (torch.arange(length) < lengths.unsqueeze(-1)).long()
    batch = {"input_ids": torch.randint(1, model.config.vocab_size, mask.shape) * mask, "attention_mask": mask}
    singles = [
        {name: tensor[row : row + 1, :n] for name, tensor in batch.items()} for row, n in enumerate(lengths.tolist())
    ]
    search(model, singles[0], 3)  # warms up
    ways = {
        "batch": lambda: search(model, batch, steps),
        "one at a time": lambda: [search(model, single, steps) for single in singles],
    }
    timed = in_turn(ways, ROUNDS)
    facts = {"tokens": length, "texts": texts, "steps": steps, "seconds": timed["seconds"]}
    return facts | {"ratio": timed["ratio"]["one at a time"]}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--texts", type=int, default=128, help="texts in the batch")
    parser.add_argument("--steps", type=int, default=500, help="of Adam")
    arguments = parser.parse_args()
    rows = []
    for length in LENGTHS:
        rows.append(row := measure(length, arguments.texts, arguments.steps))
        seconds = row["seconds"]
        figures = f"batch {seconds['batch']:.2f} s, one at a time {seconds['one at a time']:.2f} s: {row['ratio']:.1f}"
        print(f"T = {length:<4} {figures} times", flush=True)
    write(arguments.output, {"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows})


if __name__ == "__main__":
    main()
