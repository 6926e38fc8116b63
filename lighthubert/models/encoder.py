"""HuBERT's Transformer encoder: positional convolution, then post-norm (Base) or pre-norm (Large) layers."""

# B batch, T frames, E embed, H heads, D head_dim, F ffn

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from lighthubert.models.config import HubertConfig
from lighthubert.models.frontend import exact


class Linear(nn.Linear):
    """nn.Linear that may have no inputs or no outputs; without inputs its bias is all that it gives."""

    def reset_parameters(self) -> None:
        if self.weight.numel():  # torch warns of empty weights
            super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.in_features else self.bias.expand(*x.shape[:-1], -1)


class Attention(nn.Module):
    """Multi-head self-attention through scaled_dot_product_attention; H * D need not equal E, and H may be 0."""

    def __init__(self, config: HubertConfig, num_heads: int) -> None:
        super().__init__()
        inner = num_heads * config.head_dim
        self.head_dim, self.dropout = config.head_dim, config.attention_dropout
        self.q_proj = Linear(config.embed_dim, inner)
        self.k_proj = Linear(config.embed_dim, inner)
        self.v_proj = Linear(config.embed_dim, inner)
        self.out_proj = Linear(inner, config.embed_dim)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """x (B, T, E); valid (B, 1, 1, T) bool, True for keys that may be attended to."""
        if not self.out_proj.in_features:
            return self.out_proj(x)
        q, k, v = (
            proj(x).unflatten(2, (-1, self.head_dim)).transpose(1, 2)  # (B, H, T, D)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=valid, dropout_p=dropout)
        return self.out_proj(context.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """One Transformer layer."""

    def __init__(self, config: HubertConfig, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.norm_first = config.norm_first
        self.attention = Attention(config, num_heads)
        self.attention_norm = nn.LayerNorm(config.embed_dim)
        self.fc1 = Linear(config.embed_dim, ffn_dim)
        self.fc2 = Linear(ffn_dim, config.embed_dim)
        self.ffn_norm = nn.LayerNorm(config.embed_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.ffn_dropout = nn.Dropout(config.ffn_dropout)

    def ffn(self, x: Tensor) -> Tensor:
        return self.fc2(self.ffn_dropout(F.gelu(self.fc1(x))))

    def forward(self, x: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, T, E) -> the layer's output and its FFN's output before the residual add, both (B, T, E)."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.attention_norm(x), valid))
            ffn = self.ffn(self.ffn_norm(x))
            return x + self.dropout(ffn), ffn
        x = self.attention_norm(x + self.dropout(self.attention(x, valid)))
        ffn = self.ffn(x)
        return self.ffn_norm(x + self.dropout(ffn)), ffn


class Encoder(nn.Module):
    """Positional convolution and the layers."""

    recompute = False  # each layer in the backward pass, instead of keeping its activations

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.norm_first, self.pos_conv_depth = config.norm_first, config.pos_conv_depth
        kernel, groups = config.pos_conv_kernel, config.pos_conv_groups
        self.pos_convs = nn.ModuleList(
            nn.Conv1d(config.embed_dim, config.embed_dim, kernel, padding=kernel // 2, groups=groups)
            for _ in range(config.pos_conv_depth)
        )
        self.norm = nn.LayerNorm(config.embed_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            Layer(config, heads, ffn) for heads, ffn in zip(config.num_heads, config.ffn_dim, strict=True)
        )

    def positions(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """(B, T, E), valid (B, T, 1) -> the convolutional position embedding (B, T, E)."""
        num_frames = x.shape[1]
        for conv in self.pos_convs:
            if valid is not None:
                x = x * valid  # padded frames must be what the convolution's own padding is: 0
            x = conv(x.transpose(1, 2)).transpose(1, 2)[:, :num_frames]  # an even kernel makes one frame more
            if self.pos_conv_depth > 1:
                x = F.layer_norm(exact(x), x.shape[-1:]).to(x.dtype)
            x = F.gelu(x)
        return x

    def forward(self, x: Tensor, valid: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """x (B, T, E), valid (B, T) bool -> output of each layer, FFN output of each layer.

        The last output of a pre-norm net includes the final norm.
        """
        frames = None if valid is None else valid[:, :, None]
        keys = None if valid is None else valid[:, None, None, :]
        x = x + self.positions(x, frames)
        if not self.norm_first:
            x = self.norm(x)
        x = self.dropout(x)
        states, ffn_outputs = [], []
        for layer in self.layers:
            x, ffn = self._run(layer, x, keys)
            states.append(x)
            ffn_outputs.append(ffn)
        if self.norm_first:
            states[-1] = self.norm(x)
        return states, ffn_outputs

    def _run(self, layer: nn.Module, x: Tensor, keys: Tensor | None) -> tuple[Tensor, Tensor]:
        if not (self.recompute and self.training):
            return layer(x, keys)
        # The parameters go in as arguments: inside a supernet's functional_call they are not the layer's own any more
        # by the time that backward runs the layer again.
        params = dict(layer.named_parameters())
        return checkpoint(lambda p, y, k: functional_call(layer, p, (y, k)), params, x, keys, use_reentrant=False)


def recompute_layers(model: nn.Module, on: bool = True) -> None:
    """Let every HuBERT in a model recompute its layers in the backward pass: less memory, more time, the same numbers.

    Raises ValueError for a model without one.
    """
    encoders = [module for module in model.modules() if isinstance(module, Encoder)]
    if not encoders:
        raise ValueError(f"train: checkpoint_layers: {type(model).__name__} cannot do that")
    for encoder in encoders:
        encoder.recompute = on
