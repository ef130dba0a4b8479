"""Goldens of the packed weight formats and of rounded activations, written from their definitions with NumPy alone.

Nothing here is taken from the C++ code: values are rounded by searching tables of all representable values, bit
streams are built with packbits. The C++ test compares bytes and decoded values exactly.

Update:  python3 tests/goldens/format/make_goldens.py

Writes beside itself
  weights.f32    the weight matrices of all cases, one after another, little-endian fp32
  goldens.json   cases (name, rows, cols, offset in weights.f32), and for every case and format spec
                 [codes, scales, zeros, decoded values]: hex bytes for the case `small`, else the first 16 hex digits
                 of their SHA-256
  smq.json       decoded weights of the published scale-metadata study (C3, C4, C5), the same hash
  activations.json   the same matrices rounded as inputs of a linear, for every format and kind of scale, the same hash
"""
import hashlib
import itertools
import json
import pathlib
from fractions import Fraction

import numpy as np

F32 = np.float32
HERE = pathlib.Path(__file__).resolve().parent


# ---------------------------------------------------------------- weights

def make_weights():
    """Case name -> fp32 [rows, cols]."""
    rng = np.random.default_rng(20240607)
    small = rng.normal(0, 0.02, (3, 21)).astype(F32)
    small[0, 7:14] = 0           # an all-zero group of 7
    small[1, 3] = 1.5            # an outlier
    small[2, :] *= F32(1e-7)     # scales below the range of e5m
    blocks = rng.normal(0, 0.02, (4, 384)).astype(F32)
    blocks[1, 128:256] = 0
    blocks[2, 5] = -3.25
    blocks[3, :128] = rng.uniform(0.01, 0.03, 128)   # one-sided: a zero point of 0
    tails = (rng.standard_t(3, (3, 1001)) * 0.01).astype(F32)
    tails[0, 17] = 1e30          # beyond the range of fp16 and e5m scales
    tails[1, 200:500] *= F32(1e-25)
    tails[2, 3::7] = np.repeat(F32([0.875, -0.4375, 0.0625]), 48)[:143]   # exact ties at many scales
    column = rng.normal(0, 1, (6, 1)).astype(F32)
    return {"small": small, "blocks": blocks, "tails": tails, "column": column, "ties": make_ties(rng)}


def make_ties(rng):
    """Rows of 64 whose weights lie exactly between two levels, and whose scales lie between two coded scales."""
    rows = [np.concatenate([F32([1]), NF4_THRESHOLDS, np.nextafter(NF4_THRESHOLDS, F32(2)),
                            np.nextafter(NF4_THRESHOLDS, F32(-2)), np.zeros(18, F32)])]
    # Scales of at most 13 significant bits: 7 s, 127 s and (k + 1/2) s are exact in fp32.
    scales = [0.01171875 * (1 + (m + 0.5) / 8) / 1.5 for m in (0, 1, 6, 7)]       # halfway between two e5m3
    scales += [2.0**-7 * (1 + (m + 0.5) / 32) for m in (0, 1, 30, 31)]            # halfway between two e5m5
    scales += [2.0**-7 * 1.5, 2.0**-8 * 1.5]                                      # halfway at 0 mantissa bits
    scales += list(rng.integers(4097, 8191, 12) * 2.0**-20)
    for top in (7, 127):
        for s in scales:
            steps = np.append(rng.integers(-top, top, 63) + 0.5, top)
            rows.append((steps * s).astype(F32))
    return np.array(rows, F32)


# ---------------------------------------------------------------- numbers

def fp8_values():
    """OCP E4M3FN: values of codes 0..0x7E."""
    values = []
    for code in range(0x7F):
        exponent, mantissa = code >> 3, code & 7
        values.append(mantissa * 2.0**-9 if exponent == 0 else (1 + mantissa / 8) * 2.0**(exponent - 7))
    return np.array(values)


def nearest_code(table, x):
    """Index of the nearest entry of an ascending table, ties to the even index; fp64."""
    x = np.asarray(x, np.float64)
    above = np.clip(np.searchsorted(table, x), 1, len(table) - 1)
    below = above - 1
    to_below, to_above = x - table[below], table[above] - x
    pick_above = (to_above < to_below) | ((to_above == to_below) & (above % 2 == 0))
    return np.where(pick_above, above, below)


def fp8_encode(x):
    codes = nearest_code(fp8_values(), np.minimum(np.abs(x).astype(np.float64), 448))
    return (codes | np.where(np.signbit(x), 0x80, 0)).astype(np.uint8)


def fp8_decode(codes):
    magnitude = fp8_values()[codes & 0x7F]
    return np.where(codes & 0x80, -magnitude, magnitude).astype(F32)


def to_bf16(x):
    """Nearest-even to 8 significant bits; returns uint16 codes. No subnormals are met."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    rounded = np.ldexp(np.rint(np.ldexp(mantissa, 8)), exponent - 8).astype(F32)
    rounded = np.copysign(rounded, x)
    return (rounded.view(np.uint32) >> 16).astype(np.uint16)


def from_bf16(codes):
    return (codes.astype(np.uint32) << 16).view(F32)


NF4_LEVELS = F32([
    -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1])


def literal32(text):
    """The fp32 nearest to a decimal, as a compiler reads it. By way of fp64 it would be rounded twice, and these
    thresholds are midpoints of fp32 numbers, where that matters."""
    near = F32(float(text))
    candidates = [near, np.nextafter(near, F32(2)), np.nextafter(near, F32(-2))]
    return min(candidates, key=lambda c: abs(Fraction(float(c)) - Fraction(text)))


NF4_THRESHOLDS = np.array([literal32(t) for t in (
    "-0.8480964004993439", "-0.6106329262256622", "-0.4599952697753906", "-0.33967943489551544",
    "-0.23460740596055984", "-0.13791173323988914", "-0.045525018125772476", "0.03979014977812767",
    "0.1202552504837513", "0.2035212516784668", "0.2920137718319893", "0.3893125355243683",
    "0.5016634166240692", "0.6427869200706482", "0.8614784181118011")], F32)


def linspace32(start, end, points):
    """As torch.linspace in fp32: each half counted from its own end."""
    step = (F32(end) - F32(start)) / F32(points - 1)
    out = np.empty(points, F32)
    for k in range(points):
        out[k] = F32(start) + step * F32(k) if k < points // 2 else F32(end) - step * F32(points - 1 - k)
    return out


def dynamic_map():
    data = [F32(0), F32(1)]
    for i in range(7):
        edges = linspace32(0.1, 1.0, 2**i + 1)
        means = (edges[:-1] + edges[1:]) / F32(2)
        scaled = F32(10.0**(i - 6)) * means
        data += list(scaled) + list(-scaled)
    return np.sort(np.array(data, F32))


# ---------------------------------------------------------------- scale codecs: exact fp32 -> (bytes, decoded)

def e5m_values(k):
    return np.array([2.0**(code // 2**k - 15) * (1 + (code % 2**k) / 2**k) for code in range(32 * 2**k)])


def e5m_code(s, k, rounding):
    table = e5m_values(k)
    if rounding == "nearest":
        return int(nearest_code(table, [min(max(float(s), table[0]), table[-1])])[0])
    if rounding == "up":
        return int(min(np.searchsorted(table, float(s)), len(table) - 1))
    mantissa, exponent = np.frexp(np.float64(s))
    e, m = int(exponent) - 1, 2 * float(mantissa) - 1
    m = int(np.rint(m * 2**k)) if k > 0 else 0
    if m == 2**k and k > 0:
        e, m = e + 1, 0
    if e < -15:
        return 0
    if e > 16:
        return 32 * 2**k - 1
    return (e + 15) * 2**k + m


def scales_e5m(s, codec):
    k = codec["mantissa_bits"]
    width = 5 + k + (1 if codec["sign_bit"] else 0)
    codes = np.array([e5m_code(x, k, codec["rounding"]) for x in s], np.uint32)
    bits = (codes[:, None] >> np.arange(width)) & 1
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes(), e5m_values(k)[codes].astype(F32)


def scales_dq8(s, _codec):
    total = 0.0
    for x in s:
        total += float(x)
    offset = F32(total / len(s))
    centred = s - offset
    table = dynamic_map()
    indices, absmaxes, decoded = [], [], []
    for begin in range(0, len(s), 256):
        block = centred[begin:begin + 256]
        absmax = np.max(np.abs(block))
        normalized = block / absmax if absmax > 0 else np.zeros_like(block)
        for x in normalized:
            above = min(max(int(np.searchsorted(table, x)), 1), 255)
            middle = (table[above - 1] + table[above]) * F32(0.5)
            if x == middle:
                index = above if above % 2 == 0 else above - 1
            else:
                index = above if x > middle else above - 1
            indices.append(index)
            decoded.append(table[index] * absmax + offset)
        absmaxes.append(absmax)
    data = bytes(indices) + np.array(absmaxes, "<f4").tobytes() + np.array([offset], "<f4").tobytes()
    return data, np.array(decoded, F32)


def scales_fp16(s, _codec):
    with np.errstate(over="ignore"):
        codes = s.astype(np.float16)
    codes = np.clip(codes, np.float16(2.0**-24), np.float16(65504))
    return codes.astype("<f2").tobytes(), codes.astype(F32)


def scales_bf16(s, _codec):
    codes = to_bf16(s)
    return codes.astype("<u2").tobytes(), from_bf16(codes)


def scales_fp32(s, _codec):
    return s.astype("<f4").tobytes(), s


SCALE_CODECS = {"fp32": scales_fp32, "fp16": scales_fp16, "bf16": scales_bf16, "e5m": scales_e5m, "dq8": scales_dq8}
RANGE = {"int4": 7, "int8": 127, "fp8_e4m3": 448, "nf4": 1}


# ---------------------------------------------------------------- formats

def pack_nibbles(codes, high_first=False):
    """codes: 1-d, one line; a missing last partner is 0."""
    codes = np.append(codes, 0) if len(codes) % 2 else codes
    first, second = codes[0::2].astype(np.uint8), codes[1::2].astype(np.uint8)
    return ((first << 4 | second) if high_first else (second << 4 | first)).tobytes()


def slices(width, size):
    return [slice(b, min(b + size, width)) for b in range(0, width, size)]


def quantize(w, spec):
    """-> codes, scales, zeros (bytes), decoded fp32."""
    name = spec["format"]
    if name in ("fp32", "fp16", "bf16"):
        if name == "fp32":
            return w.astype("<f4").tobytes(), b"", b"", w
        if name == "fp16":
            return w.astype("<f2").tobytes(), b"", b"", w.astype(np.float16).astype(F32)
        codes = to_bf16(w)
        return codes.astype("<u2").tobytes(), b"", b"", from_bf16(codes)

    lines = w.reshape(1, -1) if name == "nf4" else w
    width = lines.shape[1]
    size = width if spec["group"] in ("channel", "tensor") else spec["group"]
    parts = slices(width, size)
    if spec["group"] == "tensor":
        groups = [w.ravel()]
    else:
        groups = [line[part] for line in lines for part in parts]

    bits = 8 if name in ("int8", "fp8_e4m3") else 4
    top = 2**bits - 1
    if spec["symmetric"]:
        exact = np.array([max(np.max(np.abs(g)), F32(1e-8)) / F32(RANGE[name]) for g in groups], F32)
    else:
        exact = np.array([max(max(np.max(g), F32(0)) - min(np.min(g), F32(0)), F32(1e-8)) / F32(top)
                          for g in groups], F32)
    scale_bytes, decoded_scales = SCALE_CODECS[spec["codec"]](exact, spec)
    used = exact if spec["codec"] == "dq8" else decoded_scales
    zeros = None
    if not spec["symmetric"]:
        zeros = np.array([np.clip(np.rint(-min(np.min(g), F32(0)) / s), 0, top)
                          for g, s in zip(groups, used)], F32)

    code_bytes, decoded = [], np.empty_like(lines)
    for r, line in enumerate(lines):
        codes = np.empty(width, np.uint8)
        for i, part in enumerate(parts):
            g = 0 if spec["group"] == "tensor" else r * len(parts) + i
            with np.errstate(over="ignore"):
                x = line[part] / used[g]
            out = decoded_scales[g]
            if name == "nf4":
                c = np.sum(x[:, None] > NF4_THRESHOLDS[None, :], axis=1)
                decoded[r, part] = NF4_LEVELS[c] * out
            elif name == "fp8_e4m3":
                c = fp8_encode(x)
                decoded[r, part] = fp8_decode(c) * out
            elif spec["symmetric"]:
                c = np.clip(np.rint(x), -8 if bits == 4 else -127, RANGE[name]) + F32(0)   # a code has no -0
                decoded[r, part] = c * out
                c = c.astype(np.int64) & top
            else:
                c = np.clip(np.rint(x) + zeros[g], 0, top)
                decoded[r, part] = (c - zeros[g]) * out
            codes[part] = c.astype(np.uint8)
        code_bytes.append(codes.tobytes() if bits == 8 else pack_nibbles(codes, high_first=name == "nf4"))

    zero_bytes = b""
    if zeros is not None:
        table = zeros.astype(np.uint8).reshape(1 if spec["group"] == "tensor" else len(lines), -1)
        zero_bytes = b"".join(row.tobytes() if bits == 8 else pack_nibbles(row) for row in table)
    return b"".join(code_bytes), scale_bytes, zero_bytes, decoded.reshape(w.shape)


def all_specs():
    for name in ("fp32", "fp16", "bf16"):
        yield {"format": name, "group": "channel", "symmetric": True, "codec": "fp32"}
    codecs = [{"codec": c} for c in ("fp32", "fp16", "bf16", "dq8")]
    for k, sign, rounding in ((0, True, "published"), (3, True, "published"), (5, True, "published"),
                              (10, True, "published"), (5, False, "published"), (0, True, "nearest"),
                              (3, True, "nearest"), (0, False, "up"), (3, True, "up")):
        codecs.append({"codec": "e5m", "mantissa_bits": k, "sign_bit": sign, "rounding": rounding})
    shapes = {
        ("int4", True): ["channel", "tensor", 128, 32, 7], ("int4", False): ["channel", "tensor", 128, 7],
        ("int8", True): ["channel", "tensor", 128, 7], ("int8", False): ["channel", "tensor", 32],
        ("fp8_e4m3", True): ["channel", "tensor", 128], ("nf4", True): [64, 128, 7],
    }
    for (name, symmetric), groups in shapes.items():
        for group, codec in itertools.product(groups, codecs):
            yield {"format": name, "group": group, "symmetric": symmetric, **codec}


# ---------------------------------------------------------------- the published study, from its definition

def smq_weights(w, mantissa_bits):
    """int4, groups of 128, scale = max|w| / 7, scale mantissa kept to `mantissa_bits` (None: exact)."""
    groups = w.reshape(w.shape[0], -1, 128)
    scale = np.maximum(np.abs(groups).max(axis=2), F32(1e-8)) / F32(7)
    if mantissa_bits is not None:
        fraction, exponent = np.frexp(scale)
        exponent = exponent - 1
        mantissa = fraction * F32(2) - F32(1)
        if mantissa_bits == 0:
            mantissa = np.zeros_like(mantissa)
        else:
            steps = F32(2**mantissa_bits)
            mantissa = np.rint(mantissa * steps) / steps
        scale = np.ldexp(F32(1) + mantissa, exponent).astype(F32)   # 1 + 1 = 2 is the carry
    codes = np.clip(np.rint(groups / scale[:, :, None]), -8, 7) + F32(0)   # packing loses the sign of -0
    return (codes * scale[:, :, None]).astype(F32).reshape(w.shape)


# ---------------------------------------------------------------- activations

def round_activations(x, name, absmax):
    """absmax: of all rows, or None for each row's own. Quotient and product are fp32."""
    if name == "bf16":
        return from_bf16(to_bf16(x))
    extent = np.abs(x).max(axis=1, keepdims=True) if absmax is None else F32(absmax)
    scale = (np.maximum(extent, F32(1e-8)) / F32(RANGE[name])).astype(F32)
    normalized = (x / scale).astype(F32)
    if name == "fp8_e4m3":
        levels = fp8_decode(fp8_encode(normalized))
    else:
        levels = np.rint(np.clip(normalized, -8 if name == "int4" else -127, RANGE[name])) + F32(0)   # no -0
    return (scale * levels).astype(F32)


def activation_goldens(cases):
    entries = []
    for name, x in cases.items():
        # Below the largest value, so that some saturate.
        for absmax in (None, float(F32(0.4) * np.abs(x).max())):
            for form in ("fp8_e4m3", "int8", "int4", "bf16"):
                y = round_activations(x, form, absmax)
                entries.append({"case": name, "format": form, "absmax": absmax,
                                "values": digest(y.astype("<f4").tobytes())})
    return entries


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def main():
    cases = make_weights()
    blob, listed = b"", []
    for name, w in cases.items():
        listed.append({"name": name, "rows": w.shape[0], "cols": w.shape[1], "offset": len(blob)})
        blob += w.astype("<f4").tobytes()
    (HERE / "weights.f32").write_bytes(blob)

    entries = []
    for spec in all_specs():
        results = {}
        for name, w in cases.items():
            if name == "tails" and spec["format"] == "fp16":
                continue   # holds 1e30, which fp16 cannot
            codes, scales, zeros, decoded = quantize(w, spec)
            parts = [codes, scales, zeros, decoded.astype("<f4").tobytes()]
            results[name] = [p.hex() if name == "small" else digest(p) for p in parts]
        entries.append({"spec": spec, "results": results})
    text = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
    (HERE / "goldens.json").write_text(
        '{"cases":' + json.dumps(listed) + ',\n"entries":[\n' + text + "\n]}\n")

    text = ",\n".join(json.dumps(entry) for entry in activation_goldens(cases))
    (HERE / "activations.json").write_text('{"cases":' + json.dumps(listed) + ',\n"entries":[\n' + text + "\n]}\n")

    w = cases["blocks"]
    smq = {label: digest(smq_weights(w, bits).astype("<f4").tobytes())
           for label, bits in (("C3", None), ("C4", 5), ("C5_m0", 0), ("C5_m3", 3), ("C5_m5", 5))}
    (HERE / "smq.json").write_text(json.dumps({"case": "blocks", "weights": smq}, indent=1) + "\n")


if __name__ == "__main__":
    main()
