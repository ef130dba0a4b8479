"""The two miniatures: config.json in the form published checkpoints have, and how documents are framed."""

from dataclasses import dataclass

TRAINED_LENGTH = 576  # tokens per training row; both models accept longer contexts
HEAD_DIM_PHI3, HEAD_DIM_LLAMA = 32, 64


@dataclass
class Style:
    """Ids and texts that frame a document. bos_share: how often training starts a document with BOS."""
    bos_id: int
    end_id: int
    bos_share: float
    user: str
    assistant: str
    turn_end: str

    def chat_prompt(self, text):
        return f"{self.user}{text}{self.turn_end}{self.assistant}"


def phi3_config(token):
    """Fused projections, full attention heads, longrope with a switch at 1024 positions, untied head."""
    half = HEAD_DIM_PHI3 // 2
    # Short factors rise gently from 1 to 2 as in Phi-3.5; long ones reach 4 = 4096/1024, the context's growth.
    short = [round(1.0 + (i / (half - 1)) ** 2, 4) for i in range(half)]
    long = [round(1.0 + 3.0 * (i / (half - 1)) ** 1.5 + (short[i] - 1.0), 4) for i in range(half)]
    return {
        "architectures": ["Phi3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": token("<s>"), "embd_pdrop": 0.0, "eos_token_id": token("<|endoftext|>"),
        "hidden_act": "silu", "hidden_size": 256, "initializer_range": 0.02, "intermediate_size": 512,
        "max_position_embeddings": 4096, "model_type": "phi3", "num_attention_heads": 8, "num_hidden_layers": 5,
        "num_key_value_heads": 8, "original_max_position_embeddings": 1024,
        "pad_token_id": token("<unk>"), "resid_pdrop": 0.0, "rms_norm_eps": 1e-05,
        "rope_scaling": {"long_factor": long, "short_factor": short, "type": "longrope"},
        "rope_theta": 10000.0, "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "use_cache": True, "vocab_size": 3072,
    }


def llama_config(token):
    """Grouped-query attention (two query heads a KV head), llama3 rope scaling, tied embeddings."""
    return {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": token("<|begin_of_text|>"), "eos_token_id": token("<|end_of_text|>"),
        "head_dim": HEAD_DIM_LLAMA, "hidden_act": "silu", "hidden_size": 256, "initializer_range": 0.02,
        "intermediate_size": 512, "max_position_embeddings": 4096, "mlp_bias": False, "model_type": "llama",
        "num_attention_heads": 4, "num_hidden_layers": 5, "num_key_value_heads": 2, "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {"factor": 4.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                         "original_max_position_embeddings": 1024, "rope_type": "llama3"},
        "rope_theta": 500000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cache": True,
        "vocab_size": 4096,
    }


def phi3_style(token):
    # Phi-3.5's tokenizer adds no BOS by default, evaluations may: the model must bear both.
    return Style(token("<s>"), token("<|endoftext|>"), 0.5, "<|user|>\n", "<|assistant|>\n", "<|end|>\n")


def llama_style(token):
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    # The tokenizer adds BOS; the rest of the share makes perplexity windows without it fair.
    return Style(token("<|begin_of_text|>"), token("<|end_of_text|>"), 0.8, head.format("user"),
                 head.format("assistant"), "<|eot_id|>")


MODELS = {
    "mini-phi3": {"config": phi3_config, "style": phi3_style, "stop": ["<|end|>", "<|endoftext|>"]},
    "mini-llama": {"config": llama_config, "style": llama_style, "stop": ["<|eot_id|>", "<|end_of_text|>"]},
}
