"""Trains the two tokenizers and writes tokenizer.json and tokenizer_config.json.

mini-phi3: BPE on characters with byte fallback, spaces as "▁", no pre-tokenizer, as SentencePiece exports are.
mini-llama: byte-level BPE behind the Llama-3 split pattern, ignore_merges, a template that adds BOS.
"""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPACE = "▁"
PHI3_SPECIAL = ["<unk>", "<s>", "</s>"]
PHI3_ADDED = ["<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>", "<|system|>", "<|end|>",
              "<|user|>"]
PHI3_RSTRIP = {"</s>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>", "<|system|>", "<|end|>", "<|user|>"}
LLAMA_ADDED = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
LLAMA_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|\s+(?!\S)|\s+")
PHI3_MERGED, LLAMA_VOCAB = 2700, 4096
PHI3_CHAT = ("{% for message in messages %}{{'<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n'}}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}")
LLAMA_CHAT = ("{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "
              "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")


def _phi3_normalizer():
    return normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])


def train_phi3(texts):
    """Merges are learned inside words only (a digit is a word), then used without any pre-tokenizer."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = _phi3_normalizer()
    word = Regex(r"▁?\p{L}+|\p{N}|▁?[^\p{L}\p{N}▁]+")
    learner.pre_tokenizer = pre_tokenizers.Split(word, "isolated")
    lines = [line for text in texts for line in text.split("\n") if line]  # a newline stays a byte token
    learner.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=PHI3_MERGED, min_frequency=2,
                                                           show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in learned["merges"]]
    made = ["".join(pair) for pair in merges]
    characters = sorted(set(learned["vocab"]) - set(made))
    names = PHI3_SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)] + list(dict.fromkeys(made)) + characters
    vocab = {name: index for index, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = _phi3_normalizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, rstrip=t in PHI3_RSTRIP, normalized=False, special=True)
                                  for t in PHI3_SPECIAL + PHI3_ADDED])
    return tokenizer


def train_llama(texts):
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=LLAMA_VOCAB - len(LLAMA_ADDED), min_frequency=2, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in LLAMA_ADDED])
    bos = LLAMA_ADDED[0]
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                      special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    return tokenizer


TRAIN = {"mini-phi3": train_phi3, "mini-llama": train_llama}


def tokenizer_config(model, tokenizer, max_length):
    """tokenizer_config.json as a dictionary."""
    decoder = {str(i): {"content": t.content, "lstrip": t.lstrip, "normalized": t.normalized, "rstrip": t.rstrip,
                        "single_word": t.single_word, "special": t.special}
               for i, t in sorted(tokenizer.get_added_tokens_decoder().items())}
    common = {"added_tokens_decoder": decoder, "clean_up_tokenization_spaces": False,
              "model_max_length": max_length, "tokenizer_class": "PreTrainedTokenizerFast"}
    if model == "mini-phi3":
        return {"add_bos_token": False, "add_eos_token": False, **common, "bos_token": "<s>",
                "chat_template": PHI3_CHAT, "eos_token": "<|endoftext|>", "pad_token": "<unk>",
                "unk_token": "<unk>"}
    return {**common, "bos_token": LLAMA_ADDED[0], "chat_template": LLAMA_CHAT, "eos_token": LLAMA_ADDED[1]}
