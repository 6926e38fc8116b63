"""A net as one graph for any number of clips of any length: what every format is made of."""

# B clips, S samples, T frames, E embed, V outputs of a head

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from lighthubert.models import Hubert, HubertOutput, receptive_field
from lighthubert.runtime.errors import UserError
from lighthubert.tasks.model import TaskModel

INPUTS = ("input_values", "input_lengths")
MOST_CLIPS, MOST_SECONDS = 1024, 3600  # torch.export wants bounds; nothing in the graph depends on them


class Graph(nn.Module):
    """input_values (B, S) float at 16 kHz, input_lengths (B,) int64 valid samples -> outputs by name.

    Of a net: last_hidden_state (B, T, E), hidden_states.N (B, T, E) for each of `layers` (0 is the front-end), lengths
    (B,) valid frames. Of a fine-tuned net: logits, (B, T, V) and lengths for CTC, (B, V) for classes.
    """

    def __init__(self, model: Hubert | TaskModel, layers: Sequence[int] = ()) -> None:
        super().__init__()
        self.model, self.layers = model, tuple(layers)
        self.config = model.config if isinstance(model, Hubert) else model.hubert.config
        if isinstance(model, TaskModel) and self.layers:
            raise UserError("layers: a fine-tuned net gives logits; export the net alone for its hidden states")
        if wrong := [n for n in self.layers if not 0 <= n <= self.config.num_layers]:
            raise UserError(f"layers: must lie within 0 and {self.config.num_layers}, got {wrong[0]}")

    @property
    def outputs(self) -> list[str]:
        """Names of what forward gives, in their order."""
        if isinstance(self.model, TaskModel):
            return ["logits", "lengths"] if self.model.task.kind == "ctc" else ["logits"]
        return ["last_hidden_state", *(f"hidden_states.{n}" for n in self.layers), "lengths"]

    def named(self, output: HubertOutput | tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """What the model gives, by the names of the outputs."""
        if isinstance(output, HubertOutput):
            states = (output.hidden_states[n] for n in self.layers)
            values: tuple[Tensor, ...] = (output.last_hidden_state, *states, output.lengths)
        else:
            values = output
        return dict(zip(self.outputs, values, strict=False))  # lengths are no news of a clip's class

    def forward(self, input_values: Tensor, input_lengths: Tensor) -> dict[str, Tensor]:
        # torch.export takes a size of 1 for a constant. With one frame of padding no size inside can be 1.
        padded = F.pad(input_values, (0, self.config.hop))
        outputs = self.named(self.model(padded, input_lengths))
        return {name: value[:, :-1] if value.ndim == 3 else value for name, value in outputs.items()}


@torch.no_grad()
def program(graph: Graph) -> ExportedProgram:
    """The graph as torch's program: 1 clip or more, from one frame's samples upwards."""
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9):
        raise UserError(f"export: needs torch 2.9 or newer, this is {torch.__version__}")
    shortest, hop = receptive_field(graph.config), graph.config.hop
    clips = Dim("clips", min=1, max=MOST_CLIPS)
    samples = Dim("samples", min=shortest, max=MOST_SECONDS * 16_000)
    example = (torch.zeros(3, shortest + 10 * hop), torch.tensor([shortest + 10 * hop, shortest + 5 * hop, shortest]))
    made = export(
        graph.eval(),
        example,
        dynamic_shapes={INPUTS[0]: {0: clips, 1: samples}, INPUTS[1]: {0: clips}},
        strict=False,
        prefer_deferred_runtime_asserts_over_guards=True,
    )
    # torch asks that sliced outputs have more than one frame. Nothing inside needs it, and `prove` looks at one frame.
    for node in list(made.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            made.graph.erase_node(node)
    made.graph.eliminate_dead_code()
    made.graph_module.recompile()
    return made
