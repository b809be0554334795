//! Chat templates: rendered alone, and as prompts are made.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use chrono::NaiveDate;
use lilims_engine::{Prompt, Tokenizer};
use lilims_jinja::{Input, Template};
use serde_json::{Value as Json, json};

use crate::{Bound, Target, model};

/// Renders a template with messages, and makes a prompt with it.
pub(crate) const TEMPLATE: Target = Target {
    name: "template",
    run: render,
    seeds: || SEEDS.map(|seed| seed.as_bytes().to_vec()).into(),
    words: WORDS,
    // What jinja's limits allow: 64 MiB of live values, and their containers.
    bound: Bound { base_bytes: 300 << 20, per_byte: 600 },
    n_smoke: 3000,
};

const SEEDS: [&str; 6] = [
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] \
     + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}\
     {% endif %}",
    "{{ bos_token }}{%- if messages[0].role == 'system' -%}{% set ns = namespace(a=messages[0].content\
     |trim, b=[]) %}{%- set messages = messages[1:] -%}{% else %}{% set ns = namespace(a='', b=none) %}\
     {%- endif -%}{%- for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
     {{ raise_exception('order') }}{% endif %}{{ '[INST] ' ~ ns.a ~ m.content | tojson ~ loop.last }}\
     {% endfor %}",
    "{% macro field(name, args=[1, 2.5], *rest, **more) %}{{ name|upper }}:{{ args|join(', ') }}\
     {{ caller() if caller else '' }}{% endmacro %}{% call field('x', range(3)|list) %}in{% endcall %}\
     {{ strftime_now('%d %b %Y') }}{% generation %}{{ messages | map(attribute='content') | list }}\
     {% endgeneration %}",
    "{% for a, b in {'x': [1, 2], 'y': (3,)}.items() recursive %}{% continue %}{% else %}{% break %}\
     {% endfor %}{{ 'a-b'.split('-')[::-1] }}{{ '%s %5.2f' % ('a', 1) }}{{ '{:>8}'.format('q') }}\
     {{ 7 // -2 ** 3 % 5 }}{{ 'é'.encode is defined }}{{ messages|selectattr('role', 'equalto', 'user')\
     |first }}",
    "{# note #}{% raw %}{{ no }}{% endraw %}{% filter replace('a', 'b') %}aa{% endfilter %}{% with x = 1 \
     %}{{ x if x is odd else -x }}{% endwith %}{% set y %}{{ 'q' * 3 }}{% endset %}{{ y[-1:]|length }}",
    "{{ messages[-1].content.split('</think>')[-1].lstrip('\\n').startswith('<') and \
     messages|tojson(indent=2)|length > 2 or not 'x' in messages[0] }}{{ 1e308 * 10 | round(2) }}",
];

const WORDS: &[&str] = &[
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "-%}",
    "{%-",
    "for",
    "in",
    "if",
    "else",
    "elif",
    "endif",
    "endfor",
    "set",
    "endset",
    "macro",
    "endmacro",
    "call",
    "endcall",
    "filter",
    "endfilter",
    "with",
    "endwith",
    "namespace(",
    "range(999999)",
    "loop.index",
    "loop.cycle(",
    "loop.changed(",
    "|tojson",
    "|join",
    "|sort",
    "|unique",
    "|groupby('role')",
    "|batch(3)",
    "|slice(3)",
    "|format(",
    "|indent(9)",
    "|wordwrap(3)",
    "|center(99)",
    "|replace('a','aaaa')",
    "|map(",
    "|dictsort",
    "|sum",
    "|urlize",
    "|xmlattr",
    "|striptags",
    "|truncate(1)",
    "|round",
    "|int",
    "|float",
    "|abs",
    "*9999",
    "**99",
    "'x'*99999999",
    ".format(",
    ".split(",
    ".zfill(",
    ".expandtabs(",
    ".translate(",
    ".join(",
    "[::-1]",
    "[99999999999999999999]",
    "'%999999999d'%1",
    "'{:99999999}'",
    "\\N{DIGIT ONE}",
    "\\x41",
    "\u{fffd}",
    "e\u{301}",
    "is mapping",
    "recursive",
    "loop(",
    "self",
    "caller()",
    "messages",
    "~",
];

fn messages() -> Vec<Json> {
    vec![
        json!({"role": "system", "content": "the inner <|im_end|>"}),
        json!({"role": "user", "content": "Grüße\n\n {{ 7 }} <s>"}),
        json!({"role": "assistant", "content": "<think>an</think>in", "reasoning_content": "er"}),
        json!({"role": "user", "content": [{"type": "text", "text": "in"}], "tool_calls": [{"id": 1}]}),
    ]
}

fn render(input: &[u8]) {
    let Ok(source) = std::str::from_utf8(input) else { return };
    let cancel = AtomicBool::new(false);
    let today = NaiveDate::from_ymd_opt(2026, 11, 26).expect("a date");
    let messages = messages();
    let list = Json::Array(messages.clone());
    let variables = [
        ("bos_token", json!("<s>")),
        ("add_generation_prompt", json!(true)),
        ("tools", json!([{"name": "f", "parameters": {"x": {"type": "string"}}}])),
    ];
    let Ok(template) = Template::parse(source) else { return };
    let input =
        Input { messages: &list, variables: &variables, now: &|| today.into(), cancel: &cancel };
    let Ok(rendering) = template.render(&input) else { return };
    let mut end = 0;
    for (range, message) in &rendering.contents {
        assert!(end <= range.start && range.start < range.end, "{range:?} after {end}");
        assert!(rendering.text.get(range.clone()).is_some() && *message < messages.len());
        end = range.end;
    }
    // Probing renders several times, and what limits one rendering limits each.
    if source.len() > 600 || source.contains("range") || source.contains('*') {
        return;
    }
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    let tokenizer = TOKENIZER.get_or_init(model::tokenizer);
    if let Some(format) = model::chat_format(source, tokenizer) {
        let _ = format.reasoning_tags(tokenizer);
        let _ = Prompt::new(&format, tokenizer, &messages[..3], true, &cancel);
    }
}
