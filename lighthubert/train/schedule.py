"""The learning rate as a pure function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

from lighthubert.train.config import TrainConfig

# fairseq's tri_stage: the rate starts at this share of its peak and ends at that one (wav2vec 2.0's fine-tuning).
TRI_STAGE_START, TRI_STAGE_END = 0.01, 0.05


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate of the update that follows `step` finished ones, 0 <= step < config.steps.

    Linear schedules start at lr / warmup_steps and end one such slice above zero, so that no update is wasted.
    """
    if config.schedule == "tri_stage":
        return config.lr * _tri_stage(config, step)
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    flat_end = round(config.flat_share * config.steps) if config.schedule == "flat_linear" else config.warmup_steps
    if step < flat_end:
        return config.lr
    return config.lr * (config.steps - step) / (config.steps - flat_end)


def _tri_stage(config: TrainConfig, step: int) -> float:
    warm, flat, decay = (int(config.steps * share) for share in config.phases)
    if step < warm:
        return TRI_STAGE_START + (1 - TRI_STAGE_START) * step / warm
    if step < warm + flat:
        return 1.0
    return float(TRI_STAGE_END ** min(1.0, (step - warm - flat) / max(decay, 1)))
