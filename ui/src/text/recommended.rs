//! What the recommended models are good at.

use super::text;

/// What the model of the catalogue with this id is good at, a short sentence; empty for one that this
/// page does not know.
pub(crate) fn good_at(id: &str) -> &'static str {
    match id {
        "smollm2-135m-instruct-q4_1" => text!(recommended.smollm2_135m_instruct_q4_1),
        "smollm2-360m-instruct-q8_0" => text!(recommended.smollm2_360m_instruct_q8_0),
        "smollm2-1.7b-instruct-q4_k_m" => text!(recommended.smollm2_1_7b_instruct_q4_k_m),
        "gemma-3-270m-it-q8_0" => text!(recommended.gemma_3_270m_it_q8_0),
        "gemma-3-1b-it-q4_k_m" => text!(recommended.gemma_3_1b_it_q4_k_m),
        "gemma-2-2b-it-q4_k_m" => text!(recommended.gemma_2_2b_it_q4_k_m),
        "gemma-3-4b-it-q4_k_m" => text!(recommended.gemma_3_4b_it_q4_k_m),
        "qwen3-0.6b-q8_0" => text!(recommended.qwen3_0_6b_q8_0),
        "qwen3-1.7b-q4_k_m" => text!(recommended.qwen3_1_7b_q4_k_m),
        "qwen3-4b-q4_k_m" => text!(recommended.qwen3_4b_q4_k_m),
        "qwen3-4b-instruct-2507-q4_k_m" => text!(recommended.qwen3_4b_instruct_2507_q4_k_m),
        "qwen3-8b-q4_k_m" => text!(recommended.qwen3_8b_q4_k_m),
        "qwen2.5-0.5b-instruct-q4_k_m" => text!(recommended.qwen2_5_0_5b_instruct_q4_k_m),
        "qwen2.5-1.5b-instruct-q4_k_m" => text!(recommended.qwen2_5_1_5b_instruct_q4_k_m),
        "qwen2.5-3b-instruct-q4_k_m" => text!(recommended.qwen2_5_3b_instruct_q4_k_m),
        "qwen2.5-7b-instruct-q4_k_m" => text!(recommended.qwen2_5_7b_instruct_q4_k_m),
        "qwen2.5-coder-1.5b-instruct-q4_k_m" => {
            text!(recommended.qwen2_5_coder_1_5b_instruct_q4_k_m)
        }
        "qwen2.5-coder-7b-instruct-q4_k_m" => text!(recommended.qwen2_5_coder_7b_instruct_q4_k_m),
        "llama-3.2-1b-instruct-q4_k_m" => text!(recommended.llama_3_2_1b_instruct_q4_k_m),
        "llama-3.2-3b-instruct-q4_k_m" => text!(recommended.llama_3_2_3b_instruct_q4_k_m),
        "llama-3.1-8b-instruct-q4_k_m" => text!(recommended.llama_3_1_8b_instruct_q4_k_m),
        "mistral-7b-instruct-v0.3-q4_k_m" => text!(recommended.mistral_7b_instruct_v0_3_q4_k_m),
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_of_the_catalogue_has_one_short_sentence() {
        let catalogue = include_str!("../../../models/catalogue.toml");
        let ids =
            catalogue.lines().filter_map(|line| line.strip_prefix("id = \"")?.strip_suffix('"'));
        let mut n_models = 0;
        for id in ids {
            let sentence = good_at(id);
            assert!(sentence.ends_with('.') && sentence.len() <= 120, "{id}: {sentence:?}");
            n_models += 1;
        }
        assert!(n_models > 10);
    }
}
