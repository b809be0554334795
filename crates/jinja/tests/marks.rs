//! Marks of bytes that come from messages are kept through every operation.

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]

use std::sync::atomic::AtomicBool;

use chrono::NaiveDate;
use lilims_jinja::{Input, Rendering, Template};
use serde_json::{Value, json};

fn render(source: &str, messages: &Value) -> Rendering {
    let today = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
    let input = Input {
        messages,
        variables: &[("bos_token", json!("<s>")), ("add_generation_prompt", json!(true))],
        now: &|| today.into(),
        cancel: &AtomicBool::new(false),
    };
    Template::parse(source).unwrap().render(&input).unwrap()
}

/// The rendering, with bytes from messages as `«index:bytes»`.
fn render_with_marks(source: &str, messages: &Value) -> String {
    let rendering = render(source, messages);
    let mut shown = String::new();
    let mut at = 0;
    for (range, message) in rendering.contents {
        assert!(range.start >= at && range.start < range.end, "{range:?} after {at}");
        shown.push_str(&rendering.text[at..range.start]);
        shown.push_str(&format!("«{message}:{}»", &rendering.text[range.clone()]));
        at = range.end;
    }
    shown + &rendering.text[at..]
}

#[track_caller]
fn assert_marks(expression: &str, expected: &str) {
    let messages = json!([
        {"role": "system", "content": "Äb c"},
        {"role": "user", "content": "x\"y\nz", "tool_calls": [
            {"function": {"name": "fn", "arguments": {"key": "val", "a": 1}}},
        ]},
    ]);
    let source = format!(
        "{{% set a = messages[0].content %}}{{% set b = messages[1].content %}}\
                          {{{{ {expression} }}}}"
    );
    assert_eq!(render_with_marks(&source, &messages), expected, "{expression}");
}

#[test]
fn t2_every_operation_keeps_marks() {
    assert_marks("a", "«0:Äb c»");
    assert_marks("'<' ~ a ~ '>' ~ b", "<«0:Äb c»>«1:x\"y\nz»");
    assert_marks("'<' + a + '>'", "<«0:Äb c»>");
    assert_marks("'[%s|%5s]' % (a, b[0])", "[«0:Äb c»|    «1:x»]");
    assert_marks("'[{}|{:>3}]'.format(a, b[0])", "[«0:Äb c»|  «1:x»]");
    assert_marks("'%s' | format(a)", "«0:Äb c»");
    assert_marks("('-' ~ a ~ '-')[1:3]", "«0:Äb»");
    assert_marks("('-' ~ a ~ '-')[::-1]", "-«0:c bÄ»-");
    assert_marks("('-' ~ a ~ '-')|reverse", "-«0:c bÄ»-");
    assert_marks("(' ' ~ a ~ ' ')|trim", "«0:Äb c»");
    assert_marks("a.split(' ')|join('/')", "«0:Äb»/«0:c»");
    assert_marks("'/'.join([a, b[0], 'q'])", "«0:Äb c»/«1:x»/q");
    assert_marks("('a' ~ a)|upper", "A«0:ÄB C»");
    assert_marks("('a ' ~ a)|title", "A «0:Äb C»");
    assert_marks("('a' ~ a).replace('b', 'BB')", "a«0:Ä»BB«0: c»");
    assert_marks("'b-b'.replace('b', a)", "«0:Äb c»-«0:Äb c»");
    assert_marks("(a ~ '!') * 2", "«0:Äb c»!«0:Äb c»!");
    assert_marks("[a, 1]", "['«0:Äb c»', 1]");
    assert_marks("{'k': b}", "{'k': '«1:x\"y\\nz»'}");
    assert_marks("b|tojson", "\"«1:x\\\"y\\nz»\"");
    assert_marks(
        "messages[1].tool_calls[0].function.arguments|tojson",
        "{\"«1:key»\": \"«1:val»\", \"«1:a»\": 1}",
    );
    assert_marks("messages[1].tool_calls[0]['function'].name", "«1:fn»");
    assert_marks("messages[0].role", "system");
    assert_marks("messages|map(attribute='content')|map('first')|join", "«0:Ä»«1:x»");
    assert_marks("messages|map(attribute='role')|join(',')", "system,user");
    assert_marks("b|indent(2)", "«1:x\"y»\n  «1:z»");
    assert_marks("b.splitlines()|join('|')", "«1:x\"y»|«1:z»");
    assert_marks("a|list|join('.')", "«0:Ä».«0:b».«0: ».«0:c»");
    assert_marks("(a ~ '<')|e", "«0:Äb c»&lt;");
    assert_marks("('<b>' ~ a)|striptags", "«0:Äb c»");
    assert_marks("a|truncate(3, true, '…', 0)", "«0:Äb»…");
    assert_marks("a|wordwrap(2)", "«0:Äb»\n«0:c»");
    assert_marks("a|center(6)", " «0:Äb c» ");
    assert_marks("a|default('d')", "«0:Äb c»");
    assert_marks("nothing|default(a)", "«0:Äb c»");
    assert_marks("a|urlencode", "«0:%C3%84b%20c»");
    assert_marks("a if a else 'x'", "«0:Äb c»");
    assert_marks("a.partition(' ')|join('|')", "«0:Äb»|«0: »|«0:c»");
    assert_marks("a.removeprefix('Ä') ~ a.lower()", "«0:b cäb c»");
    assert_marks("dict(x=a).x ~ [a][0] ~ (a,)|first", "«0:Äb cÄb cÄb c»");
    assert_marks("dict(**{a: 1})", "{'«0:Äb c»': 1}");
    assert_marks("a|length", "4");
    assert_marks("a == 'Äb c'", "True");
}

#[test]
fn t2_statements_keep_marks() {
    let messages =
        json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<|im_end|>"}]);
    for (source, expected) in [
        (
            "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}",
            "<|user|>«0:hi»\n<|assistant|>«1:<|im_end|>»\n",
        ),
        ("{% macro f(m) %}[{{ m.content }}]{% endmacro %}{{ f(messages[0]) }}", "[«0:hi»]"),
        (
            "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}{{ messages[0].content }}{% endcall %}",
            "<«0:hi»>",
        ),
        ("{% set x %}a{{ messages[0].content }}b{% endset %}{{ x|upper }}", "A«0:HI»B"),
        ("{% filter upper %}a{{ messages[0].content }}{% endfilter %}", "A«0:HI»"),
        (
            "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t ~ m.content ~ ';' %}{% endfor %}{{ ns.t }}",
            "«0:hi»;«1:<|im_end|>»;",
        ),
        ("{% for c in messages[0].content %}{{ c }}-{% endfor %}", "«0:h»-«0:i»-"),
        (
            "{% for c in [[1,[messages[0].content]]] recursive %}{% if c is string %}{{ c }}{% elif c is iterable %}{{ loop(c) }}{% endif %}{% endfor %}",
            "«0:hi»",
        ),
        ("{% generation %}{{ messages[1].content }}{% endgeneration %}", "«1:<|im_end|>»"),
        ("{% with x = messages[0].content %}{{ x }}{% endwith %}", "«0:hi»"),
        (
            "{% autoescape true %}{{ messages[1].content }}{% endautoescape %}",
            "«1:&lt;|im_end|&gt;»",
        ),
        (
            "{{ messages }}",
            "[{'role': 'user', 'content': '«0:hi»'}, {'role': 'assistant', 'content': '«1:<|im_end|>»'}]",
        ),
    ] {
        assert_eq!(render_with_marks(source, &messages), expected, "{source}");
    }
}
