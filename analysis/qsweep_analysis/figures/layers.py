"""Weight error by linear: a strip a config, linears of a block as rows, blocks as columns, colour = relative squared
error. All strips share one logarithmic scale."""

import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LogNorm

from . import style

FLOOR = 1e-12  # an error of zero (not quantized, or exact) has no logarithm: it stays blank
MAX_COLUMNS = 2


def error_by_layer(study):
    rows = study.samples("tensor", "layer", "relative_mse", group="layers", status=None, one_per_config=True)
    rows = rows[np.isfinite(rows["relative_mse"].astype(float)) & (rows["relative_mse"].astype(float) > FLOOR)]
    rows = rows.drop_duplicates(["config", "tensor"])
    if rows.empty:
        return []
    rows = rows.assign(role=[_role(t) for t in rows["tensor"]], layer=rows["layer"].astype(int))
    roles, configs = list(dict.fromkeys(rows["role"])), [c for c in study.configs if c in set(rows["config"])]
    blocks = sorted(set(rows["layer"]), key=lambda block: (block < 0, block))  # what is in no block stands last
    columns = 1 if len(configs) == 1 or len(blocks) > 40 else MAX_COLUMNS
    lines = -(-len(configs) // columns)
    error = rows["relative_mse"].astype(float)
    norm = LogNorm(error.min() / 1.05, error.max() * 1.05)
    with rc_context(style.RC):
        width = min(13.0, 2.2 + columns * max(2.4, 0.24 * len(blocks) + 1.0))
        canvas = style.canvas(width, lines * (0.75 + 0.21 * len(roles)) + 0.5)
        axes = canvas.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        image = None
        for axis, config in zip(axes.flat, configs):
            image = _strip(axis, rows[rows["config"] == config], roles, blocks, norm)
            axis.set_title(style.plain(config), loc="left")
        for axis in list(axes.flat)[len(configs):]:
            axis.set_visible(False)
        for column in range(columns):
            shown = [axis for axis in axes[:, column] if axis.get_visible()]
            if shown:
                shown[-1].set_xlabel("block")
                shown[-1].tick_params(labelbottom=True)
        bar = canvas.colorbar(image, ax=axes, shrink=min(1.0, 2.5 / canvas.get_figheight() + 0.3), pad=0.02)
        bar.set_label("relative squared error of the weights [1]")
    caption = ("Squared error of the quantized weights over their squared norm, by linear and block; darker is worse. "
               "Blank: not quantized in that config.")
    return [style.Figure("layer_error", "Weight error by layer", caption, canvas)]


def _role(tensor):
    """model.layers.3.mlp.down_proj.weight -> mlp.down_proj."""
    parts = str(tensor).removesuffix(".weight").split(".")
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    kept = parts[numbers[-1] + 1:] if numbers else parts[-1:]
    return ".".join(kept[-2:])


def _strip(axis, rows, roles, blocks, norm):
    grid = np.full((len(roles), len(blocks)), np.nan)
    for row in rows.itertuples():
        grid[roles.index(row.role), blocks.index(row.layer)] = float(row.relative_mse)
    image = axis.imshow(np.ma.masked_invalid(grid), norm=norm, cmap=matplotlib.colormaps["viridis_r"], aspect="auto",
                        interpolation="nearest")
    axis.set_yticks(range(len(roles)), [style.plain(role, 24) for role in roles], fontsize=8)
    step = max(1, len(blocks) // 12)
    axis.set_xticks(range(0, len(blocks), step), ["none" if b < 0 else str(b) for b in blocks[::step]], fontsize=8)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return image
