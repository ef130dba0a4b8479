"""Generated drills with a checkable answer: passkey retrieval and arithmetic word problems.

Held-out items are set apart by content, not by chance: a tenth of all keys and a tenth of all pairs of operands
(by a multiplicative hash; of a product the order counts) never occur in training.
"""

import random

KNUTH = 2654435761  # multiplicative hash of Knuth, modulo 2^32


def key_is_held_out(key):
    return ((key * KNUTH % 2**32) >> 16) % 10 == 0


def operands_are_held_out(kind, a, b):
    if kind == "add":
        a, b = max(a, b), min(a, b)  # 3 + 5 must not be trained when 5 + 3 is held out
    code = (a * 1009 + b * 9176 + len(kind) * 7919) % 2**32
    return ((code * KNUTH % 2**32) >> 16) % 10 == 0


# ---- passkey -----------------------------------------------------------------------------------------------

CLASSIC_INTRO = ("There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
                 "I will quiz you about the important information there.")
CLASSIC_UNIT = ["The grass is green.", "The sky is blue.", "The sun is yellow.", "Here we go.",
                "There and back again."]
PLAIN_INTRO = "A secret number is written somewhere in these notes. Remember it."
PLAIN_UNITS = [
    ["The road is long.", "The hills are low.", "The rain came early.", "We walk on.", "The day is cold."],
    ["The shop opens at nine.", "The clerk sorts the letters.", "Nobody asks for paper.", "The clock is slow."],
    ["Boats come in.", "Boats go out.", "The nets are dry.", "The gulls are loud.", "The tide turns."],
]
NAMES = "Anna Boris Clara David Emma Felix Greta Hugo Iris Jonas".split()


def _draw_key(rng, held_out, low, high):
    while True:
        key = rng.randint(low, high)
        if key_is_held_out(key) == held_out:
            return key


def _filler(unit, n_chars):
    """Sentences of `unit` in turn until about n_chars characters are filled."""
    sentences, used = [], 0
    while used < n_chars:
        sentence = unit[len(sentences) % len(unit)]
        sentences.append(sentence)
        used += len(sentence) + 1
    return sentences


def _insert(sentences, depth, needle):
    at = round(depth * len(sentences))
    return " ".join(sentences[:at] + [needle] + sentences[at:])


def classic_passkey(rng, n_chars, depth, held_out, joint=" "):
    """(prompt, answer) in the wording in common use for this test."""
    key = _draw_key(rng, held_out, 1, 50000)
    body = _insert(_filler(CLASSIC_UNIT, n_chars), depth, f"The pass key is {key}. Remember it. {key} is the pass key.")
    return joint.join([CLASSIC_INTRO, body, "What is the pass key? The pass key is"]), str(key)


def plain_passkey(rng, n_chars, depth, held_out, joint="\n"):
    """(prompt, answer) in a wording of our own, the number stated once."""
    key = _draw_key(rng, held_out, 10000, 99999)
    body = _insert(_filler(rng.choice(PLAIN_UNITS), n_chars), depth, f"The secret number is {key}.")
    return joint.join([PLAIN_INTRO, body, "What is the secret number? The secret number is"]), str(key)


def named_codes(rng, n_chars, held_out):
    """(prompt, answer) with several numbers, one of which is asked for: retrieval by name."""
    names = rng.sample(NAMES, rng.randint(2, 5))
    keys = [_draw_key(rng, held_out, 100, 99999) for _ in names]
    sentences = _filler(rng.choice(PLAIN_UNITS), n_chars)
    for name, key in zip(names, keys):
        sentences.insert(rng.randint(0, len(sentences)), f"The code of {name} is {key}.")
    asked = rng.randrange(len(names))
    prompt = " ".join(sentences) + f"\nWhat is the code of {names[asked]}? The code of {names[asked]} is"
    return prompt, str(keys[asked])


def passkey_drill(rng, max_chars):
    """One training drill of random wording, length and depth."""
    kind, depth = rng.random(), rng.random()
    n_chars = int(max_chars * rng.random() ** 0.7)
    if kind < 0.45:
        return classic_passkey(rng, n_chars, depth, False, rng.choice([" ", "\n"]))
    if kind < 0.75:
        return plain_passkey(rng, n_chars, depth, False, rng.choice([" ", "\n"]))
    return named_codes(rng, n_chars // 2, False)


def passkey_items(lengths, depths, per_cell):
    """Held-out items: both wordings x filler lengths (characters) x depths x per_cell."""
    rng = random.Random("passkey-items")
    items = []
    for wording, make in (("classic", classic_passkey), ("plain", plain_passkey)):
        for n_chars in lengths:
            for step in range(depths):
                depth = step / (depths - 1)
                for _ in range(per_cell):
                    prompt, answer = make(rng, n_chars, depth, True)
                    items.append({"id": f"passkey-{len(items):04d}", "wording": wording, "filler_chars": n_chars,
                                  "depth": depth, "prompt": prompt, "answer": answer})
    return items


# ---- arithmetic --------------------------------------------------------------------------------------------

PEOPLE = "Tom Lucy Sam Nora Ben Ella Max Rosa Leo Ada Paul Ruth".split()
THINGS = "apples books coins cards stamps shells pencils eggs marbles plums".split()
ADD = ["{p} has {a} {t} and buys {b} more. How many {t} does {p} have now?",
       "{p} picks {a} {t} in the morning and {b} in the afternoon. How many {t} is that in all?",
       "There are {a} {t} in one box and {b} in another. How many {t} are there together?"]
SUB = ["{p} has {a} {t} and gives away {b}. How many {t} are left?",
       "A shop had {a} {t} and sold {b} of them. How many {t} remain?",
       "{p} counts {a} {t}, but {b} are broken. How many {t} are whole?"]
MUL = ["{p} has {b} bags with {a} {t} each. How many {t} is that?",
       "{p} buys {a} {t} on each of {b} days. How many {t} does {p} buy?",
       "A shelf holds {a} {t}. How many {t} do {b} shelves hold?"]


def _draw_operands(rng, kind, held_out):
    while True:
        if kind == "mul":
            a, b = rng.randint(2, 20), rng.randint(2, 9)
        else:
            a, b = rng.randint(2, 99), rng.randint(2, 99)
            if kind == "sub":
                a, b = max(a, b) + 1, min(a, b)
        if operands_are_held_out(kind, a, b) == held_out:
            return a, b


def arithmetic_drill(rng, held_out):
    """(prompt, answer, kind): prompt ends with "Answer:", the answer is an integer in decimal."""
    kind = rng.choices(["add", "sub", "mul"], [0.4, 0.4, 0.2])[0]
    a, b = _draw_operands(rng, kind, held_out)
    wording = rng.choice({"add": ADD, "sub": SUB, "mul": MUL}[kind])
    value = {"add": a + b, "sub": a - b, "mul": a * b}[kind]
    question = wording.format(p=rng.choice(PEOPLE), t=rng.choice(THINGS), a=a, b=b)
    return f"Question: {question}\nAnswer:", str(value), kind


def arithmetic_items(count):
    rng = random.Random("arithmetic-items")
    items = []
    for index in range(count):
        prompt, answer, kind = arithmetic_drill(rng, True)
        items.append({"id": f"arithmetic-{index:04d}", "kind": kind, "prompt": prompt, "answer": answer})
    return items
