// Prints the logits after each token of a text, as llama.cpp computes them with an f32 cache.
//
// usage: logits MODEL TOKEN… > LOGITS
//
// LOGITS holds a row of 32-bit floats for each token, in the machine's byte order.

#include <stdio.h>
#include <stdlib.h>

#include "llama.h"

static int fail(const char * what) {
    fprintf(stderr, "logits: %s\n", what);
    return 1;
}

int main(int argc, char ** argv) {
    if (argc < 3) {
        return fail("usage: logits MODEL TOKEN… > LOGITS");
    }
    const int n_tokens = argc - 2;
    llama_backend_init();
    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (model == NULL) {
        return fail("the model does not load");
    }
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = n_tokens;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    struct llama_context * context = llama_init_from_model(model, params);
    if (context == NULL) {
        return fail("no context");
    }
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    struct llama_batch batch = llama_batch_init(n_tokens, 0, 1);
    for (int i = 0; i < n_tokens; i++) {
        batch.token[i] = atoi(argv[i + 2]);
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    batch.n_tokens = n_tokens;
    if (llama_decode(context, batch) != 0) {
        return fail("the tokens cannot be read");
    }
    for (int i = 0; i < n_tokens; i++) {
        const float * row = llama_get_logits_ith(context, i);
        if (fwrite(row, sizeof(float), n_vocab, stdout) != (size_t) n_vocab) {
            return fail("the logits cannot be written");
        }
    }
    return 0;
}
