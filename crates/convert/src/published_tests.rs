//! Reads the configurations of published checkpoints: each field must be known, and the notes must
//! be right. Names of fields and values are facts about these models.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use crate::Error;
use crate::config::Config;

fn read(json: Json) -> Result<Config, Error> {
    Config::from_json(&json, PathBuf::from("config.json"))
}

#[test]
fn c4_published_configurations_are_read() {
    let long: Vec<f64> = vec![1.5; 48];
    let cases = [
        (
            "GPT-2",
            json!({
                "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"],
                "activation_function": "gelu_new", "attn_pdrop": 0.1, "bos_token_id": 50256,
                "eos_token_id": 50256, "embd_pdrop": 0.1, "initializer_range": 0.02,
                "layer_norm_epsilon": 1e-5, "n_ctx": 1024, "n_embd": 768, "n_head": 12,
                "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null,
                "summary_first_dropout": 0.1, "summary_proj_to_labels": true,
                "summary_type": "cls_index", "summary_use_proj": true,
                "task_specific_params": { "text-generation": { "do_sample": true, "max_length": 50 } },
                "vocab_size": 50257,
            }),
            0,
        ),
        (
            "Phi-2",
            json!({
                "model_type": "phi", "architectures": ["PhiForCausalLM"], "attention_dropout": 0.0,
                "bos_token_id": 50256, "embd_pdrop": 0.0, "eos_token_id": 50256,
                "hidden_act": "gelu_new", "hidden_size": 2560, "initializer_range": 0.02,
                "intermediate_size": 10240, "layer_norm_eps": 1e-5, "max_position_embeddings": 2048,
                "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
                "partial_rotary_factor": 0.4, "qk_layernorm": false, "resid_pdrop": 0.1,
                "rope_scaling": null, "rope_theta": 10000.0, "tie_word_embeddings": false,
                "torch_dtype": "float16", "transformers_version": "4.37.0", "use_cache": true,
                "vocab_size": 51200,
            }),
            1,
        ),
        (
            "Phi-3-mini-4k",
            json!({
                "_name_or_path": "Phi-3-mini-4k-instruct", "model_type": "phi3",
                "architectures": ["Phi3ForCausalLM"], "attention_dropout": 0.0,
                "auto_map": { "AutoConfig": "configuration_phi3.Phi3Config" }, "bos_token_id": 1,
                "embd_pdrop": 0.0, "eos_token_id": 32000, "hidden_act": "silu", "hidden_size": 3072,
                "initializer_range": 0.02, "intermediate_size": 8192,
                "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 32,
                "num_key_value_heads": 32, "original_max_position_embeddings": 4096,
                "pad_token_id": 32000, "resid_pdrop": 0.0, "rms_norm_eps": 1e-5,
                "rope_scaling": null, "rope_theta": 10000.0, "sliding_window": 2047,
                "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
                "attention_bias": false, "vocab_size": 32064,
            }),
            1,
        ),
        (
            "Phi-3.5-mini",
            json!({
                "model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "hidden_size": 3072,
                "intermediate_size": 8192, "max_position_embeddings": 131072,
                "original_max_position_embeddings": 4096, "num_attention_heads": 32,
                "num_hidden_layers": 32, "num_key_value_heads": 32, "rope_theta": 10000.0,
                "rope_scaling": { "type": "longrope", "short_factor": long, "long_factor": long },
                "sliding_window": 262144, "tie_word_embeddings": false, "vocab_size": 32064,
            }),
            0,
        ),
        (
            "Gemma 2 2B",
            json!({
                "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"],
                "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": 50.0,
                "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": [1, 107],
                "final_logit_softcapping": 30.0, "head_dim": 256,
                "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
                "hidden_size": 2304, "initializer_range": 0.02, "intermediate_size": 9216,
                "max_position_embeddings": 8192, "num_attention_heads": 8, "num_hidden_layers": 26,
                "num_key_value_heads": 4, "pad_token_id": 0, "query_pre_attn_scalar": 256,
                "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "sliding_window": 4096,
                "sliding_window_size": 4096, "torch_dtype": "bfloat16", "use_cache": true,
                "vocab_size": 256000,
            }),
            0,
        ),
        (
            "Gemma 3 270M",
            json!({
                "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"],
                "_sliding_window_pattern": 6, "attention_bias": false, "attention_dropout": 0.0,
                "attn_logit_softcapping": null, "bos_token_id": 2, "eos_token_id": [1, 106],
                "final_logit_softcapping": null, "head_dim": 256,
                "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 640,
                "initializer_range": 0.02, "intermediate_size": 2048,
                "max_position_embeddings": 32768, "num_attention_heads": 4, "num_hidden_layers": 18,
                "num_key_value_heads": 1, "pad_token_id": 0, "query_pre_attn_scalar": 256,
                "rms_norm_eps": 1e-6, "rope_local_base_freq": 10000.0, "rope_scaling": null,
                "rope_theta": 1e6, "sliding_window": 512, "torch_dtype": "bfloat16",
                "use_bidirectional_attention": false, "use_cache": true, "vocab_size": 262144,
            }),
            0,
        ),
        (
            "Gemma 3 12B",
            json!({
                "model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"],
                "boi_token_index": 255999, "eoi_token_index": 256000, "eos_token_id": [1, 106],
                "image_token_index": 262144, "initializer_range": 0.02, "mm_tokens_per_image": 256,
                "text_config": {
                    "hidden_size": 3840, "intermediate_size": 15360, "model_type": "gemma3_text",
                    "num_attention_heads": 16, "num_hidden_layers": 48, "num_key_value_heads": 8,
                    "rope_scaling": { "factor": 8.0, "rope_type": "linear" },
                    "sliding_window": 1024,
                },
                "torch_dtype": "bfloat16", "vision_config": { "hidden_size": 1152 },
            }),
            1,
        ),
        (
            "Llama 3.2 1B",
            json!({
                "model_type": "llama", "architectures": ["LlamaForCausalLM"],
                "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128000,
                "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu",
                "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 8192,
                "max_position_embeddings": 131072, "mlp_bias": false, "num_attention_heads": 32,
                "num_hidden_layers": 16, "num_key_value_heads": 8, "pretraining_tp": 1,
                "rms_norm_eps": 1e-5, "rope_scaling": {
                    "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                    "original_max_position_embeddings": 8192, "rope_type": "llama3",
                },
                "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
                "use_cache": true, "vocab_size": 128256,
            }),
            0,
        ),
        (
            "a Llama 2",
            json!({
                "_name_or_path": "", "model_type": "llama", "architectures": ["LlamaForCausalLM"],
                "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
                "initializer_range": 0.02, "intermediate_size": 11008, "max_length": 4096,
                "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 32,
                "num_key_value_heads": 32, "pad_token_id": 2, "pretraining_tp": 1,
                "rms_norm_eps": 1e-5, "rope_scaling": null, "tie_word_embeddings": false,
                "torch_dtype": "float16", "use_cache": true, "vocab_size": 65000,
            }),
            0,
        ),
        (
            "SmolLM2",
            json!({
                "model_type": "llama", "architectures": ["LlamaForCausalLM"],
                "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 1,
                "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 576,
                "initializer_range": 0.041_666_666_666_666_664, "intermediate_size": 1536,
                "is_llama_config": true, "max_position_embeddings": 8192, "mlp_bias": false,
                "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3,
                "pad_token_id": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-5,
                "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000,
                "tie_word_embeddings": true, "transformers.js_config": {}, "vocab_size": 49152,
            }),
            1,
        ),
        (
            "Mistral 7B v0.1",
            json!({
                "model_type": "mistral", "architectures": ["MistralForCausalLM"],
                "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
                "initializer_range": 0.02, "intermediate_size": 14336,
                "max_position_embeddings": 32768, "num_attention_heads": 32,
                "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
                "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false,
                "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 32000,
            }),
            0,
        ),
        (
            "Qwen2 0.5B",
            json!({
                "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"],
                "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643,
                "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02,
                "intermediate_size": 4864, "max_position_embeddings": 131072,
                "max_window_layers": 24, "num_attention_heads": 14, "num_hidden_layers": 24,
                "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
                "sliding_window": 131072, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
                "use_cache": true, "use_mrope": false, "use_sliding_window": false,
                "vocab_size": 151936,
            }),
            0,
        ),
        (
            "Qwen3 8B",
            json!({
                "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"],
                "attention_bias": false, "bos_token_id": 151643, "eos_token_id": 151645,
                "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096,
                "intermediate_size": 12288, "max_position_embeddings": 40960,
                "max_window_layers": 36, "num_attention_heads": 32, "num_hidden_layers": 36,
                "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_scaling": null,
                "rope_theta": 1e6, "sliding_window": null, "tie_word_embeddings": false,
                "use_sliding_window": false, "vocab_size": 151936,
            }),
            0,
        ),
        (
            "SmolLM3",
            json!({
                "model_type": "smollm3", "architectures": ["SmolLM3ForCausalLM"],
                "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 128000,
                "eos_token_id": 128012, "hidden_act": "silu", "hidden_size": 2048,
                "initializer_range": 0.02, "intermediate_size": 11008,
                "max_position_embeddings": 65536, "max_window_layers": 28, "mlp_bias": false,
                "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0, 1, 1, 1, 0],
                "num_attention_heads": 16, "num_hidden_layers": 8, "num_key_value_heads": 4,
                "pad_token_id": 128004, "pretraining_tp": 2, "rms_norm_eps": 1e-6,
                "rope_scaling": null, "rope_theta": 5e6, "sliding_window": null,
                "use_cache": false, "use_sliding_window": false, "vocab_size": 128256,
            }),
            1,
        ),
    ];
    for (name, json, n_notes) in cases {
        let config = read(json).unwrap_or_else(|error| panic!("{name}: {error}"));
        let notes = config.notes.clone().into_sentences();
        assert_eq!(notes.len(), n_notes, "{name}: {notes:?}");
        match name {
            "Mistral 7B v0.1" => assert_eq!(config.windowed, Some(vec![true; 32])),
            "Phi-2" => assert_eq!(config.rope_dim, 32),
            "Gemma 3 12B" => assert_eq!((config.head_dim, config.n_vocab), (256, 262_208)),
            "Gemma 3 270M" | "Gemma 2 2B" => assert_eq!(config.eos_ids.len(), 2),
            "SmolLM3" => assert!(config.ties_embeddings && config.rope_base == 5e6),
            _ => assert_eq!(config.windowed, None, "{name}"),
        }
    }
}
