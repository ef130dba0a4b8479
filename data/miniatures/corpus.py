"""The training mixture and what is held out of it.

Sources: presidential addresses (public domain), gsm8k training problems (MIT), and generated texts (world.py,
drills.py). Held out: five whole addresses, a tenth of all passkeys and operand pairs, one question wording per
closed-world fact. Tokens are packed into rows of equal length, with a loss weight per token.
"""

import json
import random
import re
from collections import defaultdict

import numpy as np

import drills
import world

HEADING = re.compile(r"(?m)^ *PRESIDENT [A-Z.' ]+'S ")
# (word in the heading, words near the start of the address): whole addresses that training never sees.
HELD_OUT_ADDRESSES = [("TRUMAN", "January 5, 1949"), ("CARTER", "Tonight I want to examine in a broad sense"),
                      ("FORD", "January 19, 1976"), ("REAGAN", "February 6, 1985"), ("BUSH", "February 2, 2005")]
HEAD_CHARS = 500

# Share of the rows (speech, passkey) and, in the remaining rows, share of the tokens by kind of document.
ROW_SHARE = {"speech": 0.16, "passkey": 0.30, "pack": 0.54}
PACK_SHARE = {"gsm8k": 0.34, "portrait": 0.18, "questions": 0.18, "chat": 0.04, "arithmetic": 0.26}
POOL_DOCS = {"portrait": 30000, "questions": 30000, "chat": 6000, "arithmetic": 120000, "passkey": 40000}
ANSWER_WEIGHT = 6  # answers of drills are few tokens among much filler; weighting them speeds learning
MAX_FILLER_CHARS = 1850

PASSKEY_LENGTHS, PASSKEY_DEPTHS, PASSKEY_PER_CELL = (300, 700, 1100, 1600), 5, 6
ARITHMETIC_ITEMS, REWORDED_ITEMS, STATEMENT_ONLY_ITEMS = 300, 270, 30


def split_speeches(path):
    """(training text, held-out text) of the speeches file."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    starts = [0] + [m.start() for m in HEADING.finditer(text)] + [len(text)]
    train, held, seen = [], [], set()
    for begin, end in zip(starts, starts[1:]):
        head = text[begin:begin + HEAD_CHARS]
        hit = [h for h in HELD_OUT_ADDRESSES if h[0] in head.split("\n")[0] and h[1] in head]
        (held if hit else train).append(text[begin:end])
        seen.update(hit)
    missing = set(HELD_OUT_ADDRESSES) - seen
    if missing:
        raise ValueError(f"addresses {sorted(missing)} not found in {path} (another edition of the text?) "
                         "use the file named in data/README.md")
    return "".join(train), "".join(held)


def read_gsm8k(path):
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return [f"Question: {row['question']}\nAnswer: {row['answer']}" for row in rows]


def generate_documents(seed):
    """{kind: [(prompt, answer)]}; documents without a checkable answer have answer ""."""
    facts = world.build_facts()
    askable = [f for f in facts if not world.never_asked(f)]
    by_subject = defaultdict(list)
    for fact in facts:
        by_subject[fact[0]].append(fact)
    make = {
        "portrait": lambda rng: (world.portrait(rng, by_subject), ""),
        "questions": lambda rng: (world.questions_page(rng, askable), ""),
        "chat": lambda rng: world.chat_turn(rng, askable),
        "arithmetic": lambda rng: drills.arithmetic_drill(rng, False)[:2],
        "passkey": lambda rng: drills.passkey_drill(rng, MAX_FILLER_CHARS),
    }
    documents = {}
    for kind, count in POOL_DOCS.items():
        rng = random.Random(f"{seed}-{kind}")
        documents[kind] = [make[kind](rng) for _ in range(count)]
    return documents


def write_tasks(folder, speeches):
    """Regenerates data/tasks: the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    sets = {
        "passkey": drills.passkey_items(PASSKEY_LENGTHS, PASSKEY_DEPTHS, PASSKEY_PER_CELL),
        "arithmetic": drills.arithmetic_items(ARITHMETIC_ITEMS),
        "choice": world.choice_items(REWORDED_ITEMS, STATEMENT_ONLY_ITEMS),
    }
    for name, items in sets.items():
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(item) + "\n" for item in items)
    with open(folder / "heldout.txt", "w", encoding="utf-8", newline="\n") as file:
        file.write(split_speeches(speeches)[1])


class Packer:
    """Tokenises the mixture once and deals rows of `length` tokens with loss weights."""

    def __init__(self, tokenizer, style, speeches_text, gsm8k_docs, documents, length, seed):
        self.length, self.style = length, style
        self.rng = random.Random(f"{seed}-rows")
        encode = lambda texts: [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
        lines = speeches_text.split("\n")
        groups = ["\n".join(lines[i:i + 200]) for i in range(0, len(lines), 200)]
        self.speech = np.concatenate([np.array(ids, np.uint16) for ids in encode(groups)])
        self.pools = {"gsm8k": [self._close(ids, None) for ids in encode(gsm8k_docs)]}
        for kind, docs in documents.items():
            if kind == "chat":
                docs = [(style.chat_prompt(user), assistant + style.turn_end) for user, assistant in docs]
            elif kind == "passkey":
                docs = [(prompt, f" {answer}.") for prompt, answer in docs]
            elif kind == "arithmetic":
                docs = [(prompt, f" {answer}\n#### {answer}") for prompt, answer in docs]
            whole = encode([p + a for p, a in docs])
            prompts = encode([p for p, _ in docs]) if kind in ("passkey", "arithmetic") else [None] * len(docs)
            self.pools[kind] = [self._close(ids, prompt) for ids, prompt in zip(whole, prompts)]
        self.pools["passkey"] = [d for d in self.pools["passkey"] if len(d[0]) < length]
        mean = {k: np.mean([len(d[0]) for d in self.pools[k]]) for k in PACK_SHARE}
        self.pack_kinds = list(PACK_SHARE)
        self.pack_odds = [PACK_SHARE[k] / mean[k] for k in self.pack_kinds]

    def _close(self, ids, prompt_ids):
        """(ids + end, weights); the answer after the prompt's tokens gets ANSWER_WEIGHT."""
        weights = [1] * (len(ids) + 1)
        if prompt_ids is not None:
            weights[len(prompt_ids):] = [ANSWER_WEIGHT] * (len(weights) - len(prompt_ids))
        return (np.array(ids + [self.style.end_id], np.uint16), np.array(weights, np.uint8))

    def _start(self):
        """Beginning of a document: with or without BOS, as the style's tokenizer may be used."""
        has_bos = self.rng.random() < self.style.bos_share
        return np.array([self.style.bos_id] if has_bos else [], np.uint16)

    def _row(self):
        kind = self.rng.choices(list(ROW_SHARE), list(ROW_SHARE.values()))[0]
        if kind == "speech":
            at = self.rng.randrange(len(self.speech) - self.length)
            ids = np.concatenate([self._start(), self.speech[at:at + self.length]])[:self.length]
            return ids, np.ones(self.length, np.uint8)
        ids, weights, total = [], [], 0
        while total < self.length:
            pool = "passkey" if kind == "passkey" and not ids else self.rng.choices(self.pack_kinds, self.pack_odds)[0]
            doc, weight = self.rng.choice(self.pools[pool])
            start = self._start()
            if total == 0 and len(start) + len(doc) > self.length:
                start = start[:0]
            ids += [start, doc]
            weights += [np.zeros(len(start), np.uint8), weight]
            total += len(start) + len(doc)
        return np.concatenate(ids)[:self.length], np.concatenate(weights)[:self.length]

    def rows(self, count):
        """(ids [count, length] int64-convertible, weights [count, length])."""
        ids, weights = np.empty((count, self.length), np.uint16), np.empty((count, self.length), np.uint8)
        for index in range(count):
            ids[index], weights[index] = self._row()
        return ids, weights
