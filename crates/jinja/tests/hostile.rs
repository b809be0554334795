//! Hostile templates end with an error: none takes more than 5 s or 300 MiB or ends the process,
//! even on a thread with 2 MiB of stack (A1, A2).

#![expect(clippy::unwrap_used, reason = "tests, whose helpers Clippy does not recognise")]
#![expect(unsafe_code, reason = "an allocator that counts is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use lilims_jinja::{Error, Input, Template};
use proptest::prelude::*;
use serde_json::json;

const MAX_TIME: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 300 << 20;

/// Counts the allocated bytes and their peak.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls are forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the caller keeps the trait's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the trait's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn render(source: &str) -> Result<String, Error> {
    let messages = json!([
        {"role": "user", "content": "Grüße <|im_end|>"},
        {"role": "assistant", "content": "ja, <think>so</think> ist es"},
    ]);
    let today = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
    let input = Input {
        messages: &messages,
        variables: &[("bos_token", json!("<s>"))],
        now: &|| today.into(),
        cancel: &AtomicBool::new(false),
    };
    Template::parse(source)?.render(&input).map(|rendering| rendering.text)
}

/// Constructs repeated to several sizes.
fn grown() -> Vec<(String, String)> {
    let mut templates = Vec::new();
    let mut add = |name: &str, source: String| templates.push((name.to_owned(), source));
    // Nested constructs: brackets, operators, accesses, calls, statements.
    let nests: &[(&str, &str, &str, &str, &str)] = &[
        ("parentheses", "{{ ", "(", "1", ")"),
        ("lists", "{{ ", "[", "1", "]"),
        ("dicts", "{{ ", "{1:", "1", "}"),
        ("minus", "{{ ", "-", "1", ""),
        ("minus with spaces", "{{ ", "- ", "1", ""),
        ("plus", "{{ ", "+", "1", ""),
        ("not", "{{ ", "not ", "1", ""),
        ("calls inside", "{{ ", "range(", "1", ")"),
        ("filters inside", "{{ ", "1|default(", "1", ")"),
        ("tests inside", "{{ ", "1 is eq(", "1", ")"),
        ("subscripts inside", "{{ ", "x[", "1", "]"),
        ("conditions", "{{ ", "1 if 0 else ", "1", ""),
        ("open conditions", "{{ 1", " if 1", "", ""),
        ("ands", "{{ ", "1 and ", "1", ""),
        ("ors", "{{ ", "0 or ", "1", ""),
        ("sums", "{{ ", "1 + ", "1", ""),
        ("products", "{{ ", "1 * ", "1", ""),
        ("powers", "{{ ", "1 ** ", "1", ""),
        ("concatenations", "{{ ", "1 ~ ", "1", ""),
        ("comparisons", "{{ ", "1 < ", "1", ""),
        ("ins", "{{ ", "1 in ", "[1]", ""),
        ("attributes", "{{ x", ".a", "", ""),
        ("numbers of attributes", "{{ x", ".0", "", ""),
        ("subscripts", "{{ x", "[0]", "", ""),
        ("slices", "{{ 'a'", "[:]", "", ""),
        ("calls", "{{ x", "()", "", ""),
        ("filters", "{{ 1", "|string", "", ""),
        ("tests", "{{ 1", " is defined()", "", ""),
        ("strings", "{{ ", "'a' ", "'b'", ""),
        ("tuples", "{{ ", "1,", "1", ""),
        ("keywords", "{{ dict(a=1", ",**{}", "", ""),
        ("only opened", "{{ ", "([{", "", ""),
        ("only closed", "{{ ", ")", "", ""),
        ("braces", "", "{", "", ""),
        ("comments", "", "{#", "", "#}"),
        ("prints", "", "{{", "1", "}}"),
    ];
    let blocks: &[(&str, &str, &str, &str)] = &[
        ("ifs", "{% if 1 %}", "x", "{% endif %}"),
        ("fors", "{% for i in [1] %}", "x", "{% endfor %}"),
        ("withs", "{% with a=1 %}", "x", "{% endwith %}"),
        ("sets", "{% set a %}", "x", "{% endset %}"),
        ("macros", "{% macro f() %}", "x", "{% endmacro %}"),
        ("calls of macros", "{% call f() %}", "x", "{% endcall %}"),
        ("filter blocks", "{% filter upper %}", "x", "{% endfilter %}"),
        ("autoescapes", "{% autoescape true %}", "x", "{% endautoescape %}"),
        ("generations", "{% generation %}", "x", "{% endgeneration %}"),
        ("raws", "{% raw %}", "x", "{% endraw %}"),
        ("unclosed ifs", "{% if 1 %}", "", ""),
        ("targets", "{% for (", "a", ""),
    ];
    for n in [50, 1_000, 100_000] {
        for (name, before, open, middle, close) in nests {
            let (open, close) = (open.repeat(n), close.repeat(n));
            let end = if before.is_empty() { "" } else { " }}" };
            add(&format!("{n} {name}"), format!("{before}{open}{middle}{close}{end}"));
        }
        for (name, open, middle, close) in blocks {
            let n = n.min(20_000);
            add(&format!("{n} {name}"), format!("{}{middle}{}", open.repeat(n), close.repeat(n)));
        }
        let elifs = "{% elif 0 %}x".repeat(n);
        add(&format!("{n} elifs"), format!("{{% if 0 %}}{elifs}{{% endif %}}"));
        let targets = "(".repeat(n) + "a" + &")".repeat(n);
        add(&format!("{n} targets in brackets"), format!("{{% set {targets} = 1 %}}"));
        add(&format!("{n} digits"), format!("{{{{ {} }}}}", "9".repeat(n)));
        add(&format!("{n} digits in a string"), format!("{{{{ '{}'|int }}}}", "9".repeat(n)));
        add(
            &format!("{n} variables"),
            (0..n.min(20_000)).map(|i| format!("{{%set v{i}=1%}}")).collect(),
        );
    }
    templates
}

/// Templates that request large values or grow exponentially.
fn greedy() -> Vec<(String, String)> {
    let single = [
        "'a' * 99999999",
        "'a' * 9999999999999",
        "[1] * 2000000000",
        "(1,) * 2000000000",
        "'{:>2000000000}'.format(1)",
        "'{:.2000000000f}'.format(1.5)",
        "'{:2000000000}'.format('a')",
        "'%2000000000d' % 1",
        "'%.2000000000f' % 1",
        "'%*d' % (2000000000, 1)",
        "'%.1000000f' % 1.5",
        "'{:.1000000e}'.format(1.5)",
        "'{:,}'.format(10**38)",
        "'{:02000000000,}'.format(1)",
        "2 ** 99999999",
        "2 ** 2 ** 2 ** 2 ** 2 ** 2 ** 2",
        "10 ** 38 * 10",
        "(-2) ** 9999999999",
        "9 ** 9 ** 9",
        "1e308 ** 1e308",
        "'a'.center(2000000000)",
        "'a'.ljust(2000000000)",
        "'a'.rjust(2000000000)",
        "'a'.zfill(2000000000)",
        "'\\t'.expandtabs(2000000000)",
        "'a'|center(2000000000)",
        "'a\\nb'|indent(2000000000)",
        "[1]|batch(2000000000, 1)|list",
        "[1]|slice(2000000000)|list",
        "range(2000000000)",
        "range(0, 10**30, 1)",
        "range(100000)|list|string|length",
        "range(100000)|map('string')|join|length",
        "lipsum(n=2000000000)",
        "[1]|tojson(indent=2000000000)",
        "'a'|truncate(2000000000)",
        "'a'|wordwrap(2000000000)",
        "1.5|round(2000000000)",
        "1.5|round(-2000000000)",
        "15|round(-2000000000)",
        "1.5|round(2000000000, 'ceil')",
        "10**30|filesizeformat",
        "strftime_now('%2000000000d')",
        "strftime_now('%99d' * 99999)|length",
        "('a' * 8000000)|list|length",
        "('a b ' * 2000000).split()|length",
        "('a' * 8000000).split('a')|length",
        "('a\\n' * 4000000).splitlines()|length",
        "('a' * 4000000).replace('', 'bbbbbbbb')",
        "('a' * 4000000).replace('a', 'b' * 4000000)",
        "('a' * 3000).join(['b'] * 300000)",
        "['a' * 4000000] * 100 | join",
        "('<' * 8000000)|e",
        "('<' * 8000000)|urlencode",
        "('ä' * 4000000)|urlencode",
        "('<' * 4000000)|striptags|length",
        "('<a' * 4000000)|striptags|length",
        "('www.a.com ' * 500000)|urlize|length",
        "('(' * 4000000)|urlize|length",
        "('a-' * 2000000)|wordwrap(1)|length",
        "('a ' * 2000000)|wordwrap(3)|length",
        "('-' * 4000000)|wordwrap(5)|length",
        "('a' * 4000000)|wordwrap(1)|length",
        "('a' * 8000000)|title|length",
        "('a' * 8000000)|reverse|length",
        "('a' * 8000000)[::-1]|length",
        "('\\x01' * 4000000)|tojson|length",
        "(['\\x01' * 4000000]|string)|length",
        "('%s' * 100000) % (('a' * 100,) * 100000)",
        "('{}' * 100000).format(*(['a' * 100] * 100000))",
        "('{' * 1000000).format(1)",
        "('{0.a' * 100000).format(1)",
        "('%(' * 1000000) % {}",
        "('a' * 4000000) in ('a' * 4000000 ~ 'b')",
        "('a' * 4000000 ~ 'b') in ('a' * 8000000)",
        "('a' * 8000000).count('a')",
        "('a' * 8000000).find('b')",
        "('ä' * 4000000).rfind('ö')",
        "range(100000)|sort(reverse=true)|length",
        "(range(100000)|list * 5)|sort|length",
        "(range(100000)|list)|unique|list|length",
        "(range(100000)|list) == (range(100000)|list)",
        "(range(100000)|list)|sum",
        "(range(100000)|list)|groupby(0)|list|length",
        "[[1] * 100000] * 100 | sum(start=[])",
        "range(100000)|map(attribute='nope')|list|length",
        "(['x'] * 1000000)|map(attribute='upper')|list|length",
        "(['x'] * 1000000)|map('upper')|list|length",
        "([[]] * 1000000)|map('list')|list|length",
        "([1] * 1000000)|map(attribute='zzzzzzzz')|list|length",
        "(['ab'] * 500000)|map('list')|list|length",
        "([1] * 1000000)|batch(1)|list|length",
        "dict(([['a', 1]] * 500000))|length",
        "(range(100000)|list)|xmlattr",
        "(['a'] * 2000000)|join('b')|length",
        "dict(range(100000)|map('string')|map('list')|map('batch', 9))",
        "namespace(**dict(range(50000)|map('string')|list|map('center', 9)|batch(2)))",
        "cycler(*range(100000)).next()",
        "('a' * 100000)|map('upper')|list|length",
        "('a,' * 1000000).split(',')|map('length')|sum",
        "('ß' * 4000000).upper()|length",
        "('ŉ' * 4000000).title()|length",
        "(messages[0].content * 500000)|list|length",
        "((messages[0].content ~ 'x') * 300000)|upper|length",
        "(messages * 500000)|map(attribute='content')|join|length",
        "(messages * 1000000)|tojson|length",
        "(messages * 1000000)|string|length",
        "raise_exception('a' * 8000000)",
        "1 .a",
        "messages.x.y",
        "('a' * 8000000).nope.x",
        "messages['a' * 8000000].x",
        "'%s' % ('a' * 8000000)",
        "[1,2]|map('a' * 100000)|list",
    ];
    let doubling = [
        ("~", "ns.x ~ ns.x"),
        ("+", "ns.x + ns.x"),
        ("join", "[ns.x, ns.x]|join"),
        ("replace", "ns.x.replace('a', 'aa')"),
        ("replace filter", "ns.x|replace('a', 'aa')"),
        ("percent", "'%s%s' % (ns.x, ns.x)"),
        ("format", "'{}{}'.format(ns.x, ns.x)"),
        ("format filter", "'%s%s'|format(ns.x, ns.x)"),
        ("*", "ns.x * 2"),
        ("method join", "ns.x.join(['', '', ''])"),
        ("macro", "twice(ns.x)"),
        ("repr", "[ns.x, ns.x]|string"),
        ("tojson", "[ns.x, ns.x]|tojson"),
        ("center", "ns.x|center(ns.x|length * 2)"),
        ("indent", "(ns.x ~ '\\n' ~ ns.x)|indent(8)"),
        ("escape", "(ns.x ~ '<')|forceescape ~ ns.x"),
        ("urlencode", "(ns.x ~ ' ')|urlencode ~ ns.x"),
        ("lists", "ns.l + ns.l"),
    ];
    let shared = [
        ("nested pairs", "[ns.v, ns.v]"),
        ("nested dicts", "{'a': ns.v, 'b': ns.v}"),
        ("nested tuples", "(ns.v, ns.v)"),
        ("deep list", "[ns.v]"),
        ("deep dict", "{'a': ns.v}"),
        ("deep namespace", "namespace(a=ns.v)"),
        ("deep cycler", "cycler(ns.v)"),
        ("deep method", "[ns.v.copy]"),
        ("deep view", "{'a': ns.v}.items()"),
        ("deep iterator", "[ns.v]|map('list')"),
        ("deep joiner", "joiner(ns.v)"),
        ("namespaces in pairs", "namespace(a=ns.v, b=ns.v)"),
    ];
    let uses = [
        "ns.v|string|length",
        "ns.v|tojson|length",
        "ns.v == ns.w",
        "ns.w in [ns.v]",
        "ns.v < ns.w",
        "[ns.v, ns.w]|sort|length",
        "[ns.v, ns.w]|unique|list|length",
        "{ns.v: 1}|length",
        "[ns.v, ns.w]|groupby(0)|list|length",
        "ns.v|pprint|length",
        "[ns.v, ns.w]|max|length",
        "[ns.v].index(ns.w)",
        "[ns.v].count(ns.w)",
        "'%s' % [ns.v] | length",
        "ns.v|urlencode|length",
        "ns.v is eq ns.w",
        "ns.v|join|length",
        "ns.v|e|length",
        "'{}'.format(ns.v)|length",
    ];
    let whole = [
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.me = [ns, ns] %}{{ ns }}{{ ns == ns }}{{ ns|tojson }}",
        "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ a }}{{ [a, b]|sort }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n + 1) ~ f(n + 1) }}{% endmacro %}{{ f(1) }}",
        "{% macro f() %}{% for i in [1] %}{% if 1 %}{{ (((f()))) }}{% endif %}{% endfor %}{% endmacro %}{{ f() }}",
        "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{% call f() %}{% endcall %}",
        "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{% call f() %}{{ caller() }}{% endcall %}{% endcall %}",
        "{% macro f(x=f()) %}{% endmacro %}{{ f() }}",
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% for i in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{{ range(99999)|list|length }}{% endfor %}",
        "{% for i in range(99999) %}{{ range(99999)|sum }}{% endfor %}",
        "{% for i in range(99999) %}{% set x %}{{ 'a' * 100000 }}{% endset %}{% endfor %}",
        "{% for i in range(99999) %}{{ 'a' * 100000 }}{% endfor %}",
        "{% for i in range(99999) %}{% filter upper %}{{ 'a' * 100000 }}{% endfilter %}{% endfor %}",
        "{% set l = range(99999)|list %}{% for i in l %}{% if l == l|list and l|reverse|list == l %}{% endif %}{% endfor %}",
        "{% set l = range(99999)|list %}{% for i in l %}{{ -1 in l }}{% endfor %}",
        "{% set l = ['a' * 80000] * 90 %}{% for i in range(99999) %}{{ l|join|length }}{% endfor %}",
        "{% set t = 'a' * 8000000 %}{% for i in range(99999) %}{{ t[1:]|length }}{% endfor %}",
        "{% set t = 'ä' * 4000000 %}{% for i in range(99999) %}{{ t[i] }}{% endfor %}",
        "{% set t = 'ä' * 4000000 %}{% for i in range(99999) %}{{ t|length }}{{ t.find('b') }}{% endfor %}",
        "{% set t = 'ä' * 4000000 %}{% for i in range(99999) %}{{ t == t ~ '' }}{{ t.isalpha() }}{% endfor %}",
        "{% set t = 'ä' * 4000000 %}{% for i in range(99999) %}{{ t.strip('ä') }}{{ t is lower }}{{ t|wordcount }}{% endfor %}",
        "{% set t = 'ä' * 4000000 %}{% for i in range(99999) %}{{ t.count('') }}{{ {t: 1}[t] }}{{ t|int }}{{ t|float }}{% endfor %}",
        "{% set t = 'a' * 4000 %}{% for i in range(99999) %}{{ (t ~ 'b') in (t * 1000) }}{% endfor %}",
        "{% set t = '1' * 8000000 %}{% for i in range(99999) %}{{ t.isdigit() }}{{ t.startswith(t) }}{{ t.lower()|length }}{% endfor %}",
        "{% macro f() %}{% set p = ns.l %}{% for a in [1] recursive %}{% set ns.l = loop %}{% endfor %}{% endmacro %}{% set ns = namespace() %}{% for i in range(99999) %}{{ f() }}{% endfor %}",
        "{% set ns = namespace() %}{% for i in range(99999) %}{% set p = ns.f %}{% macro g() %}{{ p }}{% endmacro %}{% set ns.f = g %}{% endfor %}",
        "{% set a = namespace() %}{% set h = namespace(x=a) %}{% for i in range(99999) %}{% set n = namespace() %}{% set y = h.x %}{% set y.next = n %}{% set h.x = n %}{% endfor %}",
        "{% set h = namespace() %}{% for i in range(99999) %}{% set h.x = namespace(p=h.x) %}{% endfor %}{{ h }}",
        "{% for i in range(99999) %}{{ loop.changed(loop) }}{{ loop.changed([loop]) }}{% endfor %}",
        "{% set c = cycler(1, 2) %}{% for i in range(99999) %}{% for j in range(99999) %}{{ c.next() }}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x=0) %}{% for i in range(99999) %}{% set ns.x = ns.x * 3 + 1 %}{% endfor %}",
        "{% set ns = namespace(x=1.1) %}{% for i in range(99999) %}{% set ns.x = ns.x ** 2 %}{% endfor %}",
        "{% autoescape true %}{% set ns = namespace(x='<') %}{% for i in range(99) %}{% set ns.x = (ns.x|string)|forceescape ~ ns.x %}{% endfor %}{% endautoescape %}",
        "{% with a = range(99999)|list, b = range(99999)|list %}{% for i in a %}{{ a == b }}{% endfor %}{% endwith %}",
        "{% for i in range(99999) %}{% macro f() %}{{ i }}{% endmacro %}{% set x = f %}{% endfor %}",
        "{% for x in messages * 1000000 %}{{ x.content }}{% endfor %}",
        "{% for i in range(9999) %}{{ messages|tojson(indent=100000) }}{% endfor %}",
        "{% include 'a' * 9999999999 %}",
        "{% if %}",
        "{% generation",
        "{{",
        "{%",
        "{#",
        "{% raw %}",
        "{{ '",
        "\u{0}",
    ];
    let mut templates: Vec<(String, String)> = Vec::new();
    for expression in single {
        templates.push((expression.to_owned(), format!("{{{{ {expression} }}}}")));
    }
    for (name, step) in doubling {
        let target = if step.contains("ns.l") { "ns.l" } else { "ns.x" };
        let source = format!(
            "{{% macro twice(x) %}}{{{{ x }}}}{{{{ x }}}}{{% endmacro %}}\
             {{% set ns = namespace(x='aaaaaaaa' ~ messages[0].content, l=[1]) %}}\
             {{% for i in range(64) %}}{{% set {target} = {step} %}}{{% endfor %}}"
        );
        templates.push((format!("doubling by {name}"), source));
    }
    for (name, step) in shared {
        for n in [64, 150, 99_999] {
            for use_of in uses.iter().take(if n == 64 { uses.len() } else { 2 }) {
                let other = step.replace("ns.v", "ns.w");
                let source = format!(
                    "{{% set ns = namespace(v=[1], w=[1]) %}}{{% for i in range({n}) %}}\
                     {{% set ns.v = {step} %}}{{% set ns.w = {other} %}}{{% endfor %}}\
                     {{{{ {use_of} }}}}"
                );
                templates.push((format!("{n} {name}, {use_of}"), source));
            }
        }
    }
    templates.extend(whole.map(|source| (source.to_owned(), source.to_owned())));
    templates
}

/// Renders each template on a thread with 2 MiB of stack and returns those that exceed the limits.
fn excesses(templates: Vec<(String, String)>) -> Vec<String> {
    let mut excesses = Vec::new();
    for (name, source) in templates {
        let name: String = name.chars().take(200).collect();
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let start = Instant::now();
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        let result = thread.spawn(move || render(&source).map(|text| text.len())).unwrap().join();
        let elapsed = start.elapsed();
        let peak = PEAK.load(Relaxed).saturating_sub(before);
        let mib = peak >> 20;
        if result.is_err() || elapsed > MAX_TIME || peak > MAX_BYTES {
            excesses.push(format!("{name}: {elapsed:?}, {mib} MiB, {result:?}"));
        }
    }
    excesses
}

#[test]
fn a1_a2_hostile_templates_stay_within_the_limits() {
    let templates: Vec<_> = grown().into_iter().chain(greedy()).collect();
    let n = templates.len();
    assert!(n >= 200, "only {n} templates");
    let excesses = excesses(templates);
    assert!(excesses.is_empty(), "{} of {n}:\n{}", excesses.len(), excesses.join("\n"));
}

#[test]
fn a1_cancel_ends_a_rendering() {
    let template = Template::parse(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    )
    .unwrap();
    let today = NaiveDate::from_ymd_opt(2026, 11, 26).unwrap();
    let cancel = AtomicBool::new(true);
    let input =
        Input { messages: &json!([]), variables: &[], now: &|| today.into(), cancel: &cancel };
    assert_eq!(template.render(&input), Err(Error::Cancelled));
}

/// A random fragment of the grammar.
fn fragment() -> impl Strategy<Value = String> {
    let fragments = [
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "{%- ",
        " -%}",
        "{#",
        "#}",
        "for x in ",
        "if ",
        "endif",
        "endfor",
        "else",
        "elif ",
        "set x = ",
        "set x",
        "endset",
        "macro f(a, b=1)",
        "endmacro",
        "call f()",
        "endcall",
        "filter upper",
        "endfilter",
        "with a = 1",
        "endwith",
        "raw",
        "endraw",
        "messages",
        "messages[0].content",
        "x",
        "loop",
        ".index",
        ".a",
        "[0]",
        "[1:]",
        "[::-1]",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'a'",
        "\"ä\\n\"",
        "1",
        "2.5",
        "-",
        "+",
        "*",
        "/",
        "//",
        "%",
        "**",
        "~",
        "|",
        "upper",
        "list",
        "join(',')",
        "map('upper')",
        "sort",
        "tojson",
        "is defined",
        "is not string",
        " and ",
        " or ",
        "not ",
        " in ",
        "==",
        "<",
        ",",
        ":",
        "=",
        "range(3)",
        "namespace(a=1)",
        "f()",
        "caller()",
        "true",
        "none",
        " if 1 else ",
        "\n",
        "  ",
        "x.y",
        "'%s'",
        ".format(1)",
        ".split()",
        "generation",
        "endgeneration",
        "break",
        "continue",
        "recursive",
        "autoescape true",
        "endautoescape",
        "|e",
        "|safe",
        "varargs",
        "kwargs",
        "**",
        "\\",
        "\u{0}",
        "é",
    ];
    prop::sample::select(fragments.map(str::to_owned).to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a1_no_template_panics(fragments in prop::collection::vec(fragment(), 0..40)) {
        let _ = render(&fragments.concat());
    }

    #[test]
    fn a1_no_expression_panics(fragments in prop::collection::vec(fragment(), 0..12)) {
        let _ = render(&format!("{{{{ {} }}}}", fragments.concat()));
    }

    #[test]
    fn a1_no_text_panics(text in ".{0,60}") {
        let _ = render(&text);
        let _ = render(&format!("{{{{ '{text}' }}}}"));
        let _ = render(&format!("{{{{ '{text}'.format(1, a=2) }}}}{{{{ '{text}' % (1, 2) }}}}"));
    }
}
