"""What an arch will score, judged by its sizes and by the archs that were scored so far."""

# N archs, F features

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lighthubert.elastic import SearchSpace
from lighthubert.models import Arch

LENGTH, VARIANCE, NOISE = 4.0, 100.0, 0.01  # of the kernel, in standard deviations of features and scores


class Predictor:
    """Gaussian process regression of scores on the sizes of archs: archs -> (N,), lower is better.

    With so long a kernel it is nearly a plane, bent by what goes well together: ridge regression, which is a plane,
    missed the best depth for a budget. Kernels fitted to the scores are no better (docs/log.md).
    """

    def __init__(self, space: SearchSpace, scored: Mapping[Arch, float]) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor  # takes a second to import
        from sklearn.gaussian_process.kernels import RBF
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.layers = range(space.parent.num_layers)
        features = self._features(list(scored))
        kernel = VARIANCE * RBF(LENGTH * features.shape[1] ** 0.5)
        process = GaussianProcessRegressor(kernel, alpha=NOISE, normalize_y=True, optimizer=None)
        self.model = make_pipeline(StandardScaler(), process).fit(features, np.array(list(scored.values())))

    def __call__(self, archs: Sequence[Arch]) -> np.ndarray:
        scores: np.ndarray = self.model.predict(self._features(archs))
        return scores

    def _features(self, archs: Sequence[Arch]) -> np.ndarray:
        """(N, F) logarithms of the widths of the whole net, and what each layer of the parent has left."""
        whole = [(a.embed_dim, sum(a.num_heads), sum(a.ffn_dim), *a.conv_channels) for a in archs]
        return np.column_stack([np.log(whole), [self._layers(arch) for arch in archs]])

    def _layers(self, arch: Arch) -> list[float]:
        """For each layer of the parent: whether it is kept, its heads, its FFN ratio."""
        ratios = (ffn / arch.embed_dim for ffn in arch.ffn_dim)
        kept = dict(zip(arch.layers, zip(arch.num_heads, ratios, strict=True), strict=True))
        return [value for i in self.layers for value in ((1.0, *kept[i]) if i in kept else (0.0, 0.0, 0.0))]
